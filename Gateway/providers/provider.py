"""The one interface every market-data source implements.

A provider yields *batches* of records in event-time order, as fast as it is asked: it knows nothing of
wall-clock pace, sockets or frames. Prices are integers in units of 10^-decimals of their symbol
(already quantised to the tick size), so that encoding them is integer work.

`Wrapper` is the base of what adds records to another source (news, epochs, time marks).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trading_lib.models import Kind

DEFAULT_DECIMALS: Final = 4  # the default tick size is 0.0001

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """`n` consecutive records, columns of equal length.

    `kinds`   uint8[n], values of `Kind` (TICK, NEWS, TIME, EPOCH, GAP, END)
    `symbols` int32[n], index into the provider's `symbols`; 0 where the kind has none
    `values`  int64[n]: TICK price x 10^decimals[symbol]; NEWS sentiment 0-100; GAP ticks lost; otherwise 0
    `times`   int64[n], event time, ns UTC, never decreasing except across an EPOCH
    """

    kinds: npt.NDArray[np.uint8]
    symbols: npt.NDArray[np.int32]
    values: Int64Array
    times: Int64Array

    @property
    def size(self) -> int:
        """Number of records."""
        return int(self.kinds.shape[0])

    def slice(self, start: int, stop: int) -> "Batch":
        """Records [start, stop) as views."""
        return Batch(
            self.kinds[start:stop], self.symbols[start:stop], self.values[start:stop], self.times[start:stop]
        )

    def repeat(self, counts: Int64Array) -> "Batch":
        """Record i `counts[i]` times, as a copy: room for records to be inserted."""
        return Batch(
            self.kinds.repeat(counts),
            self.symbols.repeat(counts),
            self.values.repeat(counts),
            self.times.repeat(counts),
        )


def empty_batch() -> Batch:
    """A batch of no records: what `read` returns when the data has ended."""
    return Batch(np.empty(0, np.uint8), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))


def ticks(symbols: npt.NDArray[np.int32], values: Int64Array, times: Int64Array) -> Batch:
    """A batch of ticks only."""
    return Batch(np.full(symbols.shape[0], Kind.TICK, np.uint8), symbols, values, times)


def mark(kind: Kind, time: int) -> Batch:
    """One record without symbol and value; `time` in ns."""
    return Batch(
        np.array([kind], np.uint8), np.zeros(1, np.int32), np.zeros(1, np.int64), np.array([time], np.int64)
    )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """The records of all batches, in order."""
    return Batch(
        np.concatenate([batch.kinds for batch in batches]),
        np.concatenate([batch.symbols for batch in batches]),
        np.concatenate([batch.values for batch in batches]),
        np.concatenate([batch.times for batch in batches]),
    )


def revised(batch: Batch, values: Int64Array) -> Batch:
    """A batch with the values that its ticks have after `Provider.set_model`; all else is shared.

    `values` int64[n] are of the batch's n ticks and lost ticks; those of the latter are not used.
    """
    places = made(batch)
    is_tick = batch.kinds[places] == Kind.TICK
    new = batch.values.copy()
    new[places[is_tick]] = values[is_tick]
    return replace(batch, values=new)


def made(batch: Batch) -> npt.NDArray[np.intp]:
    """Where the records stand that a source of prices has made: ticks, and what is left of lost ones."""
    return np.flatnonzero((batch.kinds == Kind.TICK) | (batch.kinds == Kind.GAP))


class DataError(Exception):
    """A source that cannot be used, with the reason a person needs (file, line, what was expected)."""


class Provider(ABC):
    """A source of market data: `symbols`, `decimals`, and `read` until it is empty."""

    symbols: tuple[str, ...]
    decimals: tuple[int, ...]  # per symbol: a price is value / 10**decimals

    @abstractmethod
    def read(self, limit: int) -> Batch:
        """Up to `limit` (at least 1) next records; size 0: the data has ended (for good, until `restart`).

        Where one read stops and the next begins never changes the records.
        """

    @abstractmethod
    def restart(self, seed: int | None = None) -> None:
        """Back to the first record, as newly made: the same records follow, or with a `seed` those of that one.

        The seed stays until another one is given.
        """

    def set_model(
        self,
        changes: Mapping[str, float],  # noqa: ARG002  # most sources have no model
        unsent: int = 0,  # noqa: ARG002
    ) -> Int64Array:
        """Change parameters of the market's model from the next record on that `read` returns.

        (An instant that has begun is finished as it was.) So that a caller which has read ahead need not
        wait, the change begins before the last `unsent` ticks that `read` returned, counting each lost one
        (GAP) too. Returns what becomes of their values,
        int64[unsent], in their order; see `revised`. Nothing else of any record changes. Raises ValueError
        with the reason when there is no such parameter, or a value cannot be; then nothing has changed.
        """
        raise ValueError("this market has no model")

    def set_schedule(self, dt_ms: float, *, random_arrivals: bool) -> None:  # noqa: ARG002
        """From the next `restart` on: a tick every `dt_ms`, or after random gaps of that mean.

        Raises ValueError with the reason when that cannot be.
        """
        raise ValueError("this market is not simulated: when its ticks come is not to be chosen")

    def settings(self) -> Mapping[str, Any]:
        """What `set_model` and `set_schedule` change, as it is for what `read` returns next; empty: nothing."""
        return {}

    def close(self) -> None:  # noqa: B027  # most sources own nothing
        """Release what the source holds."""


def take(source: Provider, count: int, by: int = 4096) -> Batch:
    """The next `count` records in one batch, or as many as there are, read `by` at a time."""
    batches = [empty_batch()]
    while count > 0 and (batch := source.read(min(by, count))).size:
        batches.append(batch)
        count -= batch.size
    return concatenate(batches)


class Wrapper(Provider):
    """A source with records added to it. Owns the source: closing one closes the other.

    It never reads ahead of what it was asked for: `read(n)` takes at most n records from the source and
    keeps only what the added ones push out of the answer.
    """

    def __init__(self, source: Provider) -> None:
        self._source = source
        self.symbols = source.symbols
        self.decimals = source.decimals
        self._kept = empty_batch()

    @abstractmethod
    def _more(self, limit: int) -> Batch:
        """The next records, made from up to `limit` of the source's, however many; size 0 at the end."""

    def read(self, limit: int) -> Batch:
        """See Provider."""
        batch = self._kept if self._kept.size else self._more(limit)
        if batch.size <= limit:
            self._kept = empty_batch()
            return batch
        self._kept = batch.slice(limit, batch.size)
        return batch.slice(0, limit)

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        self._source.restart(seed)
        self._kept = empty_batch()

    def set_model(self, changes: Mapping[str, float], unsent: int = 0) -> Int64Array:
        """See Provider. What was kept is unsent, too."""
        kept = made(self._kept).shape[0]
        values = self._source.set_model(changes, unsent + kept)
        self._kept = revised(self._kept, values[unsent:])
        return values[:unsent]

    def set_schedule(self, dt_ms: float, *, random_arrivals: bool) -> None:
        """See Provider."""
        self._source.set_schedule(dt_ms, random_arrivals=random_arrivals)

    def settings(self) -> Mapping[str, Any]:
        """See Provider."""
        return self._source.settings()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
