"""The OrderManager's process: the order port, the log of orders, and how long each took to get here."""

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from config import Config
from logger import log_lines
from OrderManager.server import OrderManagerServer, Received
from runtime.loop import EventLoop
from runtime.part import Part
from shared_memory_utils import SegmentError, TapeReader
from trading_lib import wire
from trading_lib.histogram import Histogram

ROUND_S: Final = 0.5  # at least so often the status is looked at
DRAIN_S: Final = 0.3  # how long a stopping OrderManager takes what is still on its way
CONSOLE_ORDERS_PER_S: Final = 1000  # above this the console summarises; the log keeps every line
LAST_SHOWN: Final = 5  # orders in the status
REJECTIONS_SHOWN: Final = 20  # a second, in the log; the rest is only counted


class Stages:
    """Latency of each stage of an order's way, from the tape record that caused it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tape: TapeReader | None = None
        self.unknown = 0  # orders whose record is not on the tape (any more)
        self.histograms = {
            stage: Histogram() for stage in ("tick→book", "book→decision", "decision→order", "tick→order")
        }

    def tend(self) -> None:
        """Attach to the tape when there is one, let go of a closed one."""
        if self._tape is not None and self._tape.closed:
            self._tape.close()
            self._tape = None
        if self._tape is None:
            with contextlib.suppress(SegmentError):
                self._tape = TapeReader(self._name)

    def record(self, received: Received) -> None:
        """Count a session order's stages."""
        order = received.order
        if order.cause_seq < 0:
            return
        if self._tape is None:
            self.tend()
        record = self._tape.record(order.cause_seq) if self._tape is not None else None
        if record is None:
            self.unknown += 1
            return
        due, booked = record[3], record[4]
        stages = self.histograms
        stages["tick→book"].record(booked - due)
        stages["book→decision"].record(order.sent_wall - booked)
        stages["decision→order"].record(received.wall - order.sent_wall)
        stages["tick→order"].record(received.wall - due)

    def close(self) -> None:
        """Let go of the tape."""
        if self._tape is not None:
            self._tape.close()


class OrderLog:
    """One numbered line per order in the log; on the console of a part that runs alone, up to a rate."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._console = part.prints
        self._this_second = 0
        self._rejections = 0
        self.last: deque[str] = deque(maxlen=LAST_SHOWN)

    def orders(self, batch: Sequence[Received]) -> None:
        """Log what one read brought."""
        lines = [str(received) for received in batch]
        log_lines(self._part.log, lines)
        self.last.extend(lines[-LAST_SHOWN:])
        if self._console:
            room = CONSOLE_ORDERS_PER_S - self._this_second
            if room > 0:
                print("\n".join(lines[:room]), flush=True)
            self._this_second += len(lines)

    def rejected(self, rejection: wire.Rejection, who: str) -> None:
        """Log a rejection, unless this second has had its share of them."""
        self._rejections += 1
        if self._rejections <= REJECTIONS_SHOWN:
            self._part.log.warning("rejected from %s: %s: %s", who, rejection.reason, rejection.detail)

    def next_second(self) -> None:
        """Summarise what was not shown."""
        if self._console and self._this_second > CONSOLE_ORDERS_PER_S:
            print(f"… and {self._this_second - CONSOLE_ORDERS_PER_S:,} more orders this second", flush=True)
        if self._rejections > REJECTIONS_SHOWN:
            self._part.log.warning("rejected: %d more", self._rejections - REJECTIONS_SHOWN)
        self._this_second = self._rejections = 0


def serve(part: Part, config: Config) -> None:
    """Run the OrderManager until it is told to stop."""
    section = config.OrderManager
    loop = EventLoop()
    part.watch(loop)
    log = OrderLog(part)
    stages = Stages(section.shared_memory_name)

    def on_orders(batch: Sequence[Received]) -> None:
        for received in batch:
            stages.record(received)
        log.orders(batch)

    server = OrderManagerServer(
        section.host,
        section.port,
        loop=loop,
        on_orders=on_orders,
        on_rejected=log.rejected,
        max_order_qty=section.risk.max_order_qty,
        max_clients=section.max_clients,
    )
    part.ready(f"orders on {section.host}:{section.port}")
    try:
        while not part.stopping:
            loop.run_once(ROUND_S)
            if part.status_due():
                stages.tend()
                log.next_second()
                part.report(_status(server, stages, log))
        server.drain(DRAIN_S)
        log.next_second()
        part.report(_status(server, stages, log))
    finally:
        server.close()
        stages.close()
        loop.close()


def _status(server: OrderManagerServer, stages: Stages, log: OrderLog) -> Mapping[str, Any]:
    """Counts since the start, for the supervisor."""
    return {
        "orders": server.orders,
        "last_orders": list(log.last),
        "rejected": dict(server.rejected),
        "clients": server.clients,
        "sessions": server.sessions,
        "counters": dict(server.counters),
        "without_record": stages.unknown,
        "latency_us": {name: histogram.summary_us() for name, histogram in stages.histograms.items()},
        "histograms": {name: histogram.to_dict() for name, histogram in stages.histograms.items()},
    }
