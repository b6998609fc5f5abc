"""Other processes for the tests: `python -m OrderBook.test.actors ROLE NAME`."""

import sys
import time
from pathlib import Path
from typing import Final

from OrderBook.ingest import warm_kernels
from OrderBook.test.desk import T0, Desk, compiled_path, plain
from shared_memory.test.actors import say
from testing.harness import Process
from trading_lib.jit import compiled
from trading_lib.models import Kind

SESSION: Final = 9
BURST: Final = 3000 if compiled() else 400  # ticks in one piece


def sequencer(name: str, folder: Path) -> Process:
    """`feed_flat_out` as a process; the caller kills it."""
    return Process(["-m", "OrderBook.test.actors", "feed_flat_out", name], folder)


def feed_flat_out(name: str) -> None:
    """A sequencer (new or adopting) that a Gateway feeds as fast as it goes: frame n is the tick T0 + n at n + 1.

    The Gateway goes on exactly where the tape says it stands, so that no tick may be missing or twice.
    """
    warm_kernels(print)
    desk = Desk(name, compiled_path if compiled() else plain)
    at = desk.order_book.position.next_seq
    last = next((r for r in reversed(desk.records(max(0, desk.tape.tail - 9))) if r.kind == Kind.TICK), None)
    price, ns = desk.book.read_slot(0)
    say(
        generation=desk.tape.generation,
        tail=desk.tape.tail,
        next=at,
        last_on_tape=int(last.value) if last else 0,
        whole=price is None or ns == T0 + int(price) - 1,
    )
    desk.feed(f"!OK,{SESSION},{at}*")
    while True:
        ticks = "".join(f"AAPL,{n + 1}.0,{T0 + n}*" for n in range(at, at + BURST))
        desk.feed(f"!S,{at},{time.time_ns()}*", ticks)
        at += BURST


if __name__ == "__main__":
    {"feed_flat_out": feed_flat_out}[sys.argv[1]](*sys.argv[2:])
