"""Seeded random news, merged into a source of prices.

provider = NewsProvider(CsvProvider("data/market_data-1.csv"), every=100, seed=42)
"""

import math
from typing import Final

import numpy as np

from Gateway.providers.provider import Batch, Provider, Wrapper
from trading_lib.models import Kind
from trading_lib.simulation.generators import named_generator

SENTIMENTS: Final = 101  # 0 bearish … 100 bullish


class NewsProvider(Wrapper):
    """A source with a news item after one tick in `every`, on average.

    Each tick draws once, with probability 1/every; the item stands right after its tick and takes that
    tick's symbol and time. Its sentiment is uniform on 0-100, from a second generator. Both generators
    belong to `seed` and begin anew at `restart`. `every=0` is no news; otherwise it is at least 1.

    A series beside another one of the same source (`AAPL.SIZE` beside `AAPL`) draws nothing: no one writes
    about it, and whether it is there does not change the news.
    """

    def __init__(self, source: Provider, every: float = 100, *, seed: int) -> None:
        super().__init__(source)
        if every != 0 and not 1 <= every < math.inf:
            raise ValueError(f"news every {every!r} ticks: must be 0 (none), or at least 1")
        self._chance = 1 / every if every else 0.0
        self._seed = seed
        names = frozenset(source.symbols)
        self._has_news = np.array([name.rpartition(".")[0] not in names for name in source.symbols], bool)
        self._seed_generators()

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        super().restart(seed)
        self._seed = self._seed if seed is None else seed
        self._seed_generators()

    def _seed_generators(self) -> None:
        self._when = named_generator(self._seed, "news")
        self._what = named_generator(self._seed, "news sentiment")

    def _more(self, limit: int) -> Batch:
        batch = self._source.read(limit)
        if not self._chance or not batch.size:
            return batch
        draws = np.flatnonzero((batch.kinds == Kind.TICK) & self._has_news[batch.symbols])
        chosen = draws[self._when.random(draws.shape[0]) < self._chance]
        return self._insert(batch, chosen) if chosen.shape[0] else batch

    def _insert(self, batch: Batch, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Batch:
        """The batch with an item after each of the chosen records."""
        items = chosen.shape[0]
        counts = np.ones(batch.size, np.int64)
        counts[chosen] = 2
        merged = batch.repeat(counts)
        places = chosen + np.arange(1, items + 1)
        merged.kinds[places] = Kind.NEWS
        merged.values[places] = np.floor(self._what.random(items) * SENTIMENTS).astype(np.int64)
        return merged
