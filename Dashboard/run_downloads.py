"""Files of runs, for a browser: known names only, of folders that are in the list of runs.

A run's id that comes from outside is compared with the names there are, and never made part of a path. What
may not be known stays in the folder: the token of the dashboard, and a seed that is hidden (`run.hide_seed`).
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from starlette.responses import Response, StreamingResponse

REPORT: Final = "report.html"
KINDS: Final = {  # what may be had
    "trades.csv": "text/csv",
    "equity.csv": "text/csv",
    "matched_trades.csv": "text/csv",
    "prices.csv": "text/csv",
    "events.jsonl": "application/x-ndjson",
    "inputs.jsonl": "application/x-ndjson",
    "control.jsonl": "application/x-ndjson",
    "manifest.json": "application/json",
    "config.json": "application/json",
    REPORT: "text/html",
    "tape.bin": "application/octet-stream",
}
SAY_THE_SEED: Final = frozenset({REPORT, "events.jsonl", "inputs.jsonl", "control.jsonl"})
HAVE_THE_SETTINGS: Final = frozenset({"manifest.json", "config.json"})
MOST_SETTINGS: Final = 1 << 24  # bytes of a file that has the settings: 64 strategies make 100 KB
PIECE: Final = 1 << 18
# A report is a page that was made from what strategies say: it gets an origin of its own, and reaches nothing.
SANDBOX: Final = "; ".join(
    (
        *("sandbox allow-scripts", "default-src 'none'", "script-src 'unsafe-inline'"),
        *("style-src 'unsafe-inline'", "img-src data:"),
    )
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": SANDBOX,
    "Referrer-Policy": "no-referrer",
}
_unplain: Final = re.compile(r"[^A-Za-z0-9._-]")  # what a header could stumble over


class NotThere(Exception):
    """A run or a file of it that there is not, or that is not given away; the text says which, to a person."""


class FileOfRun(msgspec.Struct, frozen=True):
    """A file that may be had."""

    name: str
    size_bytes: int


def run_folder(runs: Path, run_id: str) -> Path:
    """The folder of a run below `runs`. Raises NotThere."""
    try:
        with os.scandir(runs) as entries:
            for entry in entries:
                if entry.name == run_id and entry.is_dir(follow_symlinks=False):
                    return Path(entry.path)
    except OSError:
        pass  # no folder of runs: no run
    raise NotThere(f"{run_id}: no such run")


def files_of(folder: Path) -> list[FileOfRun]:
    """What may be had of a run, in the order of KINDS."""
    hidden = hides_seed(folder)
    found = []
    for name in KINDS:
        if not (hidden and name in SAY_THE_SEED) and (size := _size(folder / name)) is not None:
            found.append(FileOfRun(name, size))
    return found


def download(folder: Path, name: str) -> Response:
    """A file to be kept. Raises NotThere."""
    if name not in KINDS:
        raise NotThere(f"{name}: no such file")
    kept = f"{_unplain.sub('_', folder.name)}-{name}"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{kept}"'}
    return _response(folder, name, headers)


def report(folder: Path) -> Response:
    """The report, to be looked at: where it runs it is nobody. Raises NotThere."""
    return _response(folder, REPORT, HEADERS)


def hides_seed(folder: Path) -> bool:
    """Whether a run's seed is not to be known; so is one whose settings cannot be read."""
    try:
        config = _settings(folder / "config.json")
    except FileNotFoundError:
        return False  # an evaluation: its market was a file
    except NotThere:
        return True
    run = config.get("run")
    return isinstance(run, dict) and bool(run.get("hide_seed"))


def _size(path: Path) -> int | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _response(folder: Path, name: str, headers: dict[str, str]) -> Response:
    if name in SAY_THE_SEED and hides_seed(folder):
        raise NotThere(f"{name}: this run's seed is hidden, and the file says it")
    kind = KINDS[name]
    try:
        if name in HAVE_THE_SETTINGS:
            return Response(_without_secrets(folder, name), media_type=kind, headers=headers)
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise NotThere(f"{name}: there is none in {folder.name}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotThere(f"{name}: no file")
    length = {"Content-Length": str(status.st_size)}
    return StreamingResponse(
        _pieces(os.fdopen(descriptor, "rb"), status.st_size), media_type=kind, headers=headers | length
    )


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The file as long as it was when it was asked for: that of a live run grows meanwhile. Owns it."""
    with file:
        while size > 0 and (piece := file.read(min(size, PIECE))):
            size -= len(piece)
            yield piece


def _settings(path: Path) -> dict[str, Any]:
    """A file of settings. Raises FileNotFoundError, and NotThere for what is none."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(MOST_SETTINGS))
    except FileNotFoundError:
        raise
    except (OSError, msgspec.DecodeError, RecursionError) as fault:
        raise NotThere(f"{path.name}: cannot be read: {fault}") from None
    if not isinstance(found, dict):
        raise NotThere(f"{path.name}: cannot be read: it is no JSON object")
    return found


def _without_secrets(folder: Path, name: str) -> bytes:
    found = _settings(folder / name)
    config = found.get("config") if name == "manifest.json" else found
    if isinstance(config, dict):
        if isinstance(dashboard := config.get("Dashboard"), dict):
            dashboard["token"] = None
        if hides_seed(folder):
            if isinstance(run := config.get("run"), dict):
                run["seed"] = None
            found.pop("seeds", None)
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
