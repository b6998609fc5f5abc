"""From a socket's bytes to the tape: the plain path, and which of the two a process takes."""

import socket
from collections.abc import Callable
from typing import Final, Protocol

from OrderBook.order_book import OrderBook, Source
from runtime.loop import EventLoop
from trading_lib.jit import compiled, warm
from trading_lib.wire import FeedDecoder

READ_BYTES: Final = 1 << 16  # one read of the plain path


class Ingest(Protocol):
    """One connection's way into the sequencer."""

    def receive(self, connection: socket.socket) -> int:
        """Read once and publish what it brought; the bytes read, 0 at the end of the stream.

        Raises BlockingIOError when there is nothing, ConnectionError when the peer has gone.
        """

    def follow(self, connection: socket.socket, loop: EventLoop, seconds: float) -> bool:
        """Wait for bytes and publish them for up to `seconds`, or until `loop`, which knows the connection, or the
        connection has something else to do. False at once where that is left to the loop and `receive`."""


class PureIngest:
    """Decode, apply and publish in plain Python. `news`: the connection is to a plain news port."""

    def __init__(self, order_book: OrderBook, source: Source, news: bool = False) -> None:
        self._order_book = order_book
        self._source = source
        self._decoder = FeedDecoder(news)

    def receive(self, connection: socket.socket) -> int:
        """See Ingest."""
        data = connection.recv(READ_BYTES)
        self.take(data)
        return len(data)

    def follow(self, *_: object) -> bool:
        """See Ingest: plain Python has nothing to gain from it."""
        return False

    def take(self, data: bytes) -> None:
        """Publish what some bytes bring."""
        order_book, source = self._order_book, self._source
        with order_book.book.segment.lock():
            for message in self._decoder.feed(data):
                order_book.apply(source, message)
            order_book.publish()
        order_book.tape.ring()


def make_ingest(order_book: OrderBook, source: Source, news: bool = False) -> Ingest:
    """The compiled path where there is one (the news port's few frames always take the plain one)."""
    if news or not compiled():
        return PureIngest(order_book, source, news)
    from OrderBook.compiled_ingest import CompiledIngest

    return CompiledIngest(order_book, source)


def warm_kernels(announce: Callable[[str], None]) -> None:
    """Compile before READY what would otherwise be compiled at the first tick."""
    if compiled():
        from OrderBook.compiled_ingest import warm_up

        warm("OrderBook", announce, warm_up)
