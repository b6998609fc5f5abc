"""The default strategy: the class, and the strategy file around it."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib import indicators
from trading_lib.context import ALREADY_IN_POSITION, NO_DATA, RISK_DENIED, SIGNALS_DISAGREE, WARMING_UP
from trading_lib.models import News, Side, Tick
from trading_lib.strategy import MovingAverageNewsStrategy

FILE = Path(__file__).resolve().parents[2] / "strategies" / "sma_news" / "strategy.py"


def warmed(*, rising: bool, sentiment: float | None, **params: Any) -> MovingAverageNewsStrategy:
    """A strategy whose next tick at 100 has the short average above (below) the long one."""
    rule = MovingAverageNewsStrategy(2, 4, **params)
    for price in (90.0, 91.0, 92.0) if rising else (110.0, 109.0, 108.0):
        assert rule.on_tick("AAPL", price, 0) is None
    if sentiment is not None:
        rule.on_news("AAPL", sentiment)
    return rule


@pytest.mark.parametrize(
    ("rising", "sentiment", "order"),
    [
        (True, 61, (Side.BUY, 10)),
        (True, 60, None),
        (True, 0, None),
        (True, None, None),
        (False, 39, (Side.SELL, 10)),
        (False, 40, None),
        (False, 100, None),
        (False, None, None),
    ],
)
def test_averages_and_news_must_agree(rising: bool, sentiment: int | None, order: object) -> None:
    assert warmed(rising=rising, sentiment=sentiment).on_tick("AAPL", 100.0, 0) == order


@pytest.mark.parametrize("sentiment", [0, 100])
def test_equal_averages_are_no_signal(sentiment: int) -> None:
    rule = MovingAverageNewsStrategy()
    rule.on_news("AAPL", sentiment)
    assert [rule.on_tick("AAPL", 0.1, 0) for _ in range(100)] == [None] * 100


def test_there_is_no_signal_before_both_averages_are_warm() -> None:
    rule = MovingAverageNewsStrategy(1, 3)
    rule.on_news("AAPL", 100)
    assert [rule.on_tick("AAPL", p, 0) for p in (1.0, 2.0)] == [None, None]
    assert rule.on_tick("AAPL", 3.0, 0) == (Side.BUY, 10)


@pytest.mark.parametrize(
    ("rising", "position", "order"),
    [
        (True, 0, (Side.BUY, 10)),
        (True, 4, (Side.BUY, 6)),
        (True, -10, (Side.BUY, 20)),
        (True, 10, None),
        (True, 25, None),  # a BUY signal never sells
        (False, 0, (Side.SELL, 10)),
        (False, -2.5, (Side.SELL, 7.5)),
        (False, 10, (Side.SELL, 20)),
        (False, -10, None),
        (False, -25, None),
    ],
)
def test_an_order_is_the_difference_to_the_position_aimed_at(
    rising: bool, position: float, order: object
) -> None:
    rule = warmed(rising=rising, sentiment=100 if rising else 0)
    assert rule.on_tick("AAPL", 100.0, position) == order


def test_a_level_orders_again_when_the_position_was_lost() -> None:
    rule = warmed(rising=True, sentiment=100)
    assert rule.on_tick("AAPL", 100.0, 0) == (Side.BUY, 10)
    assert rule.on_tick("AAPL", 101.0, 10) is None
    assert rule.on_tick("AAPL", 102.0, 0) == (Side.BUY, 10)


def test_news_decides_nothing_until_the_next_tick() -> None:
    rule = warmed(rising=True, sentiment=None)
    assert rule.on_tick("AAPL", 100.0, 0) is None
    rule.on_news("AAPL", 100)
    rule.on_news("AAPL", 50)
    assert rule.on_tick("AAPL", 101.0, 0) is None
    rule.on_news("AAPL", 61)
    assert rule.on_tick("AAPL", 102.0, 0) == (Side.BUY, 10)


def test_symbols_do_not_see_each_other() -> None:
    rule = warmed(rising=True, sentiment=100)
    assert rule.on_tick("MSFT", 1.0, 0) is None
    rule.on_news("MSFT", 0)
    rule.on_denied("MSFT")
    assert rule.on_tick("AAPL", 100.0, 0) == (Side.BUY, 10)


def test_after_a_denial_it_waits_for_the_signal_to_change() -> None:
    rule = warmed(rising=True, sentiment=100)
    assert rule.on_tick("AAPL", 100.0, 0) == (Side.BUY, 10)
    rule.on_denied("AAPL")
    assert [rule.on_tick("AAPL", p, 0) for p in (101.0, 102.0, 103.0)] == [None] * 3
    rule.on_news("AAPL", 50)  # to none …
    assert rule.on_tick("AAPL", 104.0, 0) is None
    rule.on_news("AAPL", 100)  # … and back
    assert rule.on_tick("AAPL", 105.0, 0) == (Side.BUY, 10)


def test_a_denial_does_not_hold_up_the_other_side() -> None:
    rule = warmed(rising=True, sentiment=100)
    rule.on_tick("AAPL", 100.0, 0)
    rule.on_denied("AAPL")
    rule.on_news("AAPL", 0)
    assert rule.on_tick("AAPL", 10.0, 0) == (Side.SELL, 10)


def test_a_denial_that_arrives_after_the_signal_went_holds_nothing_up() -> None:
    rule = warmed(rising=True, sentiment=100)
    rule.on_tick("AAPL", 100.0, 0)
    rule.on_news("AAPL", 50)
    rule.on_tick("AAPL", 101.0, 0)
    rule.on_denied("AAPL")
    rule.on_news("AAPL", 100)
    assert rule.on_tick("AAPL", 102.0, 0) == (Side.BUY, 10)


def test_a_denial_of_a_symbol_never_seen_is_harmless() -> None:
    rule = MovingAverageNewsStrategy()
    rule.on_denied("AAPL")
    assert rule.on_tick("AAPL", 100.0, 0) is None


def test_it_says_why_there_is_no_order() -> None:
    rule = MovingAverageNewsStrategy(1, 2)

    def why(price: float, position: float = 0) -> str:
        assert rule.on_tick("AAPL", price, position) is None
        return rule.reason

    assert why(1.0) == WARMING_UP
    assert why(2.0) == NO_DATA
    rule.on_news("AAPL", 60)
    assert why(3.0) == SIGNALS_DISAGREE
    rule.on_news("AAPL", 61)
    assert why(4.0, position=10) == ALREADY_IN_POSITION
    rule.on_denied("AAPL")
    assert why(5.0) == RISK_DENIED


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.integers(100, 200)), min_size=20, max_size=80))
def test_every_order_follows_the_definition(events: list[int]) -> None:
    """Up to 40 is a price, from 100 on a sentiment (minus 100); a rule of integers beside it."""
    rule = MovingAverageNewsStrategy(2, 4, bullish_threshold=55, bearish_threshold=45, quantity=3)
    prices: list[int] = []
    sentiment, position = 50, 0.0
    for event in events:
        if event >= 100:
            sentiment = event - 100
            rule.on_news("X", sentiment)
            continue
        prices.append(event)
        order = rule.on_tick("X", float(event), position)
        rise = 2 * sum(prices[-2:]) - sum(prices[-4:]) if len(prices) >= 4 else 0
        aim = 3.0 if rise > 0 and sentiment > 55 else -3.0 if rise < 0 and sentiment < 45 else position
        before, position = position, position + (order[0].sign * order[1] if order else 0.0)
        assert position == aim
        assert (order is None) == (before == aim)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"short_window": 20, "long_window": 5}, r"short_window \(20\).*long_window \(5\)"),
        ({"short_window": 0}, r"short_window \(0\)"),
        ({"bearish_threshold": 70}, r"bearish_threshold \(70\).*\(60\)"),
        ({"bullish_threshold": 101}, r"\(101\)"),
        ({"quantity": 0}, r"quantity \(0\)"),
        ({"quantity": math.nan}, r"quantity \(nan\)"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MovingAverageNewsStrategy(**params)


# ------------------------------------------------------------------------------------- the strategy file


class FakeContext:
    """What the host gives to a strategy file, as far as this one uses it."""

    def __init__(self, **params: float) -> None:
        self.params = params
        self.held = 0.0
        self.orders: list[tuple[Side, float]] = []
        self.tags: list[str] = []
        self.lines: list[str] = []
        self.reasons: list[str] = []
        self.indicator = indicators

    def get_param(self, name: str, default: float) -> float:
        return self.params.get(name, default)

    def position(self) -> float:
        return self.held

    def place_market_order(self, side: Side, quantity: float, tag: str) -> None:
        self.tags.append(tag)
        self.orders.append((side, quantity))
        self.held += side.sign * quantity

    def log(self, text: str) -> None:
        self.lines.append(text)

    def no_trade(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture(scope="module")
def strategy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sma_news_strategy", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_trades_both_ways_and_never_what_it_holds(strategy: ModuleType) -> None:
    ctx = FakeContext(short_window=2, long_window=4)
    strategy.init(ctx)
    strategy.on_news(ctx, News("AAPL", 90, 0, 0))
    for seq, price in enumerate((10.0, 11.0, 12.0, 13.0, 14.0, 15.0)):
        strategy.on_tick(ctx, Tick("AAPL", price, seq, seq))
    assert ctx.orders == [(Side.BUY, 10)]
    strategy.on_news(ctx, News("AAPL", 10, 6, 6))
    for seq, price in enumerate((9.0, 8.0, 7.0), 7):
        strategy.on_tick(ctx, Tick("AAPL", price, seq, seq))
    assert ctx.orders == [(Side.BUY, 10), (Side.SELL, 20)]
    assert ctx.tags == ["news 90", "news 10"]
    assert ctx.lines == ["BUY 10 AAPL @ 13.0", "SELL 20 AAPL @ 9.0"]
    assert ctx.reasons == [
        *[WARMING_UP] * 3,
        *[ALREADY_IN_POSITION] * 2,
        *[ALREADY_IN_POSITION] * 2,
    ]


def test_the_file_has_the_defaults_of_the_class(strategy: ModuleType) -> None:
    ctx: Any = FakeContext()
    strategy.init(ctx)
    assert strategy.NAME == "sma_news"
    assert {name: getattr(ctx.rule, name) for name in strategy.PARAMS} == strategy.PARAMS
    default = MovingAverageNewsStrategy()
    assert {name: getattr(default, name) for name in strategy.PARAMS} == strategy.PARAMS


def test_the_file_is_short() -> None:
    assert len(FILE.read_text().splitlines()) < 40
