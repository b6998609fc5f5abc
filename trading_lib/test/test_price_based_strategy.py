"""Crossovers of two moving averages."""

from types import SimpleNamespace

import pytest

from trading_lib.models import Action, Tick
from trading_lib.strategy import MovingAverageStrategy, Signal, SignalStrategy


def run(strategy: MovingAverageStrategy, *prices: float, symbol: str = "AAPL") -> list[Action | None]:
    """What each price brought: an Action, or None."""
    actions: list[Action | None] = []
    for seq, price in enumerate(prices):
        signals = strategy.generate_signals(Tick(symbol, price, seq, seq))
        actions.append(signals[0][3] if signals else None)
    return actions


def test_a_crossover_is_one_signal() -> None:
    strategy = MovingAverageStrategy(1, 3, quantity=7)
    assert run(strategy, 3.0, 2.0, 1.0) == [None, None, None]
    assert strategy.generate_signals(Tick("AAPL", 5.0, 3, 3)) == [("AAPL", 7, 5.0, Action.BUY)]
    assert strategy.generate_signals(Tick("AAPL", 6.0, 4, 4)) == []
    assert strategy.generate_signals(Tick("AAPL", 1.0, 5, 5)) == [("AAPL", 7, 1.0, Action.SELL)]


def test_the_quantity_is_ten_unless_told() -> None:
    strategy = MovingAverageStrategy(1, 2)
    run(strategy, 2.0, 1.0)
    assert strategy.generate_signals(Tick("AAPL", 3.0, 0, 0)) == [("AAPL", 10, 3.0, Action.BUY)]


def test_the_tick_that_warms_both_is_no_crossover() -> None:
    assert run(MovingAverageStrategy(1, 3), 1.0, 2.0, 9.0, 10.0) == [None] * 4


def test_equal_averages_are_neither_side() -> None:
    assert run(MovingAverageStrategy(1, 2), *[5.0] * 10) == [None] * 10


def test_equality_does_not_make_the_side_before_it_forgotten() -> None:
    # windows 1 and 2: above, equal, above is one rise; above, equal, below is a crossover
    assert run(MovingAverageStrategy(1, 2), 2.0, 1.0, 2.0, 2.0, 3.0) == [None, None, Action.BUY, None, None]
    assert run(MovingAverageStrategy(1, 2), 1.0, 2.0, 2.0, 1.0) == [None, None, None, Action.SELL]


@pytest.mark.parametrize(("then", "action"), [(6.0, Action.BUY), (4.0, Action.SELL)])
def test_leaving_a_flat_beginning_is_a_crossover(then: float, action: Action) -> None:
    assert run(MovingAverageStrategy(2, 4), *[5.0] * 6, then, then) == [*[None] * 6, action, None]


def test_symbols_do_not_see_each_other() -> None:
    strategy = MovingAverageStrategy(1, 2)
    alone = run(MovingAverageStrategy(1, 2), 2.0, 1.0, 3.0, 1.0)
    mixed: list[Action | None] = []
    for price in (2.0, 1.0, 3.0, 1.0):
        mixed += run(strategy, price, symbol="AAPL")
        run(strategy, 10 - price, symbol="MSFT")
    assert mixed == alone == [None, None, Action.BUY, Action.SELL]


def test_anything_with_a_symbol_and_a_price_is_a_tick() -> None:
    strategy = MovingAverageStrategy(1, 2)
    signals: list[Signal] = []
    for price in (2.0, 1.0, 3.0):
        signals += strategy.generate_signals(SimpleNamespace(symbol="X", price=price))
    assert signals == [("X", 10, 3.0, Action.BUY)]


@pytest.mark.parametrize(
    ("short", "long", "quantity", "named"),
    [
        (20, 5, 10, r"short_window \(20\).*long_window \(5\)"),
        (5, 5, 10, r"short_window \(5\).*long_window \(5\)"),
        (0, 5, 10, r"short_window \(0\)"),
        (5, 20, 0, r"quantity \(0\)"),
        (5, 20, -1, r"quantity \(-1\)"),
        (5, 20, float("nan"), r"quantity \(nan\)"),
        (5, 20, float("inf"), r"quantity \(inf\)"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(
    short: int, long: int, quantity: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        MovingAverageStrategy(short, long, quantity)


def test_the_base_strategy_asks_for_nothing() -> None:
    assert SignalStrategy().generate_signals(Tick("AAPL", 1.0, 0, 0)) == []
    assert SignalStrategy().generate_signal("AAPL", 100) == ("AAPL", Action.HOLD)
