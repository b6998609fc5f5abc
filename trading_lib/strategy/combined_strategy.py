"""The default strategy: two moving averages and the news must agree."""

from collections.abc import Callable

from trading_lib.context import ALREADY_IN_POSITION, NO_DATA, RISK_DENIED, SIGNALS_DISAGREE, WARMING_UP
from trading_lib.indicators import SMA
from trading_lib.models import Side
from trading_lib.strategy.base import check_quantity, check_thresholds, check_windows

_BUY, _SELL = Side.BUY, Side.SELL  # looked up once: an enum member costs 40 ns on 3.11


class _State:
    """What is known of one symbol. `waiting` is the signal that was denied and has not changed since."""

    __slots__ = ("sentiment", "signal", "update_long", "update_short", "waiting")

    def __init__(self, short: SMA, long: SMA) -> None:
        self.update_short = short.update
        self.update_long = long.update
        self.sentiment: float | None = None
        self.signal: Side | None = None
        self.waiting: Side | None = None


class MovingAverageNewsStrategy:
    """BUY while short > long and sentiment > bullish; SELL while short < long and sentiment < bearish.

    All strict, and levels, not crossings; the averages run over every tick of a symbol. Ticks decide;
    news only updates the sentiment, and before a symbol's first there is no signal. The position aimed
    at is +quantity on BUY and -quantity on SELL; without a signal it stays what it is. Orders are the
    difference to it, only ever in the signal's direction: whoever holds more than `quantity` keeps it.
    After a denial nothing is ordered until the signal has changed (to none, or to the other side).
    `reason` says why the last tick that brought no order brought none. `average` makes the averages.
    Raises ValueError for windows, thresholds or a quantity that cannot be.
    """

    def __init__(
        self,
        short_window: int = 5,
        long_window: int = 20,
        bullish_threshold: float = 60,
        bearish_threshold: float = 40,
        quantity: float = 10,
        average: Callable[[int], SMA] = SMA,
    ) -> None:
        check_windows(short_window, long_window)
        check_thresholds(bearish_threshold, bullish_threshold)
        check_quantity(quantity)
        self.short_window = short_window
        self.long_window = long_window
        self.bullish_threshold = bullish_threshold
        self.bearish_threshold = bearish_threshold
        self.quantity = quantity
        self.reason = ""
        self._average = average
        self._states: dict[str, _State] = {}

    def on_tick(self, symbol: str, price: float, position: float) -> tuple[Side, float] | None:
        """The order this tick asks for, given the signed position (what is on its way included), or None."""
        signal = self.signal(symbol, price)
        return None if signal is None else self.order(signal, position)

    def signal(self, symbol: str, price: float) -> Side | None:
        """Take one tick; the side it says to be on, None for no signal or one that was denied.

        The first half of `on_tick`, for callers who look the position up only when it matters.
        """
        state = self._states.get(symbol) or self._state(symbol)
        short = state.update_short(price)
        long = state.update_long(price)
        sentiment = state.sentiment
        signal: Side | None = None
        if sentiment is None or short is None or long is None:
            self.reason = WARMING_UP if long is None else NO_DATA
        elif short > long and sentiment > self.bullish_threshold:
            signal = _BUY
        elif short < long and sentiment < self.bearish_threshold:
            signal = _SELL
        else:
            self.reason = SIGNALS_DISAGREE
        state.signal = signal
        if state.waiting is not None:
            if state.waiting is signal:
                self.reason = RISK_DENIED
                return None
            state.waiting = None
        return signal

    def order(self, signal: Side, position: float) -> tuple[Side, float] | None:
        """What brings `position` to the signal's side: the second half of `on_tick`."""
        missing = self.quantity - position if signal is _BUY else self.quantity + position
        if missing > 0:
            return signal, missing
        self.reason = ALREADY_IN_POSITION
        return None

    def on_news(self, symbol: str, sentiment: float) -> None:
        """Keep the sentiment, 0 (bearish) to 100 (bullish), for the ticks that follow."""
        self._state(symbol).sentiment = sentiment

    def sentiment(self, symbol: str) -> float | None:
        """What the last news of a symbol said; None before its first."""
        return self._state(symbol).sentiment

    def on_denied(self, symbol: str) -> None:
        """An order of `symbol` was denied: wait until its signal is another than at its last tick."""
        state = self._state(symbol)
        state.waiting = state.signal

    def _state(self, symbol: str) -> _State:
        state = self._states.get(symbol)
        if state is None:
            short, long = self._average(self.short_window), self._average(self.long_window)
            state = self._states[symbol] = _State(short, long)
        return state
