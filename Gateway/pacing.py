"""When records leave. Pacers are pure: they are told the time, and say what leaves next and when it is due.

A record's *due* time follows from the schedule alone, never from when we got round to it, so that a late
send shows as latency and not as a slower market. Only after more than a second behind (a suspended
machine) the schedule starts anew, counted in `resyncs`.
"""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from Gateway.lookahead import Lookahead
from Gateway.providers.provider import Batch, Provider
from trading_lib.models import NS_PER_S

BURST_NS: Final = 1_000_000  # at more than 1,000 ticks/s, ticks leave in bursts, one a millisecond
HOPELESS_NS: Final = NS_PER_S  # further behind than this the schedule is given up
UNPACED_BATCH: Final = 4096
MAX_NS: Final = 2**63 - 1


class Burst(NamedTuple):
    """Records due at the same instant; `due` on the pacer's clock, ns."""

    batch: Batch
    due: int


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

    @property
    def speed(self) -> float | None:
        """See `set_speed`; None where there is no schedule."""
        return None

    @abstractmethod
    def start(self, now: int) -> None:
        """Begin the schedule."""

    @abstractmethod
    def next_due(self) -> int:
        """When the next burst is due (there is one unless `ended`)."""

    @abstractmethod
    def take(self, now: int) -> Burst:
        """The next burst, due or not (there is one unless `ended`)."""

    @abstractmethod
    def delay(self, ns: int) -> None:
        """Everything not handed out yet is due so much later: the market was held."""

    @abstractmethod
    def set_speed(self, speed: float, now: int) -> None:
        """From `now` on the schedule runs at `speed`: what is late stays as late (there is more unless `ended`).

        Raises ValueError where there is no schedule.
        """


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

    def delay(self, ns: int) -> None:
        """Nothing is due at any time."""

    def set_speed(self, speed: float, now: int) -> None:  # noqa: ARG002
        """See Pacer."""
        raise ValueError(
            "the source leaves as fast as it can (Gateway.pace.ticks_per_s is 0): it has no speed"
        )


class TicksPerSecond(Pacer):
    """`rate` ticks a second: one by one up to 1,000 a second, above in bursts of one millisecond."""

    def __init__(self, source: Provider, rate: float) -> None:
        super().__init__(source)
        self._configured = rate
        self._set(1.0)
        self.start(0)

    def _set(self, speed: float) -> None:
        self._speed = speed
        self._rate = self._configured * speed
        self._per_burst = max(1.0, self._rate * BURST_NS / NS_PER_S)

    @property
    def speed(self) -> float:
        """A factor on the rate."""
        return self._speed

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

    def delay(self, ns: int) -> None:
        """See Pacer."""
        self._start += ns

    def set_speed(self, speed: float, now: int) -> None:
        """See Pacer."""
        due, before = self.next_due(), self._rate
        self._set(speed)
        anchor = min(now, due)
        self.start(anchor + round((due - anchor) * before / self._rate))


class EventTime(Pacer):
    """By the records' own times, `speed` seconds of theirs to one of ours; each epoch starts at once: its
    first record is due when the last one of the epoch before was."""

    def __init__(self, source: Provider, speed: float) -> None:
        super().__init__(source)
        self._speed = speed
        self._start_ts = self._last_ts = 0
        self.start(0)

    @property
    def speed(self) -> float:
        """Event seconds to one of ours."""
        return self._speed

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

    def delay(self, ns: int) -> None:
        """See Pacer."""
        self._start += ns

    def set_speed(self, speed: float, now: int) -> None:
        """See Pacer."""
        due = self.next_due()
        if now < due:
            self._start_ts += int((now - self._start) * self._speed)
        else:
            self._start_ts = self.records.next_ts
        self._start, self._speed = min(now, due), speed
