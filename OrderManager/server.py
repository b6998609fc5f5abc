"""The order port: any number of clients, each in its own framing, one numbering of what arrives."""

import contextlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from OrderManager.models import Order, Side
from runtime.loop import EventLoop, accept, listen
from trading_lib import wire

READ_BYTES: Final = 1 << 16  # some 1,000 orders; then the other clients have their turn
PLAIN_STRATEGY: Final = "manual"  # whose orders a plain client's are
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


def _price(price: float) -> str:
    """At least two decimals, and never fewer than the price has."""
    text = repr(price)
    return f"{price:.2f}" if float(f"{price:.2f}") == price else text


class _Connection:
    """One client: its socket, its framing, and who it is."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.socket = connection
        self.peer = peer
        self.splitter = wire.FrameSplitter()
        self.first_bytes: bytes | None = b""  # None: it is not HTTP
        self.strategy: str | None = None  # of a session


class OrderManagerServer:
    """Listens on one port. `on_orders` gets what one read brought, in order; `on_rejected` a reason and who.

    Works alone, too: `with OrderManagerServer("127.0.0.1", 9000) as server: server.run_once(1.0)`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        loop: EventLoop | None = None,
        on_orders: Callable[[Sequence[Received]], None] = lambda _: None,
        on_rejected: Callable[[wire.Rejection, str], None] = lambda *_: None,
        max_order_qty: float = 1e6,
        max_clients: int = 256,
    ) -> None:
        self._loop = loop or EventLoop()
        self._own_loop = loop is None
        self._socket = listen(host, port, "OrderManager.port")
        self._on_orders = on_orders
        self._on_rejected = on_rejected
        self._max_order_qty = max_order_qty
        self._max_clients = max_clients
        self._connections: set[_Connection] = set()
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

    def _accept(self) -> None:
        while (accepted := accept(self._socket)) is not None:
            connection, peer = accepted
            if len(self._connections) >= self._max_clients:
                self.counters["refused: too many clients"] += 1
                connection.close()
                continue
            client = _Connection(connection, peer)
            self._connections.add(client)
            self.counters["connected"] += 1
            self._loop.add(connection, lambda _, client=client: self._on_data(client))  # type: ignore[misc]

    def _on_data(self, client: _Connection) -> None:
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

    def _take(self, client: _Connection, data: bytes, wall: int) -> None:
        received = []
        for frame in client.splitter.feed(data):
            try:
                if frame is None:
                    raise wire.Rejected(wire.OVERSIZE.reason, wire.OVERSIZE.detail)
                if frame.startswith(b"!"):
                    self._control(client, wire.parse_control(frame))
                    continue
                order = self._read(client, frame)
            except wire.Rejected as fault:
                self._reject(client, wire.Rejection(fault.reason, fault.detail))
                continue
            self.orders += 1
            received.append(Received(self.orders, order, client.strategy or PLAIN_STRATEGY, wall))
        if received:
            self._on_orders(received)

    def _read(self, client: _Connection, frame: bytes) -> Order:
        if client.strategy is None:
            order = Order.from_bytes(frame)
        else:
            ts, side, quantity, symbol, price, cause, index, sent = wire.parse_session_order(frame)
            order = Order(symbol, quantity, price, Side(side), ts, cause, index, sent)
        if order.quantity > self._max_order_qty:
            raise wire.Rejected(
                "quantity above OrderManager.risk.max_order_qty", f"{order.quantity} > {self._max_order_qty}"
            )
        return order

    def _control(self, client: _Connection, message: wire.Control) -> None:
        if message.name != "HELLO":
            raise wire.Rejected("bad control frame", message.name)
        version, role, strategy = (*message.fields, "", "", "")[:3]
        if version != str(wire.PROTOCOL_VERSION) or role != "orders":
            raise wire.Rejected("bad hello", f"{version},{role}")
        if client.strategy is not None:
            raise wire.Rejected("bad hello", f"{strategy}: this connection is {client.strategy}'s already")
        client.strategy = wire.parse_symbol(strategy)
        self.counters["sessions"] += 1
        # 40 bytes, once, into the empty buffer of a new connection: they always fit.
        with contextlib.suppress(ConnectionError):  # the peer has gone: the next read will tell
            client.socket.send(wire.encode_control("OK", self._session, self.orders + 1))

    def _reject(self, client: _Connection, rejection: wire.Rejection) -> None:
        self.rejected[rejection.reason] += 1
        self._on_rejected(rejection, client.strategy or client.peer)

    def _drop(self, client: _Connection, reason: str) -> None:
        self.counters[reason] += 1
        self._connections.discard(client)
        self._loop.remove(client.socket)
        client.socket.close()

    def drain(self, seconds: float) -> None:
        """Serve until every client has hung up, at most for so long."""
        deadline = time.monotonic() + seconds
        self._loop.run_once(0)  # who has connected and is not accepted yet counts, too
        while self._connections and time.monotonic() < deadline:
            self._loop.run_once(0.01)

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
