"""A curve over event time that never grows: when it is full, every other point goes, extremes excepted."""

from typing import Final

CAPACITY: Final = 3000  # points


class Curve:
    """Points (event time in ms, value) of one epoch, oldest first."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.points: list[tuple[float, float]] = []

    def add(self, ts: int, value: float) -> None:
        """A point at `ts`, ns; one at the same time replaces the last, an earlier one is not taken."""
        ms = ts / 1e6
        if self.points and ms <= self.points[-1][0]:
            if ms == self.points[-1][0]:
                self.points[-1] = (ms, value)
            return
        self.points.append((ms, value))
        if len(self.points) > CAPACITY:
            self.points = _halved(self.points)


def _halved(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of each four points the lowest and the highest, in their order; the last one stays."""
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points) - 1, 4):
        own = points[start : min(start + 4, len(points) - 1)]
        lowest, highest = min(own, key=lambda point: point[1]), max(own, key=lambda point: point[1])
        kept += sorted({lowest, highest})
    return [*kept, points[-1]]
