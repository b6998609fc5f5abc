"""The OrderManager as it runs: `OrderManager/run.py`, its console, its log, its exit codes."""

import contextlib
import json
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from OrderManager import Order, Side, records
from OrderManager.client import OrderManagerClient, SessionRefused
from OrderManager.journal import JournalReader
from OrderManager.market import Market as LedgersMarket
from OrderManager.models import Report
from OrderManager.order_log import CONSOLE_ORDERS_PER_S, REJECTIONS_SHOWN
from OrderManager.process import Stages
from OrderManager.server import Received
from runtime.part import EXIT_CONFIG, EXIT_OK
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import (
    Process,
    read_available,
    running_part,
    segment_name,
    system_config,
    wait_until,
    write_config,
)
from trading_lib.models import Kind

GOOD = b"1234567890.123,BUY,10,AAPL,173.2*"


class Running:
    """An OrderManager process, its port and its log."""

    def __init__(self, process: Process, tree: dict[str, Any], folder: Path) -> None:
        self.process = process
        self.tree = tree
        self.port: int = tree["OrderManager"]["port"]
        self._log = folder / "logs" / "order_manager.log"

    @property
    def log(self) -> list[str]:
        """The messages logged so far, without time and level."""
        pattern = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:INFO|WARNING|ERROR) +(.*)")
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
        events = running.tree["OrderManager"]["events_port"]
        running.process.wait_for(
            f"order_manager ready: orders on 127.0.0.1:{running.port}, events on {events}\n"
        )
        with OrderManagerClient("127.0.0.1", running.port) as client:
            client.place_order("AAPL", Side.BUY, 10, 173.20)
            client.place_order("MSFT", Side.SELL, 0.5, 410.125)
            running.process.wait_for("Order 2")
        assert running.process.stop() == EXIT_OK
        lines = ["Received Order 1: BUY 10 AAPL @ 173.20", "Received Order 2: SELL 0.5 MSFT @ 410.125"]
        assert running.console[-2:] == lines
        assert running.logged("Received") == lines


def test_an_order_just_before_the_stop_has_its_line(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD)
            running.process.wait_for("Received Order 1:")
            client.sendall(GOOD)
        assert running.process.stop() == EXIT_OK
        assert running.logged("Received Order 2:")


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


# -------------------------------------------------------------------------------------- with a market


class Market:
    """A tape and a price book of one run, written by the test; a record is a millisecond after the last."""

    def __init__(self, name: str, run_id: str, folder: Path) -> None:
        self.name = name
        self.run_folder = folder / "runs" / run_id
        self.tape = TapeWriter.open(name, 4096, run_id)
        self.book = SharedPriceBook(["AAPL"], name, create=True, run_id=run_id)

    def put(self, *prices: float) -> int:
        """Publish ticks; the number of the last."""
        for price in prices:
            ts = ts_of(self.tape.tail)
            self.tape.append([Entry(ts, price, time.time_ns(), 0, Kind.TICK)])
        return self.tape.tail - 1

    @property
    def token(self) -> str:
        """The run's token, once the OrderManager has made it."""
        wait_until((self.run_folder / "token").exists)
        return (self.run_folder / "token").read_text()

    def close(self) -> None:
        self.book.unlink()
        self.tape.close()
        self.book.close()


def ts_of(seq: int) -> int:
    """Event time of the test's records, ns."""
    return 1_735_828_200_000_000_000 + seq * 1_000_000


@contextlib.contextmanager
def market(running: Running, folder: Path, run_id: str = "run-1") -> Iterator[Market]:
    made = Market(running.tree["OrderManager"]["shared_memory_name"], run_id, folder)
    try:
        yield made
    finally:
        made.close()


def receive(client: OrderManagerClient, count: int) -> list[tuple[int, int] | Report]:
    """What comes back, until it is so many."""
    found: list[tuple[int, int] | Report] = []

    def enough() -> bool:
        found.extend(client.receive(0.1))
        return len(found) >= count

    wait_until(enough)
    return found


def test_orders_without_a_market_are_received_logged_and_refused_with_the_reason(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD * 3)
            wait_until(lambda: len(running.logged("Received")) == 3)
        name = running.tree["OrderManager"]["shared_memory_name"]
        assert running.logged("orders are refused") == [
            f"orders are refused: there is no market '{name}' yet"
        ]
        with pytest.raises(SessionRefused, match="there is no market"):
            OrderManagerClient("127.0.0.1", running.port, strategy="sma").connect()


def test_a_plain_order_is_filled_and_its_fill_is_a_line_in_the_log(tmp_path: Path) -> None:
    costs = {"latency_ms": 0, "slippage_bps": 0, "commission_bps": 1}
    with (
        order_manager(tmp_path, execution=costs) as running,
        market(running, tmp_path) as m,
    ):
        m.put(173.2)
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD)
            wait_until(lambda: running.logged("Received"))
            m.put(173.3)
            wait_until(lambda: running.logged("Filled"))
        assert running.logged("Filled") == ["Filled manual 0.0: BUY 10 AAPL @ 173.2 (commission 0.1732)"]
        assert running.process.stop() == EXIT_OK


def test_a_denial_is_a_line_in_the_log_with_the_rule_and_the_numbers(tmp_path: Path) -> None:
    with (
        order_manager(tmp_path, risk={"max_position": 5}) as running,
        market(running, tmp_path) as m,
    ):
        m.put(173.2)
        running.process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(GOOD)
            wait_until(lambda: running.logged("Received"))
            m.put(*[173.2] * 100)
            wait_until(lambda: running.logged("Rejected"))
        (line,) = running.logged("Rejected")
        assert line.startswith("Rejected manual 0.0: BUY 10 AAPL: max_position: 0 held")


def test_a_session_is_acknowledged_reported_and_in_the_event_stream(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running, market(running, tmp_path) as m:
        m.put(173.2)
        token = m.token
        events = running.tree["OrderManager"]["events_port"]
        with (
            socket.create_connection(("127.0.0.1", events)) as listener,
            OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=token) as client,
        ):
            client.send_order(Order("AAPL", 10, 173.2, Side.BUY, ts_of(0), 0))
            assert receive(client, 1) == [(0, 0)]
            m.put(*[173.2] * 100)
            new, filled = receive(client, 2)
            assert isinstance(new, Report)
            assert isinstance(filled, Report)
            assert (str(new.status), str(filled.status), filled.last_qty) == ("New", "Filled", 10)
            data = read_available(listener, lambda data: b'"Filled"' in data)
        lines = [json.loads(line) for line in data.splitlines() if line.endswith(b"}")]
        assert lines[0]["type"] == "snapshot"
        assert [line["strategy_id"] for line in lines if line["type"] == "order"] == ["mine"]
        assert [line["status"] for line in lines if line["type"] == "report"] == ["New", "Filled"]
        assert running.process.stop() == EXIT_OK


def test_a_wrong_token_is_a_denied_session(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running, market(running, tmp_path) as m:
        assert m.token
        client = OrderManagerClient("127.0.0.1", running.port, strategy="mine", token="guessed")
        with pytest.raises(SessionRefused, match="wrong token: it is in run-1/token"):
            client.connect()
        wait_until(lambda: running.logged("rejected"))
        assert "session denied: mine: wrong token" in running.logged("rejected")[0]


def test_when_the_journal_cannot_grow_orders_are_refused_loudly(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running, market(running, tmp_path) as m:
        m.put(173.2)
        assert m.token
        with OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token) as client:
            client.send_order(Order("AAPL", 1, 173.2, Side.BUY, ts_of(0), 0))
            acknowledged = receive(client, 1)
            limit = 3 << 19  # one and a half of the chunks that a journal grows by
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            sent = 1
            while running.process.alive and not running.logged("ORDERS ARE REFUSED"):
                batch = [Order("AAPL", 1, 173.2, Side.BUY, ts_of(0), 0, sent + i) for i in range(500)]
                with contextlib.suppress(ConnectionError):  # it hangs up on who would wait in vain
                    for order in batch:
                        client.send_order(order)
                    acknowledged.extend(client.receive(0.01))
                sent += 500
            assert "journal" in running.logged("ORDERS ARE REFUSED")[0]
        with pytest.raises(SessionRefused, match="cannot be written"):
            OrderManagerClient("127.0.0.1", running.port, strategy="other", token=m.token).connect()
        reader = JournalReader(m.run_folder / "journal.bin")
        durable = [records.decode(payload) for _, payload in reader.read(1_000_000)]
        reader.close()
        ids = [(r.request.cause_seq, r.request.index) for r in durable if isinstance(r, records.Taken)]
        last = max(a for a in acknowledged if isinstance(a, tuple))
        assert (0, 0) < last <= ids[-1]  # what came with the hang-up may be unread, nothing else is told


def test_when_a_tape_ends_its_journal_is_closed_and_the_next_run_gets_its_own(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        for run_id in ("run-1", "run-2"):
            with market(running, tmp_path, run_id) as m:
                m.put(173.2)
                with OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token) as client:
                    client.send_order(Order("AAPL", 1, 173.2, Side.BUY, ts_of(0), 0))
                    wait_until(lambda client=client: client.receive(0.1))  # type: ignore[misc]
            wait_until(lambda run_id=run_id: running.logged(f"tape of run {run_id} has ended"))  # type: ignore[misc]
        for run_id in ("run-1", "run-2"):
            reader = JournalReader(tmp_path / "runs" / run_id / "journal.bin")
            assert reader.run_id == run_id
            taken = [r for _, p in reader.read() if isinstance(r := records.decode(p), records.Taken)]
            reader.close()
            assert len(taken) == 1


def test_a_journal_that_cannot_be_used_is_that_runs_misfortune_not_the_next_ones(tmp_path: Path) -> None:
    (tmp_path / "runs" / "run-1" / "journal.bin").mkdir(parents=True)
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        with market(running, tmp_path) as m:
            m.put(173.2)
            wait_until(lambda: running.logged("ORDERS ARE REFUSED: the journal cannot be used"))
            with pytest.raises(SessionRefused, match="the journal cannot be used"):
                OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token).connect()
        with market(running, tmp_path, "run-2") as m:
            m.put(173.2)
            wait_until(lambda: running.logged("ledger of run run-2"))
            with OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token) as client:
                client.send_order(Order("AAPL", 1, 173.2, Side.BUY, ts_of(0), 0))
                assert receive(client, 1) == [(0, 0)]


def test_a_tape_that_begins_anew_inside_a_run_goes_on_in_its_journal(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running:
        running.process.wait_for("ready")
        for prices in ([173.2] * 5, [173.2]):
            with market(running, tmp_path) as m:
                last = m.put(*prices)
                with OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token) as client:
                    client.send_order(Order("AAPL", 1, 173.2, Side.BUY, ts_of(last), last))
                    assert (last, 0) in receive(client, 1)
            wait_until(lambda: running.logged("tape of run run-1 has ended"))
        assert running.logged("the tape of run run-1 began anew")
        assert running.process.stop() == EXIT_OK


def test_in_a_stream_of_orders_the_disk_is_waited_for_in_the_thread_and_every_order_is_acknowledged(
    tmp_path: Path,
) -> None:
    count = 3000
    with order_manager(tmp_path) as running, market(running, tmp_path) as m:
        m.put(173.2)
        acknowledged: list[tuple[int, int]] = []
        with OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token) as client:
            for index in range(count):
                client.send_order(Order("AAPL", 1, 173.2, Side.BUY, ts_of(0), 0, index))
                acknowledged += [a for a in client.receive() if isinstance(a, tuple)]
            while (0, count - 1) not in acknowledged:
                acknowledged += [a for a in receive(client, 1) if isinstance(a, tuple)]
        assert acknowledged == sorted(set(acknowledged))
        assert running.process.stop() == EXIT_OK
        (line,) = running.logged("ledger of run run-1 closed: ")
        found = re.search(r"fdatasync in the thread ([\d,]+)", line)
        assert found is not None
        assert int(found[1].replace(",", "")) > 0
    with JournalReader(m.run_folder / "journal.bin") as reader:
        durable = [records.decode(payload) for _, payload in reader.read(1_000_000)]
    assert sum(isinstance(record, records.Taken) for record in durable) == count


def test_alone_it_lives_on_when_a_host_says_that_it_differs(tmp_path: Path) -> None:
    with order_manager(tmp_path) as running, market(running, tmp_path) as m:
        m.put(173.2)
        link = OrderManagerClient("127.0.0.1", running.port, strategy="mine", token=m.token, mode="new")
        with link as host, socket.create_connection(("127.0.0.1", running.port)) as plain:
            host.say_farewell("its report 7 is another")
            wait_until(lambda: running.logged("mine DIVERGED"))
            plain.sendall(GOOD)
            wait_until(lambda: running.logged("Received Order 1:"))
        assert running.logged("mine DIVERGED") == ["mine DIVERGED: its report 7 is another"]
        assert running.process.stop() == EXIT_OK


# ------------------------------------------------------------------------------------------- latencies


@pytest.fixture
def tape() -> Iterator[TapeWriter]:
    name = segment_name()
    with SharedPriceBook(["AAPL"], name, create=True, run_id="run-1"):
        writer = TapeWriter.open(name, 4096, "run-1")
        try:
            yield writer
        finally:
            writer.close()


def session_order(cause: int, sent: int, received: int) -> Received:
    return Received(1, Order("AAPL", 1, 1.0, Side.BUY, 0, cause, 0, sent), "sma", received)


def test_an_orders_stages_are_measured_from_the_record_that_caused_it(tape: TapeWriter) -> None:
    stages, seen = Stages(), market_of(tape)
    due = time.time_ns() - 5_000_000
    tape.append([Entry(10**18, 1.0, due, 0, Kind.TICK)])
    now = time.time_ns()
    stages.record(session_order(0, now + 2_000_000, now + 3_000_000), seen)
    seen.close()
    found = {name: histogram.max / 1e6 for name, histogram in stages.histograms.items()}
    assert found["decision→order"] == 1
    assert 5 <= found["tick→book"] <= found["tick→order"]
    assert found["book→decision"] >= 2
    parts = found["tick→book"] + found["book→decision"] + found["decision→order"]
    assert parts == pytest.approx(found["tick→order"])


def market_of(tape: TapeWriter) -> LedgersMarket:
    return LedgersMarket(tape.segment.name.removesuffix(".tape"))


def test_orders_without_a_record_on_the_tape_are_counted_and_not_measured(tape: TapeWriter) -> None:
    stages, seen = Stages(), market_of(tape)
    stages.record(session_order(5, 0, 0), seen)  # beyond the tail
    stages.record(
        Received(1, Order("AAPL", 1, 1.0, Side.BUY, 0), "manual", 0), seen
    )  # plain: nothing to measure
    seen.close()
    assert stages.unknown == 1
    assert all(histogram.total == 0 for histogram in stages.histograms.values())
