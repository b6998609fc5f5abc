"""The runs of a folder at a glance: from manifest.json and the ends of files; nothing is kept.

for run in list_runs(Path("runs")):
    print(run.id, run.state, run.fills, run.equity)
"""

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from lab.account_tail import last_money
from Recorder.manifest import NAME as MANIFEST
from Recorder.tables import SIGNS, NotARun
from Recorder.tape_file import NotATape, TapeCursor
from runtime.status_socket import goes_on
from trading_lib.models import NS_PER_S

LIVE: Final = "live"
ENDED: Final = "ended"
UNFINISHED: Final = "unfinished"  # killed; or its parts run without main.py
EVALUATION: Final = "evaluation"
REPORT: Final = "report.html"
MOST_REASONS: Final = 20


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a line. None: not known.

    `started` and `ended` are ISO times of the wall clock; `state` is live, ended, unfinished or evaluation.
    `duration_s` is event time, of runs with a single epoch. `equity` and `gain` (a fraction) are of all
    strategies together, by the last rows of equity.csv. `problem` says what of the folder cannot be read.
    """

    id: str
    state: str = UNFINISHED
    started: str = ""
    ended: str | None = None
    duration_s: float | None = None
    epochs: int = 0
    records: int | None = None
    strategies: list[str] = []
    fills: int | None = None
    equity: float | None = None
    gain: float | None = None
    comparable: bool | None = None
    why_not: list[str] = []
    tape: str = ""
    report: bool = False
    size_bytes: int = 0
    problem: str = ""


class _Named(msgspec.Struct):
    id: str


class _Manifest(msgspec.Struct):
    """What is needed of manifest.json."""

    started: str = ""
    ended: str | None = None
    records: int | None = None
    epochs: int = 0
    last_ts: str = ""
    strategies: list[_Named] = []
    fills: int | None = None
    comparable: bool | None = None
    why_not: list[str] = []
    tape: str = ""
    evaluation: bool = False


def list_runs(runs: Path) -> list[RunSummary]:
    """Every run and evaluation below `runs`, the newest first; [] where there is no such folder.

    A folder without any file of a run is none; one with files that cannot be read has a `problem`.
    """
    try:
        folders = [Path(entry) for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return []
    found = [summary(folder) for folder in folders if is_run(folder)]
    return sorted(found, key=lambda run: (run.started, run.id), reverse=True)


def is_run(folder: Path) -> bool:
    """Whether a file of a run is in a folder."""
    return any((folder / sign).exists() for sign in SIGNS)


def summary(folder: Path) -> RunSummary:
    """A run's folder in a line, whatever is in it."""
    problems: list[str] = []
    try:
        known = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as fault:
        problems.append(_said(MANIFEST, fault))
        known = _Manifest()
    names = list(dict.fromkeys(each.id for each in known.strategies))
    try:
        money = last_money(folder / "equity.csv", names)
    except (NotARun, OSError) as fault:
        problems.append(_said("equity.csv", fault))
        money = None
    try:
        duration = _duration_s(folder, known)
    except (NotATape, OSError) as fault:
        problems.append(_said("tape.bin", fault))
        duration = None
    return RunSummary(
        id=folder.name,
        state=_state(folder, known),
        started=known.started or _touched(folder),
        ended=known.ended,
        duration_s=duration,
        epochs=known.epochs,
        records=known.records,
        strategies=names,
        fills=known.fills,
        equity=money.final if money else None,
        gain=money.final / money.initial - 1 if money and money.initial > 0 else None,
        comparable=known.comparable,
        why_not=known.why_not[:MOST_REASONS],
        tape=known.tape,
        report=(folder / REPORT).exists(),
        size_bytes=_size(folder),
        problem="; ".join(problems),
    )


def _said(name: str, fault: Exception) -> str:
    if isinstance(fault, FileNotFoundError):
        return f"there is no {name}"
    text = str(fault.strerror if isinstance(fault, OSError) else fault)
    return text if name in text else f"{name}: {text}"


def _state(folder: Path, known: _Manifest) -> str:
    if known.evaluation:
        return EVALUATION
    if goes_on(folder):
        return LIVE
    return ENDED if known.ended else UNFINISHED


def _duration_s(folder: Path, known: _Manifest) -> float | None:
    """From the first record to the last one that the manifest knows; the tape tells the first."""
    if known.epochs > 1 or not known.last_ts.isdecimal():
        return None
    with closing(TapeCursor(folder)) as tape:
        first = tape.take(1)
    if not len(first):
        return None
    return max(0, int(known.last_ts) - int(first["ts"][0])) / NS_PER_S


def _touched(folder: Path) -> str:
    """When a run began that does not say it: its configuration is written first."""
    for name in ("config.json", MANIFEST, "."):
        try:
            seconds = (folder / name).stat().st_mtime
        except OSError:
            continue
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return ""


def _size(folder: Path) -> int:
    """Bytes of the files in it, and of those one folder below (`strategies`); what goes meanwhile is not counted."""
    total = 0
    try:
        entries = list(os.scandir(folder))
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += sum(each.stat(follow_symlinks=False).st_size for each in os.scandir(entry))
            else:
                total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return total
    return total
