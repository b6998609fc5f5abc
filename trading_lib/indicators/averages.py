"""Moving averages: simple, exponential, linearly weighted. Each in the unit of its values."""

from trading_lib.indicators.checks import whole


class SMA:
    """The simple moving average of the last `n` values.

    Nothing is ever subtracted from a running total, so nothing drifts: with the ring rewritten up to
    position i, the window is what this pass wrote (`_newer`) plus what the last pass left beyond i
    (`_older[i]`, its suffix sums, made once per pass: amortised O(1)). Both sums are of differences
    to an anchor, the newest value of the last pass: averages of a flat market are exactly equal
    whatever their `n`, and a strict comparison of two averages does not fire on rounding.

    `value` is the latest average, None until `n` values were seen.
    """

    __slots__ = ("_anchor", "_newer", "_next", "_older", "_ring", "n", "name", "value")

    def __init__(self, n: int) -> None:
        self.n = n = whole("n", n)
        self.name = f"SMA({n})"
        self.value: float | None = None
        self._ring = [0.0] * n
        self._older = [0.0] * n
        self._newer = 0.0
        self._anchor = 0.0
        self._next = 0

    def update(self, x: float) -> float | None:
        """Take the next value; the average of the last `n`, or None while there are fewer."""
        i = self._next
        self._ring[i] = x
        self._next = following = i + 1
        n = self.n
        if following == n:
            return self._end_pass(x)
        anchor = self._anchor
        self._newer = newer = self._newer + (x - anchor)
        if self.value is None:
            return None
        self.value = value = anchor + (newer + self._older[i]) / n
        return value

    def _end_pass(self, x: float) -> float:
        """The ring is full: anchor on `x`, the newest value, and prepare what the next pass will add."""
        ring, older = self._ring, self._older
        total = 0.0
        for i in range(self.n - 1, -1, -1):
            older[i] = total  # the sum over ring[i + 1:]
            total += ring[i] - x
        self._anchor = x
        self._newer = 0.0
        self._next = 0
        self.value = value = x + total / self.n
        return value


class EMA:
    """The exponential moving average: `value = x + (1 - alpha) * (value - x)`, alpha = 2 / (n + 1).

    It begins as the simple average of the first `n` values and is None before. Of a value `k` updates
    ago it keeps the share alpha * (1 - alpha)^k, so rounding is forgotten as values are; in a flat
    market a rest of at most n + 1 units in the last place of the price may stay.
    """

    __slots__ = ("_anchor", "_keep", "_seen", "_total", "n", "name", "value")

    def __init__(self, n: int) -> None:
        self.n = n = whole("n", n)
        self.name = f"EMA({n})"
        self.value: float | None = None
        self._keep = (n - 1) / (n + 1)  # 1 - alpha
        self._anchor = self._total = 0.0
        self._seen = 0

    def update(self, x: float) -> float | None:
        """Take the next value; the average, or None while there are fewer than `n`."""
        value = self.value
        if value is None:
            return self._begin(x)
        self.value = value = x + self._keep * (value - x)
        return value

    def _begin(self, x: float) -> float | None:
        """The simple average of the first `n` values, summed as differences to the first one."""
        if not self._seen:
            self._anchor = x
        self._seen += 1
        self._total += x - self._anchor
        if self._seen == self.n:
            self.value = self._anchor + self._total / self.n
        return self.value


class WMA:
    """The linearly weighted moving average of the last `n` values: the newest counts n times, the oldest once.

    In the manner of `SMA`, with one more sum: with i + 1 values of this pass written, the value at j <= i
    weighs n - i + j, so they add up to (n - i) * sum(d) + sum(j * d); `_older[i]` has what the last pass
    left, with their weights of then. All are differences d to the newest value of the last pass.
    """

    __slots__ = ("_anchor", "_newer", "_next", "_older", "_placed", "_ring", "_weights", "n", "name", "value")

    def __init__(self, n: int) -> None:
        self.n = n = whole("n", n)
        self.name = f"WMA({n})"
        self.value: float | None = None
        self._weights = n * (n + 1) / 2
        self._ring = [0.0] * n
        self._older = [0.0] * n
        self._newer = 0.0  # the sum of d over this pass, and of j * d
        self._placed = 0.0
        self._anchor = 0.0
        self._next = 0

    def update(self, x: float) -> float | None:
        """Take the next value; the weighted average of the last `n`, or None while there are fewer."""
        i = self._next
        self._ring[i] = x
        self._next = following = i + 1
        n = self.n
        if following == n:
            return self._end_pass(x)
        d = x - self._anchor
        self._newer = newer = self._newer + d
        self._placed = placed = self._placed + i * d
        if self.value is None:
            return None
        self.value = value = self._anchor + ((n - i) * newer + placed + self._older[i]) / self._weights
        return value

    def _end_pass(self, x: float) -> float:
        """The ring is full: its weighted sum, and what of it counts at each step of the next pass."""
        ring, older = self._ring, self._older
        total = weighted = 0.0
        for i in range(self.n - 1, -1, -1):
            older[i] = weighted  # the sum over j > i of (j - i) * d[j]
            total += ring[i] - x
            weighted += total
        self._anchor = x
        self._newer = self._placed = 0.0
        self._next = 0
        self.value = value = x + weighted / self._weights
        return value
