"""Signals from sentiment alone."""

import pytest

from trading_lib.models import Action
from trading_lib.strategy import NewsBasedStrategy


@pytest.mark.parametrize(
    ("sentiment", "action"),
    [
        (0, Action.SELL),
        (39, Action.SELL),
        (40, Action.HOLD),
        (50, Action.HOLD),
        (60, Action.HOLD),
        (61, Action.BUY),
        (100, Action.BUY),
    ],
)
def test_thresholds_are_strict(sentiment: int, action: Action) -> None:
    assert NewsBasedStrategy().generate_signal("AAPL", sentiment) == ("AAPL", action)


def test_thresholds_are_arguments() -> None:
    strategy = NewsBasedStrategy(bearish_threshold=10, bullish_threshold=90)
    assert [strategy.generate_signal("X", s)[1] for s in (9, 10, 90, 91)] == ["SELL", "HOLD", "HOLD", "BUY"]


@pytest.mark.parametrize(
    ("bearish", "bullish", "named"),
    [
        (60, 40, r"\(60\).*\(40\)"),
        (50, 50, r"\(50\).*\(50\)"),
        (-1, 60, r"\(-1\)"),
        (40, 101, r"\(101\)"),
        (float("nan"), 60, "nan"),
    ],
)
def test_thresholds_that_cannot_be_are_refused_by_value(bearish: float, bullish: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        NewsBasedStrategy(bearish, bullish)
