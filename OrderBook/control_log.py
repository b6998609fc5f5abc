"""`runs/<id>/control.jsonl`: every action of a run, a line each, in the file before its mark is on the tape."""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from trading_lib.control import OperatorAction

_TAIL_BYTES: Final = 1 << 16  # far more than the longest line: what an action may say is bounded


class DamagedControlLog(Exception):
    """A file whose last whole line is no action: what the next id is cannot be known."""


class ControlLog:
    """Owns the file. Ids count from 1 and go on after a restart. Raises OSError, DamagedControlLog."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._size = os.fstat(self._fd).st_size
            self._next_id = self._last_id(path) + 1
        except BaseException:
            os.close(self._fd)
            raise

    def _last_id(self, path: Path) -> int:
        """The id of the last whole line; what a kill has left of one after it is cut off: it has no mark."""
        tail = os.pread(self._fd, _TAIL_BYTES, max(0, self._size - _TAIL_BYTES))
        whole, _, torn = tail.rpartition(b"\n")
        self._cut(self._size - len(torn))
        if not self._size:
            return 0
        try:
            last = msgspec.json.decode(whole.rpartition(b"\n")[2], type=dict[str, object])["id"]
        except (msgspec.DecodeError, KeyError):
            last = None
        if not isinstance(last, int):
            raise DamagedControlLog(f"{path}: the last line is no action: mend it, or move the file away")
        return last

    def append(self, action: OperatorAction) -> int:
        """Write an action; returns its id. Raises OSError, and then nothing of it is in the file."""
        entry = {"id": self._next_id, "ts_wall": str(time.time_ns()), **msgspec.to_builtins(action)}
        line = msgspec.json.encode(entry) + b"\n"
        size = self._size
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._cut(size)
            raise
        self._size = size + len(line)
        self._next_id += 1
        return self._next_id - 1

    def _cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._size = size

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
