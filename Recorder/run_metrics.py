"""The metrics of a run as numbers: of one epoch, of all strategies together or of one.

The formulas are those of `trading_lib.metrics`; what is undefined is None with its reason. An epoch starts
from the equity the one before it ended with.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_sampling import Sampling
from Recorder.report_timeline import Floats, Ints
from Recorder.run_files import Run, initial_cash
from trading_lib import metrics
from trading_lib.metrics import Drawdown, Measure


class Scope(NamedTuple):
    """One epoch of one strategy, or of all: its rows of equity, fills and matches, and what it began with."""

    rows: pd.DataFrame
    fills: pd.DataFrame
    matches: pd.DataFrame
    equity: float
    commission: float


class Figures(NamedTuple):
    """What a scope's rows of equity say. Money in the account's currency, times in ns."""

    net: float
    growth: Measure
    drawdown: Drawdown
    sharpe: Measure
    sharpe_error: float | None
    sortino: Measure
    volatility: Measure
    exposure: Measure
    commission: float


class TradeFigures(NamedTuple):
    """What a scope's fills and trades (FIFO matches) say."""

    fills: int
    trades: int
    win_rate: Measure
    average: Measure
    hold_ns: Measure
    profit_factor: Measure
    turnover: Measure


def scope_of(run: Run, strategy: str | None, account: pd.DataFrame, epoch: int) -> Scope:
    """An epoch of a strategy's account, or of all strategies' (None)."""

    def own(table: pd.DataFrame) -> pd.DataFrame:
        rows = table[table["epoch"] == epoch]
        return rows if strategy is None else rows[rows["strategy_id"] == strategy]

    before = account[account["epoch"] < epoch]
    start = (initial_cash(account), 0.0)
    if len(before):
        start = (float(before["equity"].iloc[-1]), float(before["commission"].iloc[-1]))
    rows = account[account["epoch"] == epoch].sort_values("ts", kind="stable")
    return Scope(rows, own(run.trades), own(run.matched_trades), *start)


def figures(scope: Scope, run: Run, sampling: Sampling) -> Figures:
    """Of a scope with at least one row of equity."""
    ts: Ints = scope.rows["ts"].to_numpy(np.int64)
    equity: Floats = scope.rows["equity"].to_numpy(np.float64)
    held: Floats = scope.rows[run.position_columns].abs().sum(axis=1).to_numpy(np.float64)
    net = float(equity[-1]) - scope.equity
    samples, year = sampling.of(scope.rows), sampling.basis.periods_per_year
    ratio, error = sharpe_of(scope.rows, sampling)
    return Figures(
        net,
        Measure(net / scope.equity) if scope.equity > 0 else Measure(None, "nothing to begin with"),
        metrics.max_drawdown(np.concatenate(([scope.equity], equity)), np.concatenate((ts[:1], ts))),
        ratio,
        error,
        metrics.sortino.explain(samples, year),
        metrics.volatility.explain(samples, year),
        metrics.exposure.explain(ts, held),
        float(scope.rows["commission"].iloc[-1]) - scope.commission,
    )


def trade_figures(run: Run, fills: pd.DataFrame, matches: pd.DataFrame, equity: float) -> TradeFigures:
    """Of any fills and trades; `equity` is what they began with."""
    closed: list[Any] = list(matches[["entry_ts", "exit_ts", "net"]].itertuples(index=False))
    return TradeFigures(
        len(fills),
        len(closed),
        metrics.win_rate.explain(closed),
        metrics.average_trade.explain(closed),
        metrics.average_hold.explain(closed),
        metrics.profit_factor.explain(closed),
        metrics.turnover.explain(_notionals(run, fills), equity),
    )


def sharpe_of(rows: pd.DataFrame, sampling: Sampling) -> tuple[Measure, float | None]:
    """The ratio and its standard error, both a year."""
    samples, year = sampling.of(rows), sampling.basis.periods_per_year
    return metrics.sharpe.explain(samples, year), metrics.sharpe_standard_error(samples, year)


def _notionals(run: Run, fills: pd.DataFrame) -> Floats:
    """|price · qty · multiplier| of each fill."""
    multipliers = {symbol: run.multiplier(symbol) for symbol in fills["symbol"].unique()}
    multiplier = fills["symbol"].map(multipliers).astype(np.float64)
    found: Floats = (fills["price"] * fills["qty"] * multiplier).to_numpy(np.float64)
    return found
