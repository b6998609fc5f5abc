"""`manifest.json`: what a run was, and whether an evaluation of the same records must give the same files.

| key | is |
|---|---|
| run_id, started, ended | ISO times, wall clock; `ended` is null while the run goes on, and of one that was killed |
| config, seeds, versions, git_commit, strategies | what makes two runs the same run |
| stopped | why recording stopped before the run did; empty if it did not |
| comparable, why_not | whether live equals evaluation, else every reason why not |
| tape | `complete`, or from which record on it cannot be replayed |
| records, ticks, news, epochs, gaps, missed | counts on the recorded tape |
| dropped | what was left out of some file, by reason |
| fills, waiting_at_end | reports of a fill; orders taken and not done |
| median_gap_ns | by symbol, of its first 255 gaps |
| symbols, size_series | in slot order, which is how tape.bin names them; those that limit what fills |
"""

import platform
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from config import ROOT, Config, resolve
from OrderManager.records import STARTED
from Recorder.ledger_rows import LedgerRows
from Recorder.tally import Counts
from Recorder.writers import replace_file
from runtime.versions import Version

NAME: Final = "manifest.json"
EVALUATION: Final = "evaluation"  # a key of what an evaluation wrote: nothing of it is unfinished
AT_WORK: Final = ("running", "left")  # states of a strategy that took records up to its end
HAS_LANES: Final = ("strategy", "order_manager")  # parts that must come to the tape's end
LIBRARIES: Final = ("numpy", "numba", "msgspec", "pandas")


class Known(msgspec.Struct, frozen=True):
    """A strategy file that was run; its copy is `strategies/<version>.py`."""

    id: str
    path: str
    version: str


def now() -> str:
    """The wall clock, for `started` and `ended`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def basis(config: Config, run_id: str) -> dict[str, Any]:
    """What does not change while a run goes on."""
    return {
        "run_id": run_id,
        "config": msgspec.to_builtins(config),
        "seeds": {"run": config.run.seed},
        "versions": _versions(),
        "git_commit": git_commit(ROOT),
    }


def _versions() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {"algosim": project["version"], "python": platform.python_version(), "machine": platform.machine()}
    return own | {name: version(name) for name in LIBRARIES}


def git_commit(root: Path) -> str | None:
    """The commit that is checked out; None where there is none to find."""
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def keep_strategies(config: Config, folder: Path) -> list[Known]:
    """Copy the strategy files, as they are now, into the run; those that cannot be read are left out.

    Raises OSError when the run's folder cannot be written.
    """
    found = []
    for entry in config.Strategy.entries:
        try:
            version = Version(resolve(entry.path))
        except OSError:
            continue
        version.keep(folder)
        found.append(Known(entry.id, entry.path, version.name))
    return found


def tape_status(counts: Counts, oldest: int) -> str:
    """Whether the recorded tape can be replayed; `oldest` is the first seq still kept."""
    if oldest > 0 and counts.first_missed != 0:
        return f"not replayable: records before seq {oldest} were deleted to make room"
    if counts.missed:
        return f"not replayable: from seq {counts.first_missed} ({counts.missed} records were missed)"
    return "complete"


def contents(
    counts: Counts, rows: LedgerRows | None, gaps: Mapping[str, int | None], names: Sequence[str]
) -> dict[str, Any]:
    """What is on the tape and in the tables; `gaps` are the symbols' median gaps, `names` they by slot."""
    return {
        "records": counts.records,
        "ticks": counts.ticks,
        "news": counts.news,
        "epochs": counts.epochs,
        "gaps": counts.gaps,
        "missed": counts.missed,
        "fills": rows.fills if rows is not None else 0,
        "waiting_at_end": rows.waiting if rows is not None else 0,
        "median_gap_ns": dict(gaps),
        "size_series": [name for name in names if name.endswith(".SIZE")],
        "symbols": list(names),
        "last_seq": counts.next_seq - 1,
        "last_ts": str(counts.ts),
    }


def with_lost_end(counts: Counts, horizon: int) -> Counts:
    """The counts of a run that is over, with the records at its end that the ledger saw and the Recorder not."""
    lost = horizon - counts.next_seq
    if lost <= 0:
        return counts
    first = counts.first_missed if counts.missed else counts.next_seq
    return msgspec.structs.replace(counts, missed=counts.missed + lost, first_missed=first)


def why_not(counts: Counts, rows: LedgerRows | None, stopped: str, end: Mapping[str, int]) -> list[str]:
    """Every reason why an evaluation may give other files; `end` counts what only the parts know."""
    notes = rows.notes if rows is not None else {}
    reasons = {
        "gaps in the feed": counts.gaps,
        "records missed by the Recorder": counts.missed,
        "operator actions": counts.controls,
        "restarts of the OrderManager": rows.recoveries if rows is not None else 0,
        "manual orders": rows.manual_orders if rows is not None else 0,
        "rows out of order": rows.out_of_order if rows is not None else 0,
        **{f"notes of the ledger: {what}": count for what, count in sorted(notes.items()) if what != STARTED},
        **end,
    }
    found = [f"{what}: {count:,}" for what, count in reasons.items() if count]
    if rows is None:
        found.append("there is no journal of the OrderManager")
    if stopped:
        found.append(f"recording stopped: {stopped}")
    return found


def not_taken(status: Mapping[str, Any], records: int) -> int:
    """How many of a tape's records strategies had not taken when they were stopped, for the last status of a run.

    They were late, or the OrderBook was: what it appends behind a strategy's end nobody has seen.
    """
    strategy = status.get("parts", {}).get("strategy", {})
    at_work = [row for row in strategy.get("strategies", []) if row.get("state") in AT_WORK]
    behind: int = sum(max(0, records - row["cursor"]) for row in at_work if "cursor" in row)
    return max(behind, int(strategy.get("not_drained", 0)))


def end_reasons(status: Mapping[str, Any], records: int) -> dict[str, int]:
    """What the last status of a system counted that keeps its run, of so many records, from being comparable."""
    if not status:
        return {"no last status of main.py": 1}  # killed: who knows what the parts had come to
    parts = status.get("parts", {})
    book, strategy = parts.get("orderbook", {}), parts.get("strategy", {})
    restarts = {f"restarts of the {name}": part.get("restarts", 0) for name, part in parts.items()}
    for harmless in ("restarts of the order_manager", "restarts of the recorder"):
        restarts.pop(harmless, None)  # the one is in the journal, the other changes nothing
    killed = [name for name in HAS_LANES if parts.get(name, {}).get("state") == "killed"]
    return {
        "late records": book.get("late", 0),
        "records missed by the Strategy": strategy.get("missed", 0),
        "errors of the strategy": strategy.get("errors", 0),
        "records that strategies had not taken at the end": not_taken(status, records),
        "requests lost at the end": strategy.get("counters", {}).get("lost at the end", 0),
        **{f"the {name} was killed at the end": 1 for name in killed},
        **restarts,
    }


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put it in the run's folder. Raises OSError."""
    replace_file(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read(folder: Path) -> dict[str, Any]:
    """What an earlier Recorder of this run wrote; {} if nothing."""
    try:
        found = msgspec.json.decode((folder / NAME).read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}
