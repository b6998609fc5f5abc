"""The least and the greatest of the last values, in their unit."""

from collections import deque

from trading_lib.indicators.checks import whole


class _Extreme:
    """The greatest of `sign * x` over the last `n` values.

    A monotone queue (Lemire 2006, "Streaming maximum-minimum filter using no more than three comparisons
    per element"): a value is dropped when a greater one comes after it, because it can never be the
    greatest again. What is left falls from front to back, and the front is the answer.
    """

    __slots__ = ("_heights", "_places", "_seen", "_sign", "n", "name", "value")

    def __init__(self, n: int, sign: float) -> None:
        self.n = whole("n", n)
        self.name = f"{type(self).__name__}({n})"
        self.value: float | None = None
        self._sign = sign
        self._seen = 0
        self._places: deque[int] = deque()  # which value of the series each height is
        self._heights: deque[float] = deque()

    def update(self, x: float) -> float | None:
        """Take the next value; the extreme of the last `n`, or None while there are fewer."""
        places, heights = self._places, self._heights
        height = self._sign * x
        while heights and heights[-1] <= height:
            heights.pop()
            places.pop()
        seen = self._seen
        heights.append(height)
        places.append(seen)
        self._seen = following = seen + 1
        n = self.n
        if places[0] == seen - n:
            places.popleft()
            heights.popleft()
        if following < n:
            return None
        self.value = value = self._sign * heights[0]
        return value


class RollingMin(_Extreme):
    """The least of the last `n` values; None until `n` were seen."""

    __slots__ = ()

    def __init__(self, n: int) -> None:
        super().__init__(n, -1.0)


class RollingMax(_Extreme):
    """The greatest of the last `n` values; None until `n` were seen."""

    __slots__ = ()

    def __init__(self, n: int) -> None:
        super().__init__(n, 1.0)
