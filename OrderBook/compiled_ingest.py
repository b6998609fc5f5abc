"""The compiled path from a socket's bytes to the tape; see `ingest_kernels` for what it does itself."""

import ctypes
import secrets
import socket
import time
from typing import Final

import numpy as np

from OrderBook import ingest_kernels as kernel
from OrderBook.order_book import OrderBook, Source
from runtime.loop import READ, EventLoop
from shared_memory.layout import PAGE, SYMBOL_BYTES
from shared_memory_utils import SharedPriceBook, TapeWriter
from trading_lib.histogram import BUCKETS
from trading_lib.wire import MAX_FRAME, OVERSIZE, FeedDecoder

BUFFER_BYTES: Final = 1 << 20  # one read; at 30 bytes a tick some 30,000 of them
_STAR: Final = b"*"


class CompiledIngest:
    """One connection's buffer, symbol table and shared state with the kernel."""

    def __init__(self, order_book: OrderBook, source: Source) -> None:
        self._order_book = order_book
        self._source = source
        self._decoder = FeedDecoder()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._data = np.frombuffer(self._buffer, np.uint8)
        self._kept = 0
        self._skipping = False  # inside a frame that was too long: nothing counts until the next '*'
        places = 4 << (order_book.book.capacity - 1).bit_length()
        self._keys = np.zeros((places, 3), np.uint64)
        self._slots = np.full(places, -1, np.int64)
        self._known = 0
        self._state = np.zeros(kernel.STATE_WORDS, np.int64)
        self._words = self._state.data
        self._words[kernel.TAPE] = order_book.tape.address
        self._words[kernel.CAPACITY] = order_book.tape.capacity
        self._words[kernel.SLOTS] = order_book.book.slots_address
        self._words[kernel.BELLS] = order_book.tape.panel.address
        self._words[kernel.LOCK_FD] = order_book.book.segment.fd
        self._polled = np.zeros(4, np.int32)
        self._latencies = np.zeros(BUCKETS, np.int64)
        self._words[kernel.LATENCIES] = self._latencies.ctypes.data
        self._lent = False  # the kernel holds the sequencer's state; `take_back` before anyone else looks

    def receive(self, connection: socket.socket) -> int:
        """See Ingest."""
        count = connection.recv_into(self._view[self._kept :])
        self._take(self._kept + count)
        return count

    def follow(self, connection: socket.socket, loop: EventLoop, seconds: float) -> bool:
        """See Ingest."""
        if loop.descriptor is None:
            return False
        loop.set_events(connection, 0)  # watched there, too, each packet would end the wait here
        try:
            return self._follow(connection.fileno(), loop.descriptor, seconds)
        finally:
            loop.set_events(connection, READ)

    def _follow(self, feed: int, others: int, seconds: float) -> bool:
        followed = False
        until = time.monotonic_ns() + int(seconds * 1e9)
        polled, words = self._polled, self._words
        polled[0], polled[2] = feed, others
        while not self._skipping:
            followed = True
            if not self._lent:
                self._lend()
            words[kernel.KEPT] = self._kept
            status = kernel.follow(self._state, self._data, polled, self._keys, self._slots, until)
            self._kept = words[kernel.KEPT]
            if status != kernel.ASK:
                break
            self._take(self._kept, words[kernel.CONSUMED])
        return followed

    def take(self, data: bytes) -> None:
        """Publish what some bytes bring."""
        for start in range(0, len(data), BUFFER_BYTES // 2):
            piece = data[start : start + BUFFER_BYTES // 2]
            self._view[self._kept : self._kept + len(piece)] = piece
            self._take(self._kept + len(piece))

    def _take(self, end: int, at: int = 0) -> None:
        """Publish the frames of the buffer's bytes [at, end); keep what is left of the last one."""
        if self._skipping:
            at = self._buffer.find(_STAR, 0, end) + 1
            if not at:
                self._kept = 0
                return
            self._skipping = False
        order_book = self._order_book
        asked = False
        with order_book.book.segment.lock():
            while at < end:
                if not self._lent:
                    self._lend()
                status = kernel.ingest(self._state, self._data, at, end, self._keys, self._slots)
                at = self._words[kernel.CONSUMED]
                if status == kernel.DONE:
                    break
                star = self._buffer.find(_STAR, at, end)
                if star < 0:
                    break
                self._ask(bytes(self._view[at:star]))
                asked = True
                at = star + 1
        if asked:
            order_book.tape.ring()
        self._keep(at, end)

    def _ask(self, frame: bytes) -> None:
        """A frame the kernel does not do."""
        message = OVERSIZE if len(frame) > MAX_FRAME else self._decoder.decode(frame)
        self._order_book.apply(self._source, message)
        self._order_book.publish()

    def _keep(self, at: int, end: int) -> None:
        rest = end - at
        if rest > MAX_FRAME:
            self._skipping = True
            with self._order_book.book.segment.lock():
                self._order_book.apply(self._source, OVERSIZE)
                self._order_book.publish()
            rest = 0
        elif rest and at:
            self._view[:rest] = self._view[at:end]
        self._kept = rest

    def _lend(self) -> None:
        """Hand the sequencer's state to the kernel, for as long as nobody else needs it."""
        order_book, source, words = self._order_book, self._source, self._words
        if order_book.book.count != self._known:
            self._learn()
        session = source.session
        words[kernel.EASY] = not source.fresh
        words[kernel.SESSION] = session
        words[kernel.NEXT_SEQ] = source.next_seq
        words[kernel.DUE] = source.due
        words[kernel.LAST_TS] = order_book.last_ts
        words[kernel.TIMED] = source.timed
        words[kernel.ARRIVAL_STAMPED] = order_book.arrival_stamped
        words[kernel.RECONNECTED] = source.reconnected
        words[kernel.KNOWN_SESSION], words[kernel.KNOWN_SEQ] = order_book.position
        words[kernel.TICKS] = words[kernel.NEWS] = words[kernel.LATE] = words[kernel.MAX_LATENCY] = 0
        order_book.lend(self._take_back)
        self._lent = True

    def _take_back(self) -> None:
        """Bring the sequencer up to date with what the kernel did."""
        self._lent = False
        order_book, source, words = self._order_book, self._source, self._words
        source.due = words[kernel.DUE]
        order_book.resume(
            ticks=words[kernel.TICKS],
            news=words[kernel.NEWS],
            late=words[kernel.LATE],
            last_ts=words[kernel.LAST_TS],
            arrival_stamped=bool(words[kernel.ARRIVAL_STAMPED]),
        )
        if source.session:
            order_book.took_numbers(source, words[kernel.NEXT_SEQ])
        buckets = np.flatnonzero(self._latencies)
        if buckets.shape[0]:
            found = dict(zip(buckets.tolist(), self._latencies[buckets].tolist(), strict=True))
            order_book.tick_to_book.add(found, words[kernel.MAX_LATENCY])
            self._latencies[buckets] = 0

    def _learn(self) -> None:
        """Put the symbols the book has gained into the kernel's table."""
        book = self._order_book.book
        count = book.count
        for slot in range(self._known, count):
            key = np.frombuffer(book.symbol(slot).encode().ljust(SYMBOL_BYTES, b"\0"), np.uint64)
            kernel.learn(self._keys, self._slots, key, slot)
        self._known = count


def warm_up() -> None:
    """Compile the kernel on a tape and a book of its own, which are gone afterwards."""
    name = f"algosim-warm-{secrets.token_hex(4)}"
    tape = TapeWriter.open(name, 4096)
    try:
        with SharedPriceBook(["WARM"], name, create=True, capacity=1) as book:
            tape.unlink()  # compiling takes seconds: a kill meanwhile must not leave names behind
            book.unlink()
            ingest = CompiledIngest(OrderBook(tape, book), Source())
            ingest.take(b"WARM,1.0*WARM,2.0*")
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.send(b"WARM,3.0*")
                loop = EventLoop()
                loop.add(ours, lambda _: None)
                ingest.follow(ours, loop, 0.001)
                loop.close()
    finally:
        tape.close()


assert ctypes.sizeof(ctypes.c_void_p) == 8 and PAGE % 8 == 0, "addresses are handed over in int64 words"
