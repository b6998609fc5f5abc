"""Two hours of every symbol's prices, decimated as they come: the lowest and the highest of each few seconds.

A fixed amount of memory, whatever the rate: a ring of wall-clock buckets, a column per slot of the book.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BUCKETS: Final = 3600  # rows: two hours of two seconds each
GROWTH: Final = 64  # slots are added so many at a time

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Line(NamedTuple):
    """A chart's points: event times in ms (float, so that ns within a millisecond stay apart), and prices."""

    ms: Floats
    values: Floats


class PriceHistory:
    """Lowest and highest price by bucket and slot, float64[BUCKETS, slots]; `step_ns` of wall time a bucket."""

    def __init__(self, span_s: float, slots: int) -> None:
        self.step_ns = max(1, int(span_s * 1e9 / BUCKETS))
        self._rows = np.full(BUCKETS, -1, np.int64)  # which bucket stands in a row
        self._ts = np.zeros(BUCKETS, np.int64)  # event time of its last record
        self._low = _blank(slots)
        self._high = _blank(slots)

    def add(self, wall: Ints, ts: Ints, slots: npt.NDArray[np.intp], values: Floats) -> None:
        """Take ticks in tape order: wall ns booked, event ns, slot and price of each."""
        if not len(values):
            return
        self._make_room(int(slots.max()))
        buckets = wall // self.step_ns
        for bucket in np.unique(buckets):  # one, or two at a boundary; more only when catching up
            own = buckets == bucket
            row = self._row(int(bucket))
            self._ts[row] = max(int(self._ts[row]), int(ts[own].max()))
            np.fmin.at(self._low[row], slots[own], values[own])
            np.fmax.at(self._high[row], slots[own], values[own])

    def _row(self, bucket: int) -> int:
        row = bucket % BUCKETS
        if self._rows[row] != bucket:
            self._rows[row] = bucket
            self._ts[row] = 0
            self._low[row] = np.nan
            self._high[row] = np.nan
        return row

    def _make_room(self, slot: int) -> None:
        more = slot + 1 - self._low.shape[1]
        if more > 0:
            columns = max(more, GROWTH)
            self._low = np.hstack([self._low, _blank(columns)])
            self._high = np.hstack([self._high, _blank(columns)])

    def clear(self) -> None:
        """Forget everything: event time begins again."""
        self._rows[:] = -1

    def line(self, slot: int) -> Line:
        """One slot's prices, oldest first: two points a bucket, its lowest and its highest, at the same time."""
        if slot >= self._low.shape[1]:
            return Line(np.empty(0), np.empty(0))
        rows = np.flatnonzero(self._rows >= 0)
        rows = rows[np.argsort(self._rows[rows])]
        rows = rows[~np.isnan(self._low[rows, slot])]
        values = np.column_stack([self._low[rows, slot], self._high[rows, slot]]).ravel()
        return Line(np.repeat(self._ts[rows], 2) / 1e6, values)


def _blank(slots: int) -> Floats:
    return np.full((BUCKETS, max(slots, 1)), np.nan)


def thinned(line: Line, most: int) -> Line:
    """At most about `most` points of a line, the lowest and the highest of each stretch in their order."""
    count = len(line.values)
    if count <= most:
        return line
    stretches = np.array_split(np.arange(count), max(1, most // 2))
    keep: list[int] = []
    for own in stretches:
        lowest, highest = own[line.values[own].argmin()], own[line.values[own].argmax()]
        keep += sorted({int(lowest), int(highest)})
    kept = np.array(keep)
    return Line(line.ms[kept], line.values[kept])
