"""An evaluation's numbers and its printed table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from lab.trial import Outcome
from Recorder.report_sampling import sampling_of
from Recorder.report_text import UNDEFINED, count, duration, instant, number, percent
from Recorder.run_files import Run, initial_cash
from Recorder.run_metrics import figures, scope_of, trade_figures
from trading_lib.metrics import max_drawdown
from trading_lib.models import NS_PER_S

REASONS_SHOWN: Final = 4  # of why no trade, the most frequent


class _Line(NamedTuple):
    name: str
    metric: str
    show: Callable[[Any], str]


def _ratio(value: Any) -> str:
    return number(value, 2 if value is None or abs(value) >= 0.1 else 4)


_LINES: Final = (
    _Line("Initial equity", "initial", number),
    _Line("Final equity", "final", number),
    _Line("Return", "return", lambda v: percent(v, 3, sign=True)),
    _Line("Max drawdown", "max_drawdown", lambda v: percent(v, 3)),
    _Line("Sharpe, a year", "sharpe", _ratio),
    _Line("Sortino, a year", "sortino", _ratio),
    _Line("Volatility, a year", "volatility", lambda v: percent(v, 3)),
    _Line("Exposure", "exposure", lambda v: percent(v, 1)),
    _Line("Fills", "fills", count),
    _Line("Trades", "trades", count),
    _Line("Win rate", "win_rate", lambda v: percent(v, 1)),
    _Line("Average trade", "average_trade", lambda v: number(v, 4, sign=True)),
    _Line("Average hold", "average_hold_s", duration),
    _Line("Profit factor", "profit_factor", _ratio),
    _Line("Turnover", "turnover", _ratio),
    _Line("Commission", "commission", number),
)


def measured(run: Run) -> dict[str, float | None]:
    """Every metric of a run or an evaluation, all strategies together; None where it is undefined.

    Fractions, not per cent; `sharpe_basis_s` is the grid of the returns. Over several epochs there is no Sharpe,
    no Sortino, no volatility and no exposure: those are of one epoch, and the report has each one's.
    """
    total = run.total_equity()
    if not len(total):
        return dict.fromkeys(line.metric for line in _LINES)
    initial = initial_cash(total)
    trades = trade_figures(run, run.trades, run.matched_trades, initial)
    hold = trades.hold_ns.value
    return {
        **_money(total, initial),
        **_of_one_epoch(run, total),
        "fills": float(trades.fills),
        "trades": float(trades.trades),
        "win_rate": trades.win_rate.value,
        "average_trade": trades.average.value,
        "average_hold_s": hold / NS_PER_S if hold is not None else None,
        "profit_factor": trades.profit_factor.value,
        "turnover": trades.turnover.value,
    }


def _money(total: pd.DataFrame, initial: float) -> dict[str, float | None]:
    equity = total["equity"].to_numpy(np.float64)
    final = float(equity[-1])
    return {
        "initial": initial,
        "final": final,
        "net": final - initial,
        "return": final / initial - 1 if initial > 0 else None,
        "max_drawdown": max_drawdown(np.concatenate(([initial], equity))).fraction,
        "commission": float(total["commission"].iloc[-1]),
    }


def _of_one_epoch(run: Run, total: pd.DataFrame) -> dict[str, float | None]:
    names = ("sharpe", "sharpe_error", "sharpe_basis_s", "sortino", "volatility", "exposure")
    epochs = total["epoch"].unique().tolist()
    if len(epochs) > 1:
        return dict.fromkeys(names)
    sampling = sampling_of(run)
    found = figures(scope_of(run, None, total, epochs[0]), run, sampling)
    values = (
        *(found.sharpe.value, found.sharpe_error, sampling.step_ns / NS_PER_S),
        *(found.sortino.value, found.volatility.value, found.exposure.value),
    )
    return dict(zip(names, values, strict=True))


def lines_of(metrics: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """Name and value of each metric, for a person."""
    return [(line.name, line.show(metrics.get(line.metric))) for line in _LINES]


def table(
    manifest: Mapping[str, Any], metrics: Mapping[str, float | None], outcomes: Sequence[Outcome]
) -> str:
    """An evaluation for a person, a line each."""
    rows = [
        ("Strategy", ", ".join(outcome.strategy_id for outcome in outcomes)),
        ("Market", f"{count(manifest['ticks'])} ticks, {count(manifest['news'])} news"),
        ("Until", f"{instant(int(manifest['last_ts']))} UTC"),
        *lines_of(metrics),
        ("Open orders", count(sum(len(outcome.open_orders) for outcome in outcomes))),
    ]
    rows = [(name, _with_basis(name, text, metrics)) for name, text in rows]
    rows += [("Denied", count(denied)) for denied in [sum(o.denied for o in outcomes)] if denied]
    rows += [
        (f"Errors of {o.strategy_id}", f"{count(o.errors)}, the last: {o.last_error}")
        for o in outcomes
        if o.errors
    ]
    rows += [(f"{o.strategy_id}: no trade", _reasons(o.why_no_trade)) for o in outcomes if o.why_no_trade]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _with_basis(name: str, text: str, metrics: Mapping[str, float | None]) -> str:
    """A Sharpe ratio never stands alone."""
    if name != "Sharpe, a year" or text == UNDEFINED:
        return text
    error, basis = metrics.get("sharpe_error"), duration(metrics.get("sharpe_basis_s"))
    return f"{text} ± {_ratio(error)} (one standard error), returns of {basis}"


def _reasons(why: Mapping[str, int]) -> str:
    ranked = sorted(why.items(), key=lambda reason: (-reason[1], reason[0]))[:REASONS_SHOWN]
    return ", ".join(f"{reason} {count(times)}" for reason, times in ranked)
