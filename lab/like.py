"""`--like RUN`: an evaluation of what a run was, stopped where the run was stopped."""

from collections.abc import Callable
from pathlib import Path

from config import load_config, resolve
from lab.evaluation import Evaluation, Progress, evaluate_subject
from lab.market import End
from lab.subject import Subject
from Recorder import manifest
from Recorder.manifest import Known
from Recorder.tables import NotARun
from Recorder.tape_file import TapeCursor
from runtime.versions import kept_version
from trading_lib.models import Kind
from trading_lib.strategy_file import load_strategy


def evaluate_like(
    run: str | Path,
    *,
    out: str | Path | None = None,
    ticks: bool = False,
    report: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Evaluate a run's configuration with the strategies as they were when it began, up to its last record.

    The files of a comparable run are those of its evaluation. For the arguments see `lab.evaluation.evaluate`.
    Raises NotARun, ConfigError, DataError, StrategyError, NotEmpty, OSError.
    """
    folder = Path(run)
    return evaluate_subject(
        subject_like(folder), out=out, ticks=ticks, report=report, end=end_of(folder), progress=progress
    )


def subject_like(run: Path) -> Subject:
    """What a run ran: its configuration, and the first version of each of its strategies."""
    known = manifest.read(run)
    if not (run / "config.json").exists() or "strategies" not in known:
        raise NotARun(f"{run}: no config.json and manifest.json of a run")
    config = load_config(run / "config.json", {})
    versions: dict[str, Known] = {}
    for each in known["strategies"]:
        versions.setdefault(each["id"], Known(each["id"], each["path"], each["version"]))
    modules = {}
    for entry in config.Strategy.entries:
        version = versions.get(entry.id)
        kept = kept_version(run, version.version, resolve(entry.path).name) if version else None
        if kept is not None and kept.exists():
            modules[entry.id] = load_strategy(kept)
    return Subject(config, modules, [versions[name] for name in modules])


def end_of(run: Path) -> End | None:
    """Where a run's tape ends; None when it kept none."""
    last_seq = manifest.read(run).get("last_seq", -1)
    tape = TapeCursor(run, max(0, last_seq))
    try:
        last = tape.take(1)
    finally:
        tape.close()
    if not len(last):
        return None
    if int(last["kind"][0]) == Kind.END:
        return End(int(last["seq"][0]), int(last["ts"][0]))
    return End(int(last["seq"][0]) + 1, None)
