"""Where values are heading: rate of change, RSI, MACD."""

from typing import ClassVar, Final, NamedTuple

from trading_lib.indicators.averages import EMA
from trading_lib.indicators.checks import whole

FLAT: Final = 50.0  # the RSI of values that never moved


class ROC:
    """The rate of change: (x - x_n) / x_n, a fraction, x_n being the value `n` updates before.

    None until n + 1 values were seen, and where x_n is 0.
    """

    __slots__ = ("_next", "_ring", "n", "name", "value")

    def __init__(self, n: int) -> None:
        self.n = n = whole("n", n)
        self.name = f"ROC({n})"
        self.value: float | None = None
        self._ring = [0.0] * n  # a base of 0 has no rate: so it is for those not seen yet
        self._next = 0

    def update(self, x: float) -> float | None:
        """Take the next value; its change against the one `n` updates before, or None."""
        i = self._next
        base = self._ring[i]
        self._ring[i] = x
        self._next = i + 1 if i + 1 < self.n else 0
        self.value = value = (x - base) / base if base else None
        return value


class RSI:
    """Wilder's relative strength index: 100 · G / (G + L), from 0 (only losses) to 100 (only gains).

    G and L average the gains and the losses between successive values: the simple average of the first `n`,
    then G = (G · (n - 1) + gain) / n. None until n + 1 values were seen, 50 while they have never moved.
    A value equal to the one before leaves the index exactly what it was.

    Source: Wilder, "New Concepts in Technical Trading Systems" (1978); 100 - 100 / (1 + G/L), rearranged.
    """

    __slots__ = ("_gain", "_keep", "_last", "_loss", "_seen", "n", "name", "value")

    def __init__(self, n: int = 14) -> None:
        self.n = n = whole("n", n)
        self.name = f"RSI({n})"
        self.value: float | None = None
        self._keep = (n - 1) / n
        self._gain = self._loss = self._last = 0.0
        self._seen = 0  # values, up to n + 1

    def update(self, x: float) -> float | None:
        """Take the next value; the index, or None while there are fewer than n + 1."""
        change = x - self._last
        self._last = x
        if self.value is None:
            return self._begin(change)
        self._gain *= self._keep
        self._loss *= self._keep
        self._add(change / self.n)
        moved = self._gain + self._loss
        if change and moved:  # without change the ratio stays, also where its parts become too small for one
            self.value = 100 * (self._gain / moved)
        return self.value

    def _begin(self, change: float) -> float | None:
        """Average the first `n` changes; the very first value has none."""
        if self._seen:
            self._add(change / self.n)
        self._seen += 1
        if self._seen > self.n:
            moved = self._gain + self._loss
            self.value = 100 * (self._gain / moved) if moved else FLAT
        return self.value

    def _add(self, share: float) -> None:
        if share > 0:
            self._gain += share
        else:
            self._loss -= share


class Convergence(NamedTuple):
    """What `MACD` gives, in the unit of the values; histogram = macd - signal."""

    macd: float
    signal: float
    histogram: float


class MACD:
    """Moving average convergence/divergence: EMA(fast) - EMA(slow), and the EMA(signal) of that.

    None until slow + signal - 1 values were seen. Source: Appel, "Technical Analysis: Power Tools for
    Active Investors" (2005). Raises ValueError unless 1 <= fast < slow and signal >= 1.
    """

    __slots__ = ("_fast", "_signal", "_slow", "name", "value")
    parts: ClassVar = Convergence._fields

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        fast = whole("fast", fast)
        slow = whole("slow", slow, fast + 1)
        self._fast = EMA(fast)
        self._slow = EMA(slow)
        self._signal = EMA(whole("signal", signal))
        self.name = f"MACD({fast},{slow},{signal})"
        self.value: Convergence | None = None

    def update(self, x: float) -> Convergence | None:
        """Take the next value; the three lines, or None."""
        fast = self._fast.update(x)
        slow = self._slow.update(x)
        if fast is None or slow is None:
            return None
        macd = fast - slow
        signal = self._signal.update(macd)
        if signal is not None:
            self.value = Convergence(macd, signal, macd - signal)
        return self.value
