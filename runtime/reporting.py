"""What follows a run: its files finished, its report; by a process of its own, when nothing else runs any more."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from config import ROOT

MODULE: Final = "Recorder.make_report"
STATUS: Final = "status.json"  # the last one of the run, which it reads in the run's folder
FILES_ONLY: Final = "--files-only"
LOOK_S: Final = 0.05  # how long a second Ctrl-C may wait to be heard


def write_report(
    folder: Path,
    status: dict[str, Any],
    interrupted: Callable[[], bool],
    say: Callable[[str], None],
    *,
    page: bool = True,
) -> None:
    """Have the run's files finished and, if `page`, its report written; gives up when `interrupted`.

    Says how it went.
    """
    options = [] if page else [FILES_ONLY]
    again = f"python -m {MODULE} {folder}"
    try:
        (folder / STATUS).write_bytes(msgspec.json.encode(status))
    except OSError as fault:
        say(f"no report: {folder / STATUS}: {fault.strerror}")
        return
    say("writing the report; Ctrl-C skips it" if page else "finishing the run's files; Ctrl-C skips it")
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, *options, str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # the terminal's Ctrl-C is ours
    ) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=LOOK_S)
                break
            except subprocess.TimeoutExpired:
                if interrupted():
                    process.kill()
                    say(f"report skipped; later: {again}")
                    return
    lines = output.strip().splitlines() or ["nothing was said"]
    for line in lines[:-1]:
        say(f"report: {line}")
    say(f"report: {lines[-1]}" if process.returncode == 0 else f"no report: {lines[-1]}; again: {again}")
