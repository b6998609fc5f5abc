"""A seeded random walk of several symbols: a market without a file.

provider = RandomWalkProvider(["AAPL", "MSFT"], start_ns, seed=42)
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from Gateway.providers.provider import Batch, Provider, empty_batch, ticks
from Gateway.providers.tick_size import DEFAULT_TICK_SIZE, MAX_MANTISSA, TickSize, quantise
from trading_lib import wire
from trading_lib.simulation.generators import named_generator

BOUND: Final = 10.0  # prices are reflected at p0 / BOUND and p0 * BOUND, so an endless walk stays in range
_BLOCK_TICKS: Final = 8192  # made at once: the fewer the more even, the more the cheaper
_BLOCK_ROUNDS: Final = (32, 1024)
_MAX_NS: Final = 2**63 - 1


class RandomWalkProvider(Provider):
    """Ticks of every symbol, in the order given, every `dt_ms` of event time from `start_ns` on.

    The logarithm of a price moves by `step` times a standard normal from one tick to the next, from p0,
    reflected where the price would leave [p0 / BOUND, p0 * BOUND]. Each symbol has its own generator,
    made from (seed, symbol): adding one changes none of the others. Prices are whole ticks.

    `limit` ends it after that many ticks; without, it ends where int64 ns do, in 2262. Raises ValueError for
    parameters that cannot be meant.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        start_ns: int,
        *,
        seed: int,
        dt_ms: float = 200,
        p0: float = 100.0,
        step: float = 0.0002,
        tick_sizes: Mapping[str, float] | None = None,
        limit: int | None = None,
    ) -> None:
        self.symbols = tuple(wire.parse_symbol(symbol) for symbol in symbols)
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols must be at least one, each once: {', '.join(self.symbols) or 'none'}")
        if not 0 <= start_ns <= _MAX_NS:
            raise ValueError(f"start {start_ns!r} must be ns since 1970, in an int64")
        if not 1e-6 <= dt_ms < math.inf:
            raise ValueError(f"dt_ms {dt_ms!r} must be at least 0.000001")
        if not 0 <= step < 1:
            raise ValueError(f"step {step!r} must be at least 0 and below 1")
        if limit is not None and limit < 0:
            raise ValueError(f"limit {limit!r} must not be negative")
        sizes = [TickSize.of((tick_sizes or {}).get(symbol, DEFAULT_TICK_SIZE)) for symbol in self.symbols]
        for symbol, size in zip(self.symbols, sizes, strict=True):
            if not size.units <= p0 / BOUND * size.scale or not p0 * BOUND * size.scale < MAX_MANTISSA:
                raise ValueError(f"p0 {p0!r} is too small or too large for the tick size of {symbol}")
        self.decimals = tuple(size.decimals for size in sizes)
        self._scales = np.array([[size.scale] for size in sizes])
        self._units = np.array([[float(size.units)] for size in sizes])
        self._seed, self._p0, self._step = seed, p0, step
        self._start, self._dt = start_ns, round(dt_ms * 1e6)
        lowest, highest = _BLOCK_ROUNDS
        self._rounds = min(max(_BLOCK_TICKS // len(self.symbols), lowest), highest)
        possible = ((_MAX_NS - start_ns) // self._dt + 1) * len(self.symbols)
        self._limit = possible if limit is None else min(limit, possible)
        self.restart()

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        self._seed = self._seed if seed is None else seed
        self._generators = [named_generator(self._seed, "random_walk", symbol) for symbol in self.symbols]
        self._logs = np.zeros(len(self.symbols))  # of price / p0, before reflection
        self._round = 0
        self._left = self._limit
        self._ready = empty_batch()

    def read(self, limit: int) -> Batch:
        """See Provider."""
        if not self._ready.size and self._left:
            self._ready = self._block()
        batch = self._ready.slice(0, min(limit, self._left))
        self._ready = self._ready.slice(batch.size, self._ready.size)
        self._left -= batch.size
        return batch

    def _block(self) -> Batch:
        """The next rounds of all symbols. Blocks begin at fixed rounds, whatever the reads were."""
        count, rounds = len(self.symbols), self._rounds
        logs = np.empty((count, rounds + 1))
        logs[:, 0] = self._logs
        for row, generator in zip(logs, self._generators, strict=True):
            generator.standard_normal(out=row[1:])
        logs[:, 1:] *= self._step
        np.cumsum(logs, axis=1, out=logs)
        self._logs = logs[:, rounds].copy()

        bound = math.log(BOUND)
        reflected = bound - np.abs(np.mod(logs[:, :rounds] + bound, 4 * bound) - 2 * bound)
        values = quantise(self._p0 * np.exp(reflected), self._scales, self._units)
        first = self._round
        self._round += rounds
        steps = np.minimum(np.arange(first, self._round), (_MAX_NS - self._start) // self._dt)
        times = (self._start + steps * self._dt).repeat(count)
        return ticks(np.tile(np.arange(count, dtype=np.int32), rounds), values.T.reshape(-1), times)
