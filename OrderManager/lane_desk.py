"""A lane at the ledger: its queue of accepted requests, its session, and what it has told its host."""

import time
from bisect import insort
from collections import deque
from collections.abc import Iterator
from typing import Final

from OrderManager.market import Market
from OrderManager.server import Connection
from trading_lib import order_wire
from trading_lib.broker import NEVER
from trading_lib.lane import Lane, Request
from trading_lib.models import Account, Report
from trading_lib.standing import Standing
from trading_lib.tally import Tally

GRACE_S: Final = 5.0  # a lost host may come back for so long before its lane runs on without it
REPORTS_KEPT: Final = 100_000  # for a host that comes back and asks for what it missed

RequestId = tuple[int, int]


class LaneDesk:
    """Owns a lane. `limit` is how far its host has come on the tape; None for one without a host."""

    def __init__(self, lane: Lane, limit: int | None = None) -> None:
        self.lane = lane
        self.standing = Standing()  # after a restart of the OrderManager of what its journal still tells
        self.tally = Tally(lane.multipliers, known=not lane.portfolio.positions)
        self.queue: deque[Request] = deque()  # accepted, not yet submitted: their records were not processed
        self.last_id: RequestId = lane.last_id
        self.client: Connection | None = None
        self.limit = limit
        self.lost_at: float | None = None  # when the host went without a word, monotonic
        self.to_acknowledge = False
        self._acknowledged_at: deque[tuple[int, RequestId]] = deque()  # once so many records are durable
        self._told: deque[tuple[int, bytes]] = deque(maxlen=REPORTS_KEPT)

    def look(self) -> None:
        """Take the lane's money as it is now into its standing, beside its accounts, which may be far apart."""
        lane = self.lane
        if lane.ts <= 0 or not lane.has_result:
            return
        lane.equity()  # marks every position
        money = lane.portfolio
        self.standing.add(
            Account(
                *(lane.strategy_id, lane.epoch, lane.seq, lane.ts, "interval", "", 0.0),
                *(money.positions, *money.summary()),
            )
        )

    def begin_tape(self) -> None:
        """The tape began anew inside the run: what it says first ends the epoch of the old one."""
        lane = self.lane
        lane.seq = lane.epoch_seq = lane.blind_below = -1
        lane.next_seq = 0
        lane.next_account = min(lane.next_account, 0) if lane.next_account != NEVER else NEVER
        self.last_id = lane.last_id = (-1, -1)
        self.queue.clear()
        self._acknowledged_at.clear()
        self.to_acknowledge = False

    def accept(self, request: Request) -> bool:
        """Queue a request; False for one whose id was seen before: it is answered, never executed again."""
        self.to_acknowledge = True
        request_id = (request.cause_seq, request.index)
        if request_id <= self.last_id:
            return False
        self.last_id = request_id
        self.queue.append(request)
        if self.limit is not None:
            self.limit = max(self.limit, request.cause_seq + 1)
        return True

    def restore(self, request: Request) -> None:
        """Queue a request that the journal has.

        An operator's was journaled when the lane had met its record: later requests may have been taken before.
        """
        if request.index >= 0:
            self.accept(request)
        else:
            insort(self.queue, request, key=lambda queued: (queued.cause_seq, queued.index))

    def has_work(self, tail: int) -> bool:
        """Whether the lane may do more now, on a tape that ends before record `tail`."""
        until = tail if self.limit is None else self.limit
        return self.lane.next_seq < until or (bool(self.queue) and self.queue[0].cause_seq < until)

    def pump(self, market: Market, requests: int, records: int) -> Iterator[tuple[int, int]]:
        """Bring the lane towards where it may go, each request at its place; yields what was missed.

        At most so many requests and about so many records at once: what is done can then be journaled and
        told, and whoever waits at the port has a turn.
        """
        lane, queue = self.lane, self.queue
        until = market.tail if self.limit is None else self.limit
        stop = min(until, lane.next_seq + records)
        while queue and queue[0].cause_seq < stop and requests:
            yield from market.bring(lane, queue[0].cause_seq + 1)
            request = queue.popleft()
            if request.index >= 0 or not self._made_again(request):
                lane.submit(request)
            requests -= 1
        if requests:
            yield from market.bring(lane, stop)

    def _made_again(self, request: Request) -> bool:
        """Whether the lane has just met the record of an operator's order again, which the journal has already."""
        placed = self.lane.placed
        again = next((order for order in placed if order.cause_seq == request.cause_seq), None)
        if again is not None:
            placed.remove(again)
        return again is not None

    def run_on(self, market: Market) -> bool:
        """Give a lost host up when it has been away for long, or the tape is about to lap the lane."""
        if self.lost_at is None or self.limit is None:
            return False
        lag = market.tail - self.lane.next_seq
        if time.monotonic() - self.lost_at < GRACE_S and lag < market.capacity // 2:
            return False
        self.limit = self.lost_at = None
        return True

    # ------------------------------------------------------------------------------------------ telling

    def remember(self, report: Report, encoded: bytes) -> bytes:
        """The frame of a report, kept for a host that has to ask again. Its fill counts."""
        self.tally.add(report)
        frame = order_wire.frame_report(encoded)
        self._told.append((report.exec_id, frame))
        return frame

    def told_after(self, exec_id: int) -> bytes | None:
        """Every report after `exec_id`, as frames; None if some of them are not kept any more."""
        if exec_id < self.lane.executions and (not self._told or self._told[0][0] > exec_id + 1):
            return None
        return b"".join(frame for number, frame in self._told if number > exec_id)

    def note_acknowledgement(self, records: int) -> None:
        """What was accepted until now may be acknowledged when so many records of the journal are durable."""
        if self.to_acknowledge:
            self.to_acknowledge = False
            self._acknowledged_at.append((records, self.last_id))

    def acknowledgement(self, durable: int) -> bytes:
        """What says that every request up to some id is durable; nothing if there is nothing new to say."""
        last: RequestId | None = None
        while self._acknowledged_at and self._acknowledged_at[0][0] <= durable:
            last = self._acknowledged_at.popleft()[1]
        return order_wire.encode_acknowledgement(*last) if last is not None else b""
