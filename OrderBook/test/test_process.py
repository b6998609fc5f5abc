"""The OrderBook as a process: started, fed, killed, started again, stopped."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from OrderBook.test.desk import T0, S
from OrderBook.test.gateway import HELLO, Port, session
from runtime.child import Child, State
from runtime.loop import EventLoop
from shared_memory.segment import SHM_DIR
from shared_memory.test.actors import actor
from shared_memory_utils import RECORD, SharedPriceBook, TapeReader, unlink_all
from testing.harness import (
    ROOT,
    Process,
    running,
    running_part,
    segments,
    system_config,
    wait_until,
    write_config,
)
from trading_lib.models import Kind

TAPE = 1 << 12


class System(NamedTuple):
    """A configuration on free ports, and a scripted Gateway on them."""

    folder: Path
    config: Path
    name: str
    ticks: Port
    news: Port

    def start(self, run_id: str | None = None) -> Process:
        """An OrderBook, ready."""
        env = {} if run_id is None else {"ALGOSIM_RUN_ID": run_id}
        process = Process(["OrderBook/run.py", str(self.config)], self.folder, env)
        process.wait_for("ready")
        return process

    def greet(self) -> None:
        """Take the OrderBook's connection and hello."""
        wait_until(self.ticks.accept, "a connection to the tick port")
        wait_until(lambda: self.ticks.received() == HELLO, "the hello")

    def refused(self) -> str:
        """Start an OrderBook that must end with 78; what it said."""
        with running_part("OrderBook", self.config, self.folder) as process:
            assert process.popen.wait(30) == 78, process.output
            return process.output


def make_system(folder: Path, **changes: Any) -> System:
    tree = system_config(folder, OrderBook={"tape_capacity": TAPE, **changes})
    section = tree["OrderBook"]
    ports = Port(section["md_port"]), Port(section["news_port"])
    return System(folder, write_config(folder, tree), section["shared_memory_name"], *ports)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = make_system(tmp_path)
    with system.ticks, system.news:
        yield system
    unlink_all(system.name)
    assert segments(system.name) == []


def take(reader: TapeReader, count: int) -> list[tuple[Kind, int, float]]:
    """The next `count` records: kind, event time, value."""
    found: list[tuple[Kind, int, float]] = []

    def enough() -> bool:
        found.extend(
            (Kind(kind), ts, value) for _, ts, value, _, _, _, kind in RECORD.iter_unpack(reader.take())
        )
        return len(found) >= count

    wait_until(enough, f"{count} records")
    assert len(found) == count
    return found


def test_what_a_gateway_sends_is_on_the_tape_and_in_the_book(system: System) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        reader = stack.enter_context(closing(TapeReader(system.name)))
        book = stack.enter_context(SharedPriceBook(["AAPL", "MSFT"], system.name))
        assert book.symbols == ("AAPL", "GOOG", "IBM", "MSFT")
        assert book.run_id == reader.run_id
        system.greet()
        system.ticks.send(session(5, 0, 1, 2))
        assert take(reader, 3) == [
            (Kind.EPOCH, T0 + 1, 0.0),
            (Kind.TICK, T0 + 1, 1.5),
            (Kind.TICK, T0 + 2, 2.5),
        ]
        assert book.read("AAPL") == (2.5, (T0 + 2) / S)
        assert process.stop() == 0
        assert reader.closed and book.closed
        assert segments(system.name) == []


def test_a_killed_one_is_adopted_by_the_next_while_somebody_reads(system: System) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        reader = stack.enter_context(closing(TapeReader(system.name)))
        book = stack.enter_context(SharedPriceBook(["AAPL"], system.name))
        system.greet()
        system.ticks.send(session(5, 0, 1, 2))
        take(reader, 3)
        for generation in (2, 3):
            process.kill()
            assert not reader.closed and not book.closed
            process = system.start()
            stack.callback(process.kill)
            assert f"adopted, generation {generation}" in process.output
            assert reader.generation == generation
            system.greet()
            first = 3 * generation
            system.ticks.send(session(5, first, first, first + 1))
            missed = 4 if generation == 2 else 1
            assert take(reader, 3) == [
                (Kind.GAP, T0 + (2 if generation == 2 else 7), missed),
                (Kind.TICK, T0 + first, first + 0.5),
                (Kind.TICK, T0 + first + 1, first + 1.5),
            ]
            assert book.read("AAPL") == (first + 1.5, (T0 + first + 1) / S)
        assert reader.missed == 0
        assert process.stop(signal.SIGINT) == 0


def test_told_to_stop_under_a_supervisor_it_leaves_its_place_to_its_successor(system: System) -> None:
    with ExitStack() as stack:
        loop = stack.enter_context(closing(EventLoop()))
        child = Child("orderbook", ROOT / "OrderBook" / "run.py", lambda *_: None)
        stack.callback(child.kill)

        def until(condition: Callable[[], Any]) -> None:
            def look() -> Any:
                loop.run_once(0.005)
                return condition()

            wait_until(look)

        def start() -> None:
            child.start(loop, [str(system.config)], "run-7")
            until(lambda: child.state is State.READY)
            until(system.ticks.accept)
            until(lambda: system.ticks.received() == HELLO)

        def stop() -> None:
            child.signal(signal.SIGTERM)
            until(child.reap)
            assert child.exit_code == 0

        start()
        reader = stack.enter_context(closing(TapeReader(system.name)))
        system.ticks.send(session(5, 0, 1, 2))
        take(reader, 3)
        stop()
        assert len(segments(system.name)) == 3
        start()
        system.ticks.send(session(5, 4, 4))
        assert take(reader, 2) == [(Kind.GAP, T0 + 2, 2), (Kind.TICK, T0 + 4, 4.5)]
        sleeper = stack.enter_context(actor("sleep_on_tape", system.name, system.folder))
        sleeper.wait_for("ready")
        stop()
        unlink_all(system.name)
        assert reader.closed
        sleeper.wait_for("woken")


@pytest.mark.parametrize("removed", ["", ".tape", ".tape.bells"])
def test_when_somebody_removes_a_name_it_says_so_and_ends_with_an_error(system: System, removed: str) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        reader = stack.enter_context(closing(TapeReader(system.name)))
        (SHM_DIR / f"{system.name}{removed}").unlink()
        assert process.popen.wait(30) == 1
        assert f"somebody has removed {system.name}" in process.output
        assert "Traceback" not in process.output
        assert reader.closed
    assert segments(system.name) == []


def test_what_a_dead_run_left_is_replaced_when_nobody_reads_it_or_the_run_is_another(system: System) -> None:
    for run_id, how in (("one", "new"), ("one", "adopted, generation 2"), ("two", "new"), (None, "new")):
        process = system.start(run_id)
        try:
            assert f"({how})" in process.output
            with closing(TapeReader(system.name)) as reader:
                assert run_id in (None, reader.run_id)
            assert len(segments(system.name)) == 3
        finally:
            process.kill()


def test_a_stop_wakes_who_sleeps_on_the_tape(system: System) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        sleeper = stack.enter_context(actor("sleep_on_tape", system.name, system.folder))
        sleeper.wait_for("ready")
        assert process.stop() == 0
        sleeper.wait_for("woken")


def test_a_stop_while_it_is_starting_leaves_nothing(system: System) -> None:
    with running_part("OrderBook", system.config, system.folder) as process:
        assert process.stop() in (0, -signal.SIGTERM)
    assert segments(system.name) == []


def test_a_second_one_on_the_same_name_is_refused_and_the_first_goes_on(system: System) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        said = system.refused()
        assert "OrderBook.shared_memory_name" in said
        assert f"process {process.pid}" in said
        reader = stack.enter_context(closing(TapeReader(system.name)))
        system.greet()
        system.ticks.send(session(5, 0, 1))
        take(reader, 2)
        assert process.stop() == 0


def test_a_price_book_of_somebody_else_is_refused_and_no_tape_is_left(system: System) -> None:
    with actor("own_book", system.name, system.folder) as owner:
        owner.wait_for("owner")
        said = system.refused()
        assert "OrderBook.shared_memory_name" in said
        assert f"process {owner.pid}" in said
        assert segments(system.name) == [system.name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ('{"symbols": ["A"], "OrderBook": {"tape_capacity": 5}}', "OrderBook.tape_capacity = 5"),
        ('{"symbols": ["A"], "OrderBook": {"colour": 1}}', "colour"),
        ('{"symbols": []}', "symbols"),
    ],
)
def test_a_bad_configuration_ends_it_with_78_and_a_message(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    with running_part("OrderBook", config, tmp_path) as process:
        assert process.popen.wait(30) == 78
        assert said in process.output
        assert "Traceback" not in process.output


def test_whatever_arrives_it_lives_on_and_serves_the_next_good_tick(system: System) -> None:
    with ExitStack() as stack:
        process = system.start()
        stack.callback(process.kill)
        reader = stack.enter_context(closing(TapeReader(system.name)))
        for garbage in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            os.urandom(200_000),
            b"x" * 2_000_000,
            b"!S,9223372036854775807,1*" * 10 + b"!OK,9223372036854775807,9223372036854775807*",
            b"!OK,5,0*" + b"!S,9223372036854775807,9223372036854775807*!E,9223372036854775807*" * 100,
            b"AAPL,nan*AAPL,inf*AAPL,-1*AAPL,0*MSFT*,,,,*" * 1000,
        ):
            wait_until(system.ticks.accept)
            assert system.ticks.connection is not None
            system.ticks.connection.setblocking(True)
            system.ticks.connection.sendall(garbage)
            system.ticks.hang_up()
        system.greet()
        system.ticks.send(session(6, 0, 1))
        found: list[tuple[int, float]] = []

        def served() -> bool:
            found.extend((ts, value) for _, ts, value, _, _, _, _ in RECORD.iter_unpack(reader.take()))
            return (T0 + 1, 1.5) in found

        wait_until(served, "the good tick")
        assert process.stop() == 0
        assert process.output.count("ready") == 1
        assert "Traceback" not in process.output


def test_it_runs_alone_with_the_default_configuration_explained(tmp_path: Path) -> None:
    with running(["OrderBook/run.py", "--help"], tmp_path) as process:
        assert process.popen.wait(30) == 0
        assert "config" in process.output
