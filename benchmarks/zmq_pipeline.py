"""The same pipeline over ZeroMQ, as a good pyzmq user would write it: what ours is measured against.

    gateway ─ PUB tcp ─▶ book ─┬─ PUB ipc ─▶ strategy ─ PUSH tcp ─▶ order manager
                               │                ▲                     │     ▲
                               │                └──── PUSH tcp (*) ───┘     │
                               └───────────────── PUB ipc (*) ──────────────┘       (*) the same work only

Four Python processes. The gateway publishes the same random walk in the same 1 ms bursts, one text message per
tick, `SYMBOL,PRICE,NS,DUE`, made before its instant. The book parses it, keeps the latest price of each symbol,
numbers and stamps it and publishes it on. The strategy updates the same moving average on every tick and pushes an
order on every n-th. The order manager takes the time before anything else. Then there are two of it:

- *the same work*: strategy and order manager are those of `zmq_work.py`, which check, journal, acknowledge, fill,
  report, account for and log the orders with the classes of ours.
- *messages only*: a strategy without a host or a lane, an order manager that counts and forgets.

What differs between ours and the same work, beside what carries the messages:

- The book is plain Python here, and compiled in ours.
- One message per tick here, as our public wire has one frame per tick; our Gateway sends the bytes of a burst at
  once, and our readers take records from the tape in batches.
- The order manager subscribes to the book for its prices, and receives them when it has orders; ours reads the tape.
- Only ours has a sandbox around the strategy, its pulse and its reported progress, status lines, the event stream,
  notes of the horizon, a lane for orders by hand, and reports kept for a host that comes back.
- When orders come fast, ours has the disk in a thread; here the order manager waits for it, and takes all orders
  that came meanwhile at once.
- `due→sent` ends behind the last send of a burst here, and before its one send in ours.
- The strategy is woken by its messages here. Ours is awake shortly before bursts at even distances; the row with
  `Strategy.wake_early_us` 0 is without that.

What a good pyzmq user knows is done: blocking `recv` (the quickest way to wait), messages of one part, no poller,
packed structs and ipc behind the book (there our pipeline uses memory; the other hops are TCP in both), no
high-water mark, so nothing is dropped, publishers that wait for their subscribers, and what was made before the
first message is frozen for the collector. The schedule and its clock are our Gateway's.

`python benchmarks/zmq_pipeline.py ROLE OPTIONS` is one process; `run` starts the four.
"""

import gc
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import zmq

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.system import Failed, Usage, usage
from Gateway.providers import RandomWalkProvider
from Gateway.providers.provider import take
from runtime.scheduling import precise_timers, short_turns
from testing.harness import free_port
from trading_lib.histogram import Histogram
from trading_lib.indicators import SMA

ROLES: Final = ("gateway", "book", "strategy", "order_manager")
SYMBOLS: Final = ("AAPL", "GOOG", "IBM", "MSFT")
START_NS: Final = 1_735_828_200_000_000_000
BURST_NS: Final = 1_000_000
SPIN_NS: Final = 60_000  # as our Gateway: sleep until shortly before the instant, then look at the clock
WINDOW: Final = 20
IDLE_MS: Final = 30_000  # a process that hears nothing for so long ends: none is left behind
PATIENCE_S: Final = 60.0
END: Final = b""  # the last message; everyone passes it on and ends
UPDATE: Final = struct.Struct("<qqdqqq")  # number, symbol's index, price, event ns, due, booked
ORDER: Final = struct.Struct("<24sBddqqq")  # symbol, side, quantity, price, due, booked, decided


class Options(msgspec.Struct, frozen=True):
    """What the four processes agree on. `warm` orders are not counted; `work`: the same as ours, in `folder`."""

    ticks_per_burst: int
    bursts: int
    warm: int
    work: bool
    folder: str
    feed: str
    updates: str
    orders: str
    replies: str


Work = Callable[[Options], dict[str, Histogram]]


class Run(msgspec.Struct, frozen=True):
    """What came of it: histograms by stage, what each process used while it was measured, for how long."""

    stages: dict[str, Histogram]
    before: dict[str, Usage]
    after: dict[str, Usage]
    seconds: float


class Stages:
    """How late each order was: histograms by stage. The first `warm` are not counted."""

    def __init__(self, warm: int) -> None:
        self.histograms = {
            name: Histogram() for name in ("tick→book", "book→decision", "decision→order", "tick→order")
        }
        self._left = warm

    def record(self, due: int, booked: int, decided: int, received: int) -> None:
        """One order, wall ns."""
        if self._left:
            self._left -= 1
            return
        to_book, to_decision, to_order, total = self.histograms.values()
        to_book.record(booked - due)
        to_decision.record(decided - booked)
        to_order.record(received - decided)
        total.record(received - due)


def publisher(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str, subscribers: int = 1
) -> "zmq.Socket[bytes]":
    """A PUB socket (an XPUB, to know when its subscribers are there) that never drops."""
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVTIMEO, IDLE_MS)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # the second one's is told, too
    socket.bind(address)
    for _ in range(subscribers):
        socket.recv()
    return socket


def subscriber(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> "zmq.Socket[bytes]":
    """A SUB socket for everything."""
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.RCVTIMEO, IDLE_MS)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    return socket


def pusher(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str, linger_ms: int = -1
) -> "zmq.Socket[bytes]":
    """A PUSH socket that never drops; closed, it has `linger_ms` for what is left (-1: as long as it takes)."""
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.connect(address)
    return socket


def puller(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str, patience_ms: int = IDLE_MS
) -> "zmq.Socket[bytes]":
    """A PULL socket; a `recv` raises zmq.Again when nothing has come for so long."""
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.RCVTIMEO, patience_ms)
    socket.bind(address)
    return socket


def ticks(per_burst: int) -> Iterator[list[bytes]]:
    """Bursts of `SYMBOL,PRICE,NS,` for ever: our random walk, read ahead."""
    source = RandomWalkProvider(SYMBOLS, START_NS, seed=42)
    while True:
        batch = take(source, per_burst * 64)
        columns = zip(batch.symbols.tolist(), batch.values.tolist(), batch.times.tolist(), strict=True)
        texts = [
            f"{SYMBOLS[i]},{value / 10 ** source.decimals[i]},{ts},".encode() for i, value, ts in columns
        ]
        for start in range(0, len(texts), per_burst):
            yield texts[start : start + per_burst]


def gateway(options: Options) -> dict[str, Histogram]:
    """Publish every burst at its instant, whatever the others do."""
    precise_timers()
    due_to_sent = Histogram()
    with zmq.Context() as context, publisher(context, options.feed) as feed:
        print("ready", flush=True)
        send = feed.send
        start = time.monotonic_ns() + 50 * BURST_NS
        wall = time.time_ns() - time.monotonic_ns()
        for number, texts in zip(range(options.bursts), ticks(options.ticks_per_burst), strict=False):
            due = start + number * BURST_NS
            stamp = b"%d" % (due + wall)
            messages = [text + stamp for text in texts]
            left = due - time.monotonic_ns() - SPIN_NS
            if left > 0:
                time.sleep(left / 1e9)
            while time.monotonic_ns() < due:
                pass
            for message in messages:
                send(message)
            due_to_sent.record(time.monotonic_ns() - due)
        send(END)
    return {"due→sent": due_to_sent}


def book(options: Options) -> dict[str, Histogram]:
    """Parse, keep the latest price, stamp, publish."""
    latest: dict[bytes, tuple[float, int]] = {}
    slots = {symbol.encode(): slot for slot, symbol in enumerate(SYMBOLS)}
    seq = 0
    with (
        zmq.Context() as context,
        publisher(context, options.updates, 2 if options.work else 1) as updates,
        subscriber(context, options.feed) as feed,
    ):
        receive, send, pack, now = feed.recv, updates.send, UPDATE.pack, time.time_ns
        while message := receive():
            symbol, text, ts, due = message.split(b",")
            price, when = float(text), int(ts)
            latest[symbol] = price, when
            send(pack(seq, slots[symbol], price, when, int(due), now()))
            seq += 1
        send(END)
    return {}


def strategy(options: Options) -> dict[str, Histogram]:
    """A moving average of every tick, an order on the last of each burst."""
    averages: dict[int, SMA] = {}
    count, side = 0, 0
    with (
        zmq.Context() as context,
        pusher(context, options.orders) as orders,
        subscriber(context, options.updates) as updates,
    ):
        receive, unpack, every = updates.recv, UPDATE.unpack, options.ticks_per_burst
        while message := receive():
            _, slot, price, _, due, booked = unpack(message)
            average = averages.get(slot)
            if average is None:
                average = averages[slot] = SMA(WINDOW)
            average.update(price)
            count += 1
            if count == every:
                count, side = 0, 1 - side
                symbol = SYMBOLS[slot].encode()
                orders.send(ORDER.pack(symbol, side, 1.0, price, due, booked, time.time_ns()))
        orders.send(END)
    return {}


def order_manager(options: Options) -> dict[str, Histogram]:
    """Take the time, read the order, count its stages."""
    stages = Stages(options.warm)
    with zmq.Context() as context, puller(context, options.orders) as orders:
        while message := orders.recv():
            wall = time.time_ns()
            _, _, _, _, due, booked, decided = ORDER.unpack(message)
            stages.record(due, booked, decided, wall)
    return stages.histograms


def run(rate: int, seconds: float, warm_s: float, *, work: bool) -> Run:
    """Run the four processes at `rate` ticks a second (a multiple of 1,000), doing ours' `work` or none.

    Raises Failed.
    """
    with tempfile.TemporaryDirectory(prefix="algosim-zmq-") as folder:
        options = Options(
            ticks_per_burst=rate // 1000,
            bursts=round((warm_s + seconds) * 1000),
            warm=round(warm_s * 1000),
            work=work,
            folder=folder,
            feed=f"tcp://127.0.0.1:{free_port()}",
            updates=f"ipc://{folder}/updates",
            orders=f"tcp://127.0.0.1:{free_port()}",
            replies=f"tcp://127.0.0.1:{free_port()}",
        )
        processes = {role: _start(role, options) for role in reversed(ROLES)}
        try:
            return _watch(processes, seconds, warm_s)
        finally:
            for process in processes.values():
                process.kill()
                process.communicate()


def _start(role: str, options: Options) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, __file__, role, msgspec.json.encode(options).decode()]
    return subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _watch(processes: "dict[str, subprocess.Popen[bytes]]", seconds: float, warm_s: float) -> Run:
    gateway_says = processes["gateway"].stdout
    assert gateway_says is not None
    gateway_says.readline()  # READY: its subscriber is there
    time.sleep(warm_s)
    begun, before = time.monotonic(), {role: usage(process.pid) for role, process in processes.items()}
    time.sleep(seconds * 0.9)  # the rest is theirs: they end by themselves
    ended, after = time.monotonic(), {role: usage(process.pid) for role, process in processes.items()}
    stages: dict[str, Histogram] = {}
    for role, process in processes.items():
        try:
            said, complaint = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"pyzmq {role}: did not end within {PATIENCE_S:g} s") from None
        if process.returncode:
            raise Failed(f"pyzmq {role}: {complaint.decode(errors='replace').strip()[-400:]}")
        stages.update({name: Histogram.from_dict(plain) for name, plain in json.loads(said).items()})
    return Run(stages, before, after, ended - begun)


def main(role: str, text: str) -> None:
    """Be one of the four; prints its histograms as JSON at the end."""
    options = msgspec.json.decode(text, type=Options)
    work: dict[str, Work] = {"gateway": gateway, "book": book}
    if options.work:
        from benchmarks import zmq_work

        work |= {"strategy": zmq_work.strategy, "order_manager": zmq_work.order_manager}
    else:
        work |= {"strategy": strategy, "order_manager": order_manager}
    short_turns({"book": "orderbook", "strategy": "worker"}.get(role, role))  # as ours
    gc.collect()
    gc.freeze()  # as our parts do when they are ready: no collection goes through what was imported
    found = work[role](options)
    print(json.dumps({name: histogram.to_dict() for name, histogram in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
