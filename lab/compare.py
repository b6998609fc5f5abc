"""Runs and evaluations side by side: a column for each, a line for each metric.

print(compare([Path("runs/a"), Path("evaluations/b")]))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.summary import lines_of, measured
from lab.tables import text_table
from Recorder.report_text import UNDEFINED
from Recorder.run_files import Run, load_run


def compare(folders: Sequence[Path]) -> str:
    """The table, and a sentence for each difference that keeps it from being fair. Raises NotARun."""
    runs = [load_run(folder) for folder in folders]
    columns = [dict(lines_of(measured(run))) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    facts = {
        "strategies": [", ".join(run.strategies) or UNDEFINED for run in runs],
        "seed": [str(run.settings("run").get("seed", UNDEFINED)) for run in runs],
        "records": [f"{int(run.manifest.get('records', 0)):,}" for run in runs],
    }
    rows = [(name, *values) for name, values in facts.items()]
    rows += [(name, *(column.get(name, UNDEFINED) for column in columns)) for name in names]
    return "\n".join([text_table(("", *_heads(folders)), rows), *_caveats(runs)])


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
