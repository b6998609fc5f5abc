"""Metrics over a moving window: `found[i]` is of the window that ends at equity[i], None before the first.

Windows are evaluated in blocks, each from its own values: nothing is added and taken away again, so
nothing drifts, and a window is undefined when the metric itself would be.
"""

from collections.abc import Callable
from math import sqrt
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from trading_lib.drawdown import fall
from trading_lib.measure import LARGEST_RETURN, NO_SPREAD, Floats

BLOCK: Final = 1 << 18  # values evaluated at once: some MiB, near the cache


def rolling_sharpe(equity: ArrayLike, window: int, periods_per_year: float) -> list[float | None]:
    """`metrics.sharpe` of the last `window` returns, at least 2."""

    def ratios(points: Floats) -> Floats:
        found = _returns(points)
        spread = found.std(axis=1, ddof=1)
        return np.where(spread > NO_SPREAD, found.mean(axis=1) / spread * sqrt(periods_per_year), np.nan)

    return _rolled(equity, _at_least(window, 2) + 1, ratios)


def rolling_volatility(equity: ArrayLike, window: int, periods_per_year: float) -> list[float | None]:
    """`metrics.volatility` of the last `window` returns, at least 2."""

    def spreads(points: Floats) -> Floats:
        found: Floats = _returns(points).std(axis=1, ddof=1) * sqrt(periods_per_year)
        return found

    return _rolled(equity, _at_least(window, 2) + 1, spreads)


def rolling_drawdown(equity: ArrayLike, window: int) -> list[float | None]:
    """The fraction of `metrics.max_drawdown` over the last `window` points, at least 1."""

    def deepest(points: Floats) -> Floats:
        fractions = fall(points, np.maximum.accumulate(points, axis=1)).max(axis=1)
        return np.where((fractions >= 0) & np.isfinite(points).all(axis=1), fractions, np.nan)

    return _rolled(equity, _at_least(window, 1), deepest)


def _at_least(window: int, least: int) -> int:
    if window < least:
        raise ValueError(f"a window must be at least {least}, not {window}")
    return window


def _returns(points: Floats) -> Floats:
    """The simple returns of each row; NaN all along a row that has none."""
    found: Floats = np.diff(points, axis=1) / points[:, :-1]
    usable = (points > 0) & np.isfinite(points)
    found[~(usable.all(axis=1) & (np.abs(found) < LARGEST_RETURN).all(axis=1))] = np.nan
    return found


def _rolled(equity: ArrayLike, points: int, evaluate: Callable[[Floats], Floats]) -> list[float | None]:
    """`evaluate` of every window of `points` values; what is not finite is None."""
    values = np.asarray(equity, np.float64)
    found: list[float | None] = [None] * min(points - 1, len(values))
    if len(values) < points:
        return found
    windows = sliding_window_view(values, points)
    rows = max(1, BLOCK // points)
    with np.errstate(all="ignore"):
        for start in range(0, len(windows), rows):
            block = evaluate(windows[start : start + rows])
            finite = np.isfinite(block).tolist()
            found += [x if good else None for x, good in zip(block.tolist(), finite, strict=True)]
    return found
