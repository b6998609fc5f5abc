"""Drawdown: how far, and for how long, an equity curve is below its own peak."""

from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trading_lib.measure import Floats, Ints, Undefined, series


class Drawdown(NamedTuple):
    """The deepest fall from a running peak. All but `why` is None where no peak is positive.

    `fraction` is ≥ 0, of the peak; `trough_index` the first trough that attains it, `peak_index` the first
    index that attains the peak before it, `recovery_index` the first one back at it (None: not by the
    end). `duration` is from the peak to the recovery, or the end; `longest_under_water` the longest time
    from a first value below a peak to the first one back at it, or the end. Both are in samples, or in
    ns where times were given.
    """

    fraction: float | None
    peak_index: int | None = None
    trough_index: int | None = None
    recovery_index: int | None = None
    duration: int | None = None
    longest_under_water: int | None = None
    why: str = ""


def max_drawdown(equity: ArrayLike, times: ArrayLike | None = None) -> Drawdown:
    """The maximum drawdown of an equity curve. Points whose running peak is not positive do not count."""
    values = np.asarray(equity, np.float64)
    try:
        at, values = series(np.arange(len(values)) if times is None else times, values)
    except Undefined as undefined:
        return Drawdown(None, why=str(undefined))
    if not len(values):
        return Drawdown(None, why="no equity")
    peaks = np.maximum.accumulate(values)
    fractions = fall(values, peaks)
    trough = int(np.argmax(fractions))
    fraction = float(fractions[trough])
    if fraction < 0:
        return Drawdown(None, why="no peak is positive")
    if not isfinite(fraction):
        return Drawdown(None, why="beyond the range of a float")
    peak = int(np.searchsorted(peaks, peaks[trough]))
    back = np.flatnonzero(values[trough:] >= peaks[trough])
    recovery = trough + int(back[0]) if len(back) else None
    end = len(values) - 1 if recovery is None else recovery
    under_water = _longest_under_water(at, (values < peaks) & (peaks > 0))
    return Drawdown(fraction, peak, trough, recovery, int(at[end] - at[peak]), under_water)


def fall(values: Floats, peaks: Floats) -> Floats:
    """The fraction of the running peak that is lost, −1 where that peak is not positive."""
    fractions: Floats = np.full(values.shape, -1.0)
    with np.errstate(over="ignore"):
        np.divide(peaks - values, peaks, out=fractions, where=peaks > 0)
    return fractions


def _longest_under_water(at: Ints, under: NDArray[np.bool_]) -> int:
    edges = np.diff(np.concatenate(([False], under, [False])).astype(np.int8))
    starts = np.flatnonzero(edges == 1)
    ends = np.minimum(np.flatnonzero(edges == -1), len(at) - 1)
    return int((at[ends] - at[starts]).max(initial=0))
