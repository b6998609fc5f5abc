"""Strategy and order manager of the pyzmq pipeline when they do the work of ours: see zmq_pipeline.py.

The strategy is our engine: a frozen struct for every tick, `on_tick` of the same strategy file, the same lane with
its checks and fills, client order ids, and every report of the order manager compared with its own. The order
manager parses what our wire carries, has the order in our journal and on the disk before it acknowledges it, brings
our lane to it by the same ticks (it subscribes to the book, too), journals and sends the reports, and writes the
same line to its log. Both sockets between the two are TCP, as ours is.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import zmq

from benchmarks.system import STRATEGY
from benchmarks.zmq_pipeline import END, IDLE_MS, SYMBOLS, UPDATE, WINDOW, Options, Stages, subscriber
from config import ROOT, Config
from logger import close_logger, get_logger, log_lines
from OrderManager import records
from OrderManager.journal import Journal
from OrderManager.order_log import report_line
from OrderManager.server import Received
from runtime.lanes import limits_of, terms_of
from trading_lib import order_wire
from trading_lib.engine import Engine
from trading_lib.histogram import Histogram
from trading_lib.lane import Lane, Record
from trading_lib.lane_state import take_head
from trading_lib.models import Kind, Order
from trading_lib.strategy_file import load_strategy

STRATEGY_ID = "every_nth_tick"
_TICK = int(Kind.TICK)


def _lane() -> Lane:
    """What our configuration makes of a lane, when it says nothing."""
    config = Config(SYMBOLS)
    return Lane(
        STRATEGY_ID, terms_of(config), limits_of(config), cash=config.OrderManager.execution.initial_cash
    )


def _record(message: bytes) -> Record:
    seq, slot, price, ts, due, booked = UPDATE.unpack(message)
    return seq, ts, price, due, booked, slot, _TICK


class _Session:
    """The strategy's end: what it has sent, what it expects to hear. Raises RuntimeError where both differ."""

    def __init__(self, replies: "zmq.Socket[bytes]") -> None:
        self._replies = replies
        self._unacknowledged: deque[Order] = deque()
        self._expected: deque[bytes] = deque()

    def sent(self, order: Order) -> None:
        self._unacknowledged.append(order)

    def expect(self, frames: bytes) -> None:
        self._expected.extend(order_wire.split_frames(frames))

    def hear(self) -> None:
        """Whatever has come by now."""
        try:
            while True:
                for frame in order_wire.split_frames(self._replies.recv(zmq.NOBLOCK)):
                    self._take(frame)
        except zmq.Again:
            return

    def _take(self, frame: bytes) -> None:
        if order_wire.is_acknowledgement(frame):
            last = order_wire.parse_acknowledgement(frame)
            kept = self._unacknowledged
            while kept and (kept[0].cause_seq, kept[0].index) <= last:
                kept.popleft()
        elif self._expected.popleft() != frame:
            raise RuntimeError(f"the order manager reports {frame!r}")


def strategy(options: Options) -> dict[str, Histogram]:
    """Our engine on every tick; an order on the last of each burst."""
    path = ROOT / STRATEGY
    params = {"every": options.ticks_per_burst, "window": WINDOW}
    engine = Engine(
        STRATEGY_ID,
        load_strategy(path),
        params,
        SYMBOLS.__getitem__,
        sys.exit,
        lane=_lane(),
        wall=time.time_ns,
    )
    with zmq.Context() as context, context.socket(zmq.PUSH) as orders, context.socket(zmq.PULL) as replies:
        orders.setsockopt(zmq.SNDHWM, 0)
        orders.connect(options.orders)
        replies.setsockopt(zmq.RCVHWM, 0)
        replies.bind(options.replies)
        session = _Session(replies)
        with subscriber(context, options.updates) as updates:
            receive, send = updates.recv, orders.send
            while message := receive():
                engine.consume((_record(message),))
                if not engine.requests:
                    continue
                for order in engine.take_requests():
                    assert isinstance(order, Order)
                    send(order_wire.encode_request(order))
                    session.sent(order)
                session.expect(engine.take_frames())
                session.hear()
            orders.send(END)
    return {}


class _Desk:
    """The order manager's lane, at the place of its orders."""

    def __init__(self, updates: "zmq.Socket[bytes]") -> None:
        self._updates = updates
        self.lane = _lane()
        for symbol in SYMBOLS:
            self.lane.broker.watch_series(symbol)
        self.cause: Record | None = None  # the record of the last order

    def work(self, order: Order) -> None:
        """Bring the lane to the order's record, and give it the order."""
        self.lane.advance(self._until(order.cause_seq), SYMBOLS)
        self.lane.submit(order)

    def _until(self, seq: int) -> Iterator[Record]:
        record = self.cause
        while record is None or record[0] < seq:
            record = _record(self._updates.recv())
            yield record
        self.cause = record


def order_manager(options: Options) -> dict[str, Histogram]:
    """Take the time, then what our OrderManager does with an order."""
    stages, folder = Stages(options.warm), Path(options.folder)
    log = get_logger("order_manager", folder, console=False)
    number = 0
    with (
        zmq.Context() as context,
        Journal.create(folder / "journal.bin", "pyzmq") as journal,
        context.socket(zmq.PUSH) as replies,
        context.socket(zmq.PULL) as orders,
    ):
        replies.setsockopt(zmq.SNDHWM, 0)
        replies.setsockopt(zmq.LINGER, 0)
        replies.connect(options.replies)
        orders.setsockopt(zmq.RCVHWM, 0)
        orders.setsockopt(zmq.RCVTIMEO, IDLE_MS)
        orders.bind(options.orders)
        with subscriber(context, options.updates) as updates:
            desk = _Desk(updates)
            lane = desk.lane
            while message := orders.recv():
                wall = time.time_ns()
                order = order_wire.parse_order(message[:-1])
                number += 1
                received = Received(number, order, STRATEGY_ID, wall)
                journal.append(records.encode(records.Taken(STRATEGY_ID, number, wall, order)))
                journal.commit()
                replies.send(order_wire.encode_acknowledgement(order.cause_seq, order.index))
                desk.work(order)
                lines = [str(received)]
                if lane.reports:
                    encoded = [records.encode(report) for report in lane.reports]
                    journal.append_many([*encoded, records.encode(take_head(lane))])
                    journal.write()
                    replies.send(b"".join(map(order_wire.frame_report, encoded)))
                    lines += [line for report in lane.reports if (line := report_line(report))]
                    lane.reports.clear()
                log_lines(log, lines)
                assert desk.cause is not None
                stages.record(desk.cause[3], desk.cause[4], order.sent_wall, wall)
    close_logger(log)
    return stages.histograms
