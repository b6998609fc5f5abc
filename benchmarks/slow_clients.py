"""Whether a client that never reads and one that takes a byte a second delay anybody else.

Both connect to the tick port as plain clients. They count as *with* only once the Gateway drops frames for
them: before that the kernel's buffers hide how slow they are.
"""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from benchmarks.pipeline import PERCENTS, problems, stages_between
from benchmarks.system import Failed, System, random_walk

RATE: Final = 50_000
SYMBOLS: Final = ("A" * 24, "B" * 24, "C" * 24, "D" * 24)  # long frames fill buffers soon
CLIENT_BUFFER: Final = 1 << 20  # bytes the Gateway keeps for a client, the OrderBook included
RECEIVE_BUFFER: Final = 4096  # the least a socket may have
PATIENCE_S: Final = 30.0


class Round(msgspec.Struct, frozen=True):
    """tick→order µs without and with the slow clients, in one and the same run; frames dropped for them."""

    without: dict[str, float | None]
    with_them: dict[str, float | None]
    dropped: int

    @property
    def ratio(self) -> float:
        """p99 with over p99 without."""
        with_them, without = self.with_them["p99"], self.without["p99"]
        if not with_them or not without:
            raise Failed("no orders in one half of a round")
        return with_them / without


def rounds(count: int, seconds: float, warm_s: float, say: Callable[[str], None]) -> list[Round]:
    """Interleaved: without first and with first in turns."""
    found = []
    for number in range(count):
        one = _round(seconds, warm_s, with_first=number % 2 == 1)
        say(
            f"slow clients, round {number + 1}: p99 {one.without['p99']} µs without, "
            f"{one.with_them['p99']} µs with, {one.dropped:,} frames dropped for them"
        )
        found.append(one)
    return found


def ratio(found: list[Round]) -> float:
    """The median over the rounds."""
    return statistics.median(one.ratio for one in found)


def _round(seconds: float, warm_s: float, with_first: bool) -> Round:
    settings = random_walk(RATE, RATE // 1000)
    settings["symbols"] = list(SYMBOLS)
    settings["Gateway"]["client_buffer_bytes"] = CLIENT_BUFFER
    with System(settings) as system:
        system.start()
        system.next_status("order_manager", time.monotonic() + warm_s)
        if with_first:
            with_them, dropped = _with(system, seconds)
            without = _phase(system, seconds)
        else:
            without = _phase(system, seconds)
            with_them, dropped = _with(system, seconds)
        final = system.stop()
    final["gateway"]["dropped"] = 0  # theirs; a drop on the session would show as a gap
    if trouble := problems(final):
        raise Failed(f"with slow clients: {trouble}")
    return Round(without, with_them, dropped)


def _phase(system: System, seconds: float) -> dict[str, float | None]:
    before = system.next_status("order_manager")
    system.sleep(seconds - 0.3)  # the next status, one a second, closes the window
    return _between(before, system.next_status("order_manager"))


def _between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float | None]:
    return stages_between(before, after)["tick→order"].summary_us(PERCENTS)


def _with(system: System, seconds: float) -> tuple[dict[str, float | None], int]:
    gateway = system.children["gateway"]
    with _clients(system.config["Gateway"]["md_port"]):
        system.wait(lambda: gateway.status["dropped"], "the Gateway to drop for a slow client", PATIENCE_S)
        measured = _phase(system, seconds)
    return measured, int(gateway.status["dropped"])


@contextlib.contextmanager
def _clients(port: int) -> Iterator[None]:
    """One that never reads, one that reads a byte a second."""
    stop = threading.Event()
    with _connect(port), _connect(port) as slow:
        reader = threading.Thread(target=_read_slowly, args=(slow, stop))
        reader.start()
        try:
            yield
        finally:
            stop.set()
            reader.join()


def _connect(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    client.settimeout(1.0)
    client.connect(("127.0.0.1", port))
    return client


def _read_slowly(client: socket.socket, stop: threading.Event) -> None:
    while not stop.wait(1.0):
        with contextlib.suppress(TimeoutError):
            client.recv(1)
