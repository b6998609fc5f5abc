"""`runs/<id>/tape.bin`: the tape as it was, every record, 48 bytes each behind a header of 96.

    offset  0  magic "ALGOTAPE"        16  seq of the first record
            8  layout version          24  run id, 64 bytes, NUL-padded
           12  bytes a record (48)     88  zeros

The records are those of shared memory (`shared_memory_utils`), little-endian, in the order of their seq.
Where seq jumps, records were missed. Full files are `tape.000000.bin` and so on, oldest first.
"""

import os
import struct
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from Recorder.writers import Rolling, finished, read_some
from shared_memory_utils import RECORD_DTYPE

Records = npt.NDArray[np.void]

NEWEST: Final = "tape.bin"  # the file that is written
MAGIC: Final = b"ALGOTAPE"
VERSION: Final = 1
RECORD_BYTES: Final = RECORD_DTYPE.itemsize
_HEADER: Final = struct.Struct("<8sIIq64s8x")
HEADER_BYTES: Final = _HEADER.size
assert HEADER_BYTES % RECORD_BYTES == 0


class NotATape(Exception):
    """A file that is no recorded tape, or one of another layout."""


def pack_header(run_id: str, first_seq: int) -> bytes:
    """What a file begins with."""
    return _HEADER.pack(MAGIC, VERSION, RECORD_BYTES, first_seq, run_id.encode())


def read_header(path: Path) -> tuple[str, int] | None:
    """Run id and first seq; None for a file that ends before its header does. Raises NotATape, OSError."""
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
    if len(data) < HEADER_BYTES:
        return None
    magic, version, size, first, name = _HEADER.unpack(data)
    if magic != MAGIC or (version, size) != (VERSION, RECORD_BYTES):
        raise NotATape(f"{path}: not a tape of layout {VERSION} with records of {RECORD_BYTES} bytes")
    return name.rstrip(b"\0").decode(), first


def tape_files(folder: Path) -> list[tuple[int, Path]]:
    """The files of a run's tape that have a record or could have, each with its first seq, oldest first."""
    paths = [*finished(folder, "tape", ".bin").values(), folder / NEWEST]
    found = []
    for path in paths:
        header = read_header(path) if path.exists() else None
        if header is not None:
            found.append((header[1], path))
    return found


class TapeFile:
    """The writing end: goes on behind the last whole record there is. Owns the file. Raises NotATape, OSError."""

    def __init__(self, folder: Path, run_id: str, limit: int, keep: int) -> None:
        self._run_id = run_id
        self.next_seq = _end(folder)
        self._first = self.next_seq  # of a file about to begin
        self._file = Rolling(folder, "tape", ".bin", limit, keep, lambda: pack_header(run_id, self._first))
        whole = self._file.size // RECORD_BYTES * RECORD_BYTES  # the header is two records long
        self._file.truncate(whole if whole >= HEADER_BYTES else 0)

    def write(self, packed: bytes) -> None:
        """Append records, packed as on the tape."""
        self._first = int.from_bytes(packed[:8], "little")
        last = int.from_bytes(packed[-RECORD_BYTES:][:8], "little")
        self._file.write(packed)
        self.next_seq = last + 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _end(folder: Path) -> int:
    """The seq behind the last whole record."""
    for first, path in reversed(tape_files(folder)):
        count = (path.stat().st_size - HEADER_BYTES) // RECORD_BYTES
        if not count:
            return first
        with path.open("rb") as file:
            file.seek(HEADER_BYTES + (count - 1) * RECORD_BYTES)
            return int.from_bytes(file.read(8), "little") + 1
    return 0


class TapeCursor:
    """Reads a run's recorded tape, also while it is being written. Owns a descriptor."""

    def __init__(self, folder: Path, seq: int = 0) -> None:
        self._folder = folder
        self._newest = folder / NEWEST
        self._fd = -1
        self._first = -1  # seq of the open file
        self._offset = HEADER_BYTES
        self._wanted = seq

    def _open(self, first: int, path: Path) -> None:
        self.close()
        self._fd = os.open(path, os.O_RDONLY)
        self._first, self._offset = first, HEADER_BYTES

    def _find(self) -> bool:
        """Open the file in which the record wanted is, or would be."""
        files = tape_files(self._folder)
        if not files:
            return False
        self._open(*max((file for file in files if file[0] <= self._wanted), default=files[0]))
        low, high = 0, (os.fstat(self._fd).st_size - HEADER_BYTES) // RECORD_BYTES
        while low < high:  # the first record at or behind it
            middle = (low + high) // 2
            seq = int.from_bytes(os.pread(self._fd, 8, HEADER_BYTES + middle * RECORD_BYTES), "little")
            low, high = (middle + 1, high) if seq < self._wanted else (low, middle)
        self._offset = HEADER_BYTES + low * RECORD_BYTES
        return True

    def take(self, limit: int, below: int | None = None) -> Records:
        """Up to `limit` records, none with a seq of `below` or more; none at all when there are no more."""
        if self._fd < 0 and not self._find():
            return np.empty(0, RECORD_DTYPE)
        while True:
            full = self._is_full()  # asked first: then nothing is added behind what is read
            data = read_some(self._fd, limit * RECORD_BYTES, self._offset)
            records: Records = np.frombuffer(data, RECORD_DTYPE, len(data) // RECORD_BYTES)
            if len(records) or not (full and self._next_file()):
                break
        if below is not None:
            records = records[: int(np.searchsorted(records["seq"], below))]
        self._offset += len(records) * RECORD_BYTES
        return records

    def back(self, count: int) -> None:
        """Take the last `count` records of the last `take` again."""
        self._offset -= count * RECORD_BYTES

    def _is_full(self) -> bool:
        """Whether the open file is not the one that is written."""
        try:
            return not os.path.samestat(self._newest.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _next_file(self) -> bool:
        later = [file for file in tape_files(self._folder) if file[0] > self._first]
        if later:
            self._open(*min(later))
        return bool(later)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
