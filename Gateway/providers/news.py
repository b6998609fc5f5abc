"""Seeded random news, merged into a source of prices.

provider = NewsProvider(CsvProvider("data/market_data-1.csv"), every=100, seed=42)
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from Gateway.providers.provider import Batch, Provider, Wrapper
from Gateway.providers.recent_returns import RecentReturns
from trading_lib.models import Kind
from trading_lib.simulation.generators import named_generator

SENTIMENTS: Final = 101  # 0 bearish … 100 bullish


class NewsProvider(Wrapper):
    """A source with a news item after one tick in `every`, on average.

    Each tick draws once, with probability 1/every; the item stands right after its tick and takes that
    tick's symbol and time. Its sentiment is uniform on 0-100, from a second generator. Both generators
    belong to `seed` and begin anew at `restart`. `every=0` is no news; otherwise it is at least 1.

    With `follows` f above 0 the sentiment is floor(101 ((1 - f) u + f m)), 100 at most: u is what it is drawn
    from, m the mood of the tick's symbol (`recent_returns.mood`, of its last 20 returns in this epoch). What
    `read` had given before a change of the model counts as it was then.

    A series beside another one of the same source (`AAPL.SIZE` beside `AAPL`) draws nothing: no one writes
    about it, and whether it is there does not change the news.
    """

    def __init__(self, source: Provider, every: float = 100, *, seed: int, follows: float = 0) -> None:
        super().__init__(source)
        if every != 0 and not 1 <= every < math.inf:
            raise ValueError(f"news every {every!r} ticks: must be 0 (none), or at least 1")
        if not 0 <= follows <= 1:
            raise ValueError(f"news follow returns by {follows!r}: must be from 0 to 1")
        self._follows = follows
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
        self._recent = RecentReturns(len(self.symbols))

    def _more(self, limit: int) -> Batch:
        batch = self._source.read(limit)
        if not self._chance or not batch.size:
            return batch
        draws = np.flatnonzero((batch.kinds == Kind.TICK) & self._has_news[batch.symbols])
        chosen = draws[self._when.random(draws.shape[0]) < self._chance]
        moods = self._recent.moods(batch, chosen) if self._follows else 0.0
        return self._insert(batch, chosen, moods) if chosen.shape[0] else batch

    def _insert(self, batch: Batch, chosen: NDArray[np.intp], moods: NDArray[np.float64] | float) -> Batch:
        """The batch with an item after each of the chosen records."""
        items = chosen.shape[0]
        counts = np.ones(batch.size, np.int64)
        counts[chosen] = 2
        merged = batch.repeat(counts)
        places = chosen + np.arange(1, items + 1)
        merged.kinds[places] = Kind.NEWS
        drawn = (1 - self._follows) * self._what.random(items) + self._follows * moods
        merged.values[places] = np.minimum(np.floor(drawn * SENTIMENTS), SENTIMENTS - 1).astype(np.int64)
        return merged
