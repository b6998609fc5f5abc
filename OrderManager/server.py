"""The order port: any number of clients, each in its own framing, one numbering of what arrives."""

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from OrderManager.models import CancelRequest, Order
from runtime.loop import READ, WRITE, EventLoop, accept, listen
from trading_lib import order_wire, wire
from trading_lib.models import MANUAL

READ_BYTES: Final = 1 << 16  # some 1,000 orders; then the other clients have their turn
MAX_OUTBOX: Final = 8 << 20  # bytes of reports for a session that does not read; then it is disconnected
PLAIN_STRATEGY: Final = MANUAL  # whose orders a plain client's are
_HTTP_PREFIX: Final = 8  # bytes: the longest HTTP method and its space


class Received(NamedTuple):
    """An accepted order: `number` counts arrivals from 1, `wall` is the wall clock on arrival, ns."""

    number: int
    order: Order
    strategy: str
    wall: int

    def __str__(self) -> str:
        order = self.order
        quantity = wire.format_quantity(order.quantity)
        return f"Received Order {self.number}: {order.side} {quantity} {order.symbol} @ {_price(order.price)}"


class CancelReceived(NamedTuple):
    """A request to cancel an order of the session's strategy."""

    request: CancelRequest
    strategy: str
    wall: int


class Progress(NamedTuple):
    """A host has processed, or (`missed`) could not get, every record before `next_seq`."""

    next_seq: int
    missed: bool


class Farewell(NamedTuple):
    """A host goes for good (`text` empty), or stops because it found the ledger to differ."""

    text: str


Input = Received | CancelReceived | Progress | Farewell


class SessionDenied(Exception):
    """A hello that is not accepted; the message goes back to the client."""


class Hello(NamedTuple):
    """What a client says of itself: see `trading_lib.order_wire`."""

    strategy: str
    token: str
    mode: str
    number: int
    version: str = ""  # of its strategy, as it calls it
    reload: bool = False  # it takes over from another version


class Desk(Protocol):
    """Who works the orders behind the port: the ledger."""

    def welcome(self, client: "Connection", hello: Hello) -> tuple[Iterable[bytes], int]:
        """Frames to send before `!OK`, and the tape record to begin at. Raises SessionDenied."""

    def take(self, client: "Connection", inputs: Sequence[Input]) -> None:
        """What one read brought, in order."""

    def left(self, client: "Connection") -> None:
        """A session has ended."""


def _price(price: float) -> str:
    """At least two decimals, and never fewer than the price has."""
    text = repr(price)
    return f"{price:.2f}" if float(f"{price:.2f}") == price else text


class Connection:
    """One client: its socket, its framing, who it is, and what is on its way to it."""

    def __init__(self, connection: socket.socket, peer: str, loop: EventLoop) -> None:
        self.socket = connection
        self.peer = peer
        self.splitter = wire.FrameSplitter()
        self.first_bytes: bytes | None = b""  # None: it is not HTTP
        self.strategy: str | None = None  # of a session
        self.hopeless = False  # it does not read, or has gone: to be dropped
        self._loop = loop
        self._outbox = bytearray()

    def send(self, data: bytes) -> None:
        """Send, or keep what the client does not take now. Never waits, never raises."""
        if self._outbox or not data:
            self._outbox += data
        else:
            sent = self._try_send(data)
            if sent < len(data):
                self._outbox += data[sent:]
                self._loop.set_events(self.socket, READ | WRITE)
        if len(self._outbox) > MAX_OUTBOX:
            self.hopeless = True

    def flush(self) -> None:
        """The client takes more."""
        del self._outbox[: self._try_send(self._outbox)]
        if not self._outbox:
            self._loop.set_events(self.socket, READ)

    def _try_send(self, data: bytes | bytearray) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # it has gone: the next read will tell
            self.hopeless = True
            return len(data)


class OrderManagerServer:
    """Listens on one port. `desk` works what comes; `on_rejected` gets a reason and who.

    Works alone, too, for who only wants to receive: `on_orders` gets what one read brought, and what it
    has taken is acknowledged. `with OrderManagerServer("127.0.0.1", 9000) as server: server.run_once(1.0)`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        loop: EventLoop | None = None,
        desk: Desk | None = None,
        on_orders: Callable[[Sequence[Received]], None] = lambda _: None,
        on_rejected: Callable[[wire.Rejection, str], None] = lambda *_: None,
        max_order_qty: float = 1e6,
        max_clients: int = 256,
    ) -> None:
        self._loop = loop or EventLoop()
        self._own_loop = loop is None
        self._socket = listen(host, port, "OrderManager.port")
        self._desk = desk or _ReceivingDesk(on_orders)
        self._on_rejected = on_rejected
        self._max_order_qty = max_order_qty
        self._max_clients = max_clients
        self._connections: set[Connection] = set()
        self._session = secrets.randbits(62) | 1
        self.orders = 0
        self.rejected: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self._loop.add(self._socket, lambda _: self._accept())

    @property
    def port(self) -> int:
        """The port listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def clients(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def sessions(self) -> list[str]:
        """The strategies that are connected."""
        return sorted(c.strategy for c in self._connections if c.strategy is not None)

    def run_once(self, timeout: float | None = None) -> None:
        """Serve what is ready, waiting up to `timeout` seconds for it (for a server without a loop around it)."""
        self._loop.run_once(timeout)
        self.drop_hopeless()

    def _accept(self) -> None:
        while (accepted := accept(self._socket)) is not None:
            connection, peer = accepted
            if len(self._connections) >= self._max_clients:
                self.counters["refused: too many clients"] += 1
                connection.close()
                continue
            client = Connection(connection, peer, self._loop)
            self._connections.add(client)
            self.counters["connected"] += 1
            self._loop.add(connection, lambda mask, client=client: self._on_ready(client, mask))  # type: ignore[misc]
        if self._socket.refused:
            self.counters["refused: no descriptor left"] = self._socket.refused

    def _on_ready(self, client: Connection, mask: int) -> None:
        if mask & WRITE:
            client.flush()
        if mask != WRITE:
            self._on_data(client)

    def _on_data(self, client: Connection) -> None:
        try:
            data = client.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            if client.splitter.pending.strip():
                self._reject(
                    client, wire.Rejection("half a frame at the end", repr(client.splitter.pending[:40]))
                )
            self._drop(client, "disconnected")
            return
        wall = time.time_ns()
        if client.first_bytes is not None:
            client.first_bytes += data[:_HTTP_PREFIX]
            if wire.looks_like_http(client.first_bytes):
                self._reject(client, wire.Rejection("HTTP request", client.peer))
                self._drop(client, "disconnected: HTTP request")
                return
            if len(client.first_bytes) >= _HTTP_PREFIX:
                client.first_bytes = None
        self._take(client, data, wall)

    def _take(self, client: Connection, data: bytes, wall: int) -> None:
        inputs: list[Input] = []
        for frame in client.splitter.feed(data):
            try:
                if frame is None:
                    raise wire.Rejected(wire.OVERSIZE.reason, wire.OVERSIZE.detail)
                if frame.startswith(b"!"):
                    found = self._control(client, wire.parse_control(frame), wall)
                    if found is not None:
                        inputs.append(found)
                    continue
                order = self._read(client, frame)
            except wire.Rejected as fault:
                self._reject(client, wire.Rejection(fault.reason, fault.detail))
                continue
            inputs.append(Received(self.next_number(), order, client.strategy or PLAIN_STRATEGY, wall))
        if inputs:
            self._desk.take(client, inputs)

    def _read(self, client: Connection, frame: bytes) -> Order:
        if client.strategy is not None:
            return order_wire.parse_order(frame)
        order = Order.from_bytes(frame)
        if order.quantity > self._max_order_qty:
            raise wire.Rejected(
                "quantity above OrderManager.risk.max_order_qty", f"{order.quantity} > {self._max_order_qty}"
            )
        return order

    def _control(self, client: Connection, message: wire.Control, wall: int) -> Input | None:
        name, fields = message
        if name == "HELLO":
            self._hello(client, fields)
            return None
        if client.strategy is None:
            raise wire.Rejected("bad control frame", name)
        if name == "CANCEL":
            return CancelReceived(order_wire.parse_cancel(message), client.strategy, wall)
        if name in ("P", "M") and len(fields) == 1:
            return Progress(wire.parse_number(fields[0]), missed=name == "M")
        if name == "BYE" or (name == "DIVERGED" and fields):
            return Farewell(", ".join(fields))
        raise wire.Rejected("bad control frame", name)

    def _hello(self, client: Connection, fields: tuple[str, ...]) -> None:
        version, role, strategy, token, mode, number, code, why = (*fields, *[""] * 8)[:8]
        if version != str(wire.PROTOCOL_VERSION) or role != "orders":
            raise wire.Rejected("bad hello", f"{version},{role}")
        if client.strategy is not None:
            raise wire.Rejected("bad hello", f"{strategy}: this connection is {client.strategy}'s already")
        if mode not in ("", "new", "again") or why not in ("", "reload"):
            raise wire.Rejected("bad hello", f"{mode},{why}")
        begin = wire.parse_number(number) if mode else 0
        hello = Hello(wire.parse_symbol(strategy), token, mode, begin, code, why == "reload")
        try:
            frames, next_seq = self._desk.welcome(client, hello)
        except SessionDenied as fault:
            client.send(order_wire.encode_error(fault))
            client.hopeless = True
            raise wire.Rejected("session denied", f"{strategy}: {fault}") from None
        client.strategy = hello.strategy
        self.counters["sessions"] += 1
        client.send(b"".join(frames) + order_wire.encode_welcome(self._session, next_seq))

    def _reject(self, client: Connection, rejection: wire.Rejection) -> None:
        self.rejected[rejection.reason] += 1
        self._on_rejected(rejection, client.strategy or client.peer)

    def next_number(self) -> int:
        """Count one more order."""
        self.orders += 1
        return self.orders

    def count_from(self, orders: int) -> None:
        """Orders were received before this process was started: go on with the next number."""
        self.orders = max(self.orders, orders)

    def drop_hopeless(self) -> None:
        """Part with those who do not read, or were denied. To be called between two rounds of the loop."""
        for client in tuple(self._connections):
            if client.hopeless:
                self._drop(client, "disconnected: does not read, or was denied")

    def _drop(self, client: Connection, reason: str) -> None:
        self.counters[reason] += 1
        self._connections.discard(client)
        self._loop.remove(client.socket)
        client.socket.close()
        if client.strategy is not None:
            self._desk.left(client)

    def drain(self, seconds: float, after_each: Callable[[], object] = lambda: None) -> None:
        """Serve until every client has hung up, at most for so long; `after_each` round of it is called."""
        deadline = time.monotonic() + seconds
        while True:
            self._loop.run_once(0)  # who has connected and is not accepted yet counts, too
            if self._connections:
                self._loop.run_once(0.01)
            after_each()
            self.drop_hopeless()
            if not self._connections or time.monotonic() >= deadline:
                return

    def close(self) -> None:
        """Close every connection and the port."""
        for client in tuple(self._connections):
            self._drop(client, "closed")
        self._loop.remove(self._socket)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if self._own_loop:
            self._loop.close()


class _ReceivingDesk:
    """Hands orders on and acknowledges them: a server that works alone."""

    def __init__(self, on_orders: Callable[[Sequence[Received]], None]) -> None:
        self._on_orders = on_orders

    def welcome(self, client: Connection, hello: Hello) -> tuple[Iterable[bytes], int]:  # noqa: ARG002
        return (), 0

    def take(self, client: Connection, inputs: Sequence[Input]) -> None:
        received = [found for found in inputs if isinstance(found, Received)]
        if received:
            self._on_orders(received)
            if client.strategy is not None:
                last = received[-1].order
                client.send(order_wire.encode_acknowledgement(last.cause_seq, last.index))

    def left(self, client: Connection) -> None:
        """Nothing to do."""
