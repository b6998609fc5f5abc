"""The metrics of a run, epoch by epoch, for all strategies together and for each.

The numbers are those of `Recorder.run_metrics`; what is undefined is "–" with its reason.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_sampling import Sampling
from Recorder.report_text import NS_PER_S, UNDEFINED, count, duration, escape, number, percent, titled
from Recorder.run_files import Run, initial_cash
from Recorder.run_metrics import Scope, figures, scope_of, sharpe_of, trade_figures
from trading_lib import metrics

MOST_EPOCHS: Final = 20  # with a table, from the first
MOST_STRATEGIES: Final = 12  # with a column, beside the total
AMOUNTS: Final = frozenset({"Net result", "Average trade", "Commission"})


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
        found, error = sharpe_of(total, sampling)
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
        scopes = [scope_of(run, name, account, epoch) for name, account in accounts]
        table = _table(heads if len(heads) > 1 else [""], scopes, run, sampling, money)
        tables.append((f"{epoch} of {len(epochs)}", table))
    return tables


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
    found = figures(scope, run, sampling)
    fall = found.drawdown
    return {
        "Net result": number(found.net, sign=True),
        "Return": _shown(found.growth, lambda v: percent(v, 3, sign=True)),
        "Max drawdown": percent(fall.fraction, 3) if fall.fraction is not None else _why(fall.why),
        "… from its peak to recovery or end": _ns(fall.duration),
        "Longest time under water": _ns(fall.longest_under_water),
        "Sharpe, a year": _shown(found.sharpe, lambda v: f"{_ratio(v)} ± {_ratio(found.sharpe_error)}"),
        "Sortino, a year": _shown(found.sortino, _ratio),
        "Volatility, a year": _shown(found.volatility, lambda v: percent(v, 3)),
        "Exposure": _shown(found.exposure, lambda v: percent(v, 1)),
    }


def _of_trades(scope: Scope, run: Run) -> dict[str, str]:
    found = trade_figures(run, scope.fills, scope.matches, scope.equity)
    return {
        "Fills": count(found.fills),
        "Trades (FIFO matches)": count(found.trades),
        "Win rate": _shown(found.win_rate, lambda v: percent(v, 1)),
        "Average trade": _shown(found.average, lambda v: number(v, 4, sign=True)),
        "Average hold": _shown(found.hold_ns, lambda v: duration(v / NS_PER_S)),
        "Profit factor": _shown(found.profit_factor, _ratio),
        "Turnover": _shown(found.turnover, lambda v: f"{_ratio(v)} ×"),
        "Commission": number(float(scope.rows["commission"].iloc[-1]) - scope.commission),
    }


def _shown(measure: metrics.Measure, show: Callable[[float], str]) -> str:
    return show(measure.value) if measure.value is not None else _why(measure.why)


def _why(reason: str) -> str:
    return f"{UNDEFINED} <small>{escape(reason)}</small>"


def _ratio(value: float | None) -> str:
    return number(value, 2 if value is None or abs(value) >= 0.1 else 4)


def _ns(length: int | None) -> str:
    return duration(length / NS_PER_S) if length is not None else UNDEFINED
