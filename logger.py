"""Logging for every part: one rotating file each, a quiet console, and whole batches of lines at once.

log = get_logger("gateway")          # -> logs/gateway.log
log_lines(log, lines)                # many lines, one write
"""

import logging
import os
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 16 << 20  # a log rotates at 16 MiB …
FILE_COUNT: Final = 4  # … and four older files are kept: at most 80 MiB a part


class _LogFile(RotatingFileHandler):
    """A log file that a full disk does not turn into a flood: lost records are counted, and said once."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the name is logging's
        """Count a record that could not be written; what is not the disk's fault is logging's business."""
        fault = sys.exc_info()[1]
        if not isinstance(fault, OSError):
            super().handleError(record)
            return
        self.lost += 1
        if self.lost == 1:
            print(
                f"{self.baseFilename} cannot be written ({fault.strerror}): going on without", file=sys.stderr
            )

    def close(self) -> None:
        """Close the file, also when its last lines can no longer be written."""
        try:
            super().close()
        except OSError:
            self.lost += 1


def harmless(text: str) -> str:
    """The text with everything that a terminal would obey instead of showing as an escape; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


class LinesFormatter(logging.Formatter):
    """Prefixes every line of a record, so that a batch of lines reads like lines logged one by one."""

    def format(self, record: logging.LogRecord) -> str:
        lines: Sequence[str] | None = getattr(record, "lines", None)
        if lines is None:
            return harmless(super().format(record))
        record.message = ""
        record.asctime = self.formatTime(record)
        prefix = self.formatMessage(record)
        return prefix + "\n".join(map(harmless, lines)).replace("\n", f"\n{prefix}")


def get_logger(
    part: str,
    log_dir: Path,
    verbosity: int = 0,
    console: bool = True,
) -> logging.Logger:
    """The logger of one part, writing to `<log_dir>/<part>.log` (append, rotated).

    The console shows warnings and worse; `verbosity` 1 shows information, 2 everything. Calling it again
    for the same part replaces its handlers: there is always one file handler and at most one console.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"algosim.{part}")
    for handler in tuple(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    log.propagate = False
    to_file = _LogFile(
        log_dir / f"{part}.log",
        maxBytes=FILE_BYTES,
        backupCount=FILE_COUNT,
        encoding="utf-8",
        errors="backslashreplace",  # a strategy may log anything
        delay=True,
    )
    to_file.setFormatter(LinesFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    log.addHandler(to_file)
    if console:
        to_console = logging.StreamHandler(sys.stderr)
        to_console.setLevel(console_level(verbosity))
        to_console.setFormatter(LinesFormatter(f"{part}: %(message)s"))
        log.addHandler(to_console)
    return log


def console_level(verbosity: int) -> int:
    """What a console shows at `-v` given so many times."""
    return {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)


def log_lines(log: logging.Logger, lines: Sequence[str], level: int = logging.INFO) -> None:
    """Log many lines with one write. Their time is the time of the call."""
    if lines and log.isEnabledFor(level):
        record = log.makeRecord(log.name, level, "", 0, "", (), None, extra={"lines": lines})
        log.handle(record)


def close_logger(log: logging.Logger) -> None:
    """Flush and close a part's handlers."""
    for handler in tuple(log.handlers):
        log.removeHandler(handler)
        handler.close()


def is_terminal() -> bool:
    """Whether a person is looking at standard output."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
