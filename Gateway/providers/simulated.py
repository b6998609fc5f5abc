"""A simulated market: a model's prices at fixed or random instants.

provider = SimulatedProvider(["AAPL"], start_ns, OU(kappa=0.8, sigma=0.2), seed=42)
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from Gateway.providers.provider import Batch, Int64Array, Provider, empty_batch, ticks
from Gateway.providers.tick_size import DEFAULT_TICK_SIZE, MAX_MANTISSA, TickSize, quantise
from trading_lib import wire
from trading_lib.models import NS_PER_S
from trading_lib.simulation import Arrivals, Model, Parameters, State, fixed, make_models, poisson
from trading_lib.simulation.generators import named_generator

HISTORY: Final = 1 << 15  # records that can be revised: a wrapper reads up to 4,096 ahead, the Gateway 8,191
_BLOCK_TICKS: Final = 8192  # made at once: the fewer the more even, the more the cheaper
_BLOCK_ROUNDS: Final = (32, 4096)
_END_NS: Final = 2**63 - 2**33  # event time ends here, some seconds before int64 ns do

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rounds: each has a tick of every series.

    `first` is the number of its first record, `states` are the models' before its first round, `steps_s` and
    `times` are of each round. The parameters do not change within it.
    """

    first: int
    states: tuple[State, ...]
    steps_s: Float64Array
    times: Int64Array
    batch: Batch

    @property
    def stop(self) -> int:
        """The number of the record behind it."""
        return self.first + self.batch.size


class SimulatedProvider(Provider):
    """Ticks of every symbol, in the order given, at the same instants: one process of arrivals for all.

    So the k-th innovations of two symbols belong to one instant, and `correlation` (shape (symbols, symbols))
    is one of their returns. The first instant is `start_ns`, at the models' first prices; then every `dt_ms`, or
    with `random_arrivals` after exponential gaps of that mean. Where a model has something to show, a tick of
    `X.MODEL` follows each of X: of OU the price that X reverts to, of regimes the regime's number, of
    Heston the volatility in percent.

    Prices are whole ticks, at least one; X.MODEL has the tick size given for it, or else that of X if it is
    below 0.0001. Arrivals and each symbol's chance have generators of their own, named by `seed`. It ends
    after `limit` rounds, or where event time does, in 2262. Raises ValueError for what cannot be meant.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        start_ns: int,
        parameters: Parameters,
        *,
        seed: int,
        correlation: ArrayLike | None = None,
        dt_ms: float = 200,
        random_arrivals: bool = False,
        tick_sizes: Mapping[str, float] | None = None,
        limit: int | None = None,
    ) -> None:
        if not symbols:
            raise ValueError("symbols: at least one")
        if not 0 <= start_ns < _END_NS:
            raise ValueError(f"start {start_ns!r} must be ns since 1970, before 2262")
        if limit is not None and limit < 0:
            raise ValueError(f"limit {limit!r} must not be negative")
        self._traded = tuple(symbols)
        self._start, self._parameters, self._seed, self._limit = start_ns, parameters, seed, limit
        self._correlation = correlation
        self.set_schedule(dt_ms, random_arrivals=random_arrivals)
        self._set_series(tick_sizes or {})
        lowest, highest = _BLOCK_ROUNDS
        self._rounds = min(max(_BLOCK_TICKS // len(self.symbols), lowest), highest)
        self.restart()

    def _set_series(self, tick_sizes: Mapping[str, float]) -> None:
        """The series of a round in their order, and how to make whole ticks of them."""
        names: list[str] = []
        sizes: list[TickSize] = []
        for symbol in self._traded:
            size = tick_sizes.get(symbol, DEFAULT_TICK_SIZE)
            names.append(wire.parse_symbol(symbol))
            sizes.append(_size_for(symbol, size, self._parameters.P0))
            for label in self._parameters.labels:
                names.append(wire.parse_symbol(f"{symbol}.{label}"))
                sizes.append(TickSize.of(tick_sizes.get(names[-1], min(size, DEFAULT_TICK_SIZE))))
        if len(set(names)) < len(names):
            raise ValueError(f"series: each once, not {', '.join(names)}")
        self.symbols, self.decimals = tuple(names), tuple(size.decimals for size in sizes)
        self._scales = np.array([size.scale for size in sizes])
        self._units = np.array([float(size.units) for size in sizes])
        self._lowest = self._units / self._scales
        self._highest = (MAX_MANTISSA // self._units - 1) * self._units / self._scales

    def set_schedule(self, dt_ms: float, *, random_arrivals: bool) -> None:
        """See Provider."""
        if not 1e-6 <= dt_ms < math.inf:
            raise ValueError(f"dt_ms {dt_ms!r} must be at least 0.000001")
        self._arrivals_of(max(1, round(dt_ms * 1e6)), random_arrivals)  # raises before anything is changed
        self._dt_ns, self._random_arrivals = max(1, round(dt_ms * 1e6)), random_arrivals

    def _arrivals_of(self, dt_ns: int, random_arrivals: bool) -> Arrivals:
        return poisson(dt_ns, named_generator(self._seed, "arrivals")) if random_arrivals else fixed(dt_ns)

    def settings(self) -> Mapping[str, Any]:
        """See Provider: `model`, its parameters by name, `mode` and `dt_ms`."""
        return {
            "model": msgspec.to_builtins(self._models[0].state().parameters),
            "mode": "poisson" if self._random_arrivals else "fixed",
            "dt_ms": self._dt_ns / 1e6,
        }

    def restart(self, seed: int | None = None) -> None:
        """See Provider. The model's parameters are those it was made with."""
        self._seed = self._seed if seed is None else seed
        self._models: list[Model] = make_models(self._parameters, self._traded, self._seed, self._correlation)
        self._arrivals = self._arrivals_of(self._dt_ns, self._random_arrivals)
        self._last_time = self._start
        self._blocks: deque[Block] = deque()
        self._next = 0  # number of the next record to return
        self._rounds_left = self._limit

    def read(self, limit: int) -> Batch:
        """See Provider."""
        if not self._blocks or self._next == self._blocks[-1].stop:
            self._grow()
        for block in self._blocks:
            if self._next < block.stop:
                batch = block.batch.slice(self._next - block.first, self._next - block.first + limit)
                self._next += batch.size
                return batch
        return empty_batch()

    def _grow(self) -> None:
        """One more block, unless the end has come; forget those too old to be revised."""
        rounds = self._rounds if self._rounds_left is None else min(self._rounds, self._rounds_left)
        first = not self._blocks
        if not rounds:
            return
        gaps = self._arrivals.take(rounds - first)
        if first:
            gaps = np.concatenate([np.zeros(1, np.int64), gaps])
        in_time = int(np.searchsorted(np.cumsum(gaps, dtype=np.float64), _END_NS - self._last_time))
        if in_time < rounds:
            gaps, self._rounds_left = gaps[:in_time], in_time
        if not gaps.size:
            return
        times = self._last_time + np.cumsum(gaps)
        self._last_time = int(times[-1])
        if self._rounds_left is not None:
            self._rounds_left -= gaps.size
        self._blocks.append(self._block(self._next, gaps / NS_PER_S, times))
        while self._blocks[0].stop < self._next - HISTORY:
            self._blocks.popleft()

    def _block(self, first: int, steps_s: Float64Array, times: Int64Array) -> Block:
        """The models' next rounds."""
        states = tuple(model.state() for model in self._models)
        columns = []
        for model in self._models:
            columns.append(model.steps(steps_s))
            levels = model.levels()
            if levels is not None:
                columns.append(levels)
        width = len(self.symbols)
        prices = np.clip(np.stack(columns, axis=1), self._lowest, self._highest)
        values = quantise(prices, self._scales, self._units).reshape(-1)
        series = np.tile(np.arange(width, dtype=np.int32), times.shape[0])
        return Block(first, states, steps_s, times, ticks(series, values, times.repeat(width)))

    def set_model(self, changes: Mapping[str, float], unsent: int = 0) -> Int64Array:
        """See Provider."""
        if not self._blocks:
            self._grow()
        begin = self._next - unsent
        if self._blocks and begin < self._blocks[0].first:
            raise ValueError(f"{unsent} ticks are more than can be revised")
        self._models[0].change(**changes)  # raises before anything is changed
        width = len(self.symbols)
        self._go_back_to((begin + width - 1) // width * width, changes)
        return self._values(begin, self._next)

    def _go_back_to(self, first: int, changes: Mapping[str, float]) -> None:
        """Make everything from a round's first record on again, with parameters changed."""
        later: list[Block] = []
        while self._blocks and self._blocks[-1].stop > first:
            later.insert(0, self._blocks.pop())
        if not later:
            self._change(changes)
            return
        cut = (first - later[0].first) // len(self.symbols)
        for model, state in zip(self._models, later[0].states, strict=True):
            model.restore(state)
        steps_s = np.concatenate([block.steps_s for block in later])
        times = np.concatenate([block.times for block in later])
        if cut:
            self._blocks.append(self._block(later[0].first, steps_s[:cut], times[:cut]))
        self._change(changes)
        self._blocks.append(self._block(first, steps_s[cut:], times[cut:]))

    def _change(self, changes: Mapping[str, float]) -> None:
        for model in self._models:
            model.change(**changes)

    def _values(self, start: int, stop: int) -> Int64Array:
        """Of records that have been made, by their numbers."""
        pieces = [
            block.batch.values[max(start - block.first, 0) : max(stop - block.first, 0)]
            for block in self._blocks
        ]
        return np.concatenate([np.empty(0, np.int64), *pieces])


def _size_for(symbol: str, size: float, price: float) -> TickSize:
    tick = TickSize.of(size)
    if not tick.units <= price * tick.scale < MAX_MANTISSA:
        raise ValueError(f"P0 {price!r} is too small or too large for the tick size of {symbol}")
    return tick
