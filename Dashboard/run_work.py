"""The child process of work on runs: `python -m Dashboard.run_work instants|report|compare RUN …`.

It has the lowest priority and dies with the server. Its result is its standard output; how far it is goes to
standard error.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from runtime.part import EXIT_FAILED, EXIT_OK, die_with_parent

NICENESS: Final = 19
INSTANTS: Final = "instants"
REPORT: Final = "report"
COMPARE: Final = "compare"


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    die_with_parent()
    os.nice(NICENESS)
    what, *arguments = argv
    if what == INSTANTS:
        from lab import instants

        return instants.main(arguments)
    if what == REPORT:
        from Recorder import make_report

        return make_report.main(arguments)
    if what == COMPARE:
        return _compare([Path(argument) for argument in arguments])
    raise ValueError(f"{what}: nothing of the kind is done here")


def _compare(folders: Sequence[Path]) -> int:
    """Print the comparison as JSON; a seed that is hidden is not in it."""
    from Dashboard.run_downloads import hides_seed
    from lab.compare import compare_rows
    from Recorder.tables import NotARun

    try:
        found = compare_rows(folders)
    except (NotARun, OSError) as fault:
        print(fault, file=sys.stderr)
        return EXIT_FAILED
    if any(hides_seed(folder) for folder in folders):
        found = msgspec.structs.replace(found, rows=[row for row in found.rows if row[0] != "seed"])
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
