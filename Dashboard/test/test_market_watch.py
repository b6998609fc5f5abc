"""The market as the dashboard sees it is the tape's, record by record."""

from collections.abc import Iterator

import numpy as np
import pytest

from Dashboard.market_watch import MarketWatch
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import segment_name
from trading_lib.models import Kind

NAMES = ("AAPL", "GOOG", "IBM")
SECOND = 1_000_000_000


class Market:
    """A tape and a book that a test writes itself."""

    def __init__(self) -> None:
        self.name = segment_name()
        self.tape = TapeWriter.open(self.name, 4096, "run-1")
        self.book = SharedPriceBook(NAMES, self.name, create=True, run_id="run-1")
        self.ts = 0

    def put(self, kind: Kind, slot: int = 0, value: float = 0.0, after: int = SECOND) -> None:
        self.ts += after
        self.tape.append([Entry(self.ts, value, self.ts, slot, kind)])
        if kind is Kind.TICK:
            self.book.update(NAMES[slot], value, self.ts / 1e9)

    def tick(self, slot: int, price: float, after: int = SECOND) -> None:
        self.put(Kind.TICK, slot, price, after)

    def close(self) -> None:
        self.tape.unlink()
        self.book.unlink()
        self.tape.close()
        self.book.close()


@pytest.fixture
def market() -> Iterator[Market]:
    made = Market()
    yield made
    made.close()


@pytest.fixture
def watch(market: Market) -> Iterator[MarketWatch]:
    made = MarketWatch(market.name, None, 7200)
    yield made
    made.close()


def test_the_last_of_several_prices_in_one_look_stands(market: Market, watch: MarketWatch) -> None:
    for price in (1.0, 3.0, 2.0):
        market.tick(1, price)
    assert watch.look()
    assert watch.prices[1] == 2.0
    assert watch.first[1] == 1.0
    assert np.isnan(watch.prices[2])
    assert (watch.seq, watch.ticks, watch.missed) == (market.tape.tail, 3, 0)


def test_only_what_has_changed_since_is_marked(market: Market, watch: MarketWatch) -> None:
    watch.look()
    watch.look()
    watch.changed[:] = False
    market.tick(2, 5.0)
    watch.look()
    assert watch.changed.tolist() == [False, False, True] or watch.changed.all()  # all, once a second: rates
    assert watch.changed[2]


def test_who_comes_late_has_what_is_still_on_the_tape_and_in_the_book(market: Market) -> None:
    for at in range(50):
        market.tick(0, 10.0 + at)
    watch = MarketWatch(market.name, None, 7200)
    watch.look()
    assert watch.prices[0] == 59.0
    line = watch.beginning("AAPL")
    assert line.values.tolist() == [10.0 + at for at in range(50)]
    watch.close()


def test_an_epoch_begins_everything_on_the_axis_of_event_time_anew(
    market: Market, watch: MarketWatch
) -> None:
    market.tick(0, 10.0)
    market.put(Kind.NEWS, 0, 80)
    watch.look()
    chart = watch.chart("AAPL")
    market.ts = 0
    market.put(Kind.EPOCH)
    market.tick(0, 20.0)
    watch.look()
    assert watch.beginning("AAPL").values.tolist() == [20.0]
    assert watch.chart("AAPL") is not chart
    assert not watch.news
    assert watch.first[0] == 20.0
    assert watch.epoch >= 1


def test_a_chart_gets_every_tick_of_its_symbol_and_no_other(market: Market, watch: MarketWatch) -> None:
    market.tick(1, 7.0)
    watch.look()
    chart = watch.chart("AAPL")
    assert chart is not None
    for at in range(20):
        market.tick(0, 1.0 + at, after=1_000)  # a microsecond apart
        market.tick(1, 50.0)
        watch.look()
    values = [value for step in chart.steps for value in step.values]
    times = [ms for step in chart.steps for ms in step.ms]
    assert values == [1.0 + at for at in range(20)]
    assert times == sorted(set(times)), "times within a millisecond stay apart"


def test_news_is_numbered_and_sentiment_stays_with_its_symbol(market: Market, watch: MarketWatch) -> None:
    market.put(Kind.NEWS, 2, 15)
    market.put(Kind.NEWS, 2, 90)
    watch.look()
    assert [(item.number, item.symbol, item.sentiment) for item in watch.news] == [
        (1, "IBM", 15),
        (2, "IBM", 90),
    ]
    assert watch.sentiment[2] == 90


def test_a_reader_that_was_lapped_says_how_much_it_missed_and_goes_on(
    market: Market, watch: MarketWatch
) -> None:
    market.tick(0, 1.0)
    watch.look()
    for at in range(3 * 4096):
        market.tape.append([Entry(market.ts, float(at + 1), 0, 0, Kind.TICK)])
    watch.look()
    assert watch.missed > 0
    assert watch.ticks + watch.missed == market.tape.tail
    assert watch.prices[0] == 3 * 4096


def test_a_new_run_under_the_same_name_is_a_new_market(market: Market, watch: MarketWatch) -> None:
    market.tick(0, 1.0)
    watch.look()
    assert watch.run_id == "run-1"
    market.close()
    assert not watch.look() or not watch.attached
    market.tape = TapeWriter.open(market.name, 4096, "run-2")
    market.book = SharedPriceBook(NAMES, market.name, create=True, run_id="run-2")
    market.tick(1, 4.0)
    watch.look()
    assert watch.run_id == "run-2"
    assert np.isnan(watch.prices[0])
    assert watch.prices[1] == 4.0


def test_no_market_is_no_fault(market: Market) -> None:
    watch = MarketWatch(segment_name(), None, 7200)
    assert not watch.look()
    assert watch.lag == 0
