"""The price book: the latest (price, time) of every symbol, readable by any process without a lock.

A slot holds two pairs. A writer fills the pair that `seq` does not point at, then releases `seq + 1`; a
reader takes the pair `seq` points at and looks at `seq` again. There is no moment at which a dead writer
could leave a reader stuck, and no way to read half of one pair and half of another.
"""

import ctypes
import functools
import os
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from shared_memory.layout import (
    BOOK_COUNT,
    BOOK_MAGIC,
    OWNER_PID,
    PAGE,
    SLOT_BYTES,
    SLOT_DTYPE,
    SLOT_SYMBOL_OFFSET,
    SLOT_WORDS,
    STATE,
    STATE_CLOSED,
    STATE_LIVE,
    SYMBOL_BYTES,
    WORD,
)
from shared_memory.segment import TOTAL_STORE_ORDER, Segment, SegmentError, SegmentInUse, SegmentMissing
from trading_lib.jit import compiled
from trading_lib.models import NS_PER_S
from trading_lib.wire import parse_symbol

DEFAULT_CAPACITY: Final = 1024
_FIRST_WORD: Final = PAGE // WORD


class BookFull(SegmentError):
    """Every slot has its symbol."""


class BookSnapshot(NamedTuple):
    """All slots at one look: each (price, ns) pair is whole; different symbols may differ by microseconds.

    `prices` float64[n] (NaN: never updated), `times` int64[n] ns UTC.
    """

    symbols: tuple[str, ...]
    prices: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]


class SharedPriceBook:
    """A handle on the price book `name`; any number of processes may hold one, any of them may `update`.

    `create=True` makes the segment (replacing a dead owner's, refusing a live one's with SegmentInUse) and
    owns it. With `create=False` `symbols` is only checked for presence, and the mapping is read-only until
    the first `update`.
    """

    def __init__(
        self,
        symbols: Iterable[str] = (),
        name: str = "market_prices",
        create: bool = False,
        *,
        capacity: int | None = None,
        run_id: str = "",
    ) -> None:
        wanted = tuple(symbols)
        self.name = name
        self._slots: dict[str, int] = {}
        self._symbols: list[str] = []
        self._symbol_tuple: tuple[str, ...] = ()
        self._owner = create
        if create:
            self._segment = self._create(wanted, capacity or max(DEFAULT_CAPACITY, len(wanted)), run_id)
        else:
            self._segment = Segment.attach(name, BOOK_MAGIC)
        self._bind()
        self._refresh()
        missing = [symbol for symbol in wanted if symbol not in self._slots]
        if missing:
            self.close()
            raise SegmentError(f"price book {name!r} has no {', '.join(missing)}")

    def _create(self, symbols: tuple[str, ...], capacity: int, run_id: str) -> Segment:
        if len(symbols) > capacity:
            raise BookFull(f"price book {self.name!r}: {len(symbols)} symbols, room for {capacity}")
        segment = Segment.prepare(self.name, PAGE + capacity * SLOT_BYTES, "OrderBook.symbol_capacity")
        try:
            segment.write_header(BOOK_MAGIC, capacity, run_id, 1, STATE_LIVE)
            for slot, symbol in enumerate(dict.fromkeys(symbols)):
                _write_symbol(segment, slot, symbol)
            segment.words[BOOK_COUNT] = len(dict.fromkeys(symbols))
            segment.claim()
            while not segment.publish(replace=False):
                self._remove_dead()
        except BaseException:
            segment.unlink()
            segment.close()
            raise
        return segment

    def _remove_dead(self) -> None:
        try:
            old = Segment.attach(self.name, BOOK_MAGIC, writable=True)
        except SegmentMissing:
            return
        try:
            if not old.claim():
                raise SegmentInUse(
                    f"price book {self.name!r} belongs to process {old.words[OWNER_PID]}, which is alive"
                )
            old.words[STATE] = STATE_CLOSED
            old.unlink()
        finally:
            old.close()

    @classmethod
    def adopt(cls, name: str) -> "SharedPriceBook":
        """Take over a dead owner's book as it stands. Raises SegmentMissing, or SegmentInUse."""
        book = cls(name=name)
        book._make_writable()
        if not book._segment.claim():
            owner = book._segment.words[OWNER_PID]
            book.close()
            raise SegmentInUse(f"price book {name!r} belongs to process {owner}, which is alive")
        book._owner = True
        book._segment.words[OWNER_PID] = os.getpid()
        return book

    def _bind(self) -> None:
        """Views of the mapping: the same words as integers and as floats."""
        self._ints = self._segment.words
        self._floats = self._segment.bytes.cast("d")

    def _make_writable(self) -> None:
        if not self._segment.writable:
            self._floats.release()
            self._segment.remap_writable()
            self._bind()

    # ----------------------------------------------------------------------------------------- symbols

    def _refresh(self) -> None:
        """Learn the symbols added since the last look."""
        for slot in range(len(self._symbols), self._ints[BOOK_COUNT]):
            start = PAGE + slot * SLOT_BYTES + SLOT_SYMBOL_OFFSET
            symbol = bytes(self._segment.bytes[start : start + SYMBOL_BYTES]).rstrip(b"\0").decode()
            self._symbols.append(symbol)
            self._slots[symbol] = slot

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol, by slot."""
        self._refresh()
        if len(self._symbol_tuple) != len(self._symbols):
            self._symbol_tuple = tuple(self._symbols)
        return self._symbol_tuple

    def symbol(self, slot: int) -> str:
        """The symbol of a slot in use; what `symbols` copies each time there is a new one, this does not."""
        if slot >= len(self._symbols):
            self._refresh()
        return self._symbols[slot]

    @property
    def count(self) -> int:
        """Symbols in use."""
        return int(self._ints[BOOK_COUNT])

    @property
    def capacity(self) -> int:
        """Symbols there is room for."""
        return self._segment.capacity

    @property
    def run_id(self) -> str:
        """The run this book belongs to."""
        return self._segment.run_id

    @property
    def closed(self) -> bool:
        """Whether the owner has stopped: nothing will change any more."""
        return self._segment.closed

    def slot(self, symbol: str) -> int | None:
        """The slot of a symbol, None if there is none."""
        slot = self._slots.get(symbol)
        if slot is None and self._ints[BOOK_COUNT] != len(self._symbols):
            self._refresh()
            slot = self._slots.get(symbol)
        return slot

    def add(self, symbol: str) -> int:
        """The slot of a symbol, given one if it has none. Raises BookFull."""
        self._make_writable()
        with self._segment.lock():
            return self.add_locked(symbol)

    def add_locked(self, symbol: str) -> int:
        """`add` for who holds the lock."""
        slot = self.slot(symbol)
        if slot is None:
            slot = self._ints[BOOK_COUNT]
            if slot >= self.capacity:
                raise BookFull(f"price book {self.name!r} is full: {self.capacity} symbols")
            _write_symbol(self._segment, slot, parse_symbol(symbol))
            self._ints[BOOK_COUNT] = slot + 1
            self._refresh()
        return slot

    # ----------------------------------------------------------------------------------------- writing

    def update(self, symbol: str, price: float, timestamp: float | None = None) -> None:
        """Set the latest price of a symbol (added if there is room); `timestamp` in seconds, default now."""
        if timestamp is None:
            ns = time.time_ns()
        else:
            seconds = int(timestamp)
            ns = seconds * NS_PER_S + round((timestamp - seconds) * NS_PER_S)
        self._make_writable()
        with self._segment.lock():
            self.write_locked(self.add_locked(symbol), price, ns)

    def write_locked(self, slot: int, price: float, ns: int) -> None:
        """Set a slot's pair, for who holds the lock."""
        ints = self._ints
        base = _FIRST_WORD + slot * SLOT_WORDS
        version = ints[base] + 1
        pair = base + 1 + 2 * (version & 1)
        self._floats[pair] = price
        ints[pair + 1] = ns
        ints[base] = version

    @property
    def segment(self) -> Segment:
        """The segment below: its lock, and its memory for the compiled path."""
        return self._segment

    @property
    def slots_address(self) -> int:
        """Where slot 0 is mapped (a writable handle's), for the compiled path."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._segment.map)) + PAGE

    # ----------------------------------------------------------------------------------------- reading

    def read(self, symbol: str) -> tuple[float, float] | tuple[None, None]:
        """(price, time in seconds) of a symbol; (None, None) if it is unknown or never had a price."""
        slot = self._slots.get(symbol)
        if slot is None:
            slot = self.slot(symbol)
            if slot is None:
                return None, None
        price, ns = self.read_slot(slot)
        if price is None or ns is None:
            return None, None
        return price, ns / NS_PER_S  # int by int: a float divisor would round twice

    def read_slot(self, slot: int) -> tuple[float, int] | tuple[None, None]:
        """(price, ns) of a slot; (None, None) before its first update."""
        if not TOTAL_STORE_ORDER:
            with self._segment.lock():
                return self._read_pair(slot)
        return self._read_pair(slot)

    def _read_pair(self, slot: int) -> tuple[float, int] | tuple[None, None]:
        ints = self._ints
        base = _FIRST_WORD + slot * SLOT_WORDS
        while True:
            version = ints[base]
            if not version:
                return None, None
            pair = base + 1 + 2 * (version & 1)
            price, ns = self._floats[pair], ints[pair + 1]
            if ints[base] == version:
                return price, ns

    def read_all(self) -> dict[str, tuple[float, float]]:
        """{symbol: (price, time in seconds)} of every symbol that has a price."""
        found: dict[str, tuple[float, float]] = {}
        for slot, symbol in enumerate(self.symbols):
            price, ns = self.read_slot(slot)
            if price is not None and ns is not None:
                found[symbol] = (price, ns / NS_PER_S)
        return found

    def snapshot(self) -> BookSnapshot:
        """Every slot as arrays. The first call loads the compiled kernel where there is one."""
        symbols = self.symbols
        count = len(symbols)
        prices, times = np.empty(count), np.empty(count, np.int64)
        if compiled():
            gather = _compiled_gather()
            words = np.frombuffer(self._segment.map, np.int64)
            if TOTAL_STORE_ORDER:
                gather(words, prices, times)
            else:  # the writer may be one that cannot fence
                with self._segment.lock():
                    gather(words, prices, times)
        else:
            self._gather(count, prices, times)
        return BookSnapshot(symbols, prices, times)

    def _gather(self, count: int, prices: npt.NDArray[np.float64], times: npt.NDArray[np.int64]) -> None:
        slots = np.frombuffer(self._segment.map, SLOT_DTYPE, count, PAGE)
        versions = slots["seq"].copy()
        odd = (versions & 1).astype(bool)
        np.copyto(prices, np.where(odd, slots["price1"], slots["price0"]))
        np.copyto(times, np.where(odd, slots["ns1"], slots["ns0"]))
        prices[versions == 0] = np.nan
        for slot in np.flatnonzero((slots["seq"] != versions) | (not TOTAL_STORE_ORDER)):
            price, ns = self.read_slot(int(slot))
            if price is not None and ns is not None:
                prices[slot], times[slot] = price, ns

    def versions(self) -> npt.NDArray[np.int64]:
        """int64[n], how often each slot was updated: two looks give a symbol's rate without reading the tape."""
        self._refresh()
        slots = np.frombuffer(self._segment.map, SLOT_DTYPE, len(self._symbols), PAGE)
        return slots["seq"].copy()

    # --------------------------------------------------------------------------------------------- end

    def shared_memory_size(self) -> int:
        """Bytes of the segment."""
        return len(self._segment.map)

    def close(self) -> None:
        """Release this handle. The segment stays for others; its owner also calls `unlink`."""
        if self._segment.fd >= 0:
            self._floats.release()
            self._segment.close()

    def unlink(self) -> None:
        """Remove the segment's name; handles that are open keep what they have and see `closed`."""
        if self._segment.fd >= 0 and self._segment.writable and self._owner:
            self._segment.words[STATE] = STATE_CLOSED
        self._segment.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owner:
            self.unlink()
        self.close()


@functools.cache
def _compiled_gather() -> Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]], None]:
    """The kernel, loaded once: an import statement takes a microsecond each time it is passed."""
    from shared_memory.book_kernels import gather

    return gather


def _write_symbol(segment: Segment, slot: int, symbol: str) -> None:
    encoded = parse_symbol(symbol).encode().ljust(SYMBOL_BYTES, b"\0")
    start = PAGE + slot * SLOT_BYTES + SLOT_SYMBOL_OFFSET
    segment.bytes[start : start + SYMBOL_BYTES] = encoded
