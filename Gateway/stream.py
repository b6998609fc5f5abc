"""TCP streams to any number of clients, none of which can delay another.

A client that says nothing for 100 ms is *plain*: it gets `SYMBOL,PRICE*`. One that says `!HELLO,…,feed*`
gets the extended session: ticks, news and marks in one order. What a client cannot take at once waits in
its own bounded outbox; beyond the bound whole pieces are dropped, oldest first, and counted, or the client
is disconnected, or the source pauses: for one session at a time, the first that asked for it by
`!HELLO,…,feed,wait*`. In the same way one session at a time, the first that asked for `control`, may
hand on what an operator wants. Our OrderBook asks for both.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from Gateway.outbox import OnSlow, Outbox
from runtime.loop import READ, WRITE, EventLoop, accept, listen
from trading_lib import wire
from trading_lib.control_wire import MAX_REQUEST

HELLO_PATIENCE_S: Final = 0.1  # silence after which a client is plain
READ_BYTES: Final = 4096  # clients have next to nothing to say on this port
HTTP_PREFIX: Final = 8  # bytes: the longest HTTP method and its space


class Mode(Enum):
    """What a client has turned out to be."""

    NEW = auto()
    PLAIN = auto()
    SESSION = auto()


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket, outbox: Outbox, now: float) -> None:
        self.connection = connection
        self.outbox = outbox
        self.mode = Mode.NEW
        self.plain_at = now + HELLO_PATIENCE_S
        self.first_bytes = b""
        self.frames = wire.FrameSplitter()
        self.wants_control = False
        self.writing = False


def _feed_hello(frame: bytes | None) -> tuple[str, ...] | None:
    """What a feed hello asks for beside the feed; None: it is none."""
    try:
        hello = wire.parse_control(frame or b"")
    except wire.Rejected:
        return None
    if hello.name != "HELLO" or hello.fields[:2] != (str(wire.PROTOCOL_VERSION), "feed"):
        return None
    return hello.fields[2:]


class StreamServer:
    """One listening port and its clients. `hello()` answers a feed hello, None: not offered here.

    `session_on_slow` `wait`: for the one session that asked for it; every other's frames are dropped.
    `on_request(client, frame)` is called for each frame that a session sends.
    """

    def __init__(
        self,
        loop: EventLoop,
        host: str,
        port: int,
        key: str,
        *,
        limit: int,
        on_slow: OnSlow,
        session_on_slow: OnSlow,
        max_clients: int,
        hello: Callable[[], bytes] | None,
        on_request: Callable[[Client, bytes], object] = lambda *_: None,
    ) -> None:
        self._loop = loop
        self._socket = listen(host, port, key)
        self._limit = limit
        self._on_slow: OnSlow = on_slow
        self._session_on_slow: OnSlow = session_on_slow
        self._max_clients = max_clients
        self._hello = hello
        self._on_request = on_request
        self._new: list[Client] = []
        self.plain: list[Client] = []
        self.sessions: list[Client] = []
        self.counters: Counter[str] = Counter()
        self._dropped_by_gone = 0
        loop.add(self._socket, lambda _: self._accept())

    # ----------------------------------------------------------------------------------------- clients

    def _accept(self) -> None:
        while (accepted := accept(self._socket)) is not None:
            connection, _ = accepted
            if len(self._new) + len(self.plain) + len(self.sessions) >= self._max_clients:
                self.counters["refused: too many clients"] += 1
                connection.close()
                continue
            client = Client(connection, Outbox(connection, self._limit, self._on_slow), time.monotonic())
            self._new.append(client)
            self.counters["connected"] += 1
            self._loop.add(connection, lambda mask, client=client: self._on_ready(client, mask))  # type: ignore[misc]
        if self._socket.refused:
            self.counters["refused: no descriptor left"] = self._socket.refused

    @property
    def greeting(self) -> bool:
        """Whether some client has neither said hello nor been silent for long enough yet."""
        return bool(self._new)

    @property
    def clients(self) -> int:
        """Clients that get data."""
        return len(self.plain) + len(self.sessions)

    def settle(self, now: float) -> None:
        """Make plain who has been silent for long enough."""
        for client in [client for client in self._new if client.plain_at <= now]:
            self._new.remove(client)
            client.mode = Mode.PLAIN
            self.plain.append(client)

    def _on_ready(self, client: Client, mask: int) -> None:
        try:
            if mask & WRITE:
                client.outbox.flush()
                self._watch(client)
            if mask & ~WRITE:
                data = client.connection.recv(READ_BYTES)
                if not data:
                    self._drop(client, "disconnected")
                elif self._is_http(client, data):
                    self._drop(client, "rejected: HTTP request")
                else:
                    self._hear(client, data)
        except BlockingIOError:
            pass  # another reader of this loop's round was faster: nothing to do
        except ConnectionError:
            self._drop(client, "disconnected")

    @staticmethod
    def _is_http(client: Client, data: bytes) -> bool:
        if len(client.first_bytes) >= HTTP_PREFIX:
            return False
        client.first_bytes += data[:HTTP_PREFIX]
        return wire.looks_like_http(client.first_bytes)

    def _hear(self, client: Client, data: bytes) -> None:
        """What a client says: first, or late, its hello; then, as a session, its requests."""
        plain = client.mode is Mode.PLAIN
        for frame in client.frames.feed(data):
            if client.mode is Mode.SESSION:
                self._on_request(client, b"" if frame is None else frame)
            elif self._hello is not None and (asked := _feed_hello(frame)) is not None:
                self._greet(client, asked, self._hello())
            elif client.mode is Mode.NEW:
                self.counters["rejected: not a hello"] += 1
        if plain and client.mode is Mode.PLAIN:
            self.counters["ignored: bytes from a client"] += len(data)

    def _greet(self, client: Client, asked: tuple[str, ...], answer: bytes) -> None:
        """A hello makes a session; one that comes late turns a plain client into it."""
        (self._new if client.mode is Mode.NEW else self.plain).remove(client)
        client.mode = Mode.SESSION
        begun, client.frames = client.frames.pending, wire.FrameSplitter(MAX_REQUEST)
        client.frames.feed(begun)
        client.outbox.on_slow = self._session_policy(waiting="wait" in asked)
        client.wants_control = "control" in asked
        self.sessions.append(client)
        self.counters["sessions"] += 1
        self._push(client, answer, 0)

    @property
    def controller(self) -> Client | None:
        """The session that may hand on what an operator wants."""
        return next((client for client in self.sessions if client.wants_control), None)

    def _session_policy(self, waiting: bool) -> OnSlow:
        """What is done when a new session is slow; `waiting`: it asked for the source to wait."""
        if self._session_on_slow != "wait" or (waiting and self._awaited is None):
            return self._session_on_slow
        return "drop"

    @property
    def _awaited(self) -> Client | None:
        """The session that the source waits for."""
        return next((client for client in self.sessions if client.outbox.on_slow == "wait"), None)

    # -------------------------------------------------------------------------------------------- data

    def send_plain(self, piece: bytes, frames: int) -> None:
        """A piece of `frames` whole frames to every plain client."""
        if frames:
            for client in tuple(self.plain):
                self._push(client, piece, frames)

    def send_sessions(self, piece: bytes, frames: int) -> None:
        """A piece to every session."""
        for client in tuple(self.sessions):
            self._push(client, piece, frames)

    def send_session(self, client: Client, piece: bytes, frames: int) -> None:
        """A piece to one session, if it is still there."""
        if client in self.sessions:
            self._push(client, piece, frames)

    def _push(self, client: Client, piece: bytes, frames: int) -> None:
        try:
            client.outbox.push(piece, frames)
        except ConnectionError:
            self._drop(client, "disconnected")
            return
        if client.outbox.overflowed:
            self._drop(client, "disconnected: too slow")
        elif client.writing or not client.outbox.empty:
            self._watch(client)

    def _watch(self, client: Client) -> None:
        writing = not client.outbox.empty
        if writing != client.writing:
            client.writing = writing
            self._loop.set_events(client.connection, READ | WRITE if writing else READ)

    def _drop(self, client: Client, reason: str) -> None:
        for group in (self._new, self.plain, self.sessions):
            if client in group:
                group.remove(client)
                self.counters[reason] += 1
                self._dropped_by_gone += client.outbox.dropped
                self._loop.remove(client.connection)
                client.connection.close()

    @property
    def blocked(self) -> bool:
        """Whether the session that the source waits for cannot take more."""
        return (awaited := self._awaited) is not None and awaited.outbox.full

    @property
    def unsent(self) -> int:
        """Bytes that wait in sessions' outboxes."""
        return sum(client.outbox.size for client in self.sessions)

    @property
    def dropped(self) -> int:
        """Frames dropped because their client was slow, ever."""
        return self._dropped_by_gone + sum(c.outbox.dropped for c in (*self.plain, *self.sessions))

    def close(self) -> None:
        """Close every connection and the port."""
        for client in (*self._new, *self.plain, *self.sessions):
            self._drop(client, "closed")
        self._loop.remove(self._socket)
        self._socket.close()
