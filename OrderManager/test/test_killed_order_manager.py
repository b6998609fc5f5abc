"""The OrderManager is killed at random instants under order load: nothing acknowledged is lost, nothing is done
twice, and the money is what the client was told."""

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from config import load_config
from OrderManager import records
from OrderManager.client import OrderManagerClient
from OrderManager.journal import JournalReader
from runtime.lanes import make_lane
from runtime.run_folder import open_run_folder, read_token
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import Process, running, segment_name, system_config, wait_until, write_config
from trading_lib.lane import Lane, Request
from trading_lib.lane_state import LaneState
from trading_lib.models import CancelRequest, Kind, Order, OrderStatus, OrderType, Report, Side, TimeInForce
from trading_lib.portfolio import Portfolio

START: Final = 1_735_828_200_000_000_000
MS: Final = 1_000_000
SYMBOLS: Final = ("AAPL", "MSFT")
MOST_UNTOLD: Final = 2000
CASH: Final = 1_000_000.0


class Exchange:
    """A market of our own, and a client that is a host: its lane says what the ledger must report."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        name = segment_name()
        tree = system_config(
            folder,
            symbols=list(SYMBOLS),
            OrderBook={"shared_memory_name": name},
            OrderManager={
                "shared_memory_name": name,
                "execution": {
                    "initial_cash": CASH,
                    "latency_ms": 7,
                    "latency_jitter_ms": 9,
                    "partial_fills": 0.3,
                },
                "risk": {"max_position": 500, "max_orders_per_s": 900},
            },
        )
        self.config_path = write_config(folder, tree)
        self.folder = folder
        self._port: int = tree["OrderManager"]["port"]
        self.tape = TapeWriter.open(name, 1 << 16)
        self.book = SharedPriceBook(list(SYMBOLS), name=name, create=True, run_id=self.tape.run_id)
        config = load_config(self.config_path)
        self.run_folder = open_run_folder(config, self.tape.run_id)
        self._token = read_token(self.run_folder) or ""
        self.lane: Lane = make_lane("kills", config, self.tape.run_id)
        self._ts = START
        self._prices = dict.fromkeys(SYMBOLS, 100.0)
        self.client: OrderManagerClient | None = None
        self.unacknowledged: list[Request] = []
        self.acknowledged: list[str] = []
        self.expected: list[Report] = []  # by our own lane
        self.told: list[Report] = []  # by the ledger
        self.append(Kind.EPOCH, 0.0)

    def append(self, kind: Kind, value: float, slot: int = 0) -> None:
        seq, entry = self.tape.tail, Entry(self._ts, value, 0, slot, int(kind))
        self.tape.append([entry])
        record = (seq, self._ts, value, 0, 0, slot, int(kind))
        self.lane.advance([record], SYMBOLS)
        self.expected += self.lane.reports
        self.lane.reports.clear()

    def tick(self) -> None:
        self._ts += self.random.randrange(0, 4 * MS)
        slot = self.random.randrange(len(SYMBOLS))
        price = round(self._prices[SYMBOLS[slot]] * (1 + self.random.gauss(0, 4e-4)), 4)
        self._prices[SYMBOLS[slot]] = price
        self.append(Kind.TICK, price, slot)

    def requests(self) -> list[Request]:
        """What a strategy asks for at this record: orders of every kind, and cancels."""
        draw, seq = self.random, self.tape.tail - 1
        made: list[Request] = []
        for index in range(draw.randrange(4)):
            symbol, side = draw.choice(SYMBOLS), draw.choice(list(Side))
            price = self.lane.prices.get(symbol)
            if self.lane.open and draw.random() < 0.2:
                made.append(CancelRequest(draw.choice(list(self.lane.open)), self._ts, seq, index))
            elif price is not None:
                kind = draw.choice(list(OrderType))
                near = round(price * (1 + draw.uniform(-0.001, 0.001)), 4)
                limit = near if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else 0.0
                stop = near if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else 0.0
                tif, qty = draw.choice(list(TimeInForce)), float(draw.randrange(1, 60))
                made.append(
                    Order(symbol, qty, price, side, self._ts, seq, index, 0, kind, tif, limit, stop, "t")
                )
        return made

    def step(self) -> None:
        """One tick, what is asked for at it, and how far we are; then whatever has come back."""
        self.tick()
        self.request(self.requests())
        self.receive(0.0)

    @property
    def behind(self) -> bool:
        """Whether the ledger, up for a tenth of a second at a time, has enough to do."""
        return len(self.expected) - len(self.told) > MOST_UNTOLD

    def request(self, made: list[Request]) -> None:
        """Ask for it, of our own lane and of the ledger."""
        for request in made:
            self.lane.submit(request)
        self.unacknowledged += made
        client = self.client
        if client is not None:
            with contextlib.suppress(ConnectionError):
                client.send_requests(made)
                client.progress(self.tape.tail)

    def receive(self, timeout: float) -> None:
        if self.client is None:
            return
        try:
            found = self.client.receive(timeout)
        except ConnectionError:
            self.client = None
            return
        for message in found:
            if isinstance(message, Report):
                self.told.append(message)
            else:
                while self.unacknowledged and _id(self.unacknowledged[0]) <= message:
                    self.acknowledged.append(self.unacknowledged.pop(0).client_order_id or "")

    def connect(self, mode: str) -> OrderManagerClient:
        if self.client is not None:
            self.client.disconnect()
        number = self.told[-1].exec_id if self.told else 0
        client = OrderManagerClient(
            "127.0.0.1",
            self._port,
            strategy="kills",
            token=self._token,
            mode=mode,
            number=number if mode == "again" else self.tape.tail,
        )
        client.connect()
        if mode == "again":
            client.send_requests(self.unacknowledged)
            client.progress(self.tape.tail)
        self.client = client
        return client

    @contextlib.contextmanager
    def order_manager(self) -> Iterator[Process]:
        with running(["OrderManager/run.py", str(self.config_path)], self.folder) as process:
            process.wait_for("ready")
            yield process

    def settle(self) -> None:
        """Play the tape on until every order has met its end, here and at the ledger: one by its day's end.

        What works is cancelled before, and that one comes on a new day, so that risk denies it nothing: the load
        may have lost by then what it may lose in a day.
        """
        self.tick()
        seq = self.tape.tail - 1
        self.request([CancelRequest(each, self._ts, seq, k) for k, each in enumerate(self.lane.open)])
        self.begin_day(1)
        price, sells = self.lane.prices["AAPL"], self.lane.position("AAPL") > 0
        side, limit = (Side.SELL, 10 * price) if sells else (Side.BUY, price / 10)
        far = Order("AAPL", 1.0, price, side, self._ts, self.tape.tail - 1, 0, 0, OrderType.LIMIT)
        self.request([msgspec.structs.replace(far, limit_price=limit)])
        self.begin_day(2)
        self.begin_day(3)
        assert self.client is not None
        self.client.progress(self.tape.tail)

        def all_told() -> bool:
            self.receive(0.05)
            return not self.unacknowledged and len(self.told) >= len(self.expected)

        wait_until(all_told, "the ledger to report what our own lane reports")

    def begin_day(self, days: int) -> None:
        self._ts = START + days * 86_400 * 1_000 * MS
        for slot, symbol in enumerate(SYMBOLS):
            self.append(Kind.TICK, self._prices[symbol], slot)

    def close(self) -> None:
        if self.client is not None:
            self.client.disconnect()
        self.book.unlink()
        self.book.close()
        self.tape.close()


def _id(request: Request) -> tuple[int, int]:
    return request.cause_seq, request.index


def play(exchange: Exchange, kills: int) -> None:
    """Order load, with a kill every so often."""
    mode = "new"
    for _ in range(kills):
        with exchange.order_manager() as process:
            exchange.connect(mode)
            mode = "again"
            deadline = time.monotonic() + exchange.random.uniform(0.0, 0.25)
            while time.monotonic() < deadline:
                if exchange.behind:
                    exchange.receive(0.001)
                else:
                    exchange.step()
            process.kill()
            for _ in range(exchange.random.randrange(20)):  # the market does not wait for it
                exchange.step()


def check(exchange: Exchange) -> None:
    """Everything that must be true once all has settled."""
    with exchange.order_manager():
        exchange.connect("again")
        exchange.settle()
        state = msgspec.json.decode(exchange.connect("new").lane, type=LaneState)
    told = exchange.told
    assert [report.exec_id for report in told] == list(range(1, len(told) + 1))
    assert told == exchange.expected
    ends = [report.client_order_id for report in told if report.status.final]
    assert len(ends) == len(set(ends))
    taken = [
        record.request.client_order_id
        for record in journal(exchange.run_folder / "journal.bin")
        if isinstance(record, records.Taken)
    ]
    assert taken == exchange.acknowledged  # all of them, once, in order
    rebuilt = Portfolio(CASH)
    for report in told:
        if report.fill is not None:
            rebuilt.apply(report.fill)
    ledger = Portfolio.from_state(state.portfolio)
    assert ledger.positions == rebuilt.positions
    assert (ledger.cash, ledger.realized, ledger.commission) == (
        rebuilt.cash,
        rebuilt.realized,
        rebuilt.commission,
    )
    assert {report.status for report in told} == set(OrderStatus), told[-5:]  # the load was of every kind


def journal(path: Path) -> Iterator[records.JournalRecord]:
    with JournalReader(path) as reader:
        while found := reader.read():
            for _, payload in found:
                yield records.decode(payload)


@pytest.mark.parametrize(
    ("kills", "seed"), [(12, 1), pytest.param(200, 2, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])]
)
def test_a_kill_loses_nothing_acknowledged_and_does_nothing_twice(
    tmp_path: Path, kills: int, seed: int
) -> None:
    exchange = Exchange(tmp_path, seed)
    try:
        play(exchange, kills)
        check(exchange)
    finally:
        exchange.close()
