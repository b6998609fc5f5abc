"""Signals from news alone."""

from trading_lib.models import Action
from trading_lib.strategy.base import SignalStrategy, check_thresholds


class NewsBasedStrategy(SignalStrategy):
    """BUY above the bullish threshold, SELL below the bearish one, HOLD between and at them.

    Raises ValueError unless 0 <= bearish_threshold < bullish_threshold <= 100.
    """

    def __init__(self, bearish_threshold: float = 40, bullish_threshold: float = 60) -> None:
        check_thresholds(bearish_threshold, bullish_threshold)
        self.bearish_threshold = bearish_threshold
        self.bullish_threshold = bullish_threshold

    def generate_signal(self, symbol: str, sentiment: int) -> tuple[str, Action]:
        """`(symbol, Action)` for one news item; sentiment is 0 (bearish) to 100 (bullish)."""
        if sentiment > self.bullish_threshold:
            return symbol, Action.BUY
        if sentiment < self.bearish_threshold:
            return symbol, Action.SELL
        return symbol, Action.HOLD
