"""The OrderManager's journal: what is in it survives; nothing is acknowledged that is not in it.

    with Journal.create(run_folder / "journal.bin", run_id) as journal:
        journal.append_many(payloads)
        journal.commit()                       # write + fdatasync: from here on they may be acknowledged

    journal = Journal.recover(path, on_record=book.apply)
    if journal.cut:
        log.warning(journal.cut)

The bytes are in journal_format.py, the errors and the other side in journal_reader.py. One writer, held by
a lock on the file. A payload is opaque and must say itself whether it is a checkpoint: where no slot points
at a whole one, recovery hands over every record from the first on, checkpoints among them.
"""

import contextlib
import fcntl
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from OrderManager.journal_format import (
    BLOCK,
    HEAD,
    LINK,
    MAX_PAYLOAD,
    SLOT_OFFSETS,
    Place,
    pack_header,
    pack_slot,
    unpack_header,
)
from OrderManager.journal_reader import (
    LONG_LOOK,
    JournalCut,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalMissing,
    JournalReader,
    NotAJournal,
    Scanner,
    open_journal,
)

__all__ = [
    "CHECKPOINT_EVERY",
    "Journal",
    "JournalReader",
    "JournalError",
    "JournalMissing",
    "NotAJournal",
    "JournalInUse",
    "JournalCut",
    "JournalDamaged",
]

CHECKPOINT_EVERY: Final = 100_000  # records; callers call `checkpoint` when `since_checkpoint` reaches it
CHUNK: Final = 1 << 20  # bytes the file grows by; 8 MiB stalls a commit for 4-13 ms, 1 MiB for 1 ms
BUFFER: Final = 1 << 22  # bytes; more than that buffered is written at once, though not yet durable

OnRecord = Callable[[int, bytes], object]
Progress = Callable[[int, int], object]

_sync_data = getattr(os, "fdatasync", os.fsync)


class Journal:
    """The writing end. Owns the descriptor and the lock on it; not for several threads.

    Once a write or an fsync has failed the journal is `broken` for good, and every call raises: a second
    fsync would say yes to pages the kernel has given up. What was not committed is then withdrawn: cut off
    the file if the disk lets us, so that an order which was refused is not found there later. Where even
    that fails, a record that nobody acknowledged may survive; one that was acknowledged is never lost.
    """

    def __init__(self, path: Path, fd: int, run_id: str, end: Place) -> None:
        """Take over an open, locked file whose next record goes to `end`; use `create` and `recover`."""
        self.path = path
        self.run_id = run_id
        self.cut = ""
        """What `recover` cut off and why; empty if the journal ended as it should."""
        self.broken: JournalError | None = None
        self._fd = fd
        self._reserved = os.fstat(fd).st_size  # up to here the file is zeros on disk
        self._next, self._chain = end.number, end.chain  # of the record that is appended next
        self._parts: list[bytes] = []  # appended, not written: heads and payloads
        self._buffered = 0  # their bytes
        self._written = self._durable = self._syncing = end
        self._checkpoint: int | None = None  # the number of the last checkpoint
        self._slot = 0  # the one written next: never the one that holds the last checkpoint

    # ----------------------------------------------------------------------------------------- opening

    @classmethod
    def create(cls, path: Path, run_id: str) -> Self:
        """A new, empty journal, locked. It appears under its name whole or not at all.

        Raises JournalError if the name is taken or the file cannot be made, ValueError for a run id of more
        than 64 bytes.
        """
        header = pack_header(run_id)
        try:
            fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as fault:
            raise JournalError(path, "cannot be made", fault.errno) from fault
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(fd, header, 0)
            os.fsync(fd)
            os.link(temporary, path)
            _sync_folder(path.parent)
        except OSError as fault:
            os.close(fd)
            raise JournalError(path, "cannot be made", fault.errno) from fault
        finally:
            Path(temporary).unlink()
        return cls(path, fd, run_id, unpack_header(header)[1])

    @classmethod
    def recover(cls, path: Path, on_record: OnRecord, progress: Progress | None = None) -> Self:
        """Open a journal after a stop or a kill: call `on_record(number, payload)` for the last checkpoint
        and all that follows, cut off what is not a whole record, and go on behind it. All that is left is durable.

        `progress(bytes_read, bytes_in_file)` is called now and then. What `on_record` raises passes through,
        and then the file is unchanged. Raises JournalMissing, NotAJournal, JournalInUse, JournalError.
        """
        fd = open_journal(path, os.O_RDWR)
        try:
            _lock(path, fd)
            scanner = Scanner(path, fd)
            scanner.seek_checkpoint()
            start = scanner.place
            _replay(scanner, on_record, progress)
            journal = cls(path, fd, scanner.run_id, scanner.place)
            journal._take_over(scanner, start)
        except BaseException:
            os.close(fd)
            raise
        return journal

    def _take_over(self, scanner: Scanner, start: Place) -> None:
        """Know the slots again, cut what stands behind the last whole record, and make all before it durable."""
        garbage = _used_bytes(scanner)
        lost = [i for i, slot in enumerate(scanner.slots) if slot and slot.number >= self._next]
        try:
            for slot in lost:  # or else a record that is no checkpoint could come to stand where it points
                _write_all(self._fd, bytes(BLOCK), SLOT_OFFSETS[slot])
            if garbage or lost:
                os.ftruncate(self._fd, self._durable.offset)
                self._reserved = self._durable.offset
            os.fsync(self._fd)  # a killed writer may have written what it had not yet committed
        except OSError as fault:
            raise JournalError(self.path, "cannot be taken over", fault.errno) from fault
        if start in scanner.slots and start.number < self._next:
            self._checkpoint = start.number
            self._slot = 1 - scanner.slots.index(start)
        if garbage or lost:
            self.cut = f"{garbage:,} bytes cut behind {self._next:,} records: {scanner.stop.value}"
        if lost:
            self.cut += "; a checkpoint is among them: COMMITTED RECORDS ARE LOST"

    # ----------------------------------------------------------------------------------------- writing

    @property
    def next_record(self) -> int:
        """The number that the next record gets."""
        return self._next

    @property
    def durable(self) -> int:
        """Records below this number survive a loss of power."""
        return self._durable.number

    @property
    def since_checkpoint(self) -> int:
        """Records behind the last checkpoint: what a recovery has to go through beside it."""
        return self._next if self._checkpoint is None else self._next - self._checkpoint - 1

    def append(self, payload: bytes) -> int:
        """Buffer a record; its number. Raises as `append_many` does."""
        return self.append_many((payload,))

    def append_many(self, payloads: Iterable[bytes]) -> int:
        """Buffer records, all or none; the number of the first.

        Raises ValueError for an empty payload or one above MAX_PAYLOAD, JournalError if the journal is broken
        or the buffer was full and could not be written.
        """
        self._refuse_if_broken()
        parts, size = list[bytes](), 0
        number, chain = self._next, self._chain
        head, link, crc32 = HEAD.pack, LINK.pack, zlib.crc32
        for payload in payloads:
            length = len(payload)
            if not 0 < length <= MAX_PAYLOAD:
                raise ValueError(f"a payload of {length:,} bytes; 1 to {MAX_PAYLOAD:,} can be journaled")
            chain = crc32(payload, crc32(link(number, length, chain)))
            parts += (head(length, chain), payload)
            size += HEAD.size + length
            number += 1
        first, self._next, self._chain = self._next, number, chain
        self._parts += parts
        self._buffered += size
        if self._buffered > BUFFER:
            self.write()
        return first

    def write(self) -> None:
        """Hand what is buffered to the kernel, in one go: a kill of this process no longer loses it.

        Readers see it from here on. Raises JournalError.
        """
        self._refuse_if_broken()
        if not self._parts:
            return
        data, begin = b"".join(self._parts), self._written.offset
        end = begin + len(data)
        if end > self._reserved:  # zeros to the end of a chunk: later commits change no metadata
            self._reserved = -(-end // CHUNK) * CHUNK
            data = data.ljust(self._reserved - begin, b"\0")
        try:
            _write_all(self._fd, data, begin)
        except OSError as fault:
            raise self._fail("cannot be written", fault) from fault
        self._parts, self._buffered = [], 0
        self._written = Place(self._next, end, self._chain)

    def commit(self) -> None:
        """Write, and return when the disk has it: all records so far may be acknowledged. Raises JournalError."""
        self.write()
        if self._written != self._durable:
            try:
                _sync_data(self._fd)
            except OSError as fault:
                raise self._fail("cannot be made durable", fault) from fault
            self._durable = self._written

    def begin_sync(self) -> int:
        """Write; the descriptor whose fdatasync, in whatever thread, makes all so far durable. Then `end_sync`."""
        self.write()
        self._syncing = self._written
        return self._fd

    def end_sync(self, fault: OSError | None) -> None:
        """The fdatasync after `begin_sync` has ended. Raises JournalError if with a fault."""
        if fault is not None:
            raise self._fail("cannot be made durable", fault) from fault
        if self._syncing.number > self._durable.number and not self.broken:
            self._durable = self._syncing

    def checkpoint(self, payload: bytes) -> int:
        """Append a record from which alone, and what follows, all can be rebuilt; commit; then note its place.

        The note is durable with the next commit: until then a loss of power means recovery from the checkpoint
        before, through this record. The other slot is by then durable, so never both are in doubt. Its number.
        """
        self.write()
        place = self._written
        self.append(payload)
        self.commit()
        try:
            _write_all(self._fd, pack_slot(place), SLOT_OFFSETS[self._slot])
        except OSError as fault:
            raise self._fail("cannot note a checkpoint", fault) from fault
        self._slot = 1 - self._slot
        self._checkpoint = place.number
        return place.number

    # ------------------------------------------------------------------------------------------ faults

    def _refuse_if_broken(self) -> None:
        if self.broken:
            raise JournalError(self.path, f"refused: {self.broken.why}", self.broken.errno)

    def _fail(self, why: str, fault: OSError) -> JournalError:
        """Break for good, and take back what was not committed."""
        try:
            os.ftruncate(self._fd, self._durable.offset)
        except OSError as second:
            why += f", nor what is not committed withdrawn ({second.strerror})"
        self._parts, self._buffered = [], 0
        self._written = self._durable
        self._next, self._chain = self._durable.number, self._durable.chain
        self.broken = JournalError(self.path, why, fault.errno)
        return self.broken

    # --------------------------------------------------------------------------------------------- end

    def close(self) -> None:
        """Commit what is left, cut the reserve off, let go of file and lock. Raises JournalError; closed anyway."""
        if self._fd < 0:
            return
        try:
            if not self.broken:
                self.commit()
                with contextlib.suppress(OSError):  # only tidiness
                    os.ftruncate(self._fd, self._durable.offset)
        finally:
            os.close(self._fd)
            self._fd = -1
            self.broken = self.broken or JournalError(self.path, "closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _replay(scanner: Scanner, on_record: OnRecord, progress: Progress | None) -> None:
    size = scanner.size
    while payloads := scanner.take(sys.maxsize):
        for number, payload in enumerate(payloads, scanner.place.number - len(payloads)):
            on_record(number, payload)
        if progress:
            progress(scanner.place.offset, size)


def _used_bytes(scanner: Scanner) -> int:
    """How far what is not zero reaches behind the last whole record, in bytes."""
    begin = at = scanner.place.offset
    used = 0
    while data := scanner.bytes_at(at, LONG_LOOK):
        if filled := len(data.rstrip(b"\0")):
            used = at - begin + filled
        at += len(data)
    return used


def _lock(path: Path, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalInUse(path, "a live process writes it") from None
    except OSError as fault:
        raise JournalError(path, "cannot be locked", fault.errno) from fault


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """One pwrite; more only if the kernel takes less than all, which the next one then says why."""
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)


def _sync_folder(folder: Path) -> None:
    """Make a new name durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
