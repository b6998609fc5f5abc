"""Files that a killed Recorder leaves behind and its successor goes on with.

    trades = Retraced(folder / "trades.csv")        # made again from the journal: what is there is kept
    events = Rolling(folder, "events", ".jsonl", limit, keep)
    place = events.place                            # kept in a checkpoint …
    events.rewind(place)                            # … and what was written after it is cut off

Every write goes to the kernel at once: a kill loses nothing of it. All raise OSError, a full disk above all.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

# Bytes per system call: while one runs, many kernels let nobody else have its processor.
PIECE: Final = 1 << 14


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`. Raises OSError, and then some of it may be there."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest[:PIECE], offset)
        rest, offset = rest[written:], offset + written


def read_some(fd: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes from `offset` on; fewer only at the end of the file. Raises OSError."""
    pieces = []
    while count > 0:
        piece = os.pread(fd, min(count, PIECE), offset)
        if not piece:
            break
        pieces.append(piece)
        count, offset = count - len(piece), offset + len(piece)
    return b"".join(pieces)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file: a reader finds the old content or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    draft.replace(path)


class Retraced:
    """A file that is written from its beginning by who can make its content again.

    Writing what is there already changes nothing, so a successor neither repeats a line nor leaves a torn
    one; where the content differs, the rest is cut off and replaced.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._size = os.fstat(self._fd).st_size
        self._at = 0

    def write(self, data: bytes) -> None:
        """Have the file go on with `data`."""
        if self._at < self._size:
            there = read_some(self._fd, len(data), self._at)
            if not data.startswith(there):
                self.cut()
                there = b""
            self._at += len(there)
            data = data[len(there) :]
        if data:
            write_all(self._fd, data, self._at)
            self._at += len(data)
            self._size = self._at

    def cut(self) -> None:
        """Have the file end here."""
        if self._at < self._size:
            os.ftruncate(self._fd, self._at)
            self._size = self._at

    def close(self) -> None:
        """Close the file; what was not reached is kept."""
        os.close(self._fd)


class Place(msgspec.Struct, frozen=True):
    """Where a `Rolling` ends: the file's number, counted from 0, and bytes."""

    number: int
    size: int


def finished(folder: Path, stem: str, suffix: str) -> dict[int, Path]:
    """The full files of a `Rolling` by number, the oldest first; the one being written is not among them."""
    pattern = re.compile(rf"{re.escape(stem)}\.(\d{{6,}}){re.escape(suffix)}")
    found = {int(match[1]): path for path in folder.iterdir() if (match := pattern.fullmatch(path.name))}
    return dict(sorted(found.items()))


class Rolling:
    """A file that is renamed when it has reached `limit` bytes, and begun anew; at most `keep` are kept.

    The one being written is `<stem><suffix>`, the full ones are `<stem>.000000<suffix>` and so on.
    `head()` is what each begins with.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        suffix: str,
        limit: int,
        keep: int,
        head: Callable[[], bytes] = bytes,
    ) -> None:
        self._folder, self._stem, self._suffix = folder, stem, suffix
        self._limit, self._keep, self._head = limit, keep, head
        self.path = folder / f"{stem}{suffix}"
        full = finished(folder, stem, suffix)
        self._number = max(full, default=-1) + 1
        self._fd = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._size = os.fstat(self._fd).st_size

    @property
    def place(self) -> Place:
        """Where it ends."""
        return Place(self._number, self._size)

    @property
    def size(self) -> int:
        """Bytes in the file being written."""
        return self._size

    def rewind(self, place: Place) -> None:
        """Cut off what was written behind `place`, which some earlier `place` said."""
        full = finished(self._folder, self._stem, self._suffix)
        if place.number in full:
            self.close()
            for number, path in full.items():
                if number > place.number:
                    path.unlink()
            full[place.number].replace(self.path)
            self._number = place.number
            self._open()
        self.truncate(place.size)

    def truncate(self, size: int) -> None:
        """Cut the file being written to `size` bytes, if it has more."""
        if self._size > size:
            os.ftruncate(self._fd, size)
            self._size = size

    def write(self, data: bytes) -> None:
        """Append."""
        if self._size >= self._limit:
            self._roll()
        if not self._size:
            data = self._head() + data
        write_all(self._fd, data, self._size)
        self._size += len(data)

    def _roll(self) -> None:
        self.close()
        self.path.rename(self._folder / f"{self._stem}.{self._number:06}{self._suffix}")
        self._number += 1
        full = finished(self._folder, self._stem, self._suffix)
        for number in list(full)[: max(0, len(full) - self._keep + 1)]:
            full[number].unlink()
        self._open()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
