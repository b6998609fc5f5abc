"""The OrderManager as it runs: `OrderManager/run.py`, its console, its log, its exit codes."""

import contextlib
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from OrderManager import Order, Side
from OrderManager.client import OrderManagerClient
from OrderManager.process import CONSOLE_ORDERS_PER_S, REJECTIONS_SHOWN, Stages
from OrderManager.server import Received
from runtime.part import EXIT_CONFIG, EXIT_OK
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import Process, running_part, segment_name, system_config, wait_until, write_config
from trading_lib.models import Kind

GOOD = b"1234567890.123,BUY,10,AAPL,173.2*"


class Running:
    """An OrderManager process, its port and its log."""

    def __init__(self, process: Process, tree: dict[str, Any], folder: Path) -> None:
        self.process = process
        self.port: int = tree["OrderManager"]["port"]
        self._log = folder / "logs" / "order_manager.log"

    @property
    def log(self) -> list[str]:
        """The messages logged so far, without time and level."""
        pattern = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:INFO|WARNING) +(.*)")
        whole, _, _ = self._log.read_text().rpartition("\n")  # the last line may be half written
        found = [pattern.fullmatch(line) for line in whole.splitlines()]
        assert all(found), "every line of the log has its time and level"
        return [match[1] for match in found if match is not None]

    def logged(self, start: str) -> list[str]:
        return [line for line in self.log if line.startswith(start)]

    @property
    def console(self) -> list[str]:
        return self.process.output.splitlines()


@contextlib.contextmanager
def order_manager(folder: Path, **changes: Any) -> Iterator[Running]:
    tree = system_config(folder, OrderManager=changes)
    with running_part("OrderManager", write_config(folder, tree), folder) as process:
        yield Running(process, tree, folder)


def test_each_order_is_a_numbered_line_on_the_console_and_in_the_log(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for(f"order_manager ready: orders on 127.0.0.1:{running.port}\n")
        with OrderManagerClient("127.0.0.1", running.port) as client:
            client.place_order("AAPL", Side.BUY, 10, 173.20)
            client.place_order("MSFT", Side.SELL, 0.5, 410.125)
            running.process.wait_for("Order 2")
        assert running.process.stop() == EXIT_OK
        lines = ["Received Order 1: BUY 10 AAPL @ 173.20", "Received Order 2: SELL 0.5 MSFT @ 410.125"]
        assert running.console[-2:] == lines
        assert running.logged("Received") == lines


def test_a_rejection_is_a_warning_with_reason_and_sender(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"1,HOLD,10,AAPL,173.2*" + GOOD)
            running.process.wait_for("Received Order 1: BUY 10 AAPL @ 173.20")
            peer = client.getsockname()[1]
        assert running.logged("rejected") == [f"rejected from 127.0.0.1:{peer}: bad side: 'HOLD'"]


def test_above_1000_orders_a_second_the_console_summarises_and_the_log_keeps_every_line(
    tmp_path: Path,
) -> None:
    count = 5000
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD * count)
            wait_until(lambda: len(running.logged("Received")) == count)
        assert running.process.stop() == EXIT_OK
    assert running.logged("Received") == [
        f"Received Order {number}: BUY 10 AAPL @ 173.20" for number in range(1, count + 1)
    ]
    shown = [line for line in running.console if line.startswith("Received")]
    more = [re.fullmatch(r"… and ([\d,]+) more orders this second", line) for line in running.console]
    summarised = sum(int(match[1].replace(",", "")) for match in more if match is not None)
    assert len(shown) + summarised == count
    assert shown[0] == "Received Order 1: BUY 10 AAPL @ 173.20"
    assert CONSOLE_ORDERS_PER_S <= len(shown) < count


def test_a_flood_of_rejections_is_summarised_too_and_all_of_them_are_counted(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"nonsense*" * 3000 + GOOD)
            running.process.wait_for("Received Order 1:")
        assert running.process.stop() == EXIT_OK
    named, more = running.logged("rejected from"), running.logged("rejected: ")
    assert REJECTIONS_SHOWN <= len(named) < 3000
    assert len(named) + sum(int(line.split()[1]) for line in more) == 3000


def test_what_is_on_its_way_when_it_is_told_to_stop_is_still_taken(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD * 2000)
        assert running.process.stop(signal.SIGINT) == EXIT_OK
        assert len(running.logged("Received")) == 2000


def test_a_busy_port_is_exit_78_and_names_its_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with order_manager(tmp_path, port=port) as running:
            assert running.process.popen.wait(30) == EXIT_CONFIG
            assert f"port {port}" in running.process.output
            assert "change OrderManager.port" in running.process.output


def test_killed_and_started_again_it_listens_on_the_same_port_at_once(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    config = write_config(tmp_path, tree)
    for _ in range(2):
        with running_part("OrderManager", config, tmp_path) as process:
            process.wait_for("ready")
            with socket.create_connection(("127.0.0.1", tree["OrderManager"]["port"])) as client:
                client.sendall(GOOD)
                process.wait_for("Received Order 1:")
                process.kill()
                assert client.recv(1) == b""


# ------------------------------------------------------------------------------------------- latencies


@pytest.fixture
def tape() -> Iterator[TapeWriter]:
    name = segment_name()
    with SharedPriceBook(["AAPL"], name, create=True) as book:
        writer = TapeWriter.open(name, 4096, book.run_id or None)
        try:
            yield writer
        finally:
            writer.close()


def session_order(cause: int, sent: int, received: int) -> Received:
    return Received(1, Order("AAPL", 1, 1.0, Side.BUY, 0, cause, 0, sent), "sma", received)


def test_an_orders_stages_are_measured_from_the_record_that_caused_it(tape: TapeWriter) -> None:
    stages = Stages(tape.segment.name.removesuffix(".tape"))
    stages.tend()
    due = time.time_ns() - 5_000_000
    tape.append([Entry(10**18, 1.0, due, 0, Kind.TICK)])
    now = time.time_ns()
    stages.record(session_order(0, now + 2_000_000, now + 3_000_000))
    found = {name: histogram.max / 1e6 for name, histogram in stages.histograms.items()}
    stages.close()
    assert found["decision→order"] == 1
    assert 5 <= found["tick→book"] <= found["tick→order"]
    assert found["book→decision"] >= 2
    parts = found["tick→book"] + found["book→decision"] + found["decision→order"]
    assert parts == pytest.approx(found["tick→order"])


def test_orders_without_a_record_on_the_tape_are_counted_and_not_measured(tape: TapeWriter) -> None:
    stages = Stages(tape.segment.name.removesuffix(".tape"))
    stages.record(session_order(0, 0, 0))  # not attached yet
    stages.tend()
    stages.record(session_order(5, 0, 0))  # beyond the tail
    stages.record(Received(1, Order("AAPL", 1, 1.0, Side.BUY, 0), "manual", 0))  # plain: nothing to measure
    stages.close()
    assert stages.unknown == 2
    assert all(histogram.total == 0 for histogram in stages.histograms.values())


def test_a_tape_that_is_closed_is_let_go_and_the_next_one_taken() -> None:
    name = segment_name()
    stages = Stages(name)
    stages.tend()  # there is none yet
    for _ in range(2):
        writer = TapeWriter.open(name, 4096)
        stages.tend()
        writer.append([Entry(10**18, 1.0, time.time_ns(), 0, Kind.TICK)])
        stages.record(session_order(0, time.time_ns(), time.time_ns()))
        writer.close()
        stages.tend()
    stages.close()
    assert stages.histograms["tick→order"].total == 2
