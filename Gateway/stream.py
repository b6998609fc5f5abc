"""TCP streams to any number of clients, none of which can delay another.

A client that says nothing for 100 ms is *plain*: it gets `SYMBOL,PRICE*`. One that says `!HELLO,…,feed*`
gets the extended session: ticks, news and marks in one order. What a client cannot take at once waits in
its own bounded outbox; beyond the bound whole pieces are dropped, oldest first, and counted, or the client
is disconnected, or the source pauses: for one session at a time, the first that asked for it by
`!HELLO,…,feed,wait*`, which our OrderBook does.
"""

import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Literal

from runtime.loop import READ, WRITE, EventLoop, accept, listen
from trading_lib import wire

HELLO_PATIENCE_S: Final = 0.1  # silence after which a client is plain
MAX_PIECES_PER_SEND: Final = 64  # well under IOV_MAX (1024 on Linux)
READ_BYTES: Final = 4096  # clients have next to nothing to say on this port
HTTP_PREFIX: Final = 8  # bytes: the longest HTTP method and its space

OnSlow = Literal["drop", "disconnect", "wait"]


class Outbox:
    """What one client has yet to be sent: whole pieces (some frames each), at most `limit` bytes of them."""

    def __init__(self, connection: socket.socket, limit: int, on_slow: OnSlow) -> None:
        self._connection = connection
        self._limit = limit
        self.on_slow = on_slow
        self._pieces: deque[tuple[memoryview, int]] = deque()
        self._begun = False  # the first piece is partly sent: it must be finished, whatever happens
        self.size = 0
        self.dropped = 0  # frames
        self.overflowed = False  # the policy is `disconnect`, and it is time

    def push(self, piece: bytes, frames: int) -> None:
        """Send a piece, or keep it for later. Raises ConnectionError when the peer has gone."""
        if not self._pieces:
            sent = self._send(piece)
            if sent == len(piece):
                return
            self._pieces.append((memoryview(piece)[sent:], frames))
            self._begun = sent > 0
            self.size = len(piece) - sent
        else:
            self._pieces.append((memoryview(piece), frames))
            self.size += len(piece)
        if self.size > self._limit and self.on_slow != "wait":
            self._overflow()

    def _overflow(self) -> None:
        if self.on_slow == "disconnect":
            self.overflowed = True
            return
        oldest = 1 if self._begun else 0
        while self.size > self._limit and len(self._pieces) > oldest:
            piece, frames = self._pieces[oldest]
            del self._pieces[oldest]
            self.size -= len(piece)
            self.dropped += frames

    def flush(self) -> None:
        """Send what the peer will take. Raises ConnectionError when it has gone."""
        while self._pieces:
            pieces = [self._pieces[i][0] for i in range(min(len(self._pieces), MAX_PIECES_PER_SEND))]
            try:
                sent = self._connection.sendmsg(pieces)
            except BlockingIOError:
                return
            self.size -= sent
            while sent:
                piece, frames = self._pieces[0]
                if sent < len(piece):
                    self._pieces[0] = (piece[sent:], frames)
                    self._begun = True
                    return
                sent -= len(piece)
                self._pieces.popleft()
                self._begun = False

    def _send(self, piece: bytes) -> int:
        try:
            return self._connection.send(piece)
        except BlockingIOError:
            return 0

    @property
    def empty(self) -> bool:
        """Whether everything was handed to the kernel."""
        return not self._pieces

    @property
    def full(self) -> bool:
        """Whether a source that waits for this client should pause."""
        return self.size > self._limit


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
        self.greeting = wire.FrameSplitter()
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
    ) -> None:
        self._loop = loop
        self._socket = listen(host, port, key)
        self._limit = limit
        self._on_slow: OnSlow = on_slow
        self._session_on_slow: OnSlow = session_on_slow
        self._max_clients = max_clients
        self._hello = hello
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
                elif client.mode is Mode.SESSION or not self._greet(client, data):
                    self.counters["ignored: bytes from a client"] += len(data)
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

    def _greet(self, client: Client, data: bytes) -> bool:
        """Look for a hello; one that comes late turns a plain client into a session. Whether the bytes mattered."""
        expected = client.mode is Mode.NEW
        for frame in client.greeting.feed(data):
            if self._hello is not None and (asked := _feed_hello(frame)) is not None:
                (self._new if expected else self.plain).remove(client)
                client.mode = Mode.SESSION
                client.outbox.on_slow = self._session_policy(waiting="wait" in asked)
                self.sessions.append(client)
                self.counters["sessions"] += 1
                self._push(client, self._hello(), 0)
                return True
            if expected:
                self.counters["rejected: not a hello"] += 1
        return expected

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
