"""Signals from prices alone."""

from trading_lib.indicators import SMA
from trading_lib.models import Action
from trading_lib.strategy.base import Priced, Signal, SignalStrategy, check_quantity, check_windows

# Looked up once: an enum member costs 40 ns on 3.11.
_BUY, _SELL, _HOLD = Action.BUY, Action.SELL, Action.HOLD


class _Averages:
    """One symbol's two averages, and the side the short one was last seen on."""

    __slots__ = ("long", "short", "side")

    def __init__(self, short_window: int, long_window: int) -> None:
        self.short = SMA(short_window)
        self.long = SMA(long_window)
        self.side: Action | None = None  # None: not warm yet; HOLD: equal since they became so


class MovingAverageStrategy(SignalStrategy):
    """Signals when the short average crosses the long one: above it BUY, below it SELL; symbol by symbol.

    Strict: equal averages are neither side, and do not make the side before them forgotten (above,
    equal, above is no crossover). The tick that warms both averages only tells the side to begin with.
    Raises ValueError unless 1 <= short_window < long_window and quantity > 0.
    """

    def __init__(self, short_window: int, long_window: int, quantity: float = 10) -> None:
        check_windows(short_window, long_window)
        check_quantity(quantity)
        self.short_window = short_window
        self.long_window = long_window
        self.quantity = quantity
        self._averages: dict[str, _Averages] = {}

    def generate_signals(self, tick: Priced) -> list[Signal]:
        """`[(symbol, quantity, price, Action.BUY or SELL)]` on the tick that crosses, else `[]`."""
        symbol, price = tick.symbol, tick.price
        averages = self._averages.get(symbol)
        if averages is None:
            averages = self._averages[symbol] = _Averages(self.short_window, self.long_window)
        short = averages.short.update(price)
        long = averages.long.update(price)
        if short is None or long is None:
            return []
        before = averages.side
        if short > long:
            now = _BUY
        elif short < long:
            now = _SELL
        else:
            now = before or _HOLD
        if now is before:
            return []
        averages.side = now
        return [] if before is None else [(symbol, self.quantity, price, now)]
