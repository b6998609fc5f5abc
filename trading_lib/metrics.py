"""Performance, measured: drawdown, Sharpe, Sortino, exposure, trade statistics, rolling windows.

    sharpe(equity, 252)                   # a float, or None where it is undefined
    sharpe.explain(equity, 252)           # Measure(value=None, why="fewer than 3 points")

Undefined is None, never NaN, an infinity, or an absurd number made of rounding errors; `explain` says
why, for a report. Arrays are of float64, times int ns UTC. Arguments that make no sense (lengths that
differ, times that go back, a negative step) are a ValueError.
"""

from collections.abc import Iterable, Sequence
from math import fsum, sqrt
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from trading_lib.drawdown import Drawdown, max_drawdown
from trading_lib.measure import (
    LARGEST_RETURN,
    NO_SPREAD,
    Floats,
    Ints,
    Measure,
    Metric,
    Undefined,
    series,
)
from trading_lib.models import NS_PER_S
from trading_lib.overfitting import deflated_sharpe, expected_best
from trading_lib.rolling import rolling_drawdown, rolling_sharpe, rolling_volatility

__all__ = [
    "Measure",
    "Metric",
    "Undefined",
    "returns",
    "resample",
    "grid_step",
    "year_basis",
    "Basis",
    "max_drawdown",
    "Drawdown",
    "sharpe",
    "sharpe_standard_error",
    "deflated_sharpe",
    "expected_best",
    "sortino",
    "volatility",
    "exposure",
    "gross_exposure",
    "turnover",
    "win_rate",
    "average_trade",
    "average_hold",
    "profit_factor",
    "Closed",
    "rolling_sharpe",
    "rolling_volatility",
    "rolling_drawdown",
]

SESSION_SECONDS: Final = 252 * 6.5 * 3600  # a year of sessions of six and a half hours
CALENDAR_SECONDS: Final = 365 * 86_400  # a year around the clock
DAY_NS: Final = 86_400 * NS_PER_S
MAX_GRID: Final = 1 << 26  # points, 512 MiB of float64: two years of seconds; more is a step too short


# ------------------------------------------------------------------------------------------- equity and returns


def returns(equity: ArrayLike) -> Floats:
    """Simple returns, e[i+1] / e[i] − 1. Raises Undefined where a return has no meaning."""
    values = np.asarray(equity, np.float64)
    if len(values) < 2:
        raise Undefined("fewer than 2 points")
    if not np.isfinite(values).all():
        raise Undefined("an equity that is not finite")
    if (values <= 0).any():
        raise Undefined("an equity that is not positive")
    with np.errstate(over="ignore"):
        found: Floats = np.diff(values) / values[:-1]
    if not (np.abs(found) < LARGEST_RETURN).all():
        raise Undefined("a return too large for statistics")
    return found


def resample(times: ArrayLike, equity: ArrayLike, step_ns: int) -> tuple[Ints, Floats]:
    """Equity on the grid times[0], times[0] + step_ns, … ≤ times[-1]: at each point the last value known.

    Of several values at one time the last counts. Raises ValueError beyond `MAX_GRID` points.
    """
    at, values = series(times, equity)
    if step_ns < 1:
        raise ValueError(f"a step must be at least 1 ns, not {step_ns}")
    if not len(at):
        return at, values
    points = int(at[-1] - at[0]) // step_ns + 1
    if points > MAX_GRID:
        raise ValueError(f"{points:,} points are too many: choose a step longer than {step_ns} ns")
    grid: Ints = at[0] + step_ns * np.arange(points, dtype=np.int64)
    return grid, values[np.searchsorted(at, grid, side="right") - 1]


def grid_step(times_by_symbol: Iterable[ArrayLike]) -> int:
    """The step to resample with, ns: 1 s, or the longest of the symbols' median gaps if that is longer."""
    step = NS_PER_S
    for times in times_by_symbol:
        at = np.asarray(times, np.int64)
        if len(at) > 1:
            step = max(step, int(np.median(np.diff(at))))
    return step


class Basis(NamedTuple):
    """How many steps a year has, and how to say so beside the number."""

    periods_per_year: float
    text: str


def year_basis(step_ns: int, *, sessions: bool) -> Basis:
    """252 for steps of a day or more in sessions; else a year's seconds over the step's."""
    if sessions and step_ns >= DAY_NS:
        days = step_ns / DAY_NS
        return Basis(252 / days, f"252 days a year, steps of {days:g} d")
    seconds = step_ns / NS_PER_S
    if sessions:
        return Basis(SESSION_SECONDS / seconds, f"252 × 6.5 × 3600 s a year, steps of {seconds:g} s")
    return Basis(CALENDAR_SECONDS / seconds, f"365 × 86400 s a year, steps of {seconds:g} s")


# ------------------------------------------------------------------------------------------ return over risk


@Metric
def sharpe(equity: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """mean(r − rf) / s(r) × √periods_per_year of simple returns, s with ddof 1; samples as given.

    `risk_free` is a rate per year. Undefined with fewer than 3 points, any equity ≤ 0, or s ≤ 64·2⁻⁵².
    Sharpe, The Sharpe Ratio, J. of Portfolio Management 21 (1994).
    """
    return _sharpe_per_period(equity, risk_free / _year(periods_per_year)) * sqrt(periods_per_year)


@Metric
def sharpe_standard_error(equity: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """√((1 + SR²/2) / n) × √periods_per_year, SR per period, n returns: independent, identical returns.

    Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal 58 (2002), equation 9.
    """
    ratio = _sharpe_per_period(equity, risk_free / _year(periods_per_year))
    n = len(np.asarray(equity)) - 1
    return sqrt((1 + ratio * ratio / 2) / n * periods_per_year)


def _sharpe_per_period(equity: ArrayLike, risk_free: float) -> float:
    found = _enough_returns(equity)
    return float(found.mean() - risk_free) / _spread(found)


@Metric
def sortino(equity: ArrayLike, periods_per_year: float, mar: float = 0.0) -> float:
    """(mean(r) − mar) / √(mean over all n of min(r − mar, 0)²) × √periods_per_year.

    `mar`, the minimal acceptable return, is per period. Undefined as `sharpe`, or without downside.
    Sortino and Price, Performance Measurement in a Downside Risk Framework, J. of Investing 3 (1994).
    """
    _year(periods_per_year)
    found = _enough_returns(equity)
    downside = float(np.sqrt(np.mean(np.minimum(found - mar, 0.0) ** 2)))
    if not downside > NO_SPREAD:
        raise Undefined("no return below the minimal acceptable one")
    return float(found.mean() - mar) / downside * sqrt(periods_per_year)


@Metric
def volatility(equity: ArrayLike, periods_per_year: float) -> float:
    """s(r) × √periods_per_year of simple returns, s with ddof 1. Undefined as `sharpe`, but may be 0."""
    return float(_enough_returns(equity).std(ddof=1)) * sqrt(_year(periods_per_year))


def _enough_returns(equity: ArrayLike) -> Floats:
    if len(np.asarray(equity)) < 3:
        raise Undefined("fewer than 3 points")
    return returns(equity)


def _spread(found: Floats) -> float:
    spread = float(found.std(ddof=1))
    if not spread > NO_SPREAD:
        raise Undefined("returns that do not vary")
    return spread


def _year(periods_per_year: float) -> float:
    if not 0 < periods_per_year < float("inf"):
        raise ValueError(f"periods per year must be positive, not {periods_per_year}")
    return periods_per_year


# ------------------------------------------------------------------------------------------ time in the market


@Metric
def exposure(times: ArrayLike, positions: ArrayLike, end: int | None = None) -> float:
    """Σdt [position at the interval's start ≠ 0] / Σdt, up to `end` (None: the last time)."""
    at, held = series(times, positions)
    lengths = _intervals(at, end)
    return int(lengths[held != 0].sum()) / int(lengths.sum())


@Metric
def gross_exposure(times: ArrayLike, gross: ArrayLike, initial_cash: float, end: int | None = None) -> float:
    """∫ gross dt / (T · initial cash), up to `end`; gross is Σ |position · mark · multiplier| from each time on."""
    at, value = series(times, gross)
    lengths = _intervals(at, end)
    return float(np.abs(value) @ lengths) / int(lengths.sum()) / _capital(initial_cash)


@Metric
def turnover(notionals: ArrayLike, initial_cash: float) -> float:
    """Σ |price · qty · multiplier| over all fills / initial cash; not per year."""
    return float(np.abs(np.asarray(notionals, np.float64)).sum()) / _capital(initial_cash)


def _intervals(at: Ints, end: int | None) -> Ints:
    """How long each value holds, ns; what lies beyond `end` does not count."""
    if not len(at):
        raise Undefined("no values")
    last = int(at[-1]) if end is None else end
    lengths: Ints = np.diff(np.append(np.minimum(at, last), last))
    if not lengths.any():
        raise Undefined("no time has passed")
    return lengths


def _capital(initial_cash: float) -> float:
    if not initial_cash > 0:
        raise Undefined("no initial cash")
    return initial_cash


# ---------------------------------------------------------------------------------------------------- trades


class Closed(Protocol):
    """What was entered and closed: a `Trade` or a `RoundTrip` of the portfolio."""

    @property
    def entry_ts(self) -> int: ...
    @property
    def exit_ts(self) -> int: ...
    @property
    def net(self) -> float: ...


@Metric
def win_rate(trades: Sequence[Closed]) -> float:
    """The share of trades with net > 0."""
    return sum(trade.net > 0 for trade in trades) / _count(trades)


@Metric
def average_trade(trades: Sequence[Closed]) -> float:
    """The mean net of a trade, money."""
    return fsum(trade.net for trade in trades) / _count(trades)


@Metric
def average_hold(trades: Sequence[Closed]) -> float:
    """The mean time from entry to exit, ns; each trade counts once, whatever its size."""
    return sum(trade.exit_ts - trade.entry_ts for trade in trades) / _count(trades)


@Metric
def profit_factor(trades: Sequence[Closed]) -> float:
    """Σ net of the winners / |Σ net of the losers|. Undefined without losers."""
    _count(trades)
    lost = -fsum(trade.net for trade in trades if trade.net < 0)
    if not lost:
        raise Undefined("no losing trades")
    return fsum(trade.net for trade in trades if trade.net > 0) / lost


def _count(trades: Sequence[Closed]) -> int:
    if not trades:
        raise Undefined("no trades")
    return len(trades)
