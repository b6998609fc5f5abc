"""Orders through the whole lane, durably: `python benchmarks/orders.py [--seconds N] [--rounds N]`.

    client ── session, >= 1,024 outstanding ──▶ OrderManager: parse, check, journal, fdatasync ──▶ acknowledgement
      └─ ticks on a tape of our own ─────────────▶ its lane: arrival, risk, fill, portfolio, journal ──▶ reports

The OrderManager is a real process with a real journal on this disk. One client keeps at least 1,024 orders
outstanding and ticks go on, so that every order is also filled and reported. Alone: one order at a time,
from its send to its acknowledgement, beside an fdatasync of this disk in the same round.
"""

import argparse
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
from runtime.run_folder import open_run_folder, read_token
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import running, system_config, wait_until, write_config
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
        name = self._tree["OrderManager"]["shared_memory_name"]
        self.tape = TapeWriter.open(name, 1 << 16)
        self.book = SharedPriceBook(["AAPL"], name=name, create=True, run_id=self.tape.run_id)
        self._ts = START_TS
        self.tick(Kind.EPOCH)
        self.tick()
        config = load_config(self.path)
        self._token = read_token(open_run_folder(config, self.tape.run_id)) or ""

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


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Orders through the whole lane.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments: Any = parser.parse_args(argv)
    print(describe(measure(arguments.seconds, arguments.rounds, lambda text: print(text, file=sys.stderr))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
