"""The end of a run with a duration: so many ticks, or so much event time, then END."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from Gateway.providers.provider import Batch, Int64Array, Provider, empty_batch, made
from trading_lib.models import Kind

_MAX_NS = 2**63 - 1


class Limit(Provider):
    """The first `ticks` ticks of a source, or its first `duration_ns` of event time, then one END record.

    What stands between the last tick and the next one goes with the last, but no new epoch. Event time adds
    up over epochs.
    Exactly one of the two limits is to be given.
    """

    def __init__(self, source: Provider, *, ticks: int | None = None, duration_ns: int | None = None) -> None:
        if (ticks is None) == (duration_ns is None):
            raise ValueError("give either ticks or duration_ns")
        self.symbols, self.decimals = source.symbols, source.decimals
        self._source = source
        self._ticks, self._duration = ticks, duration_ns
        self._begin()

    def _begin(self) -> None:
        self._done = False
        self._cut_off = 0  # of the source's ticks
        self._ticks_left = self._ticks if self._ticks is not None else 0
        self._elapsed_before = 0
        self._epoch_start: int | None = None
        self._last_ts = 0

    def read(self, limit: int) -> Batch:
        """See Provider."""
        if self._done:
            return empty_batch()
        batch = self._source.read(limit)
        if not batch.size:
            self._done = True
            return batch
        keep = self._within_ticks(batch) if self._duration is None else self._within_time(batch)
        if keep == batch.size:
            self._last_ts = int(batch.times[-1])
            return batch
        self._done = True
        self._cut_off = made(batch.slice(keep, batch.size)).shape[0]
        if keep:
            self._last_ts = int(batch.times[keep - 1])
        return _with_end(batch.slice(0, keep), self._last_ts)

    def _within_ticks(self, batch: Batch) -> int:
        positions = np.flatnonzero(batch.kinds == Kind.TICK)
        allowed = self._ticks_left
        self._ticks_left = max(0, allowed - positions.shape[0])
        if positions.shape[0] < allowed:
            return batch.size
        after = int(positions[allowed - 1]) + 1 if allowed else 0
        too_many = np.flatnonzero(np.isin(batch.kinds[after:], (Kind.TICK, Kind.EPOCH)))
        return after + int(too_many[0]) if too_many.shape[0] else batch.size

    def _within_time(self, batch: Batch) -> int:
        assert self._duration is not None
        starts = [0, *np.flatnonzero(batch.kinds == Kind.EPOCH).tolist(), batch.size]
        for start, stop in itertools.pairwise(starts):
            if start == stop:
                continue
            if self._epoch_start is None or batch.kinds[start] == Kind.EPOCH:
                if self._epoch_start is not None:
                    self._elapsed_before += self._last_ts - self._epoch_start
                self._epoch_start = int(batch.times[start])
            last = min(self._epoch_start + self._duration - self._elapsed_before, _MAX_NS)
            within = int(np.searchsorted(batch.times[start:stop], last, side="left"))
            if within < stop - start:
                return start + within
            self._last_ts = int(batch.times[stop - 1])
        return batch.size

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        self._source.restart(seed)
        self._begin()

    def set_model(self, changes: Mapping[str, float], unsent: int = 0) -> Int64Array:
        """See Provider."""
        return self._source.set_model(changes, unsent + self._cut_off)[:unsent]

    def set_schedule(self, dt_ms: float, *, random_arrivals: bool) -> None:
        """See Provider."""
        self._source.set_schedule(dt_ms, random_arrivals=random_arrivals)

    def settings(self) -> Mapping[str, Any]:
        """See Provider."""
        return self._source.settings()

    def close(self) -> None:
        """See Provider."""
        self._source.close()


def _with_end(batch: Batch, ts: int) -> Batch:
    return Batch(
        np.append(batch.kinds, np.uint8(Kind.END)),
        np.append(batch.symbols, np.int32(0)),
        np.append(batch.values, np.int64(0)),
        np.append(batch.times, np.int64(ts)),
    )
