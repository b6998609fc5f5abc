"""How far values spread: rolling standard deviation, z-score, Bollinger bands."""

from math import inf, sqrt
from typing import ClassVar, NamedTuple

from trading_lib.indicators.checks import whole


class _Moments:
    """Mean and standard deviation of the last `n` values, and how far the newest is from the mean.

    Summed as `SMA` does it, d and d² of differences to the newest value of the last pass. That value is
    in the window for as long as it serves, so differences are no larger than the window is wide, and the
    squares lose at most the factor 2n to cancellation (a window as wide as R has a variance of at least
    R²/2n), at any price: the relative error of the variance is below about n² · 2⁻⁵¹. Squares must not
    overflow: no difference beyond 1e150.
    """

    __slots__ = (
        *("_anchor", "_freedom", "_next", "_older", "_older_squares", "_ring", "_squares", "_sum", "_warm"),
        *("distance", "mean", "n", "std"),
    )

    def __init__(self, n: int, ddof: int = 0) -> None:
        self.n = n
        self.mean = self.std = self.distance = 0.0
        self._freedom = n - ddof
        self._ring = [0.0] * n
        self._older = [0.0] * n
        self._older_squares = [0.0] * n
        self._sum = self._squares = self._anchor = 0.0
        self._next = 0
        self._warm = False

    def update(self, x: float) -> bool:
        """Take the next value; whether there are `n` of them."""
        i = self._next
        self._ring[i] = x
        self._next = i + 1
        if i + 1 == self.n:
            self._end_pass(x)
            return True
        d = x - self._anchor
        self._sum = total = self._sum + d
        self._squares = squares = self._squares + d * d
        if self._warm:
            self._conclude(d, total + self._older[i], squares + self._older_squares[i])
        return self._warm

    def _conclude(self, d: float, total: float, squares: float) -> None:
        offset = total / self.n
        self.mean = self._anchor + offset
        self.distance = d - offset
        rest = squares - total * offset
        self.std = sqrt(rest / self._freedom) if rest > 0 else 0.0

    def _end_pass(self, x: float) -> None:
        """The ring is full: anchor on `x`, the newest value, and prepare what the next pass will add."""
        ring, older, older_squares = self._ring, self._older, self._older_squares
        total = squares = 0.0
        for i in range(self.n - 1, -1, -1):
            older[i], older_squares[i] = total, squares  # over ring[i + 1:]
            d = ring[i] - x
            total += d
            squares += d * d
        self._anchor = x
        self._sum = self._squares = 0.0
        self._next = 0
        self._warm = True
        self._conclude(0.0, total, squares)


class RollingStd:
    """The standard deviation of the last `n` values: the root of sum((x - mean)²) / (n - ddof).

    `ddof` 0 is the deviation of these values, 1 the estimate from a sample. None until `n` were seen.
    A flat window has exactly 0. Raises ValueError unless n > ddof >= 0.
    """

    __slots__ = ("_moments", "n", "name", "value")

    def __init__(self, n: int, ddof: int = 0) -> None:
        ddof = whole("ddof", ddof, 0)
        self.n = n = whole("n", n, 1 + ddof)
        self.name = f"RollingStd({n},{ddof})" if ddof else f"RollingStd({n})"
        self.value: float | None = None
        self._moments = _Moments(n, ddof)

    def update(self, x: float) -> float | None:
        """Take the next value; the deviation of the last `n`, or None while there are fewer."""
        if self._moments.update(x):
            self.value = self._moments.std
        return self.value


class ZScore:
    """How many standard deviations (ddof 0) the newest of the last `n` values is above their mean.

    None until `n` were seen, and while they are all the same: then there is no deviation to count in.
    Within ±√(n - 1) whatever the values. Raises ValueError for n < 2.
    """

    __slots__ = ("_moments", "n", "name", "value")

    def __init__(self, n: int) -> None:
        self.n = n = whole("n", n, 2)
        self.name = f"ZScore({n})"
        self.value: float | None = None
        self._moments = _Moments(n)

    def update(self, x: float) -> float | None:
        """Take the next value; its score, or None."""
        moments = self._moments
        warm = moments.update(x) and moments.std > 0
        self.value = value = moments.distance / moments.std if warm else None
        return value


class Bands(NamedTuple):
    """Bollinger's bands, in the unit of the values."""

    lower: float
    middle: float
    upper: float


class Bollinger:
    """`Bands` around SMA(n), `k` standard deviations (ddof 0) to each side; None until `n` values were seen.

    Source: Bollinger, "Bollinger on Bollinger Bands" (2001). Raises ValueError for n < 1, or unless k > 0
    and finite.
    """

    __slots__ = ("_moments", "k", "n", "name", "value")
    parts: ClassVar = Bands._fields

    def __init__(self, n: int = 20, k: float = 2.0) -> None:
        self.n = n = whole("n", n)
        if not 0 < k < inf:
            raise ValueError(f"k must be above 0 and finite, not {k}")
        self.k = k
        self.name = f"Bollinger({n},{k:g})"
        self.value: Bands | None = None
        self._moments = _Moments(n)

    def update(self, x: float) -> Bands | None:
        """Take the next value; the bands, or None."""
        moments = self._moments
        if moments.update(x):
            mean, width = moments.mean, self.k * moments.std
            self.value = Bands(mean - width, mean, mean + width)
        return self.value
