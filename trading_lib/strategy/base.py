"""What every signal strategy has in common, and the checks of their parameters."""

import math
from typing import Protocol

from trading_lib.models import Action

Signal = tuple[str, float, float, Action]  # symbol, quantity, price seen, what to do


class Priced(Protocol):
    """A `models.Tick`, or anything else with a symbol and a price."""

    @property
    def symbol(self) -> str:
        """The symbol."""

    @property
    def price(self) -> float:
        """Its latest price."""


class SignalStrategy:
    """Sees ticks and news, answers with signals; plain Python, no process needed. Override what you need."""

    def generate_signals(self, tick: Priced) -> list[Signal]:  # noqa: ARG002
        """What this tick asks for: `[(symbol, quantity, price, Action)]`, or nothing."""
        return []

    def generate_signal(self, symbol: str, sentiment: int) -> tuple[str, Action]:  # noqa: ARG002
        """What this news item asks for: `(symbol, Action)`."""
        return symbol, Action.HOLD


def check_windows(short_window: int, long_window: int) -> None:
    """1 <= short < long, or ValueError."""
    if not 1 <= short_window < long_window:
        raise ValueError(
            f"short_window ({short_window}) must be at least 1 and below long_window ({long_window})"
        )


def check_thresholds(bearish_threshold: float, bullish_threshold: float) -> None:
    """0 <= bearish < bullish <= 100, or ValueError."""
    if not 0 <= bearish_threshold < bullish_threshold <= 100:
        raise ValueError(
            f"bearish_threshold ({bearish_threshold}) must be below bullish_threshold "
            f"({bullish_threshold}), both within 0-100"
        )


def check_quantity(quantity: float) -> None:
    """A finite number above 0, or ValueError."""
    if not 0 < quantity < math.inf:
        raise ValueError(f"quantity ({quantity}) must be above 0 and finite")
