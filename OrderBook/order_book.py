"""The sequencer: messages of a feed to tape records and book updates, in one order.

What each message means is decided here, in plain Python. The compiled path (`compiled_ingest`) does the
common ones itself and brings everything else here, one frame at a time; both leave the same records.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shared_memory_utils import BookFull, Entry, FeedPosition, SharedPriceBook, TapeWriter
from trading_lib import wire
from trading_lib.control_wire import parse_refusal
from trading_lib.histogram import Histogram
from trading_lib.models import Kind

UNKNOWN: Final = -1.0  # a gap whose size nobody can know
FLUSH_AT: Final = 253  # entries collected before they are published: three short of a tape chunk, for a
# message adds at most three, and a chunk's feed position is exact
MAX_FEED_NUMBER: Final = 2**62  # what counts on from here still fits in a word of shared memory
_MARKS: Final = {"T": Kind.TIME, "E": Kind.EPOCH, "X": Kind.END}


@dataclass
class Source:
    """One Gateway as the sequencer knows it; outlives its connections.

    `session` 0 is a plain source. `timed`: it has sent a time, so what comes without one takes the tape
    head's. `fresh`: nothing came yet since it (re)connected. `reconnected`: its next time may be earlier,
    which begins an epoch.
    """

    session: int = 0
    next_seq: int = 0
    due: int = 0
    timed: bool = False
    fresh: bool = True
    reconnected: bool = False


@dataclass
class Counts:
    """What happened, since the start of this process."""

    ticks: int = 0
    news: int = 0
    late: int = 0
    gaps: int = 0
    missed: int = 0
    epochs: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class OrderBook:
    """Owns neither tape nor book, writes both; the only writer of the tape."""

    def __init__(
        self, tape: TapeWriter, book: SharedPriceBook, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.tape = tape
        self.book = book
        self._counts = Counts()
        self._tick_to_book = Histogram()
        self._last_ts = tape.last_ts()
        self._position = tape.position
        self._clock = clock
        self._arrival_stamped = (
            False  # the epoch's times are arrival times: the first real one starts another
        )
        self._adopted = tape.adopted
        self._pending: list[Entry] = []
        self._take_back: Callable[[], None] | None = None
        self.awaited: set[int] = set()  # the actions of this run that the Gateway has and has not marked yet
        self._done: list[tuple[int, int]] = []  # the marks among what is not published yet
        self.on_mark: Callable[[Kind, float], None] = lambda *_: None  # each GAP and EPOCH
        self.on_done: Callable[[int, int], None] = lambda *_: None  # each awaited action and its record
        self.on_new_session: Callable[[], None] = lambda: None  # one that the tape knows nothing of
        self.on_refused: Callable[[int, str], None] = lambda *_: None  # what the Gateway does not do, and why
        self.on_rejected: Callable[[wire.Rejection], None] = lambda _: None

    # ----------------------------------------------------------------------------------- the state, lent

    def lend(self, take_back: Callable[[], None]) -> None:
        """Leave counts, times and feed position to a kernel; `take_back` brings them up to date again."""
        self.settle()
        self._take_back = take_back

    def resume(self, ticks: int, news: int, late: int, last_ts: int, arrival_stamped: bool) -> None:
        """Take over what a kernel did with the state that was lent."""
        self._counts.ticks += ticks
        self._counts.news += news
        self._counts.late += late
        self._last_ts = last_ts
        self._arrival_stamped = arrival_stamped

    @property
    def counts(self) -> Counts:
        """What happened so far."""
        self.settle()
        return self._counts

    @property
    def tick_to_book(self) -> Histogram:
        """From when ticks were due to when they were published, ns."""
        self.settle()
        return self._tick_to_book

    @property
    def position(self) -> FeedPosition:
        """Up to which frame of which feed session everything has its place."""
        self.settle()
        return self._position

    @property
    def last_ts(self) -> int:
        """Event time of the last record."""
        self.settle()
        return self._last_ts

    @property
    def arrival_stamped(self) -> bool:
        """Whether this epoch's times are arrival times."""
        self.settle()
        return self._arrival_stamped

    def settle(self) -> None:
        """Make everything here true again, if it was lent."""
        if self._take_back is not None:
            take_back, self._take_back = self._take_back, None
            take_back()

    # --------------------------------------------------------------------------------------- the operator

    def control(self, action: int) -> int:
        """Publish CONTROL `action` at the head of the tape, at its event time; returns its sequence number."""
        self.settle()
        self._append(Kind.CONTROL, self._last_ts, float(action))
        self.publish()
        return self.tape.tail - 1

    # ------------------------------------------------------------------------------------- connections

    def connected(self, source: Source, again: bool) -> None:
        """A connection to a source stands, `again` after it was lost: plain until it says which session it is."""
        self.settle()
        source.fresh = True
        source.reconnected = source.reconnected or again
        if source.session:
            source.session = 0
            source.timed = False  # what answers now may be another one: the session's times are not its own

    def _begin_session(self, source: Source, session: int, next_seq: int) -> None:
        """`!OK`: the source speaks the extended protocol, and this is where it stands."""
        known = self._position
        if session == known.session:
            self._gap(next_seq - known.next_seq, always=self._adopted)
            source.fresh = self._arrival_stamped  # wall-clock times came in between, of a plain source
        else:
            source.fresh = True
            if self._adopted:
                self._append(Kind.GAP, self._last_ts, UNKNOWN)
                self._counts.gaps += 1
        self._adopted = False
        source.session, source.next_seq, source.timed = session, next_seq, True
        source.reconnected = False
        self._position = FeedPosition(session, next_seq)
        if session != known.session:
            self.on_new_session()

    def _begin_plain(self, source: Source, ts: int) -> None:
        """The first record of a plain source since it connected: nobody knows what went by meanwhile."""
        source.fresh = False
        if self._adopted or source.reconnected:
            self._append(Kind.GAP, self._last_ts, UNKNOWN)
            self._counts.gaps += 1
        elif not self._last_ts:
            self._epoch(source, ts)
        source.reconnected = source.reconnected or self._adopted
        self._adopted = False

    def _gap(self, missed: int, always: bool = False) -> None:
        if missed > 0 or always:
            self._append(Kind.GAP, self._last_ts, float(max(0, missed)))
            self._counts.gaps += 1
            self._counts.missed += max(0, missed)

    # ---------------------------------------------------------------------------------------- messages

    def apply(self, source: Source, message: wire.Message) -> None:
        """Give one message its place. Call `publish` after the last of a batch."""
        self.settle()
        match message:
            case wire.TickMessage(symbol, price, ts):
                self._data(source, Kind.TICK, symbol, price, ts)
            case wire.NewsMessage(symbol, sentiment, ts):
                self._data(source, Kind.NEWS, symbol, float(sentiment), ts)
            case wire.Control(name, fields):
                try:
                    self._control(source, name, fields)
                except wire.Rejected as fault:
                    self._reject(source, wire.Rejection(fault.reason, fault.detail))
            case wire.Rejection():
                self._reject(source, message)
        if len(self._pending) >= FLUSH_AT:
            self.publish()

    def _reject(self, source: Source, rejection: wire.Rejection) -> None:
        self._counts.rejected[rejection.reason] += 1
        self.on_rejected(rejection)
        self._took_number(source)

    def _took_number(self, source: Source) -> None:
        if source.session:
            self.took_numbers(source, source.next_seq + 1)

    def took_numbers(self, source: Source, next_seq: int) -> None:
        """Everything of the session below `next_seq` has its place (or its rejection)."""
        source.next_seq = next_seq
        self._position = FeedPosition(source.session, next_seq)

    def _control(self, source: Source, name: str, fields: tuple[str, ...]) -> None:
        numbers = [] if name == "REFUSED" else [wire.parse_number(text) for text in fields]
        if name == "OK" and len(numbers) == 2 and numbers[0] and not source.session:
            if numbers[1] > MAX_FEED_NUMBER:
                raise wire.Rejected("bad control frame", name)
            self._begin_session(source, numbers[0], numbers[1])
        elif not source.session:
            raise wire.Rejected("control frame from a plain source", name)
        elif name == "REFUSED":  # stands beside the feed, and takes no number
            self.on_refused(*parse_refusal(wire.Control(name, fields)))
        elif name == "S" and len(numbers) == 2 and numbers[0] <= MAX_FEED_NUMBER:
            if numbers[0] < source.next_seq:
                self._counts.rejected["feed number went back"] += 1
            self._gap(numbers[0] - source.next_seq)
            source.due = numbers[1]
            self.took_numbers(source, numbers[0])
        elif name in _MARKS and len(numbers) == 1:
            self._mark(source, _MARKS[name], numbers[0])
        elif name == "C" and len(numbers) == 2:
            self._begin_epoch_if_new(source, numbers[1])
            self._append(Kind.CONTROL, self._stamp(numbers[1]), self._own(numbers[0]), source.due)
            self._took_number(source)
        elif name == "G" and len(numbers) == 2 and numbers[0]:
            self._begin_epoch_if_new(source, numbers[1])
            self._append(Kind.GAP, self._stamp(numbers[1]), float(numbers[0]), source.due)
            self._counts.gaps += 1
            self._counts.missed += numbers[0]
            self._took_number(source)
        else:
            raise wire.Rejected("bad control frame", name)

    def _own(self, number: int) -> float:
        """The id that a Gateway's mark has on this tape: 0 for an action that is not from here."""
        if number not in self.awaited:
            return 0.0
        self.awaited.discard(number)
        self._done.append((number, self.tape.tail + len(self._pending)))
        return float(number)

    def _mark(self, source: Source, kind: Kind, ts: int) -> None:
        if kind is Kind.EPOCH:
            self._epoch(source, ts)
        else:
            self._begin_epoch_if_new(source, ts)
            self._append(kind, self._stamp(ts), 0.0, source.due)
        self._took_number(source)

    def _data(self, source: Source, kind: Kind, symbol: str, value: float, ts: int | None) -> None:
        slot = self.book.slot(symbol)
        if slot is None:
            try:
                slot = self.book.add_locked(symbol)
            except BookFull:
                self._reject(source, wire.Rejection("no room for another symbol", symbol))
                return
        if not source.session:
            source.due = self._clock()
            if source.fresh:
                self._begin_plain(source, source.due if ts is None else ts)
        when = self._time_of(source, ts)
        self._append(kind, when, value, source.due, slot)
        if kind is Kind.TICK:
            self._counts.ticks += 1
            self.book.write_locked(slot, value, when)
        else:
            self._counts.news += 1
        self._took_number(source)

    # -------------------------------------------------------------------------------------------- time

    def _time_of(self, source: Source, ts: int | None) -> int:
        """The event time a record gets: its own; or of its arrival while its source has sent none; or the head's."""
        if ts is None:
            if source.timed:
                return self._last_ts
            self._arrival_stamped = True
            self._last_ts = max(self._last_ts, self._clock())
            return self._last_ts
        if source.session:
            self._begin_epoch_if_new(source, ts)
        elif ts < self._last_ts and (self._arrival_stamped or source.reconnected):
            self._epoch(source, ts)
        source.timed = True
        source.reconnected = self._arrival_stamped = False
        return self._stamp(ts)

    def _begin_epoch_if_new(self, source: Source, ts: int) -> None:
        """A session we did not know whose first record is not an EPOCH: we came late, and say that it is new."""
        if source.fresh:
            self._epoch(source, ts)

    def _epoch(self, source: Source, ts: int) -> None:
        self._append(Kind.EPOCH, ts, 0.0, source.due)
        self._last_ts = ts
        self._arrival_stamped = False
        source.fresh = False
        self._counts.epochs += 1

    def _stamp(self, ts: int) -> int:
        """Time is monotone within an epoch: an earlier stamp is raised to the last one and counted."""
        if ts < self._last_ts:
            self._counts.late += 1
            return self._last_ts
        self._last_ts = ts
        return ts

    # -------------------------------------------------------------------------------------- publishing

    def _append(self, kind: Kind, ts: int, value: float, due: int = 0, slot: int = 0) -> None:
        self._pending.append(Entry(ts, value, due or self._clock(), slot, kind))
        if kind is Kind.GAP or kind is Kind.EPOCH:
            self.on_mark(kind, value)

    def publish(self) -> None:
        """Put what was applied on the tape. Readers are woken by `tape.ring`."""
        if self._pending:
            self.tape.append(self._pending, self._position)
            if self._pending[-1].kind == Kind.TICK:
                self._tick_to_book.record(self._clock() - self._pending[-1].due)
            self._pending.clear()
        if self._done:
            done, self._done = self._done, []
            for number, seq in done:
                self.on_done(number, seq)
