"""A stage for the Strategy as it runs: `Strategy/run.py` on a tape and a price book that the test writes.

The OrderManager is the test's, too: it welcomes everybody with an empty lane, acknowledges, reports nothing.
"""

import contextlib
import re
import signal
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from OrderManager.server import (
    Connection,
    Hello,
    Input,
    OrderManagerServer,
    Progress,
    Received,
    SessionDenied,
)
from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import Process, running, segment_name, segments, system_config, wait_until, write_config
from trading_lib import order_wire, wire
from trading_lib.broker import Terms
from trading_lib.lane import Lane
from trading_lib.lane_state import take_state
from trading_lib.models import Fill, Kind, Side
from trading_lib.risk import Limits

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

    def __init__(self, process: Process, tree: dict[str, Any], folder: Path, path: Path) -> None:
        self.process = process
        self.path = path  # of the strategy file
        self.name: str = tree["Strategy"]["shared_memory_name"]
        self.port: int = tree["Strategy"]["order_manager_port"]
        self.log_file = folder / "logs" / "strategy.log"
        self.received: list[Received] = []
        self.hellos: list[Hello] = []
        self.next_seq: int | None = None  # where to begin; None: where the Strategy asks to
        self.denied = ""  # why nobody gets a session
        self.position = 0.0  # of AAPL, as the ledger says at the beginning …
        self.prices: dict[str, float] = {}  # … and the last prices it knows
        self.progress: list[Progress] = []
        self.client: Connection | None = None
        self._runs = folder / "runs"
        self._server: OrderManagerServer | None = None

    @contextlib.contextmanager
    def market(self, run_id: str = "run-1") -> Iterator[Market]:
        """A market whose run has its folder and its token."""
        self.give_token(run_id)
        with market(self.name, run_id) as made:
            yield made

    def give_token(self, run_id: str) -> None:
        (self._runs / run_id).mkdir(parents=True, exist_ok=True)
        (self._runs / run_id / "token").write_text(f"token of {run_id}")

    @property
    def run(self) -> Path:
        """The folder of run-1."""
        return self._runs / "run-1"

    def open_orders_port(self) -> None:
        self._server = OrderManagerServer("127.0.0.1", self.port, desk=self)

    # the desk behind the port

    def welcome(self, client: Connection, hello: Hello) -> tuple[Iterable[bytes], int]:
        self.hellos.append(hello)
        if self.denied:
            raise SessionDenied(self.denied)
        self.client = client
        begin = hello.number if self.next_seq is None else self.next_seq
        lane = Lane("mine", Terms(), Limits())
        lane.next_seq, lane.seq = begin, begin - 1
        lane.prices.update(self.prices)
        if self.position:
            lane.portfolio.apply(Fill("AAPL", Side.BUY, self.position, 1.0, 0.0, TS))
        return order_wire.encode_lane(msgspec.json.encode(take_state(lane))), begin

    def take(self, client: Connection, inputs: Sequence[Input]) -> None:
        orders = [found for found in inputs if isinstance(found, Received)]
        self.received += orders
        self.progress += [found for found in inputs if isinstance(found, Progress)]
        if orders:
            client.send(wire.encode_control("A", orders[-1].order.cause_seq, orders[-1].order.index))

    def left(self, client: Connection) -> None:
        if client is self.client:
            self.client = None

    def close_orders_port(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

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

    @property
    def server(self) -> OrderManagerServer:
        """The order port."""
        assert self._server is not None
        return self._server

    @property
    def log(self) -> str:
        """What the Strategy has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def zygote(self) -> psutil.Process:
        """The process that forks workers."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    @property
    def workers(self) -> list[int]:
        """The pids of the workers there are."""
        found = []
        for child in self.zygote.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child.pid)
        return found

    def save(self, source: str) -> None:
        """Save the strategy file as editors do: a new file takes the old one's name."""
        draft = self.path.with_suffix(".tmp")
        draft.write_text(textwrap.dedent(source))
        draft.replace(self.path)

    @property
    def quantities(self) -> list[float]:
        return [received.order.quantity for received in self.received]

    def stop(self) -> int:
        """SIGTERM; the order port is served until the process has ended."""
        self.process.popen.send_signal(signal.SIGTERM)
        return self.until_ended()

    def until_ended(self) -> int:
        """Serve the order port until the process has ended; its exit code."""

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
    folder: Path,
    source: str | None = BUY_ALL,
    *arguments: str,
    name: str | None = None,
    section: dict[str, Any] | None = None,
    beside: dict[str, str] | None = None,
    **entry: Any,
) -> Iterator[Stage]:
    """A started Strategy (not waited for) with its order port open; `name`: of a tape that is there already.

    `section` are keys of the configuration's Strategy, `entry` keys of its one strategy `mine`, `beside`
    other files in its folder.
    """
    path = folder / "mine" / "strategy.py"
    path.parent.mkdir()
    if source is not None:
        path.write_text(textwrap.dedent(source))
    for file, content in (beside or {}).items():
        (path.parent / file).write_text(content)
    strategy = {"strategies": [{"id": "mine", "path": str(path), **entry}], **(section or {})}
    tree = system_config(folder, Strategy={**strategy, "shared_memory_name": name or segment_name()})
    config = write_config(folder, tree)
    with running(["Strategy/run.py", str(config), *arguments], folder) as process:
        made = Stage(process, tree, folder, path)
        try:
            made.open_orders_port()
            yield made
        finally:
            made.close_orders_port()
