"""A ledger on a tape and a price book that the test writes, and the clients it serves, all in one process."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from OrderManager.ledger import Ledger
from OrderManager.market import Market
from OrderManager.records import STARTED, JournalRecord, Note
from OrderManager.server import CancelReceived, Connection, Farewell, Hello, Input, Progress, Received
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import segment_name, segments
from trading_lib import order_wire, wire
from trading_lib.broker import Terms
from trading_lib.control import Action
from trading_lib.lane import Lane, Request
from trading_lib.lane_state import LaneState, take_state
from trading_lib.models import CancelRequest, Kind, Order, OrderType, Report, Side, TimeInForce
from trading_lib.risk import Limits

TS = 1_735_828_200_000_000_000
STEP = 1_000_000  # ns of event time from one record to the next
SYMBOLS = ("AAPL", "MSFT", "AAPL.BID", "AAPL.ASK")
RUN_ID = "run-1"
TOKEN = "the token"
LOG = logging.getLogger("test.ledger")

MakeLane = Callable[[str], Lane]


def plain_lane(strategy_id: str) -> Lane:
    """A lane whose orders travel for one and a half records, at no cost."""
    return Lane(
        strategy_id,
        Terms(latency_ns=STEP * 3 // 2, slippage_bps=0, commission_bps=0),
        Limits(collar=1.0, max_orders_per_s=100_000),
        account_every=100,
    )


class Tape:
    """A tape and a price book of one run; record n is at `TS + n * STEP`."""

    def __init__(self, name: str, capacity: int = 4096, run_id: str = RUN_ID) -> None:
        self.name = name
        self.writer = TapeWriter.open(name, capacity, run_id)
        self.book = SharedPriceBook(SYMBOLS, name, create=True, run_id=run_id)

    @property
    def tail(self) -> int:
        """The number the next record gets."""
        return self.writer.tail

    def put(self, *values: float, symbol: str = "AAPL", kind: Kind = Kind.TICK) -> int:
        """Publish records; ticks set the book's price, too. The number of the last one."""
        slot = SYMBOLS.index(symbol)
        for value in values:
            ts = ts_of(self.tail)
            if kind is Kind.TICK:
                with self.book.segment.lock():
                    self.book.write_locked(slot, value, ts)
            self.writer.append([Entry(ts, value, ts, slot, kind)])
        return self.tail - 1

    def close(self) -> None:
        """A clean stop."""
        self.book.unlink()
        self.writer.close()
        self.book.close()


@contextmanager
def tape(capacity: int = 4096) -> Iterator[Tape]:
    """A tape of a name of its own, which leaves nothing behind."""
    made = Tape(segment_name(), capacity)
    try:
        yield made
    finally:
        made.close()
        assert segments(made.name) == []


def ts_of(seq: int) -> int:
    """A record's event time."""
    return TS + seq * STEP


class Client(Connection):
    """The server's end of a connection that the test looks at; nothing is sent anywhere."""

    def __init__(self, on_send: Callable[[bytes], object] = lambda _: None) -> None:
        self.strategy: str | None = None
        self.hopeless = False
        self.next_seq = -1  # where its session began
        self.lane = b""
        self.acknowledged: list[tuple[int, int]] = []
        self.reports: list[Report] = []
        self.errors: list[str] = []
        self._on_send = on_send

    def send(self, data: bytes) -> None:
        """What the ledger says."""
        self._on_send(data)
        for frame in order_wire.split_frames(data):
            if order_wire.is_report(frame):
                self.reports.append(order_wire.parse_report(frame))
            elif order_wire.is_acknowledgement(frame):
                self.acknowledged.append(order_wire.parse_acknowledgement(frame))
            elif wire.parse_control(frame).name == "ERROR":
                self.errors.append(frame.decode())
            else:
                raise AssertionError(frame)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Its reports in short: client order id and status."""
        return [(report.client_order_id, str(report.status)) for report in self.reports]


class Room:
    """A ledger, and how it is killed and started again. Owns the ledger and its market, not the tape."""

    def __init__(self, folder: Path, tape: Tape, make_lane: MakeLane = plain_lane) -> None:
        self.folder = folder
        self.tape = tape
        self.published: list[tuple[int, JournalRecord]] = []
        self.actions: dict[int, Action] = {}  # an operator's, by the number that their records have
        self._make_lane = make_lane
        self._number = 0
        (folder / "token").write_text(TOKEN)
        self.open()

    def open(self) -> None:
        """Start, or start again."""
        self.market = Market(self.tape.name)
        self.ledger = Ledger(
            self.folder, self.market, self._lane, LOG, lambda *record: self.published.append(record)
        )

    def _lane(self, strategy_id: str) -> Lane:
        lane = self._make_lane(strategy_id)
        lane.action = lambda number: self.actions.get(number)
        return lane

    def kill(self) -> None:
        """End as a killed process does: what was not written is gone, what was written stays."""
        os.close(self.ledger.journal._fd)
        self.market.close()

    def stop(self) -> None:
        """A clean end."""
        self.ledger.finish()
        self.ledger.close()
        self.market.close()

    def join(
        self,
        strategy: str,
        mode: str = "new",
        number: int = 0,
        token: str = TOKEN,
        on_send: Callable[[bytes], object] = lambda _: None,
    ) -> Client:
        """A client whose hello was accepted. Raises SessionDenied."""
        client = Client(on_send)
        frames, client.next_seq = self.ledger.welcome(client, Hello(strategy, token, mode, number))
        client.strategy = strategy
        client.lane = b"".join(map(order_wire.decode_lane, order_wire.split_frames(b"".join(frames))))
        return client

    def take(self, client: Client, *inputs: Request | int) -> None:
        """What one read brings: requests, and progress (an int)."""
        self.ledger.take(client, [self._input(client, found) for found in inputs])

    def send(self, client: Client, *inputs: Request | int) -> None:
        """The same, and the ledger settles."""
        self.take(client, *inputs)
        self.ledger.settle()

    def missed(self, client: Client, next_seq: int) -> None:
        """A host says what it did not see."""
        self.ledger.take(client, [Progress(next_seq, missed=True)])

    def farewell(self, client: Client, text: str = "") -> None:
        """A host goes."""
        self.ledger.take(client, [Farewell(text)])

    def leave(self, client: Client) -> None:
        """A connection is lost."""
        self.ledger.left(client)

    def _input(self, client: Client, found: Request | int) -> Input:
        if isinstance(found, int):
            return Progress(found, missed=False)
        if isinstance(found, CancelRequest):
            assert client.strategy is not None
            return CancelReceived(found, client.strategy, 7)
        self._number += 1
        return Received(self._number, found, client.strategy or "manual", 7)

    def lane(self, strategy: str) -> Lane:
        """A strategy's lane at the ledger."""
        return self.ledger.desks[strategy].lane

    def state(self, strategy: str) -> LaneState:
        """All that its lane knows."""
        return take_state(self.lane(strategy))

    @property
    def notes(self) -> list[tuple[str, str, str]]:
        """What the journal says to have happened to whom, in short, but for beginnings."""
        notes = [r for _, r in self.published if isinstance(r, Note) and r.what != STARTED]
        return [(note.strategy_id, note.what, note.detail) for note in notes]

    def reports(self, strategy: str) -> list[Report]:
        """Every report that has become public."""
        return [r for _, r in self.published if isinstance(r, Report) and r.strategy_id == strategy]


def order(cause: int, index: int = 0, qty: float = 1, side: Side = Side.BUY, symbol: str = "AAPL") -> Order:
    """A market order because of record `cause`."""
    return Order(symbol, qty, 10.0, side, ts_of(cause), cause, index)


def limit(
    cause: int, price: float, index: int = 0, qty: float = 1, side: Side = Side.BUY, symbol: str = "AAPL"
) -> Order:
    """A limit order because of record `cause`."""
    return Order(
        symbol, qty, 10.0, side, ts_of(cause), cause, index, 0, OrderType.LIMIT, TimeInForce.GTC, price
    )


def cancel(target: str, cause: int, index: int = 0) -> CancelRequest:
    """A request to cancel, because of record `cause`."""
    return CancelRequest(target, ts_of(cause), cause, index)


def short(reports: Sequence[Report]) -> list[tuple[str, str]]:
    """Reports by client order id and status."""
    return [(report.client_order_id, str(report.status)) for report in reports]
