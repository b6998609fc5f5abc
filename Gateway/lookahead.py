"""A provider with records read ahead, for pacers that must look before they take."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from Gateway.providers.provider import Batch, Provider, concatenate, made, revised
from trading_lib.models import Kind

BUFFERED: Final = 4096  # records read ahead from the provider


class Lookahead:
    """A provider with a few thousand records read ahead, to be taken by ticks or by time."""

    def __init__(self, source: Provider) -> None:
        self._source = source
        self._wanted = 0  # ticks, when some were last taken by their number
        self._begin()

    def _begin(self) -> None:
        self._hold(self._source.read(BUFFERED))
        self._exhausted = self._batch.size == 0

    def _hold(self, batch: Batch) -> None:
        self._batch = batch
        self._at = self._ticks_taken = 0
        self._tick_positions = np.flatnonzero(self._batch.kinds == Kind.TICK)

    def _read_on(self) -> None:
        """Read on when too little is left for as many ticks as were taken last, or nothing.

        It may take long, so it is done when more is asked for: after the last records have left.
        """
        while not self._exhausted:
            left = self._batch.slice(self._at, self._batch.size)
            ticks_left = self._tick_positions.shape[0] - self._ticks_taken
            if left.size >= BUFFERED or (left.size and ticks_left >= self._wanted):
                break
            batch = self._source.read(BUFFERED)
            self._exhausted = batch.size == 0
            self._hold(concatenate([left, batch]) if left.size else batch)

    @property
    def ended(self) -> bool:
        """Whether there is no more."""
        self._read_on()
        return self._at == self._batch.size

    def take_ticks(self, count: int) -> tuple[Batch, int]:
        """Up to `count` ticks with the records that stand around them, and how many ticks they are.

        What follows the last tick goes with it. May be fewer than asked for: ask again, unless `ended`.
        """
        self._wanted = count
        self._read_on()
        last = self._ticks_taken + count
        positions = self._tick_positions
        stop = int(positions[last]) if last < positions.shape[0] else self._batch.size
        taken = min(count, positions.shape[0] - self._ticks_taken)
        batch = self._batch.slice(self._at, stop)
        self._at, self._ticks_taken = stop, self._ticks_taken + taken
        return batch, taken

    def take_until(self, ts: int) -> Batch:
        """The records up to event time `ts`, at most one buffer, never past the start of an epoch."""
        self._read_on()
        batch, at = self._batch, self._at
        first = at + 1 if at < batch.size and batch.kinds[at] == Kind.EPOCH else at
        epochs = np.flatnonzero(batch.kinds[first:] == Kind.EPOCH)
        limit = first + int(epochs[0]) if epochs.shape[0] else batch.size
        stop = at + int(np.searchsorted(batch.times[at:limit], ts, side="right"))
        self._at = stop
        return batch.slice(at, stop)

    @property
    def next_ts(self) -> int:
        """Event time of the next record (there is one unless `ended`)."""
        self._read_on()
        return int(self._batch.times[self._at])

    @property
    def at_epoch(self) -> bool:
        """Whether the next record starts an epoch."""
        self._read_on()
        return bool(self._batch.kinds[self._at] == Kind.EPOCH)

    def restart(self, seed: int | None) -> None:
        """Begin anew, with another seed or the one it has; what was read ahead is forgotten."""
        self._source.restart(seed)
        self._begin()

    def set_schedule(self, dt_ms: float, *, random_arrivals: bool) -> None:
        """Begin anew with other arrivals. Raises ValueError; then nothing has changed."""
        self._source.set_schedule(dt_ms, random_arrivals=random_arrivals)
        self.restart(None)

    def settings(self) -> Mapping[str, Any]:
        """See Provider."""
        return self._source.settings()

    def set_model(self, changes: Mapping[str, float]) -> None:
        """Change the market's model from the next record taken on. Raises ValueError; then nothing has changed."""
        self._read_on()
        unsent = self._batch.slice(self._at, self._batch.size)
        values = self._source.set_model(changes, made(unsent).shape[0])
        self._hold(revised(unsent, values))
