"""The OrderManager's process: the order port, the ledger behind it, the event stream, the log of orders."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from config import Config, resolve
from OrderManager import records
from OrderManager.events import EventServer
from OrderManager.journal import JournalError
from OrderManager.lane_view import ORDERS_IN_A_SNAPSHOT, ORDERS_IN_A_STATUS
from OrderManager.ledger import Ledger
from OrderManager.market import Market
from OrderManager.order_log import OrderLog
from OrderManager.recovery import final_money
from OrderManager.server import (
    PLAIN_STRATEGY,
    Connection,
    Hello,
    Input,
    OrderManagerServer,
    Received,
    SessionDenied,
)
from OrderManager.syncer import Syncer
from runtime.lanes import make_lane
from runtime.loop import EventLoop
from runtime.part import CannotStart, Part
from runtime.run_folder import open_run_folder
from runtime.scheduling import short_turns
from shared_memory_utils import SegmentError
from trading_lib.histogram import Histogram
from trading_lib.lane import Lane
from trading_lib.models import Order, OrderStatus, Report
from trading_lib.portfolio import PortfolioState

ROUND_S: Final = 0.1  # at least so often lanes without a host go on, and the status is looked at
BUSY_ROUND_S: Final = 0.02  # the same while such a lane has an open order
DRAIN_S: Final = 0.3  # how long a stopping OrderManager takes what is still on its way


class Stages:
    """Latency of each stage of an order's way, from the tape record that caused it."""

    def __init__(self) -> None:
        self.unknown = 0  # orders whose record is not on the tape (any more)
        self.histograms = {
            stage: Histogram() for stage in ("tick→book", "book→decision", "decision→order", "tick→order")
        }

    def record(self, received: Received, market: Market) -> None:
        """Count a session order's stages."""
        order = received.order
        if received.strategy == PLAIN_STRATEGY:  # a person's: nobody says when it was decided
            return
        record = market.record(order.cause_seq)
        if record is None:
            self.unknown += 1
            return
        due, booked = record[3], record[4]
        stages = self.histograms
        stages["tick→book"].record(booked - due)
        stages["book→decision"].record(order.sent_wall - booked)
        stages["decision→order"].record(received.wall - order.sent_wall)
        stages["tick→order"].record(received.wall - due)


class Office:
    """Works what comes through the order port: with the ledger of the run that is on, or by saying why not."""

    def __init__(
        self,
        part: Part,
        config: Config,
        loop: EventLoop,
        on_open: Callable[[int], None],
        next_number: Callable[[], int],
    ) -> None:
        self._part = part
        self._on_open = on_open  # is told how many orders a ledger has taken before
        self._next_number = next_number  # counts one that came over the tape
        self._config = config
        self._section = config.OrderManager
        self.log = OrderLog(part)
        self.stages = Stages()
        self.ledger: Ledger | None = None
        self.refused: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()  # reports by status
        self.denials: Counter[str] = Counter()  # by rule
        self._last_lanes: list[dict[str, Any]] = []  # of the ledger that was closed last
        self._counted: Counter[str] = Counter()  # by ledgers that are closed
        self._broken = ""  # why the journal cannot be written …
        self._broken_run = ""  # … of this run: the next one has its own
        self._received: list[Received] = []
        self._reports: list[Report] = []
        section = self._section
        self._syncer = Syncer()
        loop.add(self._syncer.channel, lambda _: self._syncer.finished())  # and so `settle` comes to look
        self.events = EventServer(
            loop, section.host, section.events_port, self._snapshot, section.max_clients
        )

    # ------------------------------------------------------------------------------------- server.Desk

    def welcome(self, client: Connection, hello: Hello) -> tuple[Iterable[bytes], int]:
        """See server.Desk."""
        return self._working_ledger().welcome(client, hello)

    def take(self, client: Connection, inputs: Sequence[Input]) -> None:
        """See server.Desk."""
        received = [found for found in inputs if isinstance(found, Received)]
        self._received += received
        try:
            self._working_ledger().take(client, inputs)
        except SessionDenied as fault:
            if received and not self.refused[str(fault)]:
                self._part.log.error("orders are refused: %s", fault)
            self.refused[str(fault)] += len(received)
            client.hopeless = client.strategy is not None

    def left(self, client: Connection) -> None:
        """See server.Desk."""
        if self.ledger is not None:
            self.ledger.left(client)

    def _working_ledger(self) -> Ledger:
        if self._broken:
            raise SessionDenied(self._broken)
        if self.ledger is None:
            self.look_for_market()
        if self.ledger is None:
            raise SessionDenied(f"there is no market {self._section.shared_memory_name!r} yet")
        return self.ledger

    # ------------------------------------------------------------------------------------------ the run

    def look_for_market(self) -> None:
        """Open the ledger of the run whose tape there is, if there is one."""
        if self.ledger is not None:
            return
        try:
            market = Market(self._section.shared_memory_name)
        except SegmentError:
            return
        try:
            foreign = self._part.run_id not in (None, market.run_id)  # another system's, under the same name
            if foreign or market.run_id == self._broken_run:
                market.close()
                return
            self._broken = ""
            folder = open_run_folder(self._config, market.run_id)
            every = self._section.account_every

            def make(strategy_id: str) -> Lane:
                return make_lane(strategy_id, self._config, market.run_id, account_every=every)

            def publish(number: int, record: records.JournalRecord) -> None:
                self._published(number, record, market.run_id)

            self.ledger = Ledger(
                folder,
                market,
                make,
                self._part.log,
                publish,
                self._resumed_money(),
                self._syncer,
                self._next_number,
            )
            self._on_open(self.ledger.orders)
            self._part.log.info("ledger of run %s, from record %d", market.run_id, market.tail)
        except (JournalError, OSError) as fault:
            market.close()
            self._break(market.run_id, f"the journal cannot be used: {fault}")

    def _resumed_money(self) -> Mapping[str, PortfolioState]:
        earlier = self._config.run.resume
        if earlier is None:
            return {}
        try:
            return final_money(resolve(earlier) / "journal.bin")
        except JournalError as fault:
            raise CannotStart(f"run.resume = {earlier!r}: {fault}") from None

    def _break(self, run_id: str, reason: str) -> None:
        """Without a journal nothing is accepted, and everybody hears about it."""
        self._broken, self._broken_run = reason, run_id
        self._part.log.error("ORDERS ARE REFUSED: %s", reason)

    def _published(self, number: int, record: records.JournalRecord, run_id: str) -> None:
        self.events.publish(number, record, run_id)
        if isinstance(record, Report):
            self._reports.append(record)
        elif isinstance(record, records.Taken) and record.by_operator:
            assert isinstance(record.request, Order)
            self._received.append(Received(record.number, record.request, record.strategy_id, record.wall))

    def settle(self) -> None:
        """After a round of the loop: let the lanes go on, then log what has happened."""
        ledger = self.ledger
        if ledger is not None and not self._broken:
            try:
                ledger.settle()
            except JournalError as fault:
                self._break(ledger.market.run_id, str(fault))
        self.events.flush()
        self._log(ledger)
        if ledger is not None and ledger.market.closed:
            self._part.log.info("tape of run %s has ended", ledger.market.run_id)
            self.close_ledger()

    def _log(self, ledger: Ledger | None) -> None:
        if self._received:
            if ledger is not None:
                for received in self._received:
                    self.stages.record(received, ledger.market)
            self.log.orders(self._received)
            self._received = []
        if self._reports:
            for report in self._reports:
                self.outcomes[str(report.status)] += 1
                if report.status is OrderStatus.REJECTED:
                    self.denials[report.reason.partition(":")[0]] += 1
            self.log.reports(self._reports)
            self._reports = []
        self.log.write_sometimes()

    @property
    def pause(self) -> float:
        """How long the loop may sleep, seconds."""
        if self.ledger is None or self._broken:
            return ROUND_S
        if self.ledger.behind:
            return 0.0
        return BUSY_ROUND_S if self.ledger.busy else ROUND_S

    def close_ledger(self) -> None:
        """Run every lane to the tape's head and close the run's journal."""
        ledger = self.ledger
        if ledger is None:
            return
        try:
            if not self._broken:
                ledger.finish()
        except JournalError as fault:
            self._break(ledger.market.run_id, str(fault))
        with contextlib.suppress(JournalError):  # one that is broken has been told of
            ledger.close()
        self._part.log.info(
            "ledger of run %s closed: %s",
            ledger.market.run_id,
            _counted(ledger.counters) or "nothing counted",
        )
        self._log(ledger)
        self.events.flush()
        self._last_lanes = ledger.summary(ORDERS_IN_A_STATUS)
        self._counted += ledger.counters
        ledger.market.close()
        self.ledger = None

    def close(self) -> None:
        """The end: see `close_ledger`."""
        self.close_ledger()
        self._syncer.close()
        self.events.close()

    # ------------------------------------------------------------------------------------------- status

    def _snapshot(self) -> dict[str, Any]:
        """The lanes as they are, for who joins the event stream."""
        ledger = self.ledger
        if ledger is None:
            return {"type": "snapshot", "seq": -1, "run_id": "", "lanes": []}
        return {
            "type": "snapshot",
            "seq": ledger.journal.next_record - 1,
            "run_id": ledger.market.run_id,
            "lanes": ledger.summary(ORDERS_IN_A_SNAPSHOT),
        }

    def status(self) -> dict[str, Any]:
        """Counts since the start, for the supervisor."""
        ledger = self.ledger
        return {
            "lanes": ledger.summary(ORDERS_IN_A_STATUS) if ledger is not None else self._last_lanes,
            "outcomes": dict(self.outcomes),
            "denials": dict(self.denials),
            "refused": dict(self.refused),
            "broken": self._broken,
            "listeners": self.events.clients,
            "event_counters": dict(self.events.counters),
            "ledger_counters": dict(self._counted + ledger.counters if ledger else self._counted),
        }


def _counted(counters: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counters.items()) if count)


def serve(part: Part, config: Config) -> None:
    """Run the OrderManager until it is told to stop."""
    section = config.OrderManager
    short_turns(part.name)
    loop = EventLoop()
    part.watch(loop)
    office = Office(
        part, config, loop, lambda orders: server.count_from(orders), lambda: server.next_number()
    )
    server = OrderManagerServer(
        section.host,
        section.port,
        loop=loop,
        desk=office,
        on_rejected=office.log.rejected,
        max_order_qty=section.risk.max_order_qty,
        max_clients=section.max_clients,
    )
    office.look_for_market()
    part.ready(f"orders on {section.host}:{section.port}, events on {section.events_port}")
    try:
        while not part.stopping:
            loop.run_once(office.pause)
            office.settle()
            server.drop_hopeless()
            if part.status_due():
                office.look_for_market()
                office.log.next_second()
                part.report(_status(server, office))
        server.drain(DRAIN_S, office.settle)
        office.close()
        office.log.next_second()
        part.report(_status(server, office))
    finally:
        office.log.close()
        server.close()
        loop.close()


def _status(server: OrderManagerServer, office: Office) -> Mapping[str, Any]:
    """Counts since the start, for the supervisor."""
    stages = office.stages
    return {
        "orders": server.orders,
        "last_orders": list(office.log.last),
        "rejected": dict(server.rejected),
        "clients": server.clients,
        "sessions": server.sessions,
        "counters": dict(server.counters),
        "without_record": stages.unknown,
        "latency_us": {name: histogram.summary_us() for name, histogram in stages.histograms.items()},
        "histograms": {name: histogram.to_dict() for name, histogram in stages.histograms.items()},
        **office.status(),
    }
