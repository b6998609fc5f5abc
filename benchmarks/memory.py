"""The price book, in one process: one read, one snapshot of many symbols, and what it all takes of memory."""

import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from shared_memory_utils import DEFAULT_CAPACITY, RECORD, SharedPriceBook

SYMBOLS: Final = 10_000
READS: Final = 200_000
SNAPSHOTS: Final = 2_000
REPEATS: Final = 7  # the median of so many


class Memory(msgspec.Struct, frozen=True):
    """Medians of `REPEATS`; bytes of a book of `SYMBOLS` symbols and of a tape of the default capacity."""

    read_ns: float
    snapshot_us: float
    symbols: int
    book_bytes: int
    tape_bytes: int


def measure(share: float = 1.0) -> Memory:
    """Time reads and snapshots; `share` of the usual number of them."""
    symbols = [f"SYM{i:05d}" for i in range(SYMBOLS)]
    name = f"algosim-bench-{secrets.token_hex(4)}"
    with SharedPriceBook(symbols, name, create=True, capacity=SYMBOLS) as owner:
        with owner.segment.lock():
            for slot in range(SYMBOLS):
                owner.write_locked(slot, 100.0 + slot, time.time_ns())
        reader = SharedPriceBook(name=name)
        try:
            reader.snapshot()  # loads the kernel, or compiles it
            return Memory(
                _median_ns(lambda: _read(reader, symbols, int(READS * share))),
                _median_ns(lambda: _snapshot(reader, int(SNAPSHOTS * share))) / 1000,
                SYMBOLS,
                owner.shared_memory_size(),
                DEFAULT_CAPACITY * RECORD.size,
            )
        finally:
            reader.close()


def _median_ns(once: Callable[[], float]) -> float:
    return sorted(once() for _ in range(REPEATS))[REPEATS // 2]


def _read(book: SharedPriceBook, symbols: list[str], count: int) -> float:
    """ns for one `read`, the loop around it taken off."""
    read = book.read
    asked = [symbols[i * 7919 % SYMBOLS] for i in range(1000)]
    rounds = max(1, count // len(asked))
    begun = time.perf_counter_ns()
    for _ in range(rounds):
        for symbol in asked:
            read(symbol)
    took = time.perf_counter_ns() - begun
    begun = time.perf_counter_ns()
    for _ in range(rounds):
        for _ in asked:
            pass
    return (took - (time.perf_counter_ns() - begun)) / (rounds * len(asked))


def _snapshot(book: SharedPriceBook, count: int) -> float:
    """ns for one `snapshot`."""
    snapshot, rounds = book.snapshot, max(1, count)
    begun = time.perf_counter_ns()
    for _ in range(rounds):
        snapshot()
    return (time.perf_counter_ns() - begun) / rounds
