"""Streaming indicators: one value in, one value out, constant work and memory.

    average = SMA(20)
    for price in prices:
        mean = average.update(price)      # None until 20 prices were seen

| made by | `update` gives | unit | first at value |
|---|---|---|---|
| `SMA(n)`, `EMA(n)`, `WMA(n)` | an average | of the values | n |
| `RollingMin(n)`, `RollingMax(n)` | the extreme of the last n | of the values | n |
| `RollingStd(n, ddof=0)` | the standard deviation of the last n | of the values | n |
| `ZScore(n)` | how many deviations the value is from the mean | 1 | n |
| `Bollinger(n=20, k=2.0)` | `Bands(lower, middle, upper)` | of the values | n |
| `ROC(n)` | the change since n values ago, a fraction | 1 | n + 1 |
| `RSI(n=14)` | gains' share of all change | 0 to 100 | n + 1 |
| `MACD(fast=12, slow=26, signal=9)` | `Convergence(macd, signal, histogram)` | of the values | slow + signal - 1 |
| `VWAP()` | the average price weighted by size | of the prices | the first size |

Each is a plain object for one series; nothing here knows of symbols or of time. `value` is what the last
`update` gave and `name` what to show it as, `SMA(20)`; one that gives several numbers has their names as
`parts`. `update` gives None until there are enough values, and where the result is undefined. Values must
be finite. Work is O(1) on average (once in n values some redo a sum over all n), memory O(n), and no result
depends on values that have left the window: nothing drifts, however long a run is.
"""

from trading_lib.indicators.averages import EMA, SMA, WMA
from trading_lib.indicators.extremes import RollingMax, RollingMin
from trading_lib.indicators.momentum import MACD, ROC, RSI, Convergence
from trading_lib.indicators.spread import Bands, Bollinger, RollingStd, ZScore
from trading_lib.indicators.volume import VWAP

__all__ = [
    "SMA",
    "EMA",
    "WMA",
    "RollingMin",
    "RollingMax",
    "RollingStd",
    "ZScore",
    "Bollinger",
    "Bands",
    "ROC",
    "RSI",
    "MACD",
    "Convergence",
    "VWAP",
]
