"""What can be done with a run's folder: whether it is complete, comparable, and can be replayed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.artefacts import SIGN as EVALUATION
from lab.findings import Finding, error, ok, warning
from Recorder.run_files import load_run
from Recorder.tables import NotARun
from runtime.versions import kept_version


def check_run(folder: Path) -> Iterator[Finding]:
    """Everything found in a run's folder, or an evaluation's."""
    try:
        run = load_run(folder)
    except NotARun as fault:
        yield error(str(folder), str(fault))
        return
    for note in run.notes:
        yield warning(str(folder), note, f"sim report {folder} makes what is missing")
    manifest = run.manifest
    if not manifest:
        yield error(f"{folder}/manifest.json", "there is none that can be read", f"sim report {folder}")
        return
    yield ok(str(folder), f"{len(run.trades):,} fills of {', '.join(run.strategies) or 'no strategy'}")
    if manifest.get(EVALUATION):
        yield ok(f"{folder}: replay", "an evaluation is not replayed, it is made again")
        return
    yield from _check_end(manifest, folder)
    yield from _check_comparable(manifest, folder)
    yield from _check_replayable(manifest, folder)


def _check_end(manifest: dict[str, Any], folder: Path) -> Iterator[Finding]:
    where = f"{folder}/manifest.json"
    if "ended" in manifest and not manifest["ended"]:
        yield warning(where, "the run goes on, or was killed", f"sim report {folder} finishes its files")
    if manifest.get("stopped"):
        yield warning(where, f"recording stopped before the run did: {manifest['stopped']}")
    for what, count in (manifest.get("dropped") or {}).items():
        yield warning(where, f"left out of the files: {what} {count}")


def _check_comparable(manifest: dict[str, Any], folder: Path) -> Iterator[Finding]:
    where = f"{folder}: comparable"
    reasons = manifest.get("why_not") or []
    if manifest.get("comparable"):
        yield ok(where, "an evaluation of it gives the same files")
    else:
        yield warning(where, f"no: {'; '.join(reasons) or 'it was never finished'}")


def _check_replayable(manifest: dict[str, Any], folder: Path) -> Iterator[Finding]:
    where, tape = f"{folder}: replay", str(manifest.get("tape", "unknown"))
    missing = [name for name in ("tape.bin", "journal.bin") if not (folder / name).exists()]
    versions = {str(known["id"]): str(known["version"]) for known in manifest.get("strategies", ())}
    lost = [name for name, version in versions.items() if not kept_version(folder, version).exists()]
    if tape != "complete":
        yield error(where, tape)
    elif missing:
        yield warning(where, f"no: {', '.join(missing)} is not there")
    elif lost:
        yield error(where, f"no: the strategy file of {', '.join(lost)} is not kept in it")
    else:
        yield ok(where, "possible: the tape is complete, and the strategies are kept")
