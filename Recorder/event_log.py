"""`events.jsonl`: the recorded tape and the journal, merged by tape seq.

A tape record's line is written when every lane has gone past it, so that what the ledger says of it stands
behind it. Where the ledger says nothing for long, or not at all, the tape goes on without it, and what
comes too late is written where the file ends, and counted. Neither is so while we have not heard it out.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from OrderManager import records
from Recorder.event_lines import Event, event_of
from Recorder.tape_file import Records, TapeCursor
from Recorder.tape_text import TapeText
from Recorder.writers import Place, Rolling
from trading_lib.models import Kind

HELD: Final = 200_000  # tape records that wait for the ledger, and its records that wait for the tape
CHUNK: Final = 8192  # records at once
HINDSIGHT: Final = 1  # a plain order belongs to the record before the head, which every lane has passed


class EventLogState(msgspec.Struct, frozen=True):
    """For a checkpoint: the file's end, the next tape record, and the journal records that were looked at."""

    place: Place
    next_seq: int
    journal: int
    late: int


class EventLog:
    """Owns events.jsonl and a cursor on the recorded tape. Raises OSError."""

    def __init__(
        self, folder: Path, limit: int, keep: int, *, ticks: bool, state: EventLogState | None = None
    ) -> None:
        state = state or EventLogState(Place(0, 0), 0, 0, 0)
        self._file = Rolling(folder, "events", ".jsonl", limit, keep)
        self._file.rewind(state.place)
        self._tape = TapeCursor(folder, state.next_seq)
        self._ticks = ticks
        self._text = TapeText()
        self._waiting: list[Event] = []  # in order, but for what came since the last step
        self._late: list[Event] = []
        self.next_seq = state.next_seq
        self.late = state.late
        self._known_below = state.journal  # earlier ones are in the file, or will be when their turn comes
        self._journal = state.journal
        self.horizon = 0

    def state(self) -> EventLogState:
        """Everything, for a checkpoint."""
        return EventLogState(self._file.place, self.next_seq, self._journal, self.late)

    def begin_again(self) -> None:
        """The journal will be read from its first record on."""
        self._known_below = self._journal
        self._waiting.clear()
        self.horizon = 0

    def take(self, record: records.JournalRecord, number: int, place: int) -> None:
        """One journal record that counts; made to count by record `number`, as its `place`-th."""
        self._journal = max(self._journal, number + 1)
        if isinstance(record, records.Horizon):
            self.horizon = max(self.horizon, record.seq)
            return
        event = event_of(record, number, place, self.horizon)
        if event is None:
            return
        if event.seq >= self.next_seq:
            self._waiting.append(event)
        elif number >= self._known_below:
            self._late.append(event)

    def crowded(self, below: int) -> bool:
        """Whether the ledger has said much that waits only for the tape before record `below`: hear no more."""
        return len(self._waiting) > HELD // 2 and self.next_seq < min(below, self.horizon - HINDSIGHT)

    def step(
        self,
        names: Sequence[str],
        below: int,
        *,
        final: bool = False,
        heard_out: bool = True,
        most: int = CHUNK,
    ) -> bool:
        """Write what is in its final place, of the tape before record `below`; False when nothing was.

        Up to `most` tape records. `heard_out`: `take` was given all that the ledger has said.
        `final`: nothing more comes, neither records nor anything of the ledger.
        """
        passed = self.horizon - HINDSIGHT
        safe = below if final else min(below, max(passed, below - HELD) if heard_out else passed)
        tape = self._tape.take(most, safe)
        up_to = int(tape["seq"][-1]) + 1 if len(tape) else max(safe, self.next_seq)
        events = self._events(up_to, final=final and not len(tape))
        if tape_or_events := bool(len(tape) or events or self._late):
            self._write(tape, events, names)
        if final and events:
            up_to = max(up_to, events[-1].seq + 1)
        self.next_seq = max(self.next_seq, up_to)
        return tape_or_events

    def _events(self, below: int, *, final: bool) -> list[Event]:
        """The journal's events before a tape record, and those for which there is no room to wait."""
        waiting = self._waiting
        waiting.sort()
        count = len(waiting) if final else bisect_left(waiting, below, key=attrgetter("seq"))
        events = waiting[:count]
        too_many = max(count, len(waiting) - HELD)
        self._late += waiting[count:too_many]
        del waiting[:too_many]
        return events

    def _write(self, tape: Records, events: Sequence[Event], names: Sequence[str]) -> None:
        if not self._ticks:
            tape = tape[tape["kind"] != Kind.TICK]
        data, ends = self._text.lines(tape, names)
        places = np.searchsorted(tape["seq"], [event.seq for event in events], side="right")
        out: list[bytes | memoryview] = []
        view, at = memoryview(data), 0
        for event, place in zip(events, places.tolist(), strict=True):
            end = int(ends[place - 1]) if place else 0
            if end > at:
                out.append(view[at:end])
                at = end
            out.append(event.line)
        out.append(view[at:])
        out += [event.line for event in self._late]
        self.late += len(self._late)
        self._late.clear()
        if any(out):
            self._file.write(b"".join(out))

    def close(self) -> None:
        """Close the files."""
        self._tape.close()
        self._file.close()
