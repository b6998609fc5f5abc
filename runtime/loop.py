"""A small event loop: file descriptors to callbacks, one poll at a time.

Not asyncio: between a packet's arrival and the callback there is one system call and one dictionary
look-up, and the caller decides what happens between two polls.
"""

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

READ: Final = 1  # POLLIN and EPOLLIN
WRITE: Final = 4  # POLLOUT and EPOLLOUT
BACKLOG: Final = 128  # connections the kernel holds while we are busy
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


class HasFileno(Protocol):
    """A socket, or anything else with a file descriptor."""

    def fileno(self) -> int: ...


Callback = Callable[[int], object]  # called with the event mask; hang-up and error count as readable


class PortInUse(Exception):
    """A port that cannot be listened on; the message names the port and the key to change."""


class EventLoop:
    """Owns the poll object, not the descriptors registered with it."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll is not None else select.poll()
        self._callbacks: dict[int, Callback] = {}

    @property
    def descriptor(self) -> int | None:
        """What is readable when something is ready, for who waits elsewhere; None where there is no such thing."""
        return self._epoll.fileno() if self._epoll is not None else None

    def add(self, source: HasFileno | int, callback: Callback, events: int = READ) -> None:
        """Call `callback(mask)` whenever `source` is ready for `events`."""
        fd = source if isinstance(source, int) else source.fileno()
        self._callbacks[fd] = callback
        (self._epoll or self._poll).register(fd, events)  # type: ignore[union-attr]

    def set_events(self, source: HasFileno, events: int) -> None:
        """Change what a source is watched for."""
        (self._epoll or self._poll).modify(source.fileno(), events)  # type: ignore[union-attr]

    def remove(self, source: HasFileno | int) -> None:
        """Forget a source, before it is closed."""
        fd = source if isinstance(source, int) else source.fileno()
        if self._callbacks.pop(fd, None) is not None:
            (self._epoll or self._poll).unregister(fd)  # type: ignore[union-attr]

    def run_once(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds (None: for ever; rounded down to ms) and run what is ready."""
        if self._epoll is not None:
            ready = self._epoll.poll(-1 if timeout is None else int(timeout * 1000) / 1000)
        else:
            assert self._poll is not None
            ready = self._poll.poll(None if timeout is None else int(timeout * 1000))
        for fd, mask in ready:
            callback = self._callbacks.get(fd)  # an earlier callback of this round may have removed it
            if callback is not None:
                callback(mask)

    def close(self) -> None:
        """Release the poll object."""
        self._callbacks.clear()
        if self._epoll is not None:
            self._epoll.close()


class Listener(socket.socket):
    """A listening socket that keeps one descriptor in reserve.

    A process that has no descriptor left could not even refuse who waits, and its loop would never sleep:
    the reserve is given up for a moment, the connection taken and closed at once, and counted in `refused`.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.refused = 0
        self._reserve = os.open(os.devnull, os.O_RDONLY)

    def take(self) -> tuple[socket.socket, Any] | None:
        """The next waiting connection, non-blocking, and its address; None if none."""
        while True:
            try:
                connection, address = self.accept()
            except BlockingIOError:
                return None
            except ConnectionAbortedError:
                continue
            except OSError as fault:
                if fault.errno not in _NO_DESCRIPTORS:
                    raise
                if not self._refuse():
                    return None
                continue
            connection.setblocking(False)
            return connection, address

    def _refuse(self) -> bool:
        """Turn the next one away by way of the reserve; False if nobody waits (the fault comes then, too)."""
        before = self.refused
        self._give_up_reserve()
        try:
            with contextlib.suppress(BlockingIOError):
                self.accept()[0].close()
                self.refused += 1
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        except OSError as fault:  # somebody else was faster to take the reserve
            if fault.errno not in _NO_DESCRIPTORS:
                raise
        return self.refused > before

    def _give_up_reserve(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1

    def close(self) -> None:
        """Close it, and the reserve."""
        self._give_up_reserve()
        super().close()


def listen(host: str, port: int, key: str) -> Listener:
    """A non-blocking listening socket. Raises PortInUse naming `key`, the configuration key to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = Listener(family)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen(BACKLOG)
        server.setblocking(False)
    except OSError as fault:
        server.close()
        raise PortInUse(
            f"port {port} on {host} cannot be listened on ({fault.strerror}): change {key}, "
            "or stop what holds it"
        ) from None
    return server


def accept(server: Listener) -> tuple[socket.socket, str] | None:
    """The next waiting connection, non-blocking and without Nagle's delay, and its `host:port`; None if none."""
    taken = server.take()
    if taken is None:
        return None
    connection, address = taken
    with contextlib.suppress(OSError):  # macOS refuses it on one that has been reset already
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection, "{}:{}".format(*address[:2])


def start_connect(host: str, port: int) -> socket.socket:
    """A non-blocking socket on its way to (host, port); ready for WRITE when it has arrived or failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with contextlib.suppress(BlockingIOError):
            connection.connect((host, port))
    except OSError:
        connection.close()
        raise
    return connection


class Backoff:
    """Waiting times that double from `first` to `limit` seconds, on the caller's clock."""

    def __init__(
        self, first: float = 0.02, limit: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first, self._limit, self._clock = first, limit, clock
        self._delay = first
        self._not_before = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next attempt is due; 0 when it is."""
        return max(0.0, self._not_before - self._clock())

    def failed(self) -> None:
        """An attempt failed: wait longer before the next."""
        self._not_before = self._clock() + self._delay
        self._delay = min(self._delay * 2, self._limit)

    def succeeded(self) -> None:
        """Back to the shortest wait."""
        self._delay = self._first
        self._not_before = 0.0


class Reminder:
    """Says, once, that something that is waited for has been missing for long."""

    def __init__(
        self,
        say: Callable[[str], None],
        text: str,
        after: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._text, self._after, self._clock = say, text, after, clock
        self._since: float | None = None
        self._said = False

    def missing(self) -> None:
        """It is not there."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now - self._since >= self._after and not self._said:
            self._said = True
            self._say(self._text)

    def found(self) -> None:
        """It is there."""
        self._since, self._said = None, False
