"""When records leave. Pacers are pure: they are told the time, and say what leaves next and when it is due.

A record's *due* time follows from the schedule alone, never from when we got round to it, so that a late
send shows as latency and not as a slower market. Only after more than a second behind (a suspended
machine) the schedule starts anew, counted in `resyncs`.
"""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

import numpy as np

from Gateway.providers.provider import Batch, Provider
from trading_lib.models import NS_PER_S, Kind

BURST_NS: Final = 1_000_000  # at more than 1,000 ticks/s, ticks leave in bursts, one a millisecond
HOPELESS_NS: Final = NS_PER_S  # further behind than this the schedule is given up
BUFFERED: Final = 4096  # records read ahead from the provider
UNPACED_BATCH: Final = 4096
MAX_NS: Final = 2**63 - 1


class Burst(NamedTuple):
    """Records due at the same instant; `due` on the pacer's clock, ns."""

    batch: Batch
    due: int


class Lookahead:
    """A provider with a few thousand records read ahead, to be taken by ticks or by time."""

    def __init__(self, source: Provider) -> None:
        self._source = source
        self._read()

    def _read(self) -> None:
        self._batch = self._source.read(BUFFERED)
        self._at = self._ticks_taken = 0
        self._tick_positions = np.flatnonzero(self._batch.kinds == Kind.TICK)

    def _read_on(self) -> None:
        """Read on when the buffer is used up; only when more is asked for: after its last records have left."""
        if self._at == self._batch.size and self._batch.size:
            self._read()

    @property
    def ended(self) -> bool:
        """Whether there is no more."""
        self._read_on()
        return self._batch.size == 0

    def take_ticks(self, count: int) -> tuple[Batch, int]:
        """Up to `count` ticks with the records that stand around them, and how many ticks they are.

        What follows the last tick goes with it. May be fewer than asked for: ask again, unless `ended`.
        """
        self._read_on()
        last = self._ticks_taken + count
        positions = self._tick_positions
        stop = int(positions[last]) if last < positions.shape[0] else self._batch.size
        taken = min(count, positions.shape[0] - self._ticks_taken)
        batch = self._batch.slice(self._at, stop)
        self._at, self._ticks_taken = stop, self._ticks_taken + taken
        return batch, taken

    def take_until(self, ts: int) -> Batch:
        """The records up to event time `ts`, at most one buffer, never past the start of an epoch."""
        self._read_on()
        batch, at = self._batch, self._at
        first = at + 1 if at < batch.size and batch.kinds[at] == Kind.EPOCH else at
        epochs = np.flatnonzero(batch.kinds[first:] == Kind.EPOCH)
        limit = first + int(epochs[0]) if epochs.shape[0] else batch.size
        stop = at + int(np.searchsorted(batch.times[at:limit], ts, side="right"))
        self._at = stop
        return batch.slice(at, stop)

    @property
    def next_ts(self) -> int:
        """Event time of the next record (there is one unless `ended`)."""
        self._read_on()
        return int(self._batch.times[self._at])

    @property
    def at_epoch(self) -> bool:
        """Whether the next record starts an epoch."""
        self._read_on()
        return bool(self._batch.kinds[self._at] == Kind.EPOCH)


class Pacer(ABC):
    """Hands out bursts in order. Times are ns on any clock that does not jump, the same for every call.

    A burst can be taken before it is due, so that nothing but the sending is left to do at its instant;
    `next_due` says when that will be without taking it.
    """

    def __init__(self, source: Provider) -> None:
        self.records = Lookahead(source)
        self.resyncs = 0

    @property
    def ended(self) -> bool:
        """Whether everything has been handed out."""
        return self.records.ended

    @property
    def paced(self) -> bool:
        """Whether there is a schedule at all (flat out there is none)."""
        return True

    @property
    def spaced(self) -> bool:
        """Whether there is always at least BURST_NS between two bursts."""
        return False

    @abstractmethod
    def start(self, now: int) -> None:
        """Begin the schedule."""

    @abstractmethod
    def next_due(self) -> int:
        """When the next burst is due (there is one unless `ended`)."""

    @abstractmethod
    def take(self, now: int) -> Burst:
        """The next burst, due or not (there is one unless `ended`)."""


class Unpaced(Pacer):
    """As fast as it is asked."""

    def start(self, now: int) -> None:
        """Nothing to begin."""

    @property
    def paced(self) -> bool:
        """There is no schedule."""
        return False

    def next_due(self) -> int:
        """Always."""
        return 0

    def take(self, now: int) -> Burst:
        """The next records, due now."""
        batch, _ = self.records.take_ticks(UNPACED_BATCH)
        return Burst(batch, now)


class TicksPerSecond(Pacer):
    """`rate` ticks a second: one by one up to 1,000 a second, above in bursts of one millisecond."""

    def __init__(self, source: Provider, rate: float) -> None:
        super().__init__(source)
        self._rate = rate
        self._per_burst = max(1.0, rate * BURST_NS / NS_PER_S)
        self.start(0)

    @property
    def spaced(self) -> bool:
        """One by one or in bursts, they are at least a millisecond apart."""
        return True

    def start(self, now: int) -> None:
        """The first burst is due at `now`."""
        self._start, self._burst, self._sent = now, 0, 0

    def next_due(self) -> int:
        """When the next burst is due."""
        return self._start + round(self._burst * self._per_burst * NS_PER_S / self._rate)

    def take(self, now: int) -> Burst:
        """The next burst; a piece of it when it is longer than what is read ahead."""
        due = self.next_due()
        if now - due > HOPELESS_NS:
            self.resyncs += 1
            self.start(now)
            due = now
        wanted = max(1, int((self._burst + 1) * self._per_burst) - self._sent)
        batch, ticks = self.records.take_ticks(wanted)
        self._sent += ticks
        if ticks == wanted:
            self._burst += 1
        return Burst(batch, due)


class EventTime(Pacer):
    """By the records' own times, `speed` seconds of theirs to one of ours; each epoch starts at once: its
    first record is due when the last one of the epoch before was."""

    def __init__(self, source: Provider, speed: float) -> None:
        super().__init__(source)
        self._speed = speed
        self._start_ts = self._last_ts = 0
        self.start(0)

    def start(self, now: int) -> None:
        """The next record is due at `now`."""
        self._start = now
        if not self.ended:
            self._start_ts = self._last_ts = self.records.next_ts

    def _due(self, ts: int) -> int:
        return self._start + round((ts - self._start_ts) / self._speed)

    def next_due(self) -> int:
        """When the next record is due."""
        if self.records.at_epoch:
            self.start(self._due(self._last_ts))
        return self._due(self.records.next_ts)

    def take(self, now: int) -> Burst:
        """What is due at the next instant; when we are late, up to a millisecond's worth."""
        due = self.next_due()
        if now - due > HOPELESS_NS:
            self.resyncs += 1
            self._start += now - due
            due = now
        until = min(now, due + BURST_NS)
        until_ts = min(self._start_ts + int((until - self._start) * self._speed), MAX_NS)
        batch = self.records.take_until(max(until_ts, self.records.next_ts))
        self._last_ts = int(batch.times[-1])
        return Burst(batch, due)
