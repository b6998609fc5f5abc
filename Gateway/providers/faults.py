"""What goes wrong on purpose, for teaching: ticks that are late, ticks that are lost.

provider = Faults(Passes(source, loop=True), jitter_ms=20, drop=0.01, seed=42)
"""

import itertools
from typing import Final

import numpy as np

from Gateway.providers.provider import Batch, Provider, Wrapper
from trading_lib.models import Kind
from trading_lib.simulation.generators import named_generator

_MAX_NS: Final = 2**63 - 1


class Faults(Wrapper):
    """A source whose ticks are late or lost by chance.

    A tick is lost with probability `drop`, 0 to below 1: a GAP of 1 stands in its place. Each other one is
    stamped later, uniformly up to `jitter_ms`. Order never changes: what would be earlier than the record
    before it in its epoch takes that one's time. Both draw once a tick from generators of their own, so that one
    fault never changes the other. Raises ValueError for what cannot be meant.
    """

    def __init__(self, source: Provider, *, jitter_ms: float = 0, drop: float = 0, seed: int) -> None:
        super().__init__(source)
        if not 0 <= jitter_ms <= 1e9:
            raise ValueError(f"jitter_ms {jitter_ms!r} must be from 0 to 1e9")
        if not 0 <= drop < 1:
            raise ValueError(f"drop {drop!r} must be at least 0 and below 1")
        self._jitter_ns, self._drop, self._seed = jitter_ms * 1e6, drop, seed
        self._begin()

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        super().restart(seed)
        self._seed = self._seed if seed is None else seed
        self._begin()

    def _begin(self) -> None:
        self._late = named_generator(self._seed, "faults jitter")
        self._lost = named_generator(self._seed, "faults drop")
        self._last_time = 0

    def _more(self, limit: int) -> Batch:
        batch = self._source.read(limit)
        is_tick = batch.kinds == Kind.TICK
        count = int(np.count_nonzero(is_tick))
        lost = np.zeros(batch.size, bool)
        lost[is_tick] = self._lost.random(count) < self._drop
        late = np.zeros(batch.size, np.int64)
        late[is_tick] = np.floor(self._late.random(count) * self._jitter_ns).astype(np.int64)
        late[lost] = 0
        faulty = Batch(
            np.where(lost, np.uint8(Kind.GAP), batch.kinds),
            np.where(lost, np.int32(0), batch.symbols),
            np.where(lost, 1, batch.values),
            batch.times + np.minimum(late, _MAX_NS - batch.times),
        )
        self._put_in_order(faulty)
        return faulty

    def _put_in_order(self, batch: Batch) -> None:
        """Raise each time to the latest so far of its epoch, in place."""
        starts = [0, *np.flatnonzero(batch.kinds == Kind.EPOCH).tolist(), batch.size]
        for start, stop in itertools.pairwise(starts):
            if start == stop:
                continue
            times = batch.times[start:stop]
            if batch.kinds[start] != Kind.EPOCH:
                times[0] = max(times[0], self._last_time)
            np.maximum.accumulate(times, out=times)
            self._last_time = int(times[-1])
