"""The end of a part's log, and what has been written since: bounded reads, whatever the size of the file.

    tail = read_tail(logs, "strategy", Wanted(level="WARNING"))
    more = read_tail(logs, "strategy", Wanted(level="WARNING"), tail.at)

A log is named by its part, never by a path. One that was rotated meanwhile is read to its end first.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct

from logger import FILE_COUNT

LOGS: Final = ("main", "gateway", "orderbook", "order_manager", "strategy", "recorder", "dashboard")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SCANNED: Final = 1 << 20  # bytes that one call looks through: some 10,000 lines
LONGEST: Final = 2000  # characters of a line that are shown
_HEAD: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) +(.*)", re.DOTALL)
_PLACE: Final = re.compile(r"(\d{1,20}):(\d{1,19})")


class UnknownLog(Exception):
    """No part has a log of that name."""


class Line(Struct, frozen=True):
    """One line; `time` is empty where it goes on with the record before it."""

    time: str
    level: str
    text: str


class Wanted(Struct, frozen=True):
    """Which lines: of this level or worse, with this text in it (in any case), the last `count` of them."""

    level: str = "DEBUG"
    text: str = ""
    count: int = 200


class Tail(Struct, frozen=True):
    """Lines, oldest first; `at` is where the next call goes on; `skipped` bytes were too many to look at."""

    lines: list[Line]
    at: str
    skipped: int


def read_tail(folder: Path, part: str, wanted: Wanted, after: str = "") -> Tail:
    """The end of a log or, with `after`, what has come since then. Raises UnknownLog, OSError."""
    if part not in LOGS:
        raise UnknownLog(f"{part}: no such log, only {', '.join(LOGS)}")
    path = folder / f"{part}.log"
    place = _PLACE.fullmatch(after)
    try:
        with _open(path) as file:
            data, at, skipped = _new_bytes(file, path, (int(place[1]), int(place[2])) if place else None)
    except FileNotFoundError:
        return Tail([], "", 0)
    lines = [line for line in _lines(data) if _is_wanted(line, wanted)]
    return Tail(lines[-wanted.count :], at, skipped)


def _open(path: Path) -> BinaryIO:
    """For reading; a file and nothing else: neither a link to elsewhere nor a pipe to wait at."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return os.fdopen(descriptor, "rb")


def _new_bytes(file: BinaryIO, path: Path, place: tuple[int, int] | None) -> tuple[bytes, str, int]:
    """(whole lines since a place, the place behind them, bytes passed over)."""
    now = os.fstat(file.fileno())
    rest, skipped, offset = b"", 0, 0
    if place is not None and (place[0] != now.st_ino or place[1] > now.st_size):
        rest, skipped = _rest_of_rotated(path, place)
    elif place is not None:
        offset = place[1]
    data, passed = _whole_lines(file, offset, now.st_size)
    return rest + data, f"{now.st_ino}:{offset + passed + len(data)}", skipped + (passed if place else 0)


def _whole_lines(file: BinaryIO, offset: int, size: int) -> tuple[bytes, int]:
    """(the last SCANNED bytes after an offset, in whole lines; how many were passed over before them)."""
    start = max(offset, size - SCANNED)
    file.seek(max(offset, start - 1))  # one byte before tells whether a line begins at `start`
    data = file.read(size - file.tell())
    if start > offset:
        begin = data.find(b"\n") + 1
        start += begin - 1
        data = data[begin:]
    return data[: data.rfind(b"\n") + 1], start - offset


def _rest_of_rotated(path: Path, place: tuple[int, int]) -> tuple[bytes, int]:
    """What an older file of a log has behind a place; and the bytes of newer ones that are passed over."""
    skipped = 0
    for number in range(1, FILE_COUNT + 1):
        try:
            with _open(path.with_name(f"{path.name}.{number}")) as file:
                found = os.fstat(file.fileno())
                if found.st_ino == place[0] and place[1] <= found.st_size:
                    data, passed = _whole_lines(file, place[1], found.st_size)
                    return data, skipped + passed
                skipped += found.st_size
        except FileNotFoundError:
            break
    return b"", 0  # it is not there any more: a log that begins anew


def _lines(data: bytes) -> list[Line]:
    found: list[Line] = []
    level = "INFO"
    for text in data.decode("utf-8", "replace").split("\n")[:-1]:
        head = _HEAD.fullmatch(text)
        if head is not None:
            level = head[2]
            found.append(Line(head[1], level, _shown(head[3])))
        else:
            found.append(Line("", level, _shown(text)))
    return found


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _is_wanted(line: Line, wanted: Wanted) -> bool:
    rank = LEVELS.index(line.level) if line.level in LEVELS else len(LEVELS)
    return rank >= LEVELS.index(wanted.level) and wanted.text.casefold() in line.text.casefold()


def sizes(folder: Path) -> list[dict[str, Any]]:
    """The logs that there are, and their sizes in bytes."""
    found = []
    for part in LOGS:
        path = folder / f"{part}.log"
        if path.is_file():
            found.append({"part": part, "bytes": path.stat().st_size})
    return found
