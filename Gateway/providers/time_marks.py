"""TIME marks for a source paced by event time: what tells a consumer that time passes while nothing comes.

provider = TimeMarks(Passes(source, loop=False))
"""

from typing import Final

import numpy as np

from Gateway.providers.provider import Batch, Int64Array, Provider, Wrapper
from trading_lib.models import Kind

FIRST_MARK_NS: Final = 10_000_000  # the next at twice, four times … this after the last record


class TimeMarks(Wrapper):
    """A source with TIME records 10·2^k ms (k = 0, 1, 2 …) after each record, for as long as none comes.

    A mark is strictly earlier than the record that follows. Between epochs there are none, nor after the
    last record (END): a mark needs a later record to be known of, so marks depend on event time alone.
    """

    def __init__(self, source: Provider) -> None:
        super().__init__(source)
        self._last_time: int | None = None

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        super().restart(seed)
        self._last_time = None

    def _more(self, limit: int) -> Batch:
        batch = self._source.read(limit)
        if not batch.size:
            return batch
        before = np.empty_like(batch.times)
        before[0] = batch.times[0] if self._last_time is None else self._last_time
        before[1:] = batch.times[:-1]
        self._last_time = int(batch.times[-1])
        gaps = batch.times - before
        if gaps.max() <= FIRST_MARK_NS:
            return batch
        gaps[batch.kinds == Kind.EPOCH] = 0
        return _insert(batch, before, _marks_in(gaps))


def _marks_in(gaps: Int64Array) -> Int64Array:
    """How many k have 10·2^k ms < gap: the bits of (gap - 1 ns) // 10 ms. Exact, as that is below 2^40."""
    units = np.maximum(gaps - 1, 0) // FIRST_MARK_NS
    return np.frexp(units.astype(np.float64))[1].astype(np.int64)


def _insert(batch: Batch, before: Int64Array, marks: Int64Array) -> Batch:
    """The batch with marks[i] TIME records, counted from before[i], in front of record i."""
    counts = marks + 1
    ends = np.cumsum(counts)
    merged = batch.repeat(counts)
    k = np.arange(merged.size) - (ends - counts).repeat(counts)
    is_mark = np.ones(merged.size, bool)
    is_mark[ends - 1] = False
    k = k[is_mark]
    merged.kinds[is_mark] = Kind.TIME
    merged.symbols[is_mark] = 0
    merged.values[is_mark] = 0
    merged.times[is_mark] = before.repeat(marks) + (FIRST_MARK_NS << k)
    return merged
