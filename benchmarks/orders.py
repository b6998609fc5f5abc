"""Orders through the whole lane, durably: `python benchmarks/orders.py [--seconds N] [--rounds N]`.

    client ── session, >= 1,024 outstanding ──▶ OrderManager: parse, check, journal, fdatasync ──▶ acknowledgement
      └─ ticks on a tape of our own ─────────────▶ its lane: arrival, risk, fill, portfolio, journal ──▶ reports

The OrderManager is a real process with a real journal on this disk. One client keeps at least 1,024 orders
outstanding and ticks go on, so that every order is also filled and reported. Alone: one order at a time,
from its send to its acknowledgement, beside an fdatasync of this disk in the same round.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from benchmarks.journal import ASIDE
from benchmarks.machine import load
from config import load_config
from OrderManager.client import OrderManagerClient
from OrderManager.ledger import Ledger
from OrderManager.market import Market
from OrderManager.server import PLAIN_STRATEGY
from runtime.lanes import make_lane
from runtime.run_folder import open_run_folder, read_token
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import running, system_config, wait_until, write_config
from trading_lib.lane import Lane
from trading_lib.models import Kind, Order, Report, Side

OUTSTANDING: Final = 2048
PAUSE_S: Final = 0.002
BURST: Final = 512
TICK_EVERY_NS: Final = 1_000_000  # event time between two of our ticks
TARGET_PER_S: Final = 25_000
TARGET_OVER_SYNC_US: Final = 300
START_TS: Final = 1_735_828_200_000_000_000
Say = Callable[[str], None]


class OrderFigures(msgspec.Struct, frozen=True):
    """What was measured; per-second figures are of acknowledged orders."""

    acknowledged_per_s: float
    filled_per_s: float
    alone_us: float  # p50, send to acknowledgement
    sync_us: float  # p50 of an fdatasync of this disk
    rounds: int
    load: list[float]

    @property
    def over_sync_us(self) -> float:
        """What the way costs beside the disk."""
        return self.alone_us - self.sync_us


class RecoveryFigures(msgspec.Struct, frozen=True):
    """A ledger opened again after so many orders; the records behind the last checkpoint are what it replays."""

    orders: int
    records: int
    replayed: int
    journal_bytes: int
    seconds: float


class Desk:
    """A market of our own, an OrderManager on it, and a client."""

    def __init__(self, folder: Path) -> None:
        self._tree = system_config(
            folder,
            symbols=["AAPL"],
            OrderManager={
                "execution": {"latency_ms": 1, "initial_cash": 1e12},
                "risk": {"max_position": 1e9, "max_orders_per_s": 1_000_000_000},
            },
        )
        self.path = write_config(folder, self._tree)
        self.name: str = self._tree["OrderManager"]["shared_memory_name"]
        self.tape = TapeWriter.open(self.name, 1 << 16)
        self.book = SharedPriceBook(["AAPL"], name=self.name, create=True, run_id=self.tape.run_id)
        self._ts = START_TS
        self.tick(Kind.EPOCH)
        self.tick()
        self._config = load_config(self.path)
        self.run_folder = open_run_folder(self._config, self.tape.run_id)
        self._token = read_token(self.run_folder) or ""

    def tick(self, kind: Kind = Kind.TICK) -> None:
        """One more record on the tape."""
        self._ts += TICK_EVERY_NS
        self.tape.append([Entry(self._ts, 100.0, 0, 0, int(kind))])

    def client(self) -> OrderManagerClient:
        """A client of the session, connected."""
        made = OrderManagerClient(
            "127.0.0.1",
            self._tree["OrderManager"]["port"],
            strategy="bench",
            token=self._token,
            mode="new",
            number=self.tape.tail,
        )
        made.connect()
        return made

    def orders(self, count: int) -> list[Order]:
        """Orders caused by the tape's head."""
        seq = self.tape.tail - 1
        now = time.time_ns()
        return [
            Order("AAPL", 1.0, 100.0, Side.BUY if k % 2 else Side.SELL, self._ts, seq, k, now)
            for k in range(count)
        ]

    def ledger(self, market: Market, log: logging.Logger) -> Ledger:
        """A ledger of this market, in this process."""

        def make(strategy: str) -> Lane:
            return make_lane(strategy, self._config, market.run_id, account_every=1000)

        return Ledger(self.run_folder, market, make, log, lambda *_: None)

    def close(self) -> None:
        """Nothing stays behind."""
        self.book.unlink()
        self.book.close()
        self.tape.close()


@contextmanager
def desk() -> Iterator[Desk]:
    """A market and its OrderManager, ready; its files are on this disk, below runs/."""
    ASIDE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ASIDE) as folder:
        made = Desk(Path(folder))
        try:
            with running(["OrderManager/run.py", str(made.path)], Path(folder)) as process:
                process.wait_for("ready")
                yield made
                process.stop()
        finally:
            made.close()


def flood(made: Desk, client: OrderManagerClient, seconds: float) -> tuple[float, float]:
    """Acknowledged and filled orders per second, with at least 1,024 outstanding."""
    sent = acknowledged = filled = 0
    ids: list[tuple[int, int]] = []
    first = made.tape.tail
    begin = time.perf_counter()
    deadline = begin + seconds

    def take(timeout: float) -> None:
        nonlocal acknowledged, filled
        for found in client.receive(timeout):
            if isinstance(found, Report):
                filled += bool(found.last_qty and int(found.client_order_id.partition(".")[0]) >= first)
            else:
                while acknowledged < len(ids) and ids[acknowledged] <= found:
                    acknowledged += 1

    while time.perf_counter() < deadline:
        while sent - acknowledged < OUTSTANDING:
            made.tick()
            burst = made.orders(BURST)
            ids += [(order.cause_seq, order.index) for order in burst]
            client.send_requests(burst)
            sent += len(burst)
        take(0.1)
    measured = (acknowledged, filled, time.perf_counter() - begin)
    for _ in range(3):
        made.tick()
    client.progress(made.tape.tail)

    def all_filled() -> bool:
        take(0.1)
        return acknowledged == filled == sent

    wait_until(all_filled, f"every one of {sent} orders filled")
    return measured[0] / measured[2], measured[1] / measured[2]


def alone(made: Desk, client: OrderManagerClient, count: int) -> tuple[float, float]:
    """p50 in us from one order's send to its acknowledgement, and of an fdatasync in between.

    Both begin after the same pause: a disk and a processor that were asleep are slower than busy ones.
    """
    times, syncs = [], []
    with made.path.with_suffix(".sync").open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        os.fdatasync(file.fileno())
        for number in range(count):
            made.tick()
            order = made.orders(1)[0]
            time.sleep(PAUSE_S)
            begin = time.perf_counter()
            client.send_order(order)
            while not any(isinstance(found, tuple) for found in client.receive(1.0)):
                pass
            times.append(time.perf_counter() - begin)
            time.sleep(PAUSE_S)
            begin = time.perf_counter()
            os.pwrite(file.fileno(), bytes(200), number * 200)
            os.fdatasync(file.fileno())
            syncs.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6, statistics.median(syncs) * 1e6


def measure(seconds: float, rounds: int, say: Say) -> OrderFigures:
    """Interleaved rounds; medians."""
    found: dict[str, list[float]] = {"acknowledged": [], "filled": [], "alone": [], "sync": []}
    with desk() as made, made.client() as client:
        flood(made, client, 0.5)
        for number in range(rounds):
            acknowledged, filled = flood(made, client, seconds)
            found["acknowledged"].append(acknowledged)
            found["filled"].append(filled)
            alone_us, sync_us = alone(made, client, 100)
            found["alone"].append(alone_us)
            found["sync"].append(sync_us)
            say(f"orders, round {number + 1}: {acknowledged:,.0f}/s acknowledged, {filled:,.0f}/s filled")
    medians = {name: statistics.median(values) for name, values in found.items()}
    return OrderFigures(
        medians["acknowledged"], medians["filled"], medians["alone"], medians["sync"], rounds, load()
    )


def recovery(orders: int, say: Say) -> RecoveryFigures:
    """A real ledger takes so many orders, is dropped without a word, and opened again. Three times; the median."""
    log = logging.getLogger("benchmarks.orders")
    log.propagate = False
    ASIDE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ASIDE) as folder:
        made = Desk(Path(folder))
        market = Market(made.name)
        try:
            ledger = made.ledger(market, log)
            taken = 0
            while taken < orders:
                made.tick()
                burst = made.orders(min(BURST, orders - taken))
                for number, order in enumerate(burst, taken + 1):
                    ledger.accept(PLAIN_STRATEGY, order, number, 0)
                ledger.settle()
                taken += len(burst)
                if taken % (BURST * 200) == 0:
                    say(f"recovery: {taken:,} orders journaled")
            ledger.settle()
            records, replayed = ledger.journal.next_record, ledger.journal.since_checkpoint
            ledger.close()
            took = []
            for _ in range(3):
                begin = time.perf_counter()
                again = made.ledger(market, log)
                took.append(time.perf_counter() - begin)
                again.close()
            size = (made.run_folder / "journal.bin").stat().st_size
            return RecoveryFigures(orders, records, replayed, size, statistics.median(took))
        finally:
            market.close()
            made.close()


def describe(found: OrderFigures) -> str:
    """The figures for a person."""
    return "\n".join(
        (
            f"{found.acknowledged_per_s:10,.0f} orders/s acknowledged, >= 1,024 outstanding "
            f"(at least {TARGET_PER_S:,})",
            f"{found.filled_per_s:10,.0f} orders/s filled and reported meanwhile",
            f"{found.alone_us:10,.0f} us from an order alone to its acknowledgement, p50",
            f"{found.sync_us:10,.0f} us an fdatasync of this disk, p50",
            f"{found.over_sync_us:10,.0f} us over it (at most {TARGET_OVER_SYNC_US})",
            f"load {found.load}, median of {found.rounds} rounds",
        )
    )


def describe_recovery(found: RecoveryFigures) -> str:
    """The figures for a person."""
    return (
        f"{found.seconds:10.2f} s to open a ledger again after {found.orders:,} orders: {found.records:,} records, "
        f"{found.replayed:,} of them behind the last checkpoint, {found.journal_bytes / 1e6:,.0f} MB"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Orders through the whole lane.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recovery", type=int, default=0, help="orders in the journal that is recovered")
    arguments: Any = parser.parse_args(argv)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    print(describe(measure(arguments.seconds, arguments.rounds, say)))
    if arguments.recovery:
        print(describe_recovery(recovery(arguments.recovery, say)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
