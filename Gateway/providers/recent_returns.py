"""How a symbol's price has moved of late, as a number from 0 (down) to 1 (up): for news that follow it.

moods = RecentReturns(symbols=3).moods(batch, chosen)
"""

import itertools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from Gateway.providers.provider import Batch
from trading_lib.models import Kind

WINDOW: Final = 20  # returns looked back at

_Values = NDArray[np.int64]


class RecentReturns:
    """Follows every tick of a source, batch after batch. Where a batch ends changes nothing."""

    def __init__(self, symbols: int) -> None:
        self._recent: list[_Values] = [np.empty(0, np.int64)] * symbols  # WINDOW + 1 at most

    def moods(self, batch: Batch, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of each tick at the rising places `chosen` of the batch, see `mood`. Takes the batch in."""
        moods = np.empty(chosen.shape[0])
        epochs = np.flatnonzero(batch.kinds == Kind.EPOCH)
        bounds = [0, *epochs.tolist(), batch.size]
        for start, stop in itertools.pairwise(bounds):
            if start in epochs:
                self._recent = [np.empty(0, np.int64)] * len(self._recent)
            first, last = np.searchsorted(chosen, [start, stop])
            moods[first:last] = self._within(batch.slice(start, stop), chosen[first:last] - start)
        return moods

    def _within(self, batch: Batch, chosen: NDArray[np.intp]) -> list[float]:
        """Of a batch within one epoch."""
        places = np.flatnonzero(batch.kinds == Kind.TICK)
        places = places[np.argsort(batch.symbols[places], kind="stable")]  # by symbol, then in order
        symbols = batch.symbols[places]
        found: dict[int, float] = {}
        for symbol in np.unique(symbols).tolist():
            first, last = np.searchsorted(symbols, [symbol, symbol + 1])
            before = self._recent[symbol]
            values = np.concatenate([before, batch.values[places[first:last]]])
            for i in np.flatnonzero(np.isin(places[first:last], chosen)).tolist():
                end = before.shape[0] + i + 1
                found[int(places[first + i])] = mood(values[max(0, end - WINDOW - 1) : end])
            self._recent[symbol] = values[-WINDOW - 1 :].copy()
        return [found[place] for place in chosen.tolist()]


def mood(prices: NDArray[np.int64]) -> float:
    """Phi(R / sqrt(sum r^2)) of the logarithmic returns r between consecutive prices, R their sum; 0.5 without any.

    Phi is the standard normal distribution function: about uniform where returns are independent.
    """
    returns = np.diff(np.log(prices))
    size = math.sqrt(float(np.sum(returns**2)))
    return 0.5 if not size else 0.5 * math.erfc(-float(np.sum(returns)) / size / math.sqrt(2))
