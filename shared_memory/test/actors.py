"""Other processes for the tests: `python -m shared_memory.test.actors ROLE NAME [NUMBER …]`.

Each says what it has to say on standard output, line by line, and is killed when the test has seen enough.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared_memory.layout import CHUNK
from shared_memory.tape import FeedPosition
from shared_memory_utils import RECORD_DTYPE, Entry, SharedPriceBook, TapeReader, TapeWriter
from testing.harness import PATIENCE_S, Process, running, wait_until
from trading_lib.jit import compiled
from trading_lib.models import Kind

RUN_ID: Final = "test-run"
FEED_SESSION: Final = 9
TALLY: Final = "TALLY"  # the symbol that counts read-modify-writes
GO: Final = "GO"  # has a price when the counting may begin
GATHERS: Final = 200  # rounds of a compiled reader between two looks at whether the book is closed


def actor(role: str, name: str, folder: Path, *numbers: int) -> AbstractContextManager[Process]:
    """One of the roles below as a process that is gone at the end."""
    return running(["-m", "shared_memory.test.actors", role, name, *map(str, numbers)], folder)


def last_line(process: Process) -> dict[str, Any]:
    """The last whole line an actor said; empty before the first."""
    lines = process.output.split("\n")[:-1]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def first_words(process: Process, patience: float = PATIENCE_S) -> dict[str, Any]:
    """The last line an actor said, once it said one."""
    found: dict[str, Any] = wait_until(lambda: last_line(process), "an actor's first words", patience)
    return found


def say(**facts: object) -> None:
    """One line for the test."""
    print(json.dumps(facts), flush=True)


def wait_for_ever() -> None:
    """Until killed."""
    while True:
        signal.pause()


# ----------------------------------------------------------------------------------------- price book


def own_book(name: str) -> None:
    """Create the book and live."""
    book = SharedPriceBook(["AAPL", "MSFT"], name, create=True)
    book.update("AAPL", 173.25, 1_759_311_000.5)
    say(owner=os.getpid())
    wait_for_ever()


def read_book(name: str) -> None:
    """Read one price and end as a process ends."""
    with SharedPriceBook(["AAPL"], name) as book:
        say(read=book.read("AAPL"))


def hold_lock(name: str) -> None:
    """Take the book's lock and live."""
    book = SharedPriceBook(name=name)
    with book.segment.lock():
        say(locked=True)
        wait_for_ever()


def count(name: str, times: int) -> None:
    """Read-modify-write one price `times` times under the lock, once all are told to go."""
    with SharedPriceBook([TALLY], name) as book:
        slot = book.add(TALLY)
        say(ready=True)
        wait_until(lambda: book.read(GO)[0] is not None, "the go")
        add_up(book, slot, times)
        say(done=True)


def count_forked(name: str, times: int) -> None:
    """The same by a parent and its forked child, on the handle that the child inherits."""
    with SharedPriceBook([TALLY], name) as book:
        slot = book.add(TALLY)
        child = os.fork()
        add_up(book, slot, times)
        if not child:
            os._exit(0)
        say(done=os.waitpid(child, 0)[1] == 0)


def add_up(book: SharedPriceBook, slot: int, times: int) -> None:
    """Add 1 to a slot's price, `times` times."""
    for _ in range(times):
        with book.segment.lock():
            price, ns = book.read_slot(slot)
            assert price is not None and ns is not None
            for _ in range(20):
                pass  # time enough for another one to come in between, were it let
            book.write_locked(slot, price + 1, ns)


# --------------------------------------------------------------------------------------- torn pairs


def write_pairs(name: str) -> None:
    """Write whole pairs flat out, as many handles may: under the lock, a batch at a time."""
    with SharedPriceBook(name=name) as book:
        slots = book.count
        book.add(book.symbols[0])  # a writable mapping from here on
        number = int(book.versions().sum()) + slots
        batch, write = 64, _plain_pair_writer(book)
        if compiled():
            from shared_memory.test import pair_kernels

            address = book.slots_address
            batch, write = 65536, lambda start, n: pair_kernels.write_pairs(address, slots, start, n)
        say(writing=True)
        while True:
            with book.segment.lock():
                write(number, batch)
            number += batch


def _plain_pair_writer(book: SharedPriceBook) -> Callable[[int, int], None]:
    slots = book.count

    def write(start: int, n: int) -> None:
        for number in range(start, start + n):
            book.write_locked(number % slots, float(number), 7 * number + 1)

    return write


class Tally:
    """What a checking reader has seen; a look at which nothing had moved does not count."""

    def __init__(self) -> None:
        self.reads = self.torn = self.changed = 0
        self._next = 0.0

    def add(self, reads: int, torn: int, changed: int) -> None:
        if changed:
            self.reads += reads
            self.changed += changed
        self.torn += torn
        if time.monotonic() > self._next:
            self._next = time.monotonic() + 0.02
            self.say()

    def say(self) -> None:
        say(reads=self.reads, torn=self.torn, changed=self.changed)


def check_pairs(name: str) -> None:
    """Read whole books with the compiled kernel until the book is closed."""
    from shared_memory.test import pair_kernels

    with SharedPriceBook(name=name) as book:
        slots = book.count
        prices, times, last = np.empty(slots), np.empty(slots, np.int64), np.empty(slots, np.int64)
        words = np.frombuffer(book.segment.map, np.int64)
        tally = Tally()
        while not book.closed:
            torn, changed = pair_kernels.torn_pairs(words, GATHERS, prices, times, last)
            tally.add(GATHERS * slots, torn, changed)
        tally.say()
        del words


def check_pairs_plainly(name: str) -> None:
    """Read pairs in Python, one at a time and all at once, until the book is closed."""
    with SharedPriceBook(name=name) as book:
        slots = book.count
        prices, times, last = np.empty(slots), np.empty(slots, np.int64), np.empty(slots, np.int64)
        tally = Tally()
        while not book.closed:
            torn = 0
            for slot in range(slots):
                price, ns = book.read_slot(slot)
                assert price is not None
                torn += ns != 7 * int(price) + 1
            for _ in range(10):
                book._gather(slots, prices, times)
                torn += int((times != 7 * prices.astype(np.int64) + 1).sum())
            tally.add(11 * slots, torn, int((times != last).sum()))
            last[:] = times
        tally.say()


# --------------------------------------------------------------------------------------------- tape


def entry(seq: int) -> Entry:
    """What stands on the tests' tapes at `seq`: a reader can tell a record that is not whole."""
    return Entry(1_000 + seq * 7, seq * 0.5, seq + 11, seq % 1000, Kind.TICK)


def bad_records(packed: bytes, first: int) -> int:
    """How many of these records, read from `first` on, are not what `entry` says."""
    records = np.frombuffer(packed, RECORD_DTYPE)
    seq = np.arange(first, first + len(records))
    good = (records["seq"] == seq) & (records["ts"] == 1_000 + seq * 7) & (records["value"] == seq * 0.5)
    good &= (records["due"] == seq + 11) & (records["slot"] == seq % 1000) & (records["kind"] == Kind.TICK)
    return int((~good).sum())


def position(tail: int) -> FeedPosition:
    """The feed position that goes with a tail on the tests' tapes."""
    return FeedPosition(FEED_SESSION, 3 * tail)


def write_tape(name: str, capacity: int) -> None:
    """Open or adopt the tape and append flat out, in chunks of any size, each with its feed position."""
    tape = TapeWriter.open(name, capacity, RUN_ID)
    seq = tape.tail
    if seq and tape.position != position(seq):
        say(bad_position=tape.position, tail=seq)
        return
    say(generation=tape.generation, tail=seq)
    sizes = random.Random(seq)
    while True:
        size = sizes.randrange(1, CHUNK + 1)
        tape.append([entry(n) for n in range(seq, seq + size)], position(seq + size))
        seq += size
        tape.ring()


def follow_tape(name: str) -> None:
    """Read every record and check it; one line whenever there was nothing new, or a good many were read."""
    reader = TapeReader(name)
    start = reader.cursor
    received = bad = overruns = 0
    said = -1
    say(start=start)
    while True:
        missed = reader.missed
        packed = reader.take()
        if reader.missed != missed:
            overruns += 1
        if packed:
            n = len(packed) // RECORD_DTYPE.itemsize
            bad += bad_records(packed, reader.cursor - n)
            received += n
        if received - said > 20_000 or (not packed and received > said):
            said = received
            say(
                received=received,
                missed=reader.missed,
                bad=bad + (start + received + reader.missed != reader.cursor),
                overruns=overruns,
                cursor=reader.cursor,
                generation=reader.generation,
            )
        if not packed:
            if reader.closed and reader.cursor == reader.tail:
                say(start=start, received=received, missed=reader.missed, bad=bad, cursor=reader.cursor)
                return
            reader.wait(60.0)


def sleep_on_tape(name: str) -> None:
    """Wait for a record in one long sleep and say which."""
    reader = TapeReader(name)
    say(ready=True)
    reader.wait(600.0)
    say(woken=reader.tail)


def echo(name: str, rounds: int) -> None:
    """Answer each record of tape `name` with one on tape `name`.back; a lost wake-up costs ten minutes."""
    with contextlib.closing(TapeWriter.open(f"{name}.back", 1 << 12, RUN_ID)) as back:
        say(listening=True)
        reader = wait_until(lambda: attached(name))
        for _ in range(rounds):
            while not reader.take():
                reader.wait(600.0)
            back.append([entry(back.tail)])
            back.ring()
        reader.close()
        wait_until(lambda: not back.panel.readers, "the other one to have read it all")


def attached(name: str) -> TapeReader | None:
    """A reader, once there is a tape."""
    with contextlib.suppress(Exception):
        return TapeReader(name)
    return None


ROLES: Final[dict[str, Callable[..., None]]] = {
    role.__name__: role
    for role in (
        own_book,
        read_book,
        hold_lock,
        count,
        count_forked,
        write_pairs,
        check_pairs,
        check_pairs_plainly,
        write_tape,
        follow_tape,
        sleep_on_tape,
        echo,
    )
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
