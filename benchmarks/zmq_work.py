"""Strategy and order manager of the pyzmq pipeline when they do the work of ours: see zmq_pipeline.py.

The strategy is our engine: a frozen struct for every tick, `on_tick` of the same strategy file, the same lane with
its checks and fills, client order ids, and every report of the order manager compared with its own. The order
manager takes all orders there are, parses what our wire carries, has them in our journal with one fdatasync before
one acknowledgement, brings our lane to each of them by the same ticks (it subscribes to the book, too), journals
reports, rows of the account and the lane's head, sends the reports, and writes the same log. Both sockets between
the two are TCP, as ours is. What ours has beside that is listed in zmq_pipeline.py.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import zmq

from benchmarks.system import STRATEGY
from benchmarks.zmq_pipeline import END, SYMBOLS, UPDATE, WINDOW, Options, Stages, puller, pusher, subscriber
from config import ROOT, Config
from logger import close_logger, get_logger
from OrderManager import records
from OrderManager.journal import Journal
from OrderManager.order_log import OrderLog
from OrderManager.server import Received
from runtime.lanes import make_lane
from trading_lib import order_wire
from trading_lib.engine import Engine
from trading_lib.histogram import Histogram
from trading_lib.lane import Lane, Record
from trading_lib.lane_state import take_head
from trading_lib.models import Kind, Order, Report
from trading_lib.strategy_file import load_strategy

STRATEGY_ID: Final = "every_nth_tick"
AT_ONCE: Final = 512  # orders to a commit, as in our ledger: whoever waits is told after some 15 ms
ANSWER_MS: Final = 10_000  # the order manager is behind by less than this when the last order is sent
_TICK: Final = int(Kind.TICK)


def _lane(config: Config, account_every: int = 0) -> Lane:
    """The lane that our configuration makes when it says nothing."""
    return make_lane(STRATEGY_ID, config, "", account_every=account_every, read=dict)


def _record(message: bytes) -> Record:
    seq, slot, price, ts, due, booked = UPDATE.unpack(message)
    return seq, ts, price, due, booked, slot, _TICK


class _Session:
    """The strategy's end: what it has sent, what it expects to hear. Raises RuntimeError where both differ."""

    def __init__(self, replies: "zmq.Socket[bytes]") -> None:
        self._replies = replies
        self._unacknowledged: deque[Order] = deque()
        self._expected: deque[bytes] = deque()
        self._compared = 0  # reports

    def sent(self, order: Order) -> None:
        self._unacknowledged.append(order)

    def expect(self, frames: bytes) -> None:
        self._expected.extend(order_wire.split_frames(frames))

    def hear(self) -> None:
        """Whatever has come by now."""
        try:
            while True:
                self._take(self._replies.recv(zmq.NOBLOCK))
        except zmq.Again:
            return

    def finish(self) -> None:
        """Whatever comes until the order manager ends: it has to be all that was expected by the last order."""
        try:
            while replies := self._replies.recv():
                self._take(replies)
        except zmq.Again:
            raise RuntimeError(f"the order manager is silent for {ANSWER_MS / 1000:g} s") from None
        if self._unacknowledged:
            raise RuntimeError(f"{len(self._unacknowledged)} orders are not acknowledged")
        if self._expected:
            raise RuntimeError(f"{len(self._expected)} reports have not come")
        if not self._compared:
            raise RuntimeError("no report was compared")

    def _take(self, frames: bytes) -> None:
        for frame in order_wire.split_frames(frames):
            if order_wire.is_acknowledgement(frame):
                last = order_wire.parse_acknowledgement(frame)
                kept = self._unacknowledged
                while kept and (kept[0].cause_seq, kept[0].index) <= last:
                    kept.popleft()
            elif not self._expected or self._expected.popleft() != frame:
                raise RuntimeError(f"{frame!r}: so says the order manager, not the strategy's own lane")
            else:
                self._compared += 1


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
        lane=_lane(Config(SYMBOLS)),
        wall=time.time_ns,
    )
    with (
        zmq.Context() as context,
        pusher(context, options.orders, ANSWER_MS) as orders,
        puller(context, options.replies, ANSWER_MS) as replies,
    ):
        session = _Session(replies)
        try:
            with subscriber(context, options.updates) as updates:
                _follow(updates, engine, orders, session)
        finally:
            orders.send(END)  # after a fault, too: the order manager ends, and the fault is what is told
        session.finish()
    return {}


def _follow(
    updates: "zmq.Socket[bytes]", engine: Engine, orders: "zmq.Socket[bytes]", session: _Session
) -> None:
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


class _Desk:
    """What the order manager does with orders. Owns its lane; journal, sockets, log and stages are somebody's."""

    def __init__(
        self,
        journal: Journal,
        updates: "zmq.Socket[bytes]",
        replies: "zmq.Socket[bytes]",
        log: OrderLog,
        stages: Stages,
    ) -> None:
        config = Config(SYMBOLS)
        self._lane = _lane(config, config.OrderManager.account_every)
        for symbol in SYMBOLS:
            self._lane.broker.watch_series(symbol)
        self._journal, self._updates, self._replies = journal, updates, replies
        self._log, self._stages = log, stages
        self._number = 0  # orders so far
        self._cause: Record | None = None  # the record of the last one

    def take(self, messages: Sequence[tuple[bytes, int]]) -> None:
        """Orders, each with the wall clock on its arrival: on the disk, acknowledged, worked, reported, logged."""
        batch = [
            Received(number, order_wire.parse_order(message[:-1]), STRATEGY_ID, wall)
            for number, (message, wall) in enumerate(messages, self._number + 1)
        ]
        self._number += len(batch)
        self._acknowledge(batch)
        for _, order, _, wall in batch:
            self._lane.advance(self._until(order.cause_seq), SYMBOLS)
            self._lane.submit(order)
            assert self._cause is not None
            self._stages.record(self._cause[3], self._cause[4], order.sent_wall, wall)
        reports = self._collect()
        self._log.orders(batch)
        self._log.reports(reports)
        self._log.write_sometimes()

    def _acknowledge(self, batch: Sequence[Received]) -> None:
        taken = (records.Taken(strategy, number, wall, order) for number, order, strategy, wall in batch)
        self._journal.append_many(map(records.encode, taken))
        self._journal.commit()
        last = batch[-1].order
        self._replies.send(order_wire.encode_acknowledgement(last.cause_seq, last.index))

    def _until(self, seq: int) -> Iterator[Record]:
        record = self._cause
        while record is None or record[0] < seq:
            record = _record(self._updates.recv())
            yield record
        self._cause = record

    def _collect(self) -> Sequence[Report]:
        """Journal what the lane has done, send its reports, and return them."""
        lane = self._lane
        if not lane.reports and not lane.accounts:
            return ()
        reports = lane.reports.copy()
        encoded = list(map(records.encode, reports))
        accounts = map(records.encode, lane.accounts)
        self._journal.append_many([*encoded, *accounts, records.encode(take_head(lane))])
        self._journal.write()
        if encoded:
            self._replies.send(b"".join(map(order_wire.frame_report, encoded)))
        lane.reports.clear()
        lane.accounts.clear()
        return reports


def _drain(orders: "zmq.Socket[bytes]") -> Iterator[tuple[bytes, int]]:
    """Wait for a message; it and those that are there, too, each with its time. END is the last there is."""
    message, wall = orders.recv(), time.time_ns()
    yield message, wall
    for _ in range(AT_ONCE - 1):
        if message == END:
            return
        try:
            message, wall = orders.recv(zmq.NOBLOCK), time.time_ns()
        except zmq.Again:
            return
        yield message, wall


def order_manager(options: Options) -> dict[str, Histogram]:
    """Take the time, then what our OrderManager does with orders."""
    stages, folder = Stages(options.warm), Path(options.folder)
    log = get_logger("order_manager", folder, console=False)
    part: Any = SimpleNamespace(log=log, prints=False)
    order_log = OrderLog(part)
    with (
        zmq.Context() as context,
        Journal.create(folder / "journal.bin", "pyzmq") as journal,
        pusher(context, options.replies, ANSWER_MS) as replies,
        puller(context, options.orders) as orders,
        subscriber(context, options.updates) as updates,
    ):
        desk, ended = _Desk(journal, updates, replies, order_log, stages), False
        while not ended:
            messages = list(_drain(orders))
            if messages[-1][0] == END:
                messages.pop()
                ended = True
            if messages:
                desk.take(messages)
        replies.send(END)
    order_log.write()
    close_logger(log)
    return stages.histograms
