"""The tape: a ring of fixed records, one writer, any number of readers each with a cursor of its own.

Writer, per chunk: raise `intent` to what the chunk may overwrite; write the records; release `tail`.
Reader: acquire `tail`; copy in bulk; then load `intent`: what lies below `intent - capacity` may have been
overwritten meanwhile, was missed, and is counted. Readers never slow the writer down.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from shared_memory.doorbell import BellPage, Doorbell, DoorbellPanel, bells_name, prepare_bells
from shared_memory.layout import (
    BELL_MAGIC,
    CHECKPOINT_WORDS,
    CHUNK,
    GENERATION,
    OWNER_PID,
    PAGE,
    RECORD,
    RECORD_BYTES,
    RECORD_DTYPE,
    STATE,
    STATE_CLOSED,
    STATE_LIVE,
    STATE_STARTING,
    TAPE_CHECKPOINTS,
    TAPE_INTENT,
    TAPE_MAGIC,
    TAPE_TAIL,
)
from shared_memory.segment import (
    TOTAL_STORE_ORDER,
    Segment,
    SegmentError,
    SegmentInUse,
    SegmentMissing,
    fence,
    unlink_stale,
)

DEFAULT_CAPACITY: Final = 1 << 20


class Entry(NamedTuple):
    """What a writer appends: event ns, value, wall ns due, symbol slot, kind."""

    ts: int
    value: float
    due: int
    slot: int
    kind: int


class FeedPosition(NamedTuple):
    """Up to which frame of which feed session the tape holds everything."""

    session: int
    next_seq: int


NO_FEED: Final = FeedPosition(0, 0)


def tape_name(name: str) -> str:
    """The tape's segment, beside the price book `name`."""
    return f"{name}.tape"


class TapeWriter:
    """The one writer of a tape; holds the segment's claim for as long as it lives."""

    def __init__(self, segment: Segment, bells: Segment, adopted: bool) -> None:
        self.segment = segment
        self.adopted = adopted
        self.panel = DoorbellPanel(bells)
        self._bells = bells
        self._words = segment.words
        self.capacity = segment.capacity

    @classmethod
    def open(cls, name: str, capacity: int = DEFAULT_CAPACITY, run_id: str | None = None) -> "TapeWriter":
        """Make the tape of price book `name`, or adopt a dead owner's.

        Adopted is a tape of the same capacity and the same run; without a `run_id`, one that some reader
        still holds. Any other dead tape is closed and replaced; a live owner's raises SegmentInUse.
        """
        while True:
            try:
                old = Segment.attach(tape_name(name), TAPE_MAGIC, writable=True)
            except SegmentMissing:
                if (made := cls._make(name, capacity, run_id or new_run_id())) is not None:
                    return made
                continue  # somebody else was first: look at theirs
            if not old.claim():
                owner = old.words[OWNER_PID]
                old.close()
                raise SegmentInUse(
                    f"tape {name!r} belongs to process {owner}, which is alive: stop it, "
                    "or change OrderBook.shared_memory_name"
                )
            if (adopted := cls._adopt(old, name, capacity, run_id)) is not None:
                return adopted
            old.words[STATE] = STATE_CLOSED
            _ring_stale(name)
            old.unlink()
            old.close()

    @classmethod
    def _make(cls, name: str, capacity: int, run_id: str) -> "TapeWriter | None":
        if capacity < 2 * CHUNK:
            raise SegmentError(f"a tape of {capacity} records is too small: at least {2 * CHUNK}")
        segment = Segment.prepare(
            tape_name(name), PAGE + capacity * RECORD_BYTES, f"OrderBook.tape_capacity ({capacity})"
        )
        try:
            segment.write_header(TAPE_MAGIC, capacity, run_id, 1, STATE_STARTING)
            segment.claim()
            if not segment.publish(replace=False):
                segment.close()
                return None
            bells = prepare_bells(tape_name(name), run_id)  # only who has the tape's name gets so far
            bells.claim()
            bells.publish(replace=True)
            segment.words[STATE] = STATE_LIVE
            return cls(segment, bells, adopted=False)
        except BaseException:
            segment.unlink()
            segment.close()
            raise

    @classmethod
    def _adopt(cls, old: Segment, name: str, capacity: int, run_id: str | None) -> "TapeWriter | None":
        if old.closed or old.words[STATE] != STATE_LIVE or old.capacity != capacity:
            return None
        if run_id is not None and run_id != old.run_id:
            return None
        try:
            bells = Segment.attach(bells_name(tape_name(name)), BELL_MAGIC, writable=True)
        except SegmentError:
            return None
        bells.claim()
        writer = cls(old, bells, adopted=True)
        if run_id is None and not writer.panel.readers:
            writer.panel.close()
            return None
        old.words[OWNER_PID] = os.getpid()
        old.words[GENERATION] += 1
        writer.panel.ring_everyone()
        return writer

    @property
    def tail(self) -> int:
        """The sequence number the next record will get."""
        return int(self._words[TAPE_TAIL])

    @property
    def named(self) -> bool:
        """Whether readers can still find it: nobody has removed the tape's name or its doorbells'."""
        return self.segment.named and self._bells.named

    @property
    def run_id(self) -> str:
        """The run the tape belongs to."""
        return self.segment.run_id

    @property
    def generation(self) -> int:
        """1, plus one for each adoption."""
        return self.segment.generation

    def append(self, entries: Sequence[Entry], position: FeedPosition | None = None) -> None:
        """Publish records; the last chunk carries `position`. Sleeping readers are not yet woken: `ring`."""
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            last = start + CHUNK >= len(entries)
            self._append_chunk(chunk, position if last else None)

    def _append_chunk(self, chunk: Sequence[Entry], position: FeedPosition | None) -> None:
        words, capacity = self._words, self.capacity
        tail = words[TAPE_TAIL]
        words[TAPE_INTENT] = max(words[TAPE_INTENT], tail + len(chunk))
        fence()
        booked = time.time_ns()
        pack = RECORD.pack
        packed = b"".join(
            [
                pack(seq, ts, value, due, booked, slot, kind)
                for seq, (ts, value, due, slot, kind) in enumerate(chunk, tail)
            ]
        )
        start = tail % capacity
        first = min(len(chunk), capacity - start)
        self._write(start, packed[: first * RECORD_BYTES])
        if first < len(chunk):
            self._write(0, packed[first * RECORD_BYTES :])
        tail += len(chunk)
        self._write_checkpoint(tail, self.position if position is None else position)
        if TOTAL_STORE_ORDER:
            words[TAPE_TAIL] = tail
        else:
            with self.segment.lock():
                words[TAPE_TAIL] = tail

    def _write(self, index: int, packed: bytes) -> None:
        start = PAGE + index * RECORD_BYTES
        self.segment.bytes[start : start + len(packed)] = packed

    def _write_checkpoint(self, tail: int, position: FeedPosition) -> None:
        """Say where the feed stands *once `tail` is published*: a kill in between leaves the old one valid."""
        words = self._words
        base = TAPE_CHECKPOINTS
        if words[base] == words[TAPE_TAIL]:
            base += CHECKPOINT_WORDS
        words[base + 1], words[base + 2] = position
        words[base] = tail

    @property
    def position(self) -> FeedPosition:
        """The feed position that belongs to the published tail."""
        words, tail = self._words, self._words[TAPE_TAIL]
        for base in (TAPE_CHECKPOINTS, TAPE_CHECKPOINTS + CHECKPOINT_WORDS):
            if words[base] == tail and tail:
                return FeedPosition(words[base + 1], words[base + 2])
        return NO_FEED

    def last_ts(self) -> int:
        """Event time of the last published record; 0 on an empty tape."""
        tail = self.tail
        return read_record(self.segment, tail - 1)[1] if tail else 0

    def values_of(self, kind: int) -> list[float]:
        """The values of the records of a kind, as far as the ring holds them."""
        records = np.frombuffer(self.segment.bytes, RECORD_DTYPE, min(self.tail, self.capacity), PAGE)
        found: list[float] = records["value"][records["kind"] == kind].tolist()
        return found

    def ring(self) -> None:
        """Wake the readers that sleep."""
        self.panel.ring()

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        return len(self.segment.map)

    @property
    def address(self) -> int:
        """Where the segment is mapped, for the compiled path."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self.segment.map))

    def unlink(self) -> None:
        """Remove the names: nobody can attach any more."""
        self.segment.unlink()
        self._bells.unlink()

    def close(self) -> None:
        """A clean stop: mark the tape closed, wake everyone, remove the names."""
        self._words[STATE] = STATE_CLOSED
        self.panel.ring()
        self.unlink()
        self.leave()

    def leave(self) -> None:
        """Let go of the tape as a killed owner does: it stays, and who comes next may adopt it."""
        self.panel.close()
        self.segment.close()


class TapeReader:
    """A reader with its own cursor; starts at the head. Raises SegmentMissing while there is no tape.

    Every reader holds a doorbell, also one that never sleeps: by it a successor of a killed writer knows
    that somebody still follows this tape, and whoever sees it taken, that what is written from now on will be
    read. `bell` is the page of one that another process holds for this one.
    """

    def __init__(self, name: str, bell: BellPage | None = None) -> None:
        self._segment = Segment.attach(tape_name(name), TAPE_MAGIC)
        self._words = self._segment.words
        try:
            if self._segment.closed or self._words[STATE] != STATE_LIVE:
                raise SegmentMissing(f"tape {name!r} is closed, or not open yet")
            self.cursor = self.tail
            self._bell: BellPage | Doorbell = bell or Doorbell(tape_name(name))
        except SegmentError:
            self._segment.close()
            raise
        self.capacity = self._segment.capacity
        self.missed = 0  # records overwritten before they were read

    @property
    def tail(self) -> int:
        """The sequence number the next record will get."""
        return int(self._words[TAPE_TAIL])

    @property
    def run_id(self) -> str:
        """The run the tape belongs to."""
        return self._segment.run_id

    @property
    def generation(self) -> int:
        """Grows when a restarted writer adopts the tape."""
        return self._segment.generation

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What must stay open while it is used; of a doorbell of another process nothing."""
        return (self._segment.fd, *([self._bell.fd] if isinstance(self._bell, Doorbell) else []))

    @property
    def closed(self) -> bool:
        """Whether nothing will be written any more. Check that the cursor has reached the tail, too."""
        return self._segment.closed

    def take(self, limit: int = 4096) -> bytes:
        """The next records, at most `limit`, packed as `layout.RECORD`; empty when there is nothing new.

        When the writer has lapped this reader, what was lost is added to `missed` and reading goes on half
        a ring behind the tail.
        """
        words = self._words
        while True:
            tail = words[TAPE_TAIL]
            cursor = self.cursor
            count = min(tail - cursor, limit)
            if count <= 0:
                return b""
            self._segment.read_fence()
            copied = self._copy(cursor, count)
            self._segment.read_fence()
            lost_below = words[TAPE_INTENT] - self.capacity
            if lost_below <= cursor:
                self.cursor = cursor + count
                return copied
            resume = words[TAPE_TAIL] - self.capacity // 2
            self.missed += resume - cursor
            self.cursor = resume

    def _copy(self, cursor: int, count: int) -> bytes:
        start = cursor % self.capacity
        first = min(count, self.capacity - start)
        memory = self._segment.bytes
        begin = PAGE + start * RECORD_BYTES
        copied = bytes(memory[begin : begin + first * RECORD_BYTES])
        if first < count:
            copied += bytes(memory[PAGE : PAGE + (count - first) * RECORD_BYTES])
        return copied

    def record(self, seq: int) -> tuple[int, int, float, int, int, int, int] | None:
        """One record by number, wherever the cursor is: (seq, ts, value, due, booked, slot, kind), or None
        if it is not on the tape (any more)."""
        words = self._words
        if not max(0, words[TAPE_INTENT] - self.capacity) <= seq < words[TAPE_TAIL]:
            return None
        record = read_record(self._segment, seq)
        return record if seq >= words[TAPE_INTENT] - self.capacity else None

    def wait(self, timeout: float) -> None:
        """Sleep until there is something new or `timeout` seconds have passed."""
        words, cursor = self._words, self.cursor
        self._bell.wait(timeout, lambda: words[TAPE_TAIL] == cursor and words[STATE] == STATE_LIVE)

    def look(self, until: int) -> None:
        """Look, without sleeping, until there is something new, the tape ends, or it is `until` (monotonic ns)."""
        words, cursor, now = self._words, self.cursor, time.monotonic_ns
        while words[TAPE_TAIL] == cursor and words[STATE] == STATE_LIVE and now() < until:
            pass

    def close(self) -> None:
        """Release the mapping and the doorbell."""
        self._bell.close()
        self._segment.close()


def read_record(segment: Segment, seq: int) -> tuple[int, int, float, int, int, int, int]:
    """The record that stands where `seq` belongs."""
    offset = PAGE + (seq % segment.capacity) * RECORD_BYTES
    record: tuple[int, int, float, int, int, int, int] = RECORD.unpack_from(segment.bytes, offset)
    return record


def new_run_id() -> str:
    """A run id a person can sort and read: UTC time and process."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"


def _ring_stale(name: str) -> None:
    """Wake the readers of a tape that is about to be replaced."""
    with contextlib.suppress(SegmentError):
        panel = DoorbellPanel(Segment.attach(bells_name(tape_name(name)), BELL_MAGIC, writable=True))
        panel.ring_everyone()
        panel.close()


def unlink_all(name: str) -> None:
    """Remove what a dead run left under `name`: tape, doorbells and price book. Live owners keep theirs.

    Who sleeps on the tape is woken.
    """
    from shared_memory.layout import BOOK_MAGIC

    if unlink_stale(tape_name(name), TAPE_MAGIC):
        _ring_stale(name)
        unlink_stale(bells_name(tape_name(name)), BELL_MAGIC)
    unlink_stale(name, BOOK_MAGIC)
