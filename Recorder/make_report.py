"""Finish a run's files and write its report: `python -m Recorder.make_report runs/<id>`.

main.py starts this when every part has stopped. It may be run again at any time: what a killed or stopped
Recorder left unfinished is made from tape.bin and journal.bin, the rest is found to be there.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from config import Config, ConfigError, load_config
from OrderManager.journal import JournalError
from Recorder.manifest import EVALUATION, NAME, read
from Recorder.recording import MB, Recording, RecordingInUse
from Recorder.tables import NotARun
from Recorder.tape_file import NotATape
from runtime.part import EXIT_FAILED, EXIT_OK
from runtime.reporting import FILES_ONLY, STATUS


def main(argv: list[str] | None = None) -> int:
    """Finish the files, write report.html and print where it is; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make_report", description="Write a run's report.html.")
    parser.add_argument("run", type=Path, help="the run's folder, runs/<id>")
    parser.add_argument(FILES_ONLY, action="store_true", help="finish the files, write no report.html")
    arguments = parser.parse_args(argv)
    try:
        path = make_report(arguments.run.resolve(), page=not arguments.files_only)
    except (ConfigError, NotARun, NotATape, JournalError, OSError) as fault:
        print(fault, file=sys.stderr)
        return EXIT_FAILED
    print(path)
    return EXIT_OK


def make_report(folder: Path, *, page: bool = True) -> Path:
    """Finish a run's files and write its report; returns its path, or without a `page` the manifest's.

    Raises ConfigError, NotARun, NotATape, JournalError, OSError.
    """
    if not folder.is_dir():
        raise NotARun(f"{folder}: no such folder")
    config = load_config(folder / "config.json", {})  # the run's; today's environment is not its business
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < config.Recorder.min_free_mb * MB:
        raise NotARun(f"{folder}: less than Recorder.min_free_mb = {config.Recorder.min_free_mb} MB are free")
    try:
        if not read(folder).get(EVALUATION):
            finish(folder, config)
    except RecordingInUse as fault:
        print(f"{fault}: the report is of what there is so far", file=sys.stderr)
    if not page:
        return folder / NAME
    from Recorder.refilling import NotRefilled, refilled  # pandas takes its time: here, where it is needed
    from Recorder.report import write_report

    try:
        fan: dict[str, Any] | None = refilled(folder, config)
    except NotRefilled as fault:
        print(f"orders are not filled again: {fault}", file=sys.stderr)
        fan = None
    return write_report(folder, fan)


def finish(folder: Path, config: Config) -> None:
    """Write what is missing of a run that is over. Raises RecordingInUse, NotATape, OSError."""
    recording = Recording(folder, config, folder.name)
    try:
        recording.note_end(_last_status(folder))
        recording.finish()
    finally:
        recording.close()


def _last_status(folder: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode((folder / STATUS).read_bytes(), type=dict[str, Any])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


if __name__ == "__main__":
    sys.exit(main())
