"""The list of runs for a person: a line for each, and below them what is wrong with some."""

from collections.abc import Sequence
from typing import Final

from lab.run_list import RunSummary
from lab.tables import text_table
from Recorder.report_text import UNDEFINED, count, duration, number, percent

MB: Final = 1_000_000
HEAD: Final = (
    *("run", "state", "began (UTC)", "event time", "records", "strategies", "fills", "equity", "return"),
    *("comparable", "report", "MB"),
)


def run_table(runs: Sequence[RunSummary]) -> str:
    """Lines, without a last newline."""
    if not runs:
        return "no run yet: start one with `sim run`"
    problems = [f"{run.id}: {run.problem}" for run in runs if run.problem]
    return "\n".join([text_table(HEAD, map(_row, runs)), *problems])


def _row(run: RunSummary) -> tuple[str, ...]:
    length = f"{run.epochs} epochs" if run.epochs > 1 else duration(run.duration_s)
    return (
        run.id,
        run.state,
        run.started[:19].replace("T", " "),
        length,
        count(run.records),
        ", ".join(run.strategies) or UNDEFINED,
        count(run.fills),
        number(run.equity),
        percent(run.gain, 3, sign=True),
        {True: "yes", False: "no", None: UNDEFINED}[run.comparable],
        "yes" if run.report else UNDEFINED,
        number(run.size_bytes / MB, 1),
    )
