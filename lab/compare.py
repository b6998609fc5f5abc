"""Runs and evaluations side by side: a column for each, a line for each metric, a curve for each.

print(compare([Path("runs/a"), Path("evaluations/b")]))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lab.summary import lines_of, measured
from lab.tables import text_table
from Recorder.report_text import UNDEFINED
from Recorder.report_timeline import thinned
from Recorder.run_files import Run, load_run
from trading_lib.models import NS_PER_S

MOST_POINTS: Final = 500  # of a curve


class Curve(msgspec.Struct, frozen=True):
    """Equity over event seconds since a run's start; of every step of a long one its lowest and highest."""

    seconds: list[float]
    equity: list[float]


class Comparison(msgspec.Struct, frozen=True):
    """`heads` names the columns; a row is a name and a text for each. `caveats` say what keeps it from being fair."""

    heads: list[str]
    rows: list[tuple[str, ...]]
    caveats: list[str]
    curves: list[Curve]


def compare(folders: Sequence[Path]) -> str:
    """The table, and a sentence for each difference that keeps it from being fair. Raises NotARun."""
    runs = [load_run(folder) for folder in folders]
    return "\n".join([text_table(("", *_heads(folders)), _rows(runs)), *_caveats(runs)])


def compare_rows(folders: Sequence[Path]) -> Comparison:
    """The same as plain values, and the equity of all strategies together, for one chart. Raises NotARun."""
    runs = [load_run(folder) for folder in folders]
    return Comparison(_heads(folders), _rows(runs), _caveats(runs), [equity_curve(run) for run in runs])


def equity_curve(run: Run, points: int = MOST_POINTS) -> Curve:
    """At most `points` of it, four or more. A later epoch goes on where the one before ended."""
    total = run.total_equity()
    if not len(total):
        return Curve([], [])
    steps = np.diff(total["ts"].to_numpy(np.int64), prepend=total["ts"].iloc[0])
    within = np.diff(total["epoch"].to_numpy(np.int64), prepend=total["epoch"].iloc[0]) == 0
    at = np.cumsum(np.where(within, steps, 0))
    equity = total["equity"].to_numpy(np.float64)
    kept = thinned(at / max(int(at[-1]), 1), equity, points // 2 - 1)
    return Curve((at[kept] / NS_PER_S).tolist(), equity[kept].tolist())


def _rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    columns = [dict(lines_of(measured(run))) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    facts = {
        "strategies": [", ".join(run.strategies) or UNDEFINED for run in runs],
        "seed": [str(run.settings("run").get("seed", UNDEFINED)) for run in runs],
        "records": [f"{int(run.manifest.get('records', 0)):,}" for run in runs],
    }
    rows = [(name, *values) for name, values in facts.items()]
    return rows + [(name, *(column.get(name, UNDEFINED) for column in columns)) for name in names]


def _heads(folders: Sequence[Path]) -> list[str]:
    """The folders' names; their paths where two are the same."""
    names = [folder.resolve().name for folder in folders]
    return [
        str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)
    ]


def _caveats(runs: Sequence[Run]) -> list[str]:
    """What of the market or the terms is not the same."""
    gateway = [run.settings("Gateway") for run in runs]
    compared: dict[str, list[Any]] = {
        "the market": [(section.get("provider"), section.get("data_path")) for section in gateway],
        "the seed": [run.settings("run").get("seed") for run in runs],
        "the costs and latency": [run.settings("OrderManager", "execution") for run in runs],
        "the limits": [run.settings("OrderManager", "risk") for run in runs],
        "the number of records": [run.manifest.get("records") for run in runs],
    }
    different = [name for name, found in compared.items() if any(one != found[0] for one in found)]
    return [f"not the same in all of them: {', '.join(different)}"] if different else []
