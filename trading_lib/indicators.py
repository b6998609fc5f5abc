"""Streaming indicators: one value in, one value out, constant work and memory.

    average = SMA(20)
    for price in prices:
        mean = average.update(price)      # None until 20 prices were seen

They are plain objects, one for each series; nothing here knows of symbols or of time.
"""


class SMA:
    """The simple moving average of the last `n` values, in the unit of the values.

    Nothing is ever subtracted from a running total, so nothing drifts: with the ring rewritten up to
    position i, the window is what this pass wrote (`_newer`) plus what the last pass left beyond i
    (`_older[i]`, its suffix sums, made once per pass: amortised O(1)). Both sums are of differences
    to an anchor, the newest value of the last pass: averages of a flat market are exactly equal
    whatever their `n`, and a strict comparison of two averages does not fire on rounding.

    `value` is the latest average, None until `n` values were seen. Values must be finite.
    """

    __slots__ = ("_anchor", "_newer", "_next", "_older", "_ring", "n", "value")

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        self.n = n
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
