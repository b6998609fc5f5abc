"""The host: what the live process adds to the engine: waking up, sending orders, and telling how far it is.

It follows one tape with one strategy, and does not know which process runs it.
"""

import time
from typing import Final

from shared_memory_utils import RECORD, TapeReader
from Strategy.messages import Status
from Strategy.order_link import OrderLink
from Strategy.pulse import Pulse
from Strategy.rhythm import Rhythm
from Strategy.trace import EVERY_S, Tracer, shown
from trading_lib.engine import Engine

BATCH: Final = 256  # records between two sends of orders, at most; the first batch is one
BATCH_S: Final = 0.002  # a batch that took longer makes the next one half as long: orders do not wait for it
ROUND_S: Final = 0.05  # so often a host looks round, busy or asleep (order link, messages)
PROGRESS_S: Final = 0.02  # the ledger hears at least so often how far the host is, while the tape moves …
OPEN_SOONER_S: Final = 0.018  # … and so much sooner while an order is open: every 2 ms
DRAIN_S: Final = 0.2  # for what is on the tape when stopping; the rest is counted


class Host:
    """Runs an engine on a tape. Owns none of what it is given.

    `budget` is what one record may cost, seconds; `rest` how long it sleeps between two batches; `early` how long
    before a record that is expected it wakes up, ns (0: when it is rung); `trace_every` how long after a sample
    of the indicators the next one is due.
    """

    def __init__(
        self,
        tape: TapeReader,
        engine: Engine,
        link: OrderLink,
        pulse: Pulse,
        *,
        budget: float,
        rest: float = 0.0,
        early: int = 0,
        trace_every: float = EVERY_S,
    ) -> None:
        self.tape = tape
        self.engine = engine
        self.link = link
        self.trace = Tracer(trace_every)
        self._pulse = pulse
        pulse.next_seq = tape.cursor
        self._budget = budget
        self._rest = rest
        self._rhythm = Rhythm(early)
        self._batch = 1
        self._progress_due = 0.0
        self._told_seq = tape.cursor
        self._not_drained = 0
        self._over_budget = 0
        self._slowest = 0.0

    @property
    def finished(self) -> bool:
        """Whether everything was read and nothing will follow."""
        return self.tape.closed and self.tape.cursor >= self.tape.tail

    def follow(self, until: float) -> None:
        """Work and sleep until `until` (monotonic), a ring of the doorbell, the tape's end or a divergence."""
        tape = self.tape
        while not self.link.diverged and time.monotonic() < until:
            if not self._work(BATCH):
                cursor = tape.cursor
                if self._rest:
                    time.sleep(self._rest)
                self._sleep()
                if tape.tail == cursor:
                    break  # rung for another reason, or nothing came: look round
        if self.finished:
            self.tell()

    def _sleep(self) -> None:
        """Until the tape moves; but not for long before the ledger has heard of the last batch."""
        tape, longest = self.tape, ROUND_S  # waiting returns at once if there is more by now
        if tape.cursor != self._told_seq:
            longest = PROGRESS_S - OPEN_SOONER_S if self.engine.lane.busy else PROGRESS_S
        expected = self._rhythm.watch(time.time_ns())
        if expected is None or expected[0] > longest * 1e9:
            tape.wait(longest)
            return
        begin, end = expected
        began = time.monotonic_ns()
        if begin > 0:
            tape.wait(begin / 1e9)
            if time.monotonic_ns() < began + begin:
                return  # rung: for a record, or for another reason
        if not tape.closed:
            tape.look(began + end)
            self._rhythm.looked(found=tape.tail != tape.cursor)

    def _work(self, most: int) -> bool:
        """One batch; False when it has probably taken all there was. Raises StrategyError from `init`."""
        tape, engine = self.tape, self.engine
        limit, missed, start = min(self._batch, most), tape.missed, tape.cursor
        packed = tape.take(limit)
        if not packed:
            self._tell_sometimes()
            return False
        if tape.missed != missed:
            first = tape.cursor - len(packed) // RECORD.size
            engine.missed(first)
            self.link.missed(start, first)
        count = len(packed) // RECORD.size
        self._rhythm.heard(RECORD.unpack_from(packed, len(packed) - RECORD.size)[3])
        began = time.monotonic()
        self._pulse.begin(count)
        engine.consume(RECORD.iter_unpack(packed))
        self._pulse.end()
        self._pulse.next_seq = tape.cursor
        if engine.requests:
            self.tell()
        else:
            self._tell_sometimes()
        now = time.monotonic()
        took = now - began
        if now >= self.trace.due:
            self.trace.sample(now, engine.lane.ts, engine.indicators)
        if took > BATCH_S:
            self._slow(took, count)
        elif self._batch < BATCH:
            self._batch *= 2
        return count == limit

    def _slow(self, took: float, count: int) -> None:
        self._batch = max(1, self._batch // 2)
        each = took / count
        self._slowest = max(self._slowest, each)
        if each > self._budget:
            self._over_budget += count

    def _tell_sometimes(self) -> None:
        """The ledger need not hear of every batch, and a send for each would cost the ticks their time."""
        if self.tape.cursor != self._told_seq and time.monotonic() >= self._progress_due - (
            OPEN_SOONER_S if self.engine.lane.busy else 0.0
        ):
            self.tell()

    def tell(self) -> None:
        """Requests, and how far the host is: the ledger's lane may go so far."""
        engine, cursor = self.engine, self.tape.cursor
        self.link.send(engine.take_requests(), cursor)
        if engine.reports:
            self.link.expect(engine.take_frames())  # only now: nothing waits for it
        self._told_seq = cursor
        self._progress_due = time.monotonic() + PROGRESS_S

    def drain(self) -> None:
        """Take what is on the tape now, for some time."""
        tape, deadline = self.tape, time.monotonic() + DRAIN_S
        until = tape.tail
        while tape.cursor < until and time.monotonic() < deadline and not self.link.diverged:
            self._work(until - tape.cursor)
        self._not_drained = max(0, until - tape.cursor)

    def leave(self) -> None:
        """The strategy's end: its `on_stop`, and what it still wants to say."""
        if not self.link.diverged:
            self._pulse.begin(1)
            self.engine.stop()
            self._pulse.end()
            self.tell()

    def status(self) -> Status:
        """Counts since this host began."""
        engine, link = self.engine, self.link
        return Status(
            cursor=self.tape.cursor,
            ticks=engine.ticks,
            news=engine.news,
            epochs=engine.epochs,
            orders=engine.placed,
            fills=engine.fills,
            denied=engine.denied,
            missed=self.tape.missed,
            errors=engine.errors,
            last_error=engine.last_error,
            kept=link.kept,
            not_drained=self._not_drained,
            diverged=link.diverged,
            over_budget=self._over_budget,
            slowest_ms=self._slowest * 1000,
            counters=dict(link.counters),
            why=engine.why_no_trade(),
            indicators={label: shown(value) for label, value in engine.indicator_values().items()},
        )
