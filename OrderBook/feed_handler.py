"""The connections to a Gateway: made, greeted, and made again when they break.

Our own Gateway answers the hello with `!OK` and sends everything on the one session. A third-party one
ignores it: then the news port is connected to as well, and the order of arrival is the order. On the
session an operator's actions go the other way.
"""

import fcntl
import logging
import socket
import termios
import time
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Final

from OrderBook.ingest import Ingest, make_ingest
from OrderBook.order_book import OrderBook, Source
from runtime.loop import READ, WRITE, Backoff, EventLoop, Reminder, start_connect
from trading_lib import wire

PLAIN_AFTER_S: Final = (
    0.25  # without an answer to the hello for so long, the Gateway is taken for a plain one
)
RECEIVE_BUFFER: Final = 4 << 20  # bytes the kernel holds for us: a burst must not stall the Gateway


class Link:
    """One TCP connection that is wanted: idle, connecting or open."""

    def __init__(self, handler: "FeedHandler", port: int, name: str) -> None:
        self._handler = handler
        self._port = port
        self.name = name
        self.backoff = Backoff()
        self.connection: socket.socket | None = None
        self.ingest: Ingest | None = None
        self.opened_at = 0.0
        self.times_opened = 0

    @property
    def open(self) -> bool:
        """Whether data can come."""
        return self.ingest is not None

    def start(self) -> None:
        """Begin to connect, if it is time to."""
        if self.connection is None and not self.backoff.wait:
            try:
                self.connection = start_connect(self._handler.host, self._port)
            except OSError:
                self.backoff.failed()
                return
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._handler.loop.add(self.connection, lambda _: self._on_connected(), WRITE)

    def _on_connected(self) -> None:
        assert self.connection is not None
        if self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close(failed=True)
            return
        self.opened_at = time.monotonic()
        self.times_opened += 1
        self._handler.loop.remove(self.connection)
        self._handler.loop.add(self.connection, lambda _: self._on_data(), READ)
        try:
            self.ingest = self._handler.opened(self)
        except ConnectionError:
            self.close(failed=True)

    def _on_data(self) -> None:
        assert self.connection is not None and self.ingest is not None
        if self._handler.superfluous(self):
            self.close()
            return
        try:
            if self.ingest.receive(self.connection):
                self.backoff.succeeded()  # a port that accepts and says nothing is no success
            else:
                self.close(failed=True)
        except BlockingIOError:
            pass  # a poll may wake us for nothing
        except (ConnectionError, TimeoutError):
            self.close(failed=True)

    def close(self, failed: bool = False) -> None:
        """Hang up; `failed`: wait a little before the next attempt."""
        if self.connection is not None:
            self._handler.loop.remove(self.connection)
            self.connection.close()
            if self.ingest is not None:
                self._handler.closed(self)
        self.connection = self.ingest = None
        if failed:
            self.backoff.failed()


class FeedHandler:
    """Keeps the sequencer fed from one Gateway."""

    def __init__(
        self,
        loop: EventLoop,
        order_book: OrderBook,
        host: str,
        md_port: int,
        news_port: int,
        log: logging.Logger,
    ) -> None:
        self.loop = loop
        self.host = host
        self.log = log
        self.counters: Counter[str] = Counter()
        self.on_lost: Callable[[], None] = lambda: None  # the connection that may carry a session has ended
        self._order_book = order_book
        self._source = Source()
        self._ticks = Link(self, md_port, "ticks")
        self._news = Link(self, news_port, "news")
        self._reminder = Reminder(
            log.warning, f"no Gateway on {host}:{md_port} (OrderBook.md_port) for 10 s; still trying"
        )

    @property
    def settled(self) -> bool:
        """Whether every connection that is wanted stands."""
        if self._source.session:
            return self._ticks.open and self._news.connection is None
        return self._ticks.open and self._news.open

    @property
    def connected(self) -> bool:
        """Whether there is a connection to hang up."""
        return self._ticks.open

    @property
    def in_session(self) -> bool:
        """Whether the Gateway can be asked for something."""
        return self._ticks.open and self._source.session != 0

    @property
    def state(self) -> str:
        """What a person wants to know about the feed."""
        if not self._ticks.open:
            return "connecting"
        return "session" if self._source.session else "plain"

    def opened(self, link: Link) -> Ingest:
        """A link stands: greet the Gateway, and say what reads from it."""
        self.counters[f"{link.name} connected"] += 1
        self.log.info("%s: connected to %s", link.name, self.host)
        if not self.superfluous(link):
            self._order_book.connected(self._source, again=link.times_opened > 1)
        if link is self._ticks:
            assert link.connection is not None
            link.connection.send(wire.encode_hello("feed", "wait", "control"))
        return make_ingest(self._order_book, self._source, news=link is self._news)

    def closed(self, link: Link) -> None:
        """A link that stood does so no more."""
        self.counters[f"{link.name} disconnected"] += 1
        self.log.info("%s: disconnected", link.name)
        if link is self._ticks:
            self.on_lost()

    def forward(self, frame: bytes) -> None:
        """Send a frame on the session. A Gateway that does not take it whole is hung up on."""
        assert self._ticks.connection is not None
        try:
            whole = self._ticks.connection.send(frame) == len(frame)
        except OSError:  # it does not read, or it has gone
            whole = False
        if not whole:
            self._ticks.close(failed=True)

    def hang_up(self) -> None:
        """End the connection to the Gateway; it is made again at once."""
        self._ticks.close()

    def superfluous(self, link: Link) -> bool:
        """Whether it is the news port's and the other link carries a session, which brings the news."""
        return link is self._news and self._ticks.open and self._source.session != 0

    def follow(self, seconds: float) -> bool:
        """Let a session's ingest wait and work by itself, until something else is to do; False where it does not."""
        link = self._ticks
        if not (self._source.session and self.settled) or link.ingest is None or link.connection is None:
            return False
        if not link.ingest.follow(link.connection, self.loop, seconds):
            return False
        self.loop.run_once(0)
        return True

    def tend(self) -> float:
        """Connect what should be connected; returns for how many seconds nothing will be due."""
        if self.superfluous(self._news):
            if self._news.connection is not None:
                self._news.close()
        elif self._ticks.open:
            answered_by = self._ticks.opened_at + PLAIN_AFTER_S
            if time.monotonic() < answered_by:
                return PLAIN_AFTER_S
            self._news.start()
        if self._ticks.open:
            self._reminder.found()
        else:
            self._reminder.missing()
        self._ticks.start()
        waits = [link.backoff.wait for link in (self._ticks, self._news) if link.connection is None]
        return min((wait for wait in waits if wait), default=1.0)

    def close(self) -> None:
        """Hang up, and count what has come and was not read."""
        for link in (self._ticks, self._news):
            if link.connection is not None and (unread := _unread(link.connection)):
                self.counters["bytes not read at the end"] += unread
            link.close()


def _unread(connection: socket.socket) -> int:
    """Bytes that the kernel holds for us."""
    count = array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, count)
    return count[0]
