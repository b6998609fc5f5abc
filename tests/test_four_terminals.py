"""The four parts started by hand, in any order, killed and started again; and other people's Gateways and clients."""

import contextlib
import itertools
import random
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.loop import listen
from shared_memory_utils import RECORD_DTYPE, TapeReader, unlink_all
from testing.harness import Process, running, segments, system_config, wait_until, write_config
from trading_lib.models import Kind

PARTS = ("Gateway", "OrderBook", "Strategy", "OrderManager")
STRATEGY = """
def on_tick(ctx, tick):
    ctx.place_market_order("BUY", 1)
"""


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "each_tick.py"
    path.write_text(STRATEGY)
    return system_config(tmp_path, Strategy={"strategies": [{"id": "each_tick", "path": str(path)}]})


class Terminals:
    """Parts started one by one; whatever runs at the end is stopped, and must leave nothing."""

    def __init__(self, tree: dict[str, Any], folder: Path) -> None:
        self.config = write_config(folder, tree)
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self.parts: dict[str, Process] = {}

    def start(self, part: str) -> Process:
        process = self._stack.enter_context(running([f"{part}/run.py", str(self.config)], self.folder))
        self.parts[part] = process
        return process

    def orders(self) -> int:
        """Orders the running OrderManager has logged."""
        log = self.folder / "logs" / "order_manager.log"
        text = log.read_text() if log.exists() else ""
        numbers = re.findall(r"Received Order (\d+):", text)
        return int(numbers[-1]) if numbers else 0

    def close(self) -> None:
        with self._stack:
            for part in PARTS:
                if part in self.parts:
                    assert self.parts[part].stop() == 0, self.parts[part].output


@pytest.fixture
def terminals(tree: dict[str, Any], tmp_path: Path) -> Iterator[Terminals]:
    four = Terminals(tree, tmp_path)
    try:
        yield four
    finally:
        try:
            four.close()
        finally:  # also when a part had to be killed
            unlink_all(tree["OrderBook"]["shared_memory_name"])
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []


ORDERS = random.Random(7).sample(list(itertools.permutations(PARTS)), 3)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_started_in_any_order_the_parts_make_one_system(terminals: Terminals, order: tuple[str, ...]) -> None:
    for part in order:
        terminals.start(part)
    wait_until(lambda: terminals.orders() >= 5, "orders")


@pytest.mark.parametrize("victim", PARTS)
def test_each_part_may_be_killed_and_started_again(terminals: Terminals, victim: str) -> None:
    for part in PARTS:
        terminals.start(part)
    wait_until(lambda: terminals.orders() >= 5, "orders")
    terminals.parts[victim].kill()
    survivors = [terminals.parts[part] for part in PARTS if part != victim]
    before = terminals.orders()
    terminals.start(victim).wait_for("ready")
    if victim == "OrderBook":
        assert "adopted, generation 2" in terminals.parts[victim].output
    log = terminals.folder / "logs" / "order_manager.log"
    size = log.stat().st_size
    wait_until(
        lambda: log.stat().st_size > size + 1000, f"orders after {victim} came back (before: {before})"
    )
    assert all(process.alive for process in survivors)


class PlainGateway(threading.Thread):
    """Somebody else's Gateway: two ports, no hello, times to the second on its ticks and none on its news."""

    def __init__(self, md_port: int, news_port: int, ticks: list[bytes], news: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._servers = [listen("127.0.0.1", port, "test") for port in (md_port, news_port)]
        self._pieces = (ticks, news)
        self.finish = threading.Event()

    def run(self) -> None:
        connections = []
        for server in self._servers:
            server.setblocking(True)
            connections.append(server.accept()[0])
        ticks, news = self._pieces
        connections[1].sendall(news[0])  # the first thing that is known has no time at all
        for i, frame in enumerate(ticks):
            connections[0].sendall(frame)
            if i % 50 == 49 and i // 50 + 1 < len(news):
                connections[1].sendall(news[i // 50 + 1])
        self.finish.wait()
        for each in (*connections, *self._servers):
            each.close()


def test_a_third_party_gateway_feeds_our_order_book_with_no_tick_late_and_none_lost(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    count = 500
    ticks = [
        f"{('AAPL', 'MSFT')[i % 2]},{100 + i / 8},2025-10-01 09:{30 + i // 60 % 30}:{i % 60:02}*".encode()
        for i in range(count)
    ]
    news = [f"AAPL,{i % 101}*".encode() for i in range(count // 50)]
    config = write_config(tmp_path, tree)
    book = tree["OrderBook"]
    gateway = PlainGateway(book["md_port"], book["news_port"], ticks, news)
    with running(["OrderBook/run.py", str(config)], tmp_path) as process:
        process.wait_for("ready")
        reader = TapeReader(book["shared_memory_name"])
        gateway.start()
        records = np.empty(0, RECORD_DTYPE)

        def all_there() -> bool:
            nonlocal records
            records = np.append(records, np.frombuffer(reader.take(), RECORD_DTYPE))
            kinds = records["kind"]
            return bool((kinds == Kind.TICK).sum() == count and (kinds == Kind.NEWS).sum() == len(news))

        wait_until(all_there, "every record on the tape")

        got = records[records["kind"] == Kind.TICK]
        assert got["value"].tolist() == [100 + i / 8 for i in range(count)]
        stamps = [1759311000 + (i // 60 % 30) * 60 + i % 60 for i in range(count)]
        assert got["ts"].tolist() == [stamp * 10**9 for stamp in stamps], "an event time was changed: late"
        assert (records["kind"] == Kind.GAP).sum() == 0
        reader.close()
        gateway.finish.set()
        gateway.join()
        assert process.stop() == 0


def test_a_burst_of_ten_thousand_orders_is_received_whole_and_in_order(
    terminals: Terminals, tree: dict[str, Any], tmp_path: Path
) -> None:
    terminals.start("OrderManager").wait_for("ready")
    burst = b"".join(f"1.5,BUY,{i},AAPL,{100 + i / 4}*".encode() for i in range(1, 10_001))
    with socket.create_connection(("127.0.0.1", tree["OrderManager"]["port"])) as client:
        client.sendall(burst)
        wait_until(lambda: terminals.orders() >= 10_000, "the last order")
    lines = re.findall(
        r"Received Order (\d+): BUY (\d+) AAPL", (tmp_path / "logs/order_manager.log").read_text()
    )
    assert lines == [(str(i), str(i)) for i in range(1, 10_001)]
