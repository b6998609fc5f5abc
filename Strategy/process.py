"""The Strategy's process: wakes, takes every new record from the tape, lets the host work, sends its orders."""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from config import Config, resolve
from logger import log_lines
from runtime.lanes import make_lane
from runtime.loop import Reminder
from runtime.part import CannotStart, Part
from runtime.run_folder import read_token, run_folder
from shared_memory_utils import RECORD, SegmentError, SharedPriceBook, TapeReader
from Strategy.order_link import OrderLink
from trading_lib.engine import Engine
from trading_lib.lane_state import LaneState, restore
from trading_lib.strategy_file import StrategyError, load_strategy

BATCH: Final = 256  # records between two sends of orders, at most
BATCH_S: Final = 0.002  # a batch that took longer makes the next one half as long: orders do not wait for it
DRAIN_S: Final = 0.2  # for what is on the tape when stopping; the rest is counted
ROUND_S: Final = 0.05  # so often a Strategy looks round, busy or asleep (stop, order link, new tape)
PROGRESS_S: Final = 0.02  # the ledger hears at least so often how far the host is, while the tape moves …
OPEN_SOONER_S: Final = 0.018  # … and so much sooner while an order is open: every 2 ms
JOIN_S: Final = 0.002  # between two looks for the ledger's answer
SEARCH_S: Final = 0.02  # between two looks for a tape that is not there
FAREWELL_S: Final = 0.2  # for the last orders when stopping


class Attachment:
    """A tape and its price book, both of the same run."""

    def __init__(self, name: str) -> None:
        self.tape = TapeReader(name)
        try:
            self.book = SharedPriceBook(name=name)
        except SegmentError:
            self.tape.close()
            raise
        if self.book.run_id != self.tape.run_id or self.book.closed:
            self.close()
            raise SegmentError(f"{name}: the tape and the price book are of different runs")

    def symbol_of(self, slot: int) -> str:
        """The symbol of a slot."""
        return self.book.symbols[slot]

    @property
    def finished(self) -> bool:
        """Whether everything was read and nothing will follow."""
        return self.tape.closed and self.tape.cursor >= self.tape.tail

    def close(self) -> None:
        """Let go of both."""
        self.tape.close()
        self.book.close()


class StrategyProcess:
    """Follows one tape after another with one strategy."""

    def __init__(self, part: Part, config: Config) -> None:
        section = config.Strategy
        self._part = part
        self._config = config
        self._entry = section.entries[0]
        self._name = section.shared_memory_name
        try:
            self._module = load_strategy(resolve(self._entry.path))
        except StrategyError as fault:
            raise CannotStart(f"Strategy.strategies: {fault}") from None
        self._link = OrderLink(
            section.order_manager_host, section.order_manager_port, self._entry.id, part.log
        )
        self._reminder = Reminder(
            part.log.warning, f"no tape {self._name!r} (Strategy.shared_memory_name) for 10 s; still looking"
        )
        self._attached: Attachment | None = None
        self._host: Engine | None = None
        self._missed_before = self._not_drained = 0
        self._batch = BATCH
        self._progress_due = 0.0
        self._told_seq = -1
        self._stopped = ""  # why the strategy is not called any more

    def run(self) -> None:
        """Until told to stop; then drain what is on the tape."""
        part = self._part
        while not part.stopping:
            self._housekeeping()
            if self._attached is None and not self._attach():
                time.sleep(SEARCH_S)
            elif self._host is None and not self._join():
                time.sleep(JOIN_S)
            elif self._stopped:
                time.sleep(ROUND_S)
            else:
                self._follow(time.monotonic() + ROUND_S)
        self._drain()

    def _housekeeping(self) -> None:
        """What need not be looked at for every record: order link, supervisor, status."""
        link = self._link
        link.tend()
        if link.diverged and not self._stopped:
            self._stopped = f"its ledger differs: {link.diverged}"
            self._part.log.error("%s STOPPED: %s", self._entry.id, self._stopped)
        if link.refused and self._host is not None and not self._stopped:
            self._part.log.warning("%s begins anew: %s", self._entry.id, link.refused)
            self._detach("its ledger does not want it back")
        self._part.check_link()
        if self._part.status_due():
            self._part.report(self.status())

    def _attach(self) -> bool:
        """Look for a tape, and ask the ledger of its run for this strategy's lane."""
        try:
            attached = Attachment(self._name)
        except SegmentError:
            self._reminder.missing()
            return False
        run_id = attached.tape.run_id
        token = read_token(run_folder(self._config, run_id))
        if self._part.run_id not in (None, run_id) or token is None:  # another system's; or nobody's yet
            attached.close()
            self._reminder.missing()
            return False
        self._reminder.found()
        self._attached = attached
        self._link.begin(token, attached.tape.cursor)
        return True

    def _join(self) -> bool:
        """Begin where the ledger says, with the position and the open orders it says."""
        attached, welcome = self._attached, self._link.welcome
        assert attached is not None
        if welcome is None:
            if attached.tape.closed:
                self._detach("it was closed")
            return False
        lane = make_lane(self._entry.id, self._config, attached.tape.run_id)
        restore(lane, msgspec.json.decode(welcome.lane, type=LaneState))
        try:
            self._host = Engine(
                self._entry.id,
                self._module,
                self._entry.params,
                attached.symbol_of,
                self._part.log.warning,
                wanted=self._entry.symbols,
                lane=lane,
                wall=time.time_ns,
            )
        except StrategyError as fault:
            raise CannotStart(f"strategy {self._entry.id}: {fault}") from None
        attached.tape.cursor = self._told_seq = welcome.next_seq
        self._link.joined(lane.executions, welcome.next_seq)
        self._part.ready(
            f"{self._entry.id} on tape {self._name} of run {attached.tape.run_id}, "
            f"from record {welcome.next_seq}"
        )
        return True

    @property
    def _attached_missed(self) -> int:
        return self._attached.tape.missed if self._attached is not None else 0

    def _follow(self, until: float) -> None:
        """Work and sleep on the tape until `until`, or a stop, or the tape's end."""
        attached, host = self._attached, self._host
        assert attached is not None and host is not None
        part, tape = self._part, attached.tape
        while not part.stopping and time.monotonic() < until:
            if not self._work(tape, host):
                self._sleep(tape, host)
            if self._link.diverged:
                return
        if attached.finished:
            self._tell(host, tape.cursor)
            self._detach("it has ended")

    def _sleep(self, tape: TapeReader, host: Engine) -> None:
        """Until the tape moves; but not for long before the ledger has heard of the last batch."""
        if tape.cursor == self._told_seq:
            tape.wait(ROUND_S)  # which returns at once if there is more by now
        else:
            tape.wait(PROGRESS_S - OPEN_SOONER_S if host.lane.busy else PROGRESS_S)

    def _work(self, tape: TapeReader, host: Engine) -> bool:
        """One batch; False when it has probably taken all there was."""
        limit, missed = self._batch, tape.missed
        packed = tape.take(limit)
        if not packed:
            self._tell_sometimes(host, tape.cursor)
            return False
        began = time.monotonic()
        if tape.missed != missed:
            first = tape.cursor - len(packed) // RECORD.size
            self._link.missed(host.lane.next_seq, first)
            host.missed(first)
        try:
            host.consume(RECORD.iter_unpack(packed))
        except StrategyError as fault:
            raise CannotStart(f"strategy {self._entry.id}: {fault}") from None
        if host.requests:
            self._tell(host, tape.cursor)
        else:
            self._tell_sometimes(host, tape.cursor)
        if time.monotonic() - began > BATCH_S:
            self._batch = max(1, limit // 2)
        elif limit < BATCH:
            self._batch = limit * 2
        if host.lines:
            log_lines(self._part.log, host.take_lines())
        return len(packed) == limit * RECORD.size

    def _tell_sometimes(self, host: Engine, cursor: int) -> None:
        """The ledger need not hear of every batch, and a send for each would cost the ticks their time."""
        now = time.monotonic()
        if cursor != self._told_seq and now >= self._progress_due - (
            OPEN_SOONER_S if host.lane.busy else 0.0
        ):
            self._tell(host, cursor)

    def _tell(self, host: Engine, cursor: int) -> None:
        """Requests, and how far the host is: the ledger's lane may go so far."""
        self._link.send(host.take_requests(), cursor)
        if host.reports:
            self._link.expect(host.take_frames())  # only now: nothing waits for it
        self._told_seq = cursor
        self._progress_due = time.monotonic() + PROGRESS_S

    def _detach(self, why: str) -> None:
        assert self._attached is not None
        self._missed_before += self._attached.tape.missed
        self._part.log.info("left tape %s at record %d: %s", self._name, self._attached.tape.cursor, why)
        self._attached.close()
        self._attached = None
        self._host = None

    def _drain(self) -> None:
        """Take what is on the tape now, then hang up."""
        if self._attached is not None and self._host is not None and not self._stopped:
            tape, until, deadline = self._attached.tape, self._attached.tape.tail, time.monotonic() + DRAIN_S
            while tape.cursor < until and time.monotonic() < deadline:
                self._work(tape, self._host)
            self._not_drained = max(0, until - tape.cursor)
            if self._not_drained:
                self._part.log.warning("stopped %d records before the tape's end", self._not_drained)
            self._tell(self._host, tape.cursor)
        self._link.close(FAREWELL_S)
        self._part.report(self.status())
        if self._attached is not None:
            self._attached.close()

    def status(self) -> Mapping[str, Any]:
        """Counts since the start, for the supervisor."""
        host, attached = self._host, self._attached
        return {
            "strategy": self._entry.id,
            "attached": attached is not None,
            "ticks": host.ticks if host else 0,
            "news": host.news if host else 0,
            "epochs": host.epochs if host else 0,
            "orders": host.placed if host else 0,
            "fills": host.fills if host else 0,
            "denied": host.denied if host else 0,
            "stopped": self._stopped,
            "missed": self._missed_before + self._attached_missed,
            "lag": attached.tape.tail - attached.tape.cursor if attached else 0,
            "errors": host.errors if host else 0,
            "last_error": host.last_error if host else "",
            "kept": self._link.kept,
            "not_drained": self._not_drained,
            "counters": dict(self._link.counters),
        }


def serve(part: Part, config: Config) -> None:
    """Run the Strategy until it is told to stop."""
    part.die_with_supervisor()  # user code may never return to where the link is looked at
    StrategyProcess(part, config).run()
