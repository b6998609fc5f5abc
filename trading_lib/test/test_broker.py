"""The fill rules one by one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_lib.broker import QUOTE_FRESH_NS, TRIGGERED, Broker, Outcome, Terms, Working, draw
from trading_lib.models import Order, OrderType, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, STOP, STOP_LIMIT = OrderType
ROD, GTC, IOC, FOK = TimeInForce
FREE = Terms(slippage_bps=0.0)
TEN_BPS = Terms(slippage_bps=10.0)


class Market:
    """A broker and its outcomes as tuples: (quantity, price), or the reason."""

    def __init__(self, terms: Terms = FREE) -> None:
        self.broker = Broker("s", terms)
        self.now = 0
        self.orders = 0

    def tick(self, price: float, symbol: str = "A", ts: int | None = None) -> list[object]:
        self.now = self.now + 1 if ts is None else ts
        self.broker.watch_series(symbol)
        if symbol not in self.broker.watched:
            self.broker.prices[symbol] = price  # as a lane does
            return []
        return self._said(self.broker.tick(symbol, price, self.now))

    def order(
        self,
        side: Side,
        quantity: float,
        kind: OrderType = MARKET,
        limit: float = 0.0,
        stop: float = 0.0,
        tif: TimeInForce = ROD,
    ) -> list[object]:
        self.orders += 1
        order = Order("A", quantity, 0.0, side, 0, 0, self.orders, 0, kind, tif, limit, stop)
        return self._said(self.broker.arrive(Working(order, self.orders, self.now), self.now))

    @staticmethod
    def _said(outcomes: object) -> list[object]:
        assert hasattr(outcomes, "__iter__")
        return [_said(outcome) for outcome in outcomes]

    @property
    def resting(self) -> int:
        return len(self.broker.resting.get("A", ()))


def _said(outcome: Outcome) -> object:
    return (outcome.qty / 10**12, outcome.price) if outcome.qty else outcome.reason


def at(price: float, terms: Terms = FREE) -> Market:
    market = Market(terms)
    market.tick(price)
    return market


# ------------------------------------------------------------------------------------------------- market


def test_slippage_is_to_the_worse_side_of_either() -> None:
    market = at(100.0, TEN_BPS)
    assert market.order(BUY, 2.0) == [(2.0, 100.1)]
    assert market.order(SELL, 2.0) == [(2.0, 99.9)]


def test_a_quote_is_the_reference_of_its_side_for_five_seconds() -> None:
    market = at(100.0)
    market.tick(100.5, "A.ASK", ts=10)
    market.tick(99.5, "A.BID", ts=10)
    assert market.order(BUY, 1.0) == [(1.0, 100.5)]
    assert market.order(SELL, 1.0) == [(1.0, 99.5)]
    market.now = 10 + QUOTE_FRESH_NS
    assert market.order(BUY, 1.0) == [(1.0, 100.5)]
    market.now += 1
    assert market.order(BUY, 1.0) == [(1.0, 100.0)]
    assert market.order(SELL, 1.0) == [(1.0, 100.0)]


def test_next_meets_the_first_tick_after_its_arrival_and_no_quote() -> None:
    market = at(100.0, Terms(slippage_bps=0.0, fill="next"))
    market.tick(100.5, "A.ASK")
    assert market.order(BUY, 1.0) == []
    assert market.order(BUY, 1.0, LIMIT, limit=90.0, tif=IOC) == []
    assert market.tick(99.0) == [(1.0, 99.0), "IOC: no more to be had at once"]
    assert market.resting == 0


# ------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("side", "limit", "price"),
    [
        (BUY, 101.0, 100.1),
        (BUY, 100.05, 100.05),
        (BUY, 100.0, 100.0),
        (SELL, 99.0, 99.9),
        (SELL, 100.0, 100.0),
    ],
)
def test_a_marketable_limit_order_slips_up_to_its_limit(side: Side, limit: float, price: float) -> None:
    assert at(100.0, TEN_BPS).order(side, 1.0, LIMIT, limit=limit) == [(1.0, price)]


@pytest.mark.parametrize(
    ("side", "limit", "beyond", "short"), [(BUY, 99.0, 98.0, 99.5), (SELL, 101.0, 102.0, 100.5)]
)
def test_a_resting_limit_order_is_filled_at_its_limit_by_the_first_tick_through_it(
    side: Side, limit: float, beyond: float, short: float
) -> None:
    market = at(100.0, TEN_BPS)
    assert market.order(side, 1.0, LIMIT, limit=limit) == []
    assert market.tick(short) == []
    assert market.tick(limit) == []
    assert market.tick(beyond) == [(1.0, limit)]
    assert market.tick(beyond) == []


def test_with_touch_a_tick_at_the_limit_is_enough() -> None:
    market = at(100.0, Terms(limit_fill="touch"))
    market.order(BUY, 1.0, LIMIT, limit=99.0)
    assert market.tick(99.5) == []
    assert market.tick(99.0) == [(1.0, 99.0)]


def test_a_quote_decides_whether_a_limit_order_is_marketable() -> None:
    market = at(100.0)
    market.tick(100.5, "A.ASK")
    assert market.order(BUY, 1.0, LIMIT, limit=100.2) == []
    assert market.tick(100.1) == [(1.0, 100.2)]  # it rested: a seller came down to it


def test_what_is_left_of_a_marketable_limit_order_rests_once_a_tick_is_not_within_it() -> None:
    market = Market()
    market.tick(1.0, "A.SIZE")
    market.tick(100.0)
    assert market.order(BUY, 3.0, LIMIT, limit=101.0) == [(1.0, 100.0)]
    assert market.tick(100.5) == [(1.0, 100.5)]
    assert market.tick(101.5) == []
    assert market.tick(100.5) == [(1.0, 101.0)]


# -------------------------------------------------------------------------------------------------- stops


@pytest.mark.parametrize(
    ("side", "stop", "before", "gap", "price"),
    [(BUY, 101.0, 100.99, 105.0, 105.105), (SELL, 99.0, 99.01, 95.0, 94.905)],
)
def test_a_stop_is_filled_at_the_tick_that_reaches_it_however_far_that_is(
    side: Side, stop: float, before: float, gap: float, price: float
) -> None:
    market = at(100.0, TEN_BPS)
    assert market.order(side, 1.0, STOP, stop=stop) == []
    assert market.tick(before) == []
    assert market.tick(gap) == [TRIGGERED, (1.0, price)]


@pytest.mark.parametrize(("side", "stop"), [(BUY, 100.0), (BUY, 99.0), (SELL, 100.0), (SELL, 101.0)])
def test_a_stop_that_is_reached_already_is_triggered_at_once(side: Side, stop: float) -> None:
    assert at(100.0).order(side, 1.0, STOP, stop=stop) == [TRIGGERED, (1.0, 100.0)]


def test_a_triggered_stop_without_enough_to_take_goes_on_at_any_price() -> None:
    market = Market()
    market.tick(2.0, "A.SIZE")
    market.tick(100.0)
    market.order(BUY, 3.0, STOP, stop=101.0)
    assert market.tick(101.0) == [TRIGGERED, (2.0, 101.0)]
    assert market.tick(90.0) == [(1.0, 90.0)]


def test_a_stop_limit_is_a_limit_order_from_its_trigger_on() -> None:
    market = at(100.0)
    market.order(BUY, 1.0, STOP_LIMIT, limit=101.5, stop=101.0)
    market.order(BUY, 1.0, STOP_LIMIT, limit=103.0, stop=101.0)
    assert market.tick(102.0) == [TRIGGERED, TRIGGERED, (1.0, 102.0)]
    assert market.tick(101.5) == []
    assert market.tick(101.0) == [(1.0, 101.5)]


def test_a_stop_that_must_be_decided_at_once_is() -> None:
    assert at(100.0).order(BUY, 1.0, STOP, stop=101.0, tif=IOC) == ["IOC: no more to be had at once"]
    assert at(100.0).order(BUY, 1.0, STOP, stop=99.0, tif=FOK) == [TRIGGERED, (1.0, 100.0)]


# -------------------------------------------------------------------------------------------------- sizes


def test_one_ticks_liquidity_goes_to_those_who_came_first_and_once() -> None:
    market = Market()
    market.tick(5.0, "A.SIZE")
    market.tick(100.0)
    market.order(BUY, 4.0, LIMIT, limit=99.0)
    market.order(BUY, 4.0, LIMIT, limit=99.0)
    assert market.tick(98.0) == [(4.0, 99.0), (1.0, 99.0)]
    assert market.tick(98.0) == [(3.0, 99.0)]
    assert market.order(BUY, 9.0) == [(2.0, 98.0)]
    assert market.order(SELL, 9.0, tif=IOC) == ["IOC: no more to be had at once"]


def test_a_size_after_its_price_is_for_the_next_one_but_the_very_first_counts_at_once() -> None:
    market = at(100.0)
    assert market.order(BUY, 50.0) == [(50.0, 100.0)]
    market.tick(5.0, "A.SIZE")
    assert market.order(BUY, 3.0) == [(3.0, 100.0)]
    market.tick(9.0, "A.SIZE")
    assert market.order(BUY, 3.0, tif=IOC) == [(2.0, 100.0), "IOC: no more to be had at once"]
    market.tick(100.0)
    assert market.order(BUY, 9.0, tif=FOK) == [(9.0, 100.0)]


def test_all_or_nothing_takes_nothing_of_too_little() -> None:
    market = Market()
    market.tick(5.0, "A.SIZE")
    market.tick(100.0)
    assert market.order(BUY, 6.0, tif=FOK) == ["FOK: no more to be had at once"]
    assert market.order(BUY, 5.0, tif=FOK) == [(5.0, 100.0)]


def test_nothing_is_watched_any_more_when_nothing_is_left_to_wait_for() -> None:
    market = Market()
    market.tick(5.0, "A.SIZE")
    market.tick(100.0)
    market.order(BUY, 6.0)
    assert market.broker.watched == {"A", "A.SIZE"}
    market.tick(100.0)
    market.tick(100.0)
    assert market.broker.watched == {"A.SIZE"} and not market.broker.left


# ------------------------------------------------------------------------------------------------- chances


def test_partial_fills_are_whole_units_of_the_stated_share_and_add_up() -> None:
    parts: Counter[bool] = Counter()
    for seed in range(400):
        market = at(100.0, Terms(slippage_bps=0.0, partial_fills=0.3, seed=seed))
        (first,) = market.order(BUY, 10.5)
        assert isinstance(first, tuple)
        filled = first[0]
        parts[filled < 10.5] += 1
        assert filled == 10.5 or 1 <= filled == int(filled) < 10
        while filled < 10.5:
            filled += sum(part[0] for part in market.tick(100.0) if isinstance(part, tuple))
        assert filled == 10.5 and not market.resting
    assert 90 < parts[True] < 150


def test_less_than_two_units_and_all_or_nothing_are_never_cut() -> None:
    for seed in range(50):
        market = at(100.0, Terms(slippage_bps=0.0, partial_fills=1.0, seed=seed))
        assert market.order(BUY, 1.5) == [(1.5, 100.0)]
        assert market.order(BUY, 9.0, tif=FOK) == [(9.0, 100.0)]


@given(st.integers(), st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_a_draw_is_a_function_of_its_arguments_in_the_unit_interval(seed: int, key: list[object]) -> None:
    assert draw(seed, *key) == draw(seed, *key)
    assert 0 <= draw(seed, *key) < 1


def test_draws_are_uniform() -> None:
    draws = [draw(42, "s", f"{i}.0", "latency") for i in range(4000)]
    assert all(350 < sum(lo <= x < lo + 0.1 for x in draws) < 450 for lo in (i / 10 for i in range(10)))


def test_a_removed_order_is_forgotten_and_one_that_never_rested_is_nobodys() -> None:
    market = at(100.0)
    working = Working(Order("A", 1.0, 0.0, BUY, 0, 0, 1, 0, LIMIT, GTC, 99.0), 1, 0)
    market.broker.remove(working)
    assert list(market.broker.arrive(working, 1)) == [] and market.resting == 1
    market.broker.remove(working)
    assert market.tick(98.0) == [] and "A" not in market.broker.watched
