"""The control port of a running OrderBook: beside a feed, and killed at bad moments."""

import contextlib
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from OrderBook.test.desk import T0
from OrderBook.test.gateway import HELLO, Port, session
from shared_memory_utils import RECORD, TapeReader, unlink_all
from testing.harness import Process, segments, system_config, wait_until, write_config
from trading_lib.control import KillSwitch, read_actions
from trading_lib.models import Kind

KILL = b'{"action": "kill_switch"}\n'
RUN_ID = "run-7"


class Site:
    """A configuration, a scripted Gateway, and the run's folder."""

    def __init__(self, folder: Path) -> None:
        tree = system_config(folder, OrderBook={"tape_capacity": 1 << 16})
        section = tree["OrderBook"]
        self.folder = folder
        self.run_dir = folder / "runs" / RUN_ID
        self.config = write_config(folder, tree)
        self.name: str = section["shared_memory_name"]
        self.control_port: int = section["control_port"]
        self.ticks = Port(section["md_port"])

    def start(self) -> Process:
        process = Process(["OrderBook/run.py", str(self.config)], self.folder, {"ALGOSIM_RUN_ID": RUN_ID})
        process.wait_for("ready")
        return process

    def operator(self) -> socket.socket:
        """A client that has shown the run's token."""
        client = socket.create_connection(("127.0.0.1", self.control_port), timeout=30)
        token = (self.run_dir / "token").read_text()
        client.sendall(json.dumps({"token": token}).encode() + b"\n")
        return client


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with site.ticks:
        yield site
    unlink_all(site.name)
    assert segments(site.name) == []


def controls(reader: TapeReader) -> list[int]:
    """The ids of the CONTROL records that are new on the tape."""
    found: list[int] = []
    while packed := reader.take():
        found += [
            int(value) for _, _, value, _, _, _, kind in RECORD.iter_unpack(packed) if kind == Kind.CONTROL
        ]
    return found


def test_actions_are_served_beside_a_feed_that_never_pauses(site: Site) -> None:
    with ExitStack() as stack:
        process = site.start()
        stack.callback(process.kill)
        reader = stack.enter_context(closing(TapeReader(site.name)))
        wait_until(site.ticks.accept)
        wait_until(lambda: site.ticks.received() == HELLO)
        site.ticks.send(session(5, 0, 1))
        operator = stack.enter_context(site.operator())
        answers = stack.enter_context(operator.makefile("rb"))
        sent = 1
        for number in range(1, 21):
            operator.sendall(KILL)
            operator.settimeout(0.0)

            def answered() -> dict[str, Any] | None:
                nonlocal sent
                site.ticks.send(*(f"AAPL,1.5,{T0 + n}*" for n in range(sent, sent + 50)))
                sent += 50
                with contextlib.suppress(BlockingIOError):
                    if line := answers.readline():
                        return json.loads(line)  # type: ignore[no-any-return]
                return None

            answer = wait_until(answered)
            assert (answer["ok"], answer["id"]) == (True, number)
            record = reader.record(answer["seq"])
            assert record is not None and (record[6], record[2]) == (Kind.CONTROL, number)
        assert controls(reader) == list(range(1, 21))
        assert read_actions(site.run_dir / "control.jsonl") == dict.fromkeys(range(1, 21), KillSwitch())
        assert (site.run_dir / "token").stat().st_mode & 0o777 == 0o600
        assert process.stop() == 0


@pytest.mark.parametrize(
    "kills", [4, pytest.param(100, marks=[pytest.mark.chaos, pytest.mark.timeout(3000)])]
)
def test_no_mark_is_on_the_tape_without_its_line_wherever_the_order_book_is_killed(
    site: Site, kills: int
) -> None:
    marks: list[int] = []
    answered: list[int] = []
    with ExitStack() as stack:
        process = site.start()
        reader = stack.enter_context(closing(TapeReader(site.name)))
        for _ in range(kills):
            with site.operator() as operator, operator.makefile("rb") as answers:
                for _ in range(random.randrange(1, 200)):
                    operator.sendall(KILL)
                    answered.append(json.loads(answers.readline())["id"])
                with contextlib.suppress(ConnectionError):
                    operator.sendall(KILL * random.randrange(100))
                process.kill()
            marks += controls(reader)
            assert set(marks) <= set(read_actions(site.run_dir / "control.jsonl"))
            process = site.start()
        process.stop()
        marks += controls(reader)
    assert marks == sorted(set(marks)), "an id is on the tape twice"
    assert set(answered) <= set(marks)


def test_a_lone_order_book_makes_the_runs_folder_and_a_busy_port_is_named(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.control_port)):
        process = Process(["OrderBook/run.py", str(site.config)], site.folder)
        assert process.popen.wait(30) == 78
        assert f"port {site.control_port}" in process.output and "OrderBook.control_port" in process.output
    assert [path.name for path in (site.folder / "runs").glob("*/token")] == ["token"]
