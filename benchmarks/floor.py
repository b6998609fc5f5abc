"""What four processes cost that do nothing but pass eight bytes on: the floor under every tick→order figure here.

    python -m benchmarks.floor [--rate 1000] [--seconds 3] [--rounds 3]

    gateway ─ TCP ─▶ book ─ shared page + futex ─▶ strategy ─ TCP ─▶ order manager

No frames, no prices, no strategy, no lane, no Python beyond one loop each: blocking reads, the doorbell of the
tape, the schedule of our Gateway. What is measured is how long this machine takes to wake three processes one
after the other. In turns with the pyzmq pipeline that passes messages on and does nothing else, either.
"""

import argparse
import mmap
import os
import socket
import statistics
import struct
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from benchmarks import zmq_pipeline
from benchmarks.machine import load
from runtime.scheduling import precise_timers, short_turns
from shared_memory_utils import PAGE, BellPage
from trading_lib.histogram import Histogram

SPIN_NS: Final = 60_000
WARM_S: Final = 0.5
_DUE: Final = struct.Struct("<q")
END: Final = _DUE.pack(-1)


def _connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection without Nagle's delay."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    for end in (sender, receiver):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sender, receiver


def _book(feed: socket.socket, bell_fd: int, page_fd: int) -> None:
    short_turns("orderbook")
    bell, page = BellPage(bell_fd, 0), mmap.mmap(page_fd, PAGE)
    due = bytes(8)
    while due != END:
        due = feed.recv(64)[-8:]
        page[:8] = due
        bell.ring()


def _strategy(bell_fd: int, page_fd: int, orders: socket.socket) -> None:
    short_turns("worker")
    bell, page = BellPage(bell_fd, 0), mmap.mmap(page_fd, PAGE)
    due = bytes(8)

    def nothing_new() -> bool:
        return page[:8] == due

    while due != END:
        while nothing_new():
            bell.wait(1.0, nothing_new)
        due = page[:8]
        orders.send(due)


def _order_manager(orders: socket.socket, answer: Connection, warm_until: int) -> None:
    short_turns("order_manager")
    found = Histogram()
    while True:
        data = orders.recv(64)
        received = time.time_ns()
        if data[-8:] == END:
            answer.send(found.to_dict())
            return
        due = _DUE.unpack(data[-8:])[0]
        if due > warm_until:
            found.record(received - due)


def run(rate: float, seconds: float) -> Histogram:
    """due → received, at so many a second."""
    context = get_context("fork")
    feed, book = _connected()
    orders, manager = _connected()
    page, bell = os.memfd_create("page"), os.memfd_create("bell")
    for fd in (page, bell):
        os.ftruncate(fd, PAGE)
    ours, theirs = context.Pipe()
    start = time.time_ns() + 200_000_000
    warm_until = start + round(WARM_S * 1e9)
    parts = [
        context.Process(target=_book, args=(book, bell, page)),
        context.Process(target=_strategy, args=(bell, page, orders)),
        context.Process(target=_order_manager, args=(manager, theirs, warm_until)),
    ]
    for part in parts:
        part.start()
    for end in (book, orders, manager):
        end.close()
    precise_timers()
    short_turns("gateway")
    for number in range(round((seconds + WARM_S) * rate)):
        due = start + round(number * 1e9 / rate)
        if (rest := due - time.time_ns() - SPIN_NS) > 0:
            time.sleep(rest / 1e9)
        while time.time_ns() < due:
            pass
        feed.send(_DUE.pack(due))
    feed.send(END)
    found = Histogram.from_dict(ours.recv())
    for part in parts:
        part.join()
    feed.close()
    for fd in (page, bell):
        os.close(fd)
    return found


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    floors, theirs = [], []
    print(f"load before: {load()}")
    for number in range(wanted.rounds):
        floor = run(wanted.rate, wanted.seconds).summary_us()
        zmq = (
            zmq_pipeline.run(wanted.rate, wanted.seconds, WARM_S, work=False)
            .stages["tick→order"]
            .summary_us()
        )
        print(
            f"round {number + 1}: nothing but waking p50 {floor['p50']} p99 {floor['p99']} µs; pyzmq p50 {zmq['p50']}"
        )
        floors.append(floor["p50"])
        theirs.append(zmq["p50"])
    ratio = statistics.median(a / b for a, b in zip(floors, theirs, strict=True) if a and b)
    print(f"the floor is {ratio:.2f} of pyzmq's p50 (load after: {load()})")


if __name__ == "__main__":
    main()
