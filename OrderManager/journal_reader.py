"""Reading a journal, also while another process writes it.

    with JournalReader(path) as reader:
        for number, payload in reader.read():
            ...

JournalError
 ├─ JournalMissing   there is no such file (yet)
 ├─ NotAJournal      the file is something else, damaged at its head, or of another layout
 ├─ JournalInUse     a live process writes it
 ├─ JournalCut       what this reader has returned was taken back by the writer
 └─ JournalDamaged   a record that was once durable cannot be read
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from OrderManager.journal_format import (
    FIRST_RECORD,
    HEAD,
    Place,
    Stop,
    parse,
    unpack_header,
    unpack_slots,
)

SHORT_LOOK: Final = 1 << 12  # bytes read at the tail, where usually nothing or little is new …
LONG_LOOK: Final = 1 << 18  # … and where there is more; a longer record is read at its own length
USUAL: Final = 256  # bytes a record at most, as a rule: who wants few need not look far


class JournalError(Exception):
    """A journal that cannot be used; says which file and why. `errno` where the kernel said no."""

    def __init__(self, path: Path, why: str, number: int | None = None) -> None:
        super().__init__(f"{path}: {why}" + (f" ({os.strerror(number)})" if number else ""))
        self.path = path
        self.why = why
        self.errno = number


class JournalMissing(JournalError):
    """There is no such file."""


class NotAJournal(JournalError):
    """Something else, a journal whose header is damaged, or one of another layout."""


class JournalInUse(JournalError):
    """A live process writes it."""


class JournalCut(JournalError):
    """Records that a reader has returned were withdrawn: they were never durable, never acknowledged."""


class JournalDamaged(JournalError):
    """A record that was durable, because a checkpoint behind it is, cannot be read."""


class Scanner:
    """Walks over the records of an open file, whose descriptor it borrows."""

    def __init__(self, path: Path, fd: int) -> None:
        """Read the header. Raises NotAJournal."""
        self.path = path
        self._fd = fd
        self.size = os.fstat(fd).st_size
        data = self.bytes_at(0, FIRST_RECORD)
        try:
            self.run_id, self.first = unpack_header(data)
        except ValueError as fault:
            raise NotAJournal(path, str(fault)) from None
        self.slots = unpack_slots(data)
        self.place = self.first
        self.stop = Stop.LIMIT
        self._look = SHORT_LOOK

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end of the file. Raises JournalError."""
        try:
            return os.pread(self._fd, count, offset)
        except OSError as fault:
            raise JournalError(self.path, "cannot be read", fault.errno) from fault

    def read_slots(self) -> tuple[Place | None, Place | None]:
        """What the checkpoint slots say now."""
        self.slots = unpack_slots(self.bytes_at(0, FIRST_RECORD))
        return self.slots

    def seek_checkpoint(self, at_most: int | None = None) -> None:
        """Go to the last checkpoint (numbered ≤ `at_most`) that is whole; without any, to the first record."""
        for place in sorted((slot for slot in self.slots if slot is not None), reverse=True):
            if (at_most is None or place.number <= at_most) and self.whole(place):
                return
        self.place = self.first

    def whole(self, place: Place) -> bool:
        """Go to `place`; whether a whole record stands there."""
        self.place = place
        found = bool(self.take(1))
        self.place = place
        return found

    def take(self, limit: int) -> list[bytes]:
        """Up to `limit` payloads from `place` on, which moves behind them; `stop` says why not more."""
        look = min(self._look, max(SHORT_LOOK, limit * USUAL))
        data = self.bytes_at(self.place.offset, look)
        payloads, place, self.stop = parse(data, self.place, limit)
        if self.stop is Stop.SHORT and not payloads and len(data) == look:
            length, _ = HEAD.unpack_from(data)
            data = self.bytes_at(self.place.offset, max(HEAD.size + length, LONG_LOOK))
            payloads, place, self.stop = parse(data, self.place, limit)
        self._look = LONG_LOOK if self.stop in (Stop.SHORT, Stop.LIMIT) else SHORT_LOOK
        self.place = place
        return payloads


class JournalReader:
    """Follows a journal from any process, without a lock and without the writer noticing. Owns its descriptor.

    Returns each record once, in order, as soon as it is whole: which is when it was written, and may be a
    moment before it is durable. A number never gets another content afterwards but in one case: the writer
    failed (full disk, failed fsync), withdrew what it had not acknowledged, and a successor wrote something
    else. Then `read` raises JournalCut: read anew from a record known to be durable. A writer that is killed
    takes nothing back: what could be read survives it.
    """

    def __init__(self, path: Path, from_record: int = 0) -> None:
        """Read from `from_record` on, which need not exist yet. Raises JournalMissing, NotAJournal."""
        self._fd = open_journal(path, os.O_RDONLY)
        try:
            self._scanner = Scanner(path, self._fd)
            self._scanner.seek_checkpoint(from_record)
        except JournalError:
            os.close(self._fd)
            raise
        self._from = from_record
        self._last: tuple[int, bytes] | None = None  # offset and head of the last record read

    @classmethod
    def from_checkpoint(cls, path: Path) -> Self:
        """Read from the last checkpoint on, from record 0 if there is none. Raises as the constructor does."""
        reader = cls(path)
        reader._scanner.seek_checkpoint()
        reader._from = reader._scanner.place.number
        return reader

    @property
    def run_id(self) -> str:
        """The run that the journal belongs to."""
        return self._scanner.run_id

    @property
    def position(self) -> int:
        """The number of the record that `read` returns next."""
        return max(self._scanner.place.number, self._from)

    def read(self, limit: int = 4096) -> list[tuple[int, bytes]]:
        """Up to `limit` new records as (number, payload); empty when there is none yet. Never waits.

        Skips what lies between the last checkpoint and `from_record` first, about a million records a second.
        Raises JournalCut, JournalDamaged, and JournalError if the file cannot be read.
        """
        scanner, found = self._scanner, list[tuple[int, bytes]]()
        while len(found) < limit:
            first = scanner.place.number
            payloads = scanner.take(limit - len(found))
            if not payloads:
                if not found:
                    self._check_history()
                break
            length, end = len(payloads[-1]), scanner.place
            self._last = (end.offset - length - HEAD.size, HEAD.pack(length, end.chain))
            skipped = max(0, self._from - first)
            found += enumerate(payloads[skipped:], first + skipped)
        return found

    def _check_history(self) -> None:
        """Why there is nothing: the writer may have taken records back, or one may be damaged for good."""
        scanner = self._scanner
        number = scanner.place.number
        # The last record's crc vouches for all before it; and a next one is only found where that still holds.
        if self._last and scanner.bytes_at(self._last[0], HEAD.size) != self._last[1]:
            raise JournalCut(scanner.path, f"record {number - 1} was read and then withdrawn by the writer")
        if scanner.stop is Stop.END:
            return
        behind = max((slot.number for slot in scanner.read_slots() if slot), default=-1)
        if behind > number and not scanner.whole(
            scanner.place
        ):  # looked at again: it was perhaps half written
            why = f"record {number} is damaged: {scanner.stop.value}, and checkpoint {behind} follows"
            raise JournalDamaged(scanner.path, why)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_journal(path: Path, flags: int) -> int:
    """A descriptor. Raises JournalMissing, JournalError."""
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise JournalMissing(path, "no such journal") from None
    except OSError as fault:
        raise JournalError(path, "cannot be opened", fault.errno) from fault
