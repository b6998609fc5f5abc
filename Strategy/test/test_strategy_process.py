"""The Strategy as it runs: `Strategy/run.py` on a tape and a price book that the test writes."""

import contextlib
import re
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from OrderManager.server import OrderManagerServer, Received
from runtime.part import EXIT_CONFIG, EXIT_OK
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import (
    Process,
    running,
    segment_name,
    segments,
    system_config,
    wait_until,
    write_config,
)
from trading_lib.models import Kind

TS = 1_735_828_200_000_000_000
SYMBOLS = ("AAPL", "MSFT")
BUY_ALL = "def on_tick(ctx, tick): ctx.place_market_order('BUY', tick.price)"


class Market:
    """A price book and a tape of one run, written by the test."""

    def __init__(self, name: str, run_id: str) -> None:
        self.tape = TapeWriter.open(name, 4096, run_id)
        self.book = SharedPriceBook(SYMBOLS, name, create=True, run_id=run_id)

    def put(self, *values: float, kind: Kind = Kind.TICK, slot: int = 0) -> None:
        """Publish records; a tick sets the book's price, too."""
        if kind == Kind.TICK:
            self.book.update(SYMBOLS[slot], values[-1])
        now = time.time_ns()
        self.tape.append([Entry(TS + i, value, now, slot, kind) for i, value in enumerate(values)])
        self.tape.ring()

    def close(self) -> None:
        self.book.unlink()
        self.tape.close()
        self.book.close()


@contextlib.contextmanager
def market(name: str, run_id: str = "run-1") -> Iterator[Market]:
    made = Market(name, run_id)
    try:
        yield made
    finally:
        made.close()
        assert segments(name) == []


class Stage:
    """A Strategy process over a strategy text, and the OrderManager it talks to (served by the test)."""

    def __init__(self, process: Process, tree: dict[str, Any], folder: Path) -> None:
        self.process = process
        self.name: str = tree["Strategy"]["shared_memory_name"]
        self.port: int = tree["Strategy"]["order_manager_port"]
        self.log_file = folder / "logs" / "strategy.log"
        self.received: list[Received] = []
        self._server: OrderManagerServer | None = None

    def open_orders_port(self) -> None:
        self._server = OrderManagerServer("127.0.0.1", self.port, on_orders=self.received.extend)

    def close_orders_port(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    @property
    def sessions(self) -> list[str]:
        assert self._server is not None
        return self._server.sessions

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            assert self.process.alive, self.process.output
            if self._server is not None:
                self._server.run_once(0.001)
            return condition()

        wait_until(look)

    def until_ready(self, times: int = 1) -> None:
        """At -v the log says so instead of the part."""
        self.until(lambda: len(re.findall("^strategy:? ready: ", self.process.output, re.MULTILINE)) == times)

    def until_connected(self) -> None:
        self.until(lambda: self.sessions == ["mine"])

    @property
    def quantities(self) -> list[float]:
        return [received.order.quantity for received in self.received]

    def stop(self) -> int:
        """SIGTERM; the order port is served until the process has ended."""
        self.process.popen.send_signal(signal.SIGTERM)

        def ended() -> bool:
            if self._server is not None:
                self._server.run_once(0.001)
            return not self.process.alive

        wait_until(ended)
        if self._server is not None:
            self._server.drain(1.0)
        return self.process.popen.returncode


@contextlib.contextmanager
def stage(
    folder: Path, source: str | None = BUY_ALL, *arguments: str, name: str | None = None, **entry: Any
) -> Iterator[Stage]:
    """A started Strategy (not waited for) with its order port open; `name`: of a tape that is there already."""
    path = folder / "mine" / "strategy.py"
    path.parent.mkdir()
    if source is not None:
        path.write_text(textwrap.dedent(source))
    strategy = {"strategies": [{"id": "mine", "path": str(path), **entry}]}
    tree = system_config(folder, Strategy={**strategy, "shared_memory_name": name or segment_name()})
    config = write_config(folder, tree)
    with running(["Strategy/run.py", str(config), *arguments], folder) as process:
        made = Stage(process, tree, folder)
        try:
            made.open_orders_port()
            yield made
        finally:
            made.close_orders_port()


def test_it_waits_for_the_tape_attaches_at_its_head_and_sends_orders(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.until_connected()
        assert "ready" not in s.process.output
        with market(s.name, "run-7") as m:
            s.until_ready()
            assert f"mine on tape {s.name} of run run-7, from record 0" in s.process.output
            m.put(1.0, 2.0, 3.0)
            s.until(lambda: len(s.received) == 3)
            orders = [r.order for r in s.received]
            assert [o.client_order_id for o in orders] == ["0.0", "1.0", "2.0"]
            assert [(o.symbol, o.quantity, o.price, o.timestamp) for o in orders] == [
                ("AAPL", i + 1, i + 1, TS + i) for i in range(3)
            ]
            assert {r.strategy for r in s.received} == {"mine"}
            assert s.stop() == EXIT_OK


def test_a_late_strategy_starts_at_the_head_knows_the_last_prices_and_says_where(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick):
            ctx.log(f"{tick.symbol} {tick.price} MSFT {ctx.price('MSFT')}")
            ctx.place_market_order("BUY", 1)
    """
    name = segment_name()
    with market(name) as m:
        m.put(1.0, 2.0)
        m.put(400.5, slot=1)
        with stage(tmp_path, source, name=name) as s:
            s.until_ready()
            s.until_connected()
            assert "from record 3" in s.process.output
            m.put(9.0)
            s.until(lambda: s.received)
            assert [r.order.client_order_id for r in s.received] == ["3.0"]
            assert s.stop() == EXIT_OK
            assert "mine: AAPL 9.0 MSFT 400.5" in s.log_file.read_text()


def test_it_survives_the_end_of_a_tape_and_starts_afresh_on_the_next(tmp_path: Path) -> None:
    source = """
        def init(ctx): ctx.seen = 0
        def on_tick(ctx, tick):
            ctx.seen += 1
            ctx.place_market_order("BUY", 100 * ctx.seen + ctx.position() / 1000)
    """
    with stage(tmp_path, source) as s:
        s.until_connected()
        for k in range(3):
            with market(s.name, f"run-{k}") as m:
                s.until_ready(k + 1)
                m.put(1.0, 1.0)
                s.until(lambda k=k: len(s.received) == 2 * (k + 1))  # type: ignore[misc]
        assert s.quantities == [100, 200.1] * 3
        assert s.stop() == EXIT_OK


def test_what_is_on_the_tape_when_it_ends_is_still_processed(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.until_connected()
        with market(s.name) as m:
            s.until_ready()
            s.process.popen.send_signal(signal.SIGSTOP)
            m.put(*range(1, 3001))
        s.process.popen.send_signal(signal.SIGCONT)
        s.until(lambda: len(s.received) == 3000)
        assert s.quantities == list(range(1, 3001))
        assert s.stop() == EXIT_OK


def test_told_to_stop_it_processes_what_is_on_the_tape_and_sends_the_orders(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.until_connected()
        with market(s.name) as m:
            s.until_ready()
            m.put(*range(1, 3001))
            assert s.stop() == EXIT_OK
        assert s.quantities == list(range(1, 3001))


def test_who_sleeps_too_long_is_told_how_much_it_missed(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s:
        s.until_connected()
        with market(s.name) as m:
            s.until_ready()
            s.process.popen.send_signal(signal.SIGSTOP)
            for start in range(1, 10_001, 1000):  # the tape holds 4096
                m.put(*range(start, start + 1000))
            s.process.popen.send_signal(signal.SIGCONT)
            s.until(lambda: s.quantities and s.quantities[-1] == 10_000)
            missed = 10_000 - len(s.received)
            assert 10_000 - 4096 <= missed < 10_000
            assert s.quantities == list(range(missed + 1, 10_001))
            s.until(lambda: re.search(rf"'missed': {missed},", s.process.output))
            assert s.stop() == EXIT_OK


def test_it_finds_an_order_manager_that_comes_later_or_comes_back(tmp_path: Path) -> None:
    with stage(tmp_path) as s, market(s.name) as m:
        s.close_orders_port()
        s.until_ready()
        m.put(1.0)
        s.open_orders_port()
        s.until(lambda: s.quantities == [1.0])
        s.close_orders_port()
        s.until(lambda: "order link lost" in s.log_file.read_text())
        m.put(2.0, 3.0)
        s.open_orders_port()
        s.until(lambda: s.quantities == [1.0, 2.0, 3.0])
        assert s.stop() == EXIT_OK


def test_a_strategy_that_raises_is_counted_and_goes_on(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick):
            if tick.price < 3:
                1 / 0
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source, "-vv") as s:
        s.until_connected()
        with market(s.name) as m:
            s.until_ready()
            m.put(1.0, 2.0, 3.0)
            s.until(lambda: s.quantities == [3.0])
            s.until(lambda: "'errors': 2, 'last_error': 'line 4: ZeroDivisionError" in s.process.output)
            assert s.stop() == EXIT_OK
    assert "mine: at record 0: line 4: ZeroDivisionError: division by zero" in s.process.output


def test_only_the_configured_symbols_are_shown_and_parameters_arrive(tmp_path: Path) -> None:
    source = "def on_tick(ctx, tick): ctx.place_market_order('SELL', ctx.get_param('size'))"
    with stage(tmp_path, source, symbols=["MSFT"], params={"size": 7}) as s:
        s.until_connected()
        with market(s.name) as m:
            s.until_ready()
            m.put(1.0)
            m.put(2.0, slot=1)
            s.until(lambda: s.received)
            assert [(r.order.symbol, r.order.quantity) for r in s.received] == [("MSFT", 7)]
            assert s.stop() == EXIT_OK


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("def on_tick(ctx, tick:", "line 1: SyntaxError"),
        ("x = 1", "a strategy has a function on_tick(ctx, tick)"),
        (None, "no such strategy file"),
    ],
)
def test_a_bad_strategy_file_is_exit_78_with_its_line(tmp_path: Path, source: str | None, shown: str) -> None:
    with stage(tmp_path, source) as s:
        assert s.process.popen.wait(30) == EXIT_CONFIG
        assert "Strategy.strategies: " in s.process.output
        assert shown in s.process.output
        assert "Traceback" not in s.process.output


def test_an_init_that_fails_is_exit_78_with_its_line(tmp_path: Path) -> None:
    source = "def on_tick(ctx, tick): pass\ndef init(ctx):\n    1 / 0\n"
    with stage(tmp_path, source) as s, market(s.name):
        assert s.process.popen.wait(30) == EXIT_CONFIG
        assert "strategy mine: init: line 3: ZeroDivisionError" in s.process.output


def test_a_tape_and_a_price_book_of_different_runs_are_not_attached_to(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.until_connected()
        book = SharedPriceBook(SYMBOLS, s.name, create=True, run_id="old")
        tape = TapeWriter.open(s.name, 4096, "new")
        try:
            deadline = time.monotonic() + 0.3
            s.until(lambda: time.monotonic() > deadline)
            assert "ready" not in s.process.output
            book.unlink()
            book.close()
            book = SharedPriceBook(SYMBOLS, s.name, create=True, run_id="new")
            s.until_ready()
            assert s.stop() == EXIT_OK
        finally:
            book.unlink()
            book.close()
            tape.close()
