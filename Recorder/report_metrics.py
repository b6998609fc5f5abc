"""The metrics of a run, epoch by epoch, for all strategies together and for each.

The numbers are those of `trading_lib.metrics`; what is undefined is "–" with its reason. An epoch starts
from the equity the one before it ended with.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_sampling import Sampling
from Recorder.report_text import NS_PER_S, UNDEFINED, count, duration, escape, number, percent, titled
from Recorder.report_timeline import Floats, Ints
from Recorder.run_files import Run, initial_cash
from trading_lib import metrics

MOST_EPOCHS: Final = 20  # with a table, from the first
MOST_STRATEGIES: Final = 12  # with a column, beside the total
AMOUNTS: Final = frozenset({"Net result", "Average trade", "Commission"})


class Scope(NamedTuple):
    """One epoch of one strategy, or of all: its rows of equity, fills and matches, and what it began with."""

    rows: pd.DataFrame
    fills: pd.DataFrame
    matches: pd.DataFrame
    equity: float
    commission: float


class Summary(NamedTuple):
    """The whole run, all strategies and epochs, in a few numbers; None where it has none."""

    initial: float | None = None
    final: float | None = None
    growth: float | None = None
    drawdown: float | None = None
    commission: float | None = None
    sharpe: str = UNDEFINED
    sharpe_basis: str = "no equity recorded"


def summarize(total: pd.DataFrame, sampling: Sampling) -> Summary:
    """Over all epochs; a Sharpe ratio only of a single one."""
    if not len(total):
        return Summary()
    equity = total["equity"].to_numpy(np.float64)
    initial, final = initial_cash(total), float(equity[-1])
    ratio, basis = "per epoch", "see Metrics"
    if total["epoch"].nunique() == 1:
        found, error = _sharpe(total, sampling)
        ratio = _ratio(found.value)
        basis = found.why or f"± {_ratio(error)} (one standard error); {sampling.basis.text}"
    return Summary(
        initial,
        final,
        final / initial - 1 if initial > 0 else None,
        metrics.max_drawdown(np.concatenate(([initial], equity))).fraction,
        float(total["commission"].iloc[-1]),
        ratio,
        basis,
    )


def metrics_tables(run: Run, total: pd.DataFrame, sampling: Sampling, money: str) -> list[tuple[str, str]]:
    """(epoch, its table as HTML) for the first MOST_EPOCHS epochs."""
    own = list(run.equity.groupby("strategy_id", sort=True))[:MOST_STRATEGIES]
    accounts: list[tuple[str | None, pd.DataFrame]] = [(None, total)]  # None: all strategies
    if len(run.strategies) > 1:
        accounts += [(str(name), account) for name, account in own]
    heads = [escape(name) if name is not None else "all" for name, _ in accounts]
    epochs = sorted(set(total["epoch"]))
    tables = []
    for epoch in epochs[:MOST_EPOCHS]:
        scopes = [_scope(run, name, account, epoch) for name, account in accounts]
        table = _table(heads if len(heads) > 1 else [""], scopes, run, sampling, money)
        tables.append((f"{epoch} of {len(epochs)}", table))
    return tables


def _scope(run: Run, strategy: str | None, account: pd.DataFrame, epoch: int) -> Scope:
    def own(table: pd.DataFrame) -> pd.DataFrame:
        rows = table[table["epoch"] == epoch]
        return rows if strategy is None else rows[rows["strategy_id"] == strategy]

    before = account[account["epoch"] < epoch]
    start = (initial_cash(account), 0.0)
    if len(before):
        start = (float(before["equity"].iloc[-1]), float(before["commission"].iloc[-1]))
    rows = account[account["epoch"] == epoch].sort_values("ts", kind="stable")
    return Scope(rows, own(run.trades), own(run.matched_trades), *start)


def _table(heads: Sequence[str], scopes: Sequence[Scope], run: Run, sampling: Sampling, money: str) -> str:
    columns = [_column(scope, run, sampling) for scope in scopes]
    names = list(dict.fromkeys(name for column in columns for name in column))
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{titled(name, money) if name in AMOUNTS else name}</th>'
        + "".join(f'<td class="n">{column.get(name, UNDEFINED)}</td>' for column in columns)
        + "</tr>"
        for name in names
    )
    note = (
        f"Sharpe, Sortino and volatility: simple returns of equity {escape(sampling.text)}, "
        f"{escape(sampling.basis.text)}; ± is one standard error (Lo 2002). Exposure: share of the time with any "
        "position. A trade is one FIFO match, net of its commissions; turnover is all notional over the equity "
        "at the start."
    )
    return (
        f'<div class="scroll"><table class="metrics"><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="muted">{note}</p>'
    )


def _column(scope: Scope, run: Run, sampling: Sampling) -> dict[str, str]:
    """Name and value, as HTML, of every metric; none of an epoch in which the strategy has no account."""
    if not len(scope.rows):
        return {}
    return _of_equity(scope, run, sampling) | _of_trades(scope, run)


def _of_equity(scope: Scope, run: Run, sampling: Sampling) -> dict[str, str]:
    ts: Ints = scope.rows["ts"].to_numpy(np.int64)
    equity: Floats = scope.rows["equity"].to_numpy(np.float64)
    held: Floats = scope.rows[run.position_columns].abs().sum(axis=1).to_numpy(np.float64)
    result = float(equity[-1]) - scope.equity
    growth = (
        percent(result / scope.equity, 3, sign=True) if scope.equity > 0 else _why("nothing to begin with")
    )
    fall = metrics.max_drawdown(np.concatenate(([scope.equity], equity)), np.concatenate((ts[:1], ts)))
    samples, year = sampling.of(scope.rows), sampling.basis.periods_per_year
    ratio, error = _sharpe(scope.rows, sampling)
    return {
        "Net result": number(result, sign=True),
        "Return": growth,
        "Max drawdown": percent(fall.fraction, 3) if fall.fraction is not None else _why(fall.why),
        "… from its peak to recovery or end": _ns(fall.duration),
        "Longest time under water": _ns(fall.longest_under_water),
        "Sharpe, a year": _shown(ratio, lambda v: f"{_ratio(v)} ± {_ratio(error)}"),
        "Sortino, a year": _shown(metrics.sortino.explain(samples, year), _ratio),
        "Volatility, a year": _shown(metrics.volatility.explain(samples, year), lambda v: percent(v, 3)),
        "Exposure": _shown(metrics.exposure.explain(ts, held), lambda v: percent(v, 1)),
    }


def _of_trades(scope: Scope, run: Run) -> dict[str, str]:
    closed: list[Any] = list(scope.matches[["entry_ts", "exit_ts", "net"]].itertuples(index=False))
    turnover = metrics.turnover.explain(_notionals(run, scope.fills), scope.equity)
    average = metrics.average_trade.explain(closed)
    return {
        "Fills": count(len(scope.fills)),
        "Trades (FIFO matches)": count(len(closed)),
        "Win rate": _shown(metrics.win_rate.explain(closed), lambda v: percent(v, 1)),
        "Average trade": _shown(average, lambda v: number(v, 4, sign=True)),
        "Average hold": _shown(metrics.average_hold.explain(closed), lambda v: duration(v / NS_PER_S)),
        "Profit factor": _shown(metrics.profit_factor.explain(closed), _ratio),
        "Turnover": _shown(turnover, lambda v: f"{_ratio(v)} ×"),
        "Commission": number(float(scope.rows["commission"].iloc[-1]) - scope.commission),
    }


def _sharpe(rows: pd.DataFrame, sampling: Sampling) -> tuple[metrics.Measure, float | None]:
    """The ratio and its standard error, both a year."""
    samples, year = sampling.of(rows), sampling.basis.periods_per_year
    return metrics.sharpe.explain(samples, year), metrics.sharpe_standard_error(samples, year)


def _notionals(run: Run, fills: pd.DataFrame) -> Floats:
    """|price · qty · multiplier| of each fill."""
    multipliers = {symbol: run.multiplier(symbol) for symbol in fills["symbol"].unique()}
    multiplier = fills["symbol"].map(multipliers).astype(np.float64)
    found: Floats = (fills["price"] * fills["qty"] * multiplier).to_numpy(np.float64)
    return found


def _shown(measure: metrics.Measure, show: Callable[[float], str]) -> str:
    return show(measure.value) if measure.value is not None else _why(measure.why)


def _why(reason: str) -> str:
    return f"{UNDEFINED} <small>{escape(reason)}</small>"


def _ratio(value: float | None) -> str:
    return number(value, 2 if value is None or abs(value) >= 0.1 else 4)


def _ns(length: int | None) -> str:
    return duration(length / NS_PER_S) if length is not None else UNDEFINED
