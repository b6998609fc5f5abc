"""How many ticks a second get through with nothing lost.

- from pre-encoded session frames over TCP into a real OrderBook, compiled and in plain Python;
- from the real providers through the real Gateway, flat out, into a real OrderBook;
- to a strategy that must see every one of them.
"""

import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from benchmarks.pipeline import COMPILED, PURE, problems
from benchmarks.system import Failed, System, random_walk
from Gateway.encoder import Encoder
from Gateway.providers import RandomWalkProvider
from Gateway.providers.provider import take, ticks
from runtime.loop import listen
from trading_lib import wire

SYMBOLS: Final = tuple(f"SYM{i:02d}" for i in range(64))
BURST: Final = 4096  # ticks behind one `!S`, as the Gateway sends flat out
BLOCKS: Final = 64  # different bursts, sent over and over
SESSION: Final = 7
EVENT_NS: Final = 1_735_828_200_000_000_000
PATIENCE_S: Final = 30.0
LADDER: Final = (100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000, 1_250_000, 1_500_000, 2_000_000)
KEPT_UP: Final = 0.99  # of the nominal rate; below, the schedule was not kept
LAG_S: Final = 0.05  # the most a strategy that keeps up may be behind when it is looked at


class Blast(msgspec.Struct, frozen=True):
    """Pre-encoded frames into one OrderBook."""

    path: str
    ticks: int
    seconds: float
    megabytes: float

    @property
    def ticks_per_s(self) -> float:
        """Sustained, first byte sent to last record on the tape."""
        return self.ticks / self.seconds


class Flow(msgspec.Struct, frozen=True):
    """A provider through the Gateway into the OrderBook."""

    provider: str
    ticks_per_s: float
    ticks: int


class Step(msgspec.Struct, frozen=True):
    """A strategy at one rate. `kept_up`: the schedule held, everything was seen, and soon."""

    rate: int
    ticks: int
    seen: int
    overrun: int
    lag: int
    kept_up: bool


class FakeGateway:
    """Listens like a Gateway, answers the hello, and sends what it was given as fast as it is taken."""

    def __init__(self, port: int, blocks: list[bytes]) -> None:
        self._server = listen("127.0.0.1", port, "the benchmark's port")
        self._server.settimeout(PATIENCE_S)
        self._blocks = blocks
        self.connection: socket.socket | None = None

    def accept(self) -> None:
        """Wait for the OrderBook's hello and answer it; its first record is the epoch."""
        self.connection, _ = self._server.accept()
        self.connection.settimeout(PATIENCE_S)
        if not self.connection.recv(256).startswith(b"!HELLO"):
            raise Failed("the OrderBook did not say hello")
        due = time.time_ns()
        for control in (("OK", SESSION, 0), ("S", 0, due), ("E", EVENT_NS)):
            self.connection.sendall(wire.encode_control(*control))

    def blast(self, bursts: int) -> None:
        """Send so many bursts, their numbers following on the epoch's."""
        assert self.connection is not None
        for i in range(bursts):
            head = wire.encode_control("S", 1 + i * BURST, time.time_ns())
            self.connection.sendall(head + self._blocks[i % BLOCKS])

    def close(self) -> None:
        """Hang up."""
        if self.connection is not None:
            self.connection.close()
        self._server.close()


def encoded_blocks() -> list[bytes]:
    """`BLOCKS` bursts of session frames of a random walk, all of one event time (so that none is late)."""
    source = RandomWalkProvider(SYMBOLS, EVENT_NS, seed=42)
    encoder = Encoder(source.symbols, source.decimals)
    blocks = []
    for _ in range(BLOCKS):
        walk = take(source, BURST)
        blocks.append(encoder.session(ticks(walk.symbols, walk.values, np.full(BURST, EVENT_NS))))
    return blocks


def blast(path: str, blocks: list[bytes], tick_count: int) -> Blast:
    """Send `tick_count` ticks (whole bursts) into a new OrderBook. Raises Failed if one is missing."""
    bursts = max(1, tick_count // BURST)
    settings = {"symbols": list(SYMBOLS)}
    with System(settings, pure=path == PURE, parts=("orderbook",)) as system:
        gateway = FakeGateway(system.config["Gateway"]["md_port"], blocks)
        try:
            system.start()
            gateway.accept()
            with system.tape() as tape:
                system.wait(lambda: tape.tail == 1, "the epoch on the tape")
                sender = threading.Thread(target=gateway.blast, args=(bursts,), daemon=True)
                begun = time.perf_counter()
                sender.start()
                while tape.tail < 1 + bursts * BURST and time.perf_counter() - begun < PATIENCE_S:
                    time.sleep(0.001)
                seconds = time.perf_counter() - begun
                sender.join()
                tail = tape.tail
            book = system.stop()["orderbook"]
        finally:
            gateway.close()
    trouble = problems({"orderbook": book})
    if tail != 1 + bursts * BURST or book["ticks"] != bursts * BURST or trouble:
        raise Failed(f"{path}: {book['ticks']:,} of {bursts * BURST:,} ticks arrived, {trouble}")
    megabytes = sum(len(blocks[i % BLOCKS]) for i in range(bursts)) / 1e6
    return Blast(path, bursts * BURST, seconds, megabytes)


def blasts(rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, list[Blast]]:
    """Both paths in turn, about so many seconds each: a short one says how many ticks that is."""
    blocks = encoded_blocks()
    counts = {COMPILED: 2_000_000, PURE: 50_000}
    for path, count in counts.items():
        counts[path] = int(blast(path, blocks, count).ticks_per_s * seconds)
    found: dict[str, list[Blast]] = {path: [] for path in counts}
    for _ in range(rounds):
        for path, count in counts.items():
            found[path].append(blast(path, blocks, count))
            rate = found[path][-1].ticks_per_s
            say(f"TCP → book and tape, {path:<11}  {rate:>12,.0f} ticks/s, none lost")
    return found


def rate_of(results: list[Blast]) -> float:
    """The median round."""
    return statistics.median(result.ticks_per_s for result in results)


# -------------------------------------------------------------------------------------------- providers


def provider_flow(provider: str, seconds: float) -> Flow:
    """The real Gateway, flat out, with the wait policy, into a real OrderBook. Raises Failed if one is lost."""
    settings = random_walk(0, 1)
    settings["Gateway"]["provider"] = provider
    with System(settings, parts=("orderbook", "gateway")) as system:
        system.start()
        with system.tape() as tape:
            system.wait(lambda: tape.tail > BURST, "the first ticks")
            system.sleep(0.2)
            begun, first = time.perf_counter(), tape.tail
            system.sleep(seconds)
            records, elapsed = tape.tail - first, time.perf_counter() - begun
        final = system.stop()
    book, gateway = final["orderbook"], final["gateway"]
    trouble = problems(final)
    if book["ticks"] != gateway["ticks"] or trouble:
        raise Failed(f"{provider}: {book['ticks']:,} of {gateway['ticks']:,} ticks arrived, {trouble}")
    share = book["ticks"] / book["tail"]  # the rest are the epochs, one a pass of the file
    return Flow(provider, records * share / elapsed, book["ticks"])


# ---------------------------------------------------------------------------------------- to a strategy


def climb(seconds: float, say: Callable[[str], None], ladder: tuple[int, ...] = LADDER) -> list[Step]:
    """Rates from 100,000 ticks/s up, until the first that the strategy does not keep up with."""
    steps = []
    for step in (strategy_at(rate, seconds) for rate in ladder):
        say(f"strategy at {step.rate:>9,}/s: saw {step.seen:,} of {step.ticks:,}, lag {step.lag:,}")
        steps.append(step)
        if not step.kept_up:
            break
    return steps


def strategy_at(rate: int, seconds: float) -> Step:
    """All four processes at one rate, a moving average on every tick, an order a millisecond."""
    with System(random_walk(rate, rate // 1000)) as system:
        system.start()
        with system.tape() as tape:
            system.wait(lambda: tape.tail > rate // 1000, "the first ticks")
            system.sleep(0.5)
            begun, first = time.perf_counter(), tape.tail
            system.sleep(seconds)
            achieved = (tape.tail - first) / (time.perf_counter() - begun)
        lag = system.next_status("strategy")["lag"]
        final = system.stop()
    book, strategy = final["orderbook"], final["strategy"]
    kept_up = (
        book["ticks"] == strategy["ticks"]
        and not problems(final)
        and achieved >= rate * KEPT_UP
        and lag <= rate * LAG_S
    )
    return Step(rate, book["ticks"], strategy["ticks"], strategy["missed"], lag, kept_up)
