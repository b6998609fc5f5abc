"""What reality cost: the same orders refilled at other latencies and costs, as a fan of equity curves.

Whoever refills them hands over

    {"latency_ms": [0, 50, 250], "cost_factor": [0, 1, 2],
     "curves": [{"latency_ms": 0, "cost_factor": 0, "ts": [...], "equity": [...], "epoch": [...]}, ...]}

`ts` int ns UTC, `equity` summed over strategies. `epoch` may be left out: then `ts` going back begins one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from Recorder.report_actions import Asked, costs_changed
from Recorder.report_svg import Line, axis, chart
from Recorder.report_text import exact, number, titled
from Recorder.report_timeline import Timeline
from Recorder.run_files import Run

COLUMNS = 300  # to which each curve is thinned

ABSENT = (
    "Not computed for this page. It needs the same orders filled again at other latencies and costs, "
    "from a complete tape."
)
AS_IT_WAS = "In colour: the run as it was."
AS_CONFIGURED = (
    "The costs are the configured ones, without what an operator made of them while the run ran. In colour: latency "
    "and costs as configured throughout, which is not the run as it was."
)


def what_reality_cost(
    run: Run, extra: Mapping[str, Any] | None, currency: str, actions: Sequence[Asked] = ()
) -> str:
    """The section's HTML; `actions` are the operator's."""
    curves: Sequence[Mapping[str, Any]] = (extra or {}).get("curves") or ()
    curves = [curve for curve in curves if len(curve["ts"])]
    if not curves:
        return f'<p class="muted">{ABSENT}</p>'
    tables = [_table(run, curve) for curve in curves]
    own = [_is_own(run, curve) for curve in curves]
    low = min(float(table["equity"].min()) for table in tables)
    high = max(float(table["equity"].max()) for table in tables)
    lines = [
        Line(
            table["epoch"].to_numpy(np.int64),
            table["ts"].to_numpy(np.int64),
            table["equity"].to_numpy(np.float64),
            f"fan curve{k}{' own' if mine else ''}",
        )
        for k, (table, mine) in enumerate(zip(tables, own, strict=True))
    ]
    lines.sort(key=lambda line: line.style.endswith("own"), reverse=True)  # the first one has the readout
    picture = chart(
        Timeline(tables),
        axis(low, high, currency),
        lines,
        COLUMNS,
        name="Equity at other latencies and costs",
    )
    colour = AS_CONFIGURED if costs_changed(actions) else AS_IT_WAS
    return f"<h3>{titled('Equity', currency)}</h3>{picture}{_finals(curves, own, currency, colour)}"


def _table(run: Run, curve: Mapping[str, Any]) -> pd.DataFrame:
    ts = np.asarray(curve["ts"], np.int64)
    back = np.cumsum(np.diff(ts, prepend=ts[:1]) < 0)
    epochs = run.equity["epoch"]
    first = int(epochs.iloc[0]) if len(epochs) else 0
    epoch = np.asarray(curve["epoch"], np.int64) if "epoch" in curve else back + first
    return pd.DataFrame({"epoch": epoch, "ts": ts, "equity": np.asarray(curve["equity"], np.float64)})


def _is_own(run: Run, curve: Mapping[str, Any]) -> bool:
    """Whether this is the run as it was, as long as nobody changed its costs."""
    latency = run.settings("OrderManager", "execution").get("latency_ms")
    return bool(curve["cost_factor"] == 1 and curve["latency_ms"] == latency)


def _finals(curves: Sequence[Mapping[str, Any]], own: Sequence[bool], currency: str, colour: str) -> str:
    """Final equity of each curve: latencies down, costs across. `data-curve` ties a cell to its curve.

    `colour` says which are in colour.
    """
    where = {(curve["latency_ms"], curve["cost_factor"]): k for k, curve in enumerate(curves)}
    latencies, costs = (sorted({curve[key] for curve in curves}) for key in ("latency_ms", "cost_factor"))
    rows = []
    for latency in latencies:
        cells = []
        for cost in costs:
            k = where.get((latency, cost))
            if k is None:
                cells.append("<td>–</td>")
                continue
            final = number(curves[k]["equity"][-1], 2)
            cells.append(f'<td tabindex="0" data-curve="{k}"{" class=own" if own[k] else ""}>{final}</td>')
        rows.append(f'<tr><th scope="row">{exact(latency, "ms")}</th>{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col">{exact(cost)} × costs</th>' for cost in costs)
    return (
        f'<div class="scroll"><table class="finals"><caption>{titled("Final equity", currency)}: latency down, costs '
        f"(slippage and commission) across. {colour}</caption>"
        f'<thead><tr><th scope="col">latency</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
