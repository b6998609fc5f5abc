"""Where an instant stands on the x axis, and how a million points become some hundred.

Event time may jump back where a new epoch begins (a file that loops), so epochs stand side by side, each
as wide as it is long.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

S: Final = 1_000_000_000
DAY: Final = 86_400 * S
GAP: Final = 0.012  # between two epochs, as a share of the axis; shrinks when there are many
NARROWEST: Final = 0.02  # an epoch's share of the mean width: one that lasted an instant is still seen
LABELS: Final = 8  # on an axis, at most
STEPS: Final = (
    *(s * 1_000_000 for s in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(s * S for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)),
    *(d * DAY for d in (1, 2, 7, 14)),
)
MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


class Label(NamedTuple):
    """A mark on the x axis: `x` from 0 to 1."""

    x: float
    text: str


class Timeline:
    """The x axis all charts of a page share. Without a single row it is one empty epoch."""

    def __init__(self, tables: Iterable[pd.DataFrame]) -> None:
        spans = [table.groupby("epoch")["ts"].agg(["min", "max"]) for table in tables if len(table)]
        joined = pd.concat(spans).groupby(level=0).agg({"min": "min", "max": "max"}) if spans else None
        self.epochs: Ints = np.zeros(1, np.int64) if joined is None else joined.index.to_numpy(np.int64)
        self.first: Ints = np.zeros(1, np.int64) if joined is None else joined["min"].to_numpy(np.int64)
        self.last: Ints = np.zeros(1, np.int64) if joined is None else joined["max"].to_numpy(np.int64)
        n = len(self.epochs)
        gap = min(GAP, 0.2 / n)
        length = (self.last - self.first).astype(np.float64)
        length = np.maximum(length, max(NARROWEST * float(length.mean()), 1.0))
        self._width: Floats = length / length.sum() * (1 - gap * (n - 1))
        self._start: Floats = np.concatenate(([0.0], np.cumsum(self._width + gap)[:-1]))
        self._length: Floats = length

    def x(self, table: pd.DataFrame) -> Floats:
        """Each row's place, 0 to 1, by its `epoch` and `ts`."""
        return self.place(table["epoch"].to_numpy(np.int64), table["ts"].to_numpy(np.int64))

    def place(self, epoch: Ints, ts: Ints) -> Floats:
        """The same for arrays."""
        k = np.clip(np.searchsorted(self.epochs, epoch), 0, len(self.epochs) - 1)
        place: Floats = self._start[k] + (ts - self.first[k]) / self._length[k] * self._width[k]
        return np.clip(place, 0.0, 1.0)

    def borders(self) -> Floats:
        """Where epochs after the first one begin."""
        return self._start[1:]

    def labels(self) -> list[Label]:
        """Instants of a single epoch, or the beginnings of several."""
        if len(self.epochs) > 1:
            step = -(-len(self.epochs) // LABELS)
            ends = self._start + self._width / 2
            names = zip(ends[::step], self.epochs[::step], strict=True)
            return [Label(float(x), f"epoch {epoch}") for x, epoch in names]
        first, last = int(self.first[0]), int(self.last[0])
        if first == last:
            return []
        marks, pattern = _marks(first, last)
        return [
            Label(float(x), text)
            for x, text in zip(
                self.place(np.full(len(marks), self.epochs[0]), marks),
                pd.to_datetime(marks, utc=True).strftime(pattern),
                strict=True,
            )
        ]


def thinned(x: Floats, y: Floats, columns: int) -> Ints:
    """The rows to draw of a line: lowest and highest in each of `columns` equal columns, and both ends.

    `x` ascends within 0 to 1. The picture is the one of all points, as long as a column is no wider than a pixel.
    """
    n = len(x)
    if n <= 2 * columns:
        return np.arange(n)
    column = np.minimum((x * columns).astype(np.int64), columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    sizes = np.diff(starts, append=n)
    kept = [np.array([0, n - 1])]
    for reduce in (np.minimum, np.maximum):
        extreme = np.repeat(reduce.reduceat(y, starts), sizes)
        hits = np.flatnonzero(y == extreme)
        kept.append(hits[np.flatnonzero(np.diff(column[hits], prepend=-1))])  # the first in its column
    return np.unique(np.concatenate(kept))


def _marks(first: int, last: int) -> tuple[Ints, str]:
    """Round instants within [first, last], at most LABELS, and how to print them."""
    span = last - first
    step = next((step for step in STEPS if span // step < LABELS), None)
    if step is not None:
        pattern = "%Y-%m-%d" if step >= DAY else "%H:%M:%S" if step < 60 * S else "%H:%M"
        pattern = "%H:%M:%S.%f" if step < S else pattern
        if step < DAY and first // DAY != last // DAY:
            pattern = f"%m-%d {pattern}"
        return np.arange(-(-first // step), last // step + 1, dtype=np.int64) * step, pattern
    begin, end = np.array([first, last]).astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    months = next((m for m in MONTHS if (end - begin) // m < LABELS), MONTHS[-1])
    grid = np.arange(-(-begin // months), end // months + 1, dtype=np.int64) * months
    marks = grid.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64)
    return marks[(marks >= first) & (marks <= last)], "%Y" if months >= 12 else "%Y-%m"
