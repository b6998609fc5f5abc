"""Sending orders.

    with OrderManagerClient("127.0.0.1", 9000) as client:
        client.place_order("AAPL", Side.BUY, 10, 173.20)

A plain client is fire and forget. With `strategy="…"` it negotiates a session, whose orders carry the tape
record that caused them and a client order id.
"""

import math
import select
import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from trading_lib import wire
from trading_lib.models import Order, Side

MAX_WAITING: Final = 8 << 20  # bytes (some 100,000 orders) kept for a server that does not read
HELLO_TIMEOUT_S: Final = 5.0


class OrderQueueFull(Exception):
    """The server does not read and no more can be kept; nothing of this order was sent."""


class OrderManagerClient:
    """One connection to the OrderManager; owns its socket.

    `timeout`: for how many seconds a call may wait for the server to take bytes. With 0 no call ever waits:
    what the server does not take is kept, in order, and goes out with the next call or `flush`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9000,
        *,
        strategy: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.host = host
        self.port = port
        self.strategy = strategy
        self.timeout = timeout
        self.session: int | None = None
        self._socket: socket.socket | None = None
        self._unsent = bytearray()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we have noticed."""
        return self._socket is not None

    @property
    def waiting(self) -> int:
        """Bytes of orders that are not handed to the kernel yet."""
        return len(self._unsent)

    def connect(self) -> None:
        """Connect, and negotiate the session if there is a strategy. Raises OSError."""
        self.disconnect()
        connection = socket.create_connection((self.host, self.port), timeout=self.timeout or HELLO_TIMEOUT_S)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.strategy is not None:
                self.session = self._greet(connection, self.strategy)
            connection.setblocking(False)
        except BaseException:
            connection.close()
            raise
        self._socket = connection

    @staticmethod
    def _greet(connection: socket.socket, strategy: str) -> int:
        connection.sendall(wire.encode_hello("orders", wire.parse_symbol(strategy)))
        decoder = wire.FeedDecoder()
        deadline = time.monotonic() + HELLO_TIMEOUT_S
        while time.monotonic() < deadline:
            data = connection.recv(4096)
            if not data:
                raise ConnectionError("the OrderManager closed the connection instead of answering the hello")
            for message in decoder.feed(data):
                if isinstance(message, wire.Control) and message.name == "OK":
                    return OrderManagerClient._session_of(message)
        raise TimeoutError("the OrderManager did not answer the hello")

    @staticmethod
    def _session_of(answer: wire.Control) -> int:
        try:
            return wire.parse_number("".join(answer.fields[:1]))
        except wire.Rejected as fault:
            raise ConnectionError(f"the OrderManager's answer to the hello cannot be read: {fault}") from None

    def place_order(
        self,
        symbol: str,
        side: Side | str,
        quantity: float,
        price: float,
        *,
        timestamp: int | None = None,
        cause_seq: int = -1,
        index: int = 0,
    ) -> Order:
        """Send a market order; `price` is what you saw. Returns the order as sent."""
        order = Order(symbol, quantity, price, Side(side), timestamp, cause_seq, index, time.time_ns())
        self.send_order(order)
        return order

    def send_order(self, order: Order) -> None:
        """Send an order. Raises OrderQueueFull, ConnectionError, or wire.Rejected for one that cannot be written."""
        if self.waiting >= MAX_WAITING:
            self.flush()
        if self.waiting >= MAX_WAITING:
            raise OrderQueueFull(f"{self.waiting:,} bytes of orders wait for {self.host}:{self.port}")
        self._unsent += self._encode(order)
        self.flush()

    def send_orders(self, orders: Sequence[Order]) -> int:
        """Send orders with one system call; how many are whole with the kernel. Never waits.

        The rest of one that was begun goes out with `flush`; those after it were not sent. To be called
        when nothing is `waiting`. Raises ConnectionError, and then none of them was sent.
        """
        if self._socket is None:
            raise ConnectionError(f"not connected to {self.host}:{self.port}")
        frames = [self._encode(order) for order in orders]
        try:
            room = self._socket.send(b"".join(frames))
        except BlockingIOError:
            return 0
        except ConnectionError:
            self.disconnect()
            raise
        for done, frame in enumerate(frames):
            if room < len(frame):
                if room:
                    self._unsent += frame[room:]
                return done
            room -= len(frame)
        return len(frames)

    def _encode(self, order: Order) -> bytes:
        wire.parse_symbol(order.symbol)
        if not math.isfinite(order.quantity):
            raise wire.Rejected("bad quantity", repr(order.quantity))
        if not math.isfinite(order.price):
            raise wire.Rejected("bad price", repr(order.price))
        if self.session is None:
            return order.to_bytes()
        if order.cause_seq < 0:
            raise ValueError("an order of a session names the tape record that caused it: cause_seq")
        assert order.timestamp is not None
        return wire.encode_session_order(
            wire.SessionOrder(
                order.timestamp,
                order.side,
                order.quantity,
                order.symbol,
                order.price,
                order.cause_seq,
                order.index,
                order.sent_wall,
            )
        )

    def flush(self) -> None:
        """Hand to the kernel what waits, for at most `timeout` seconds. Raises ConnectionError."""
        if self._socket is None:
            raise ConnectionError(f"not connected to {self.host}:{self.port}")
        deadline = 0.0
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                sent = 0
            except ConnectionError:
                self.disconnect()
                raise
            del self._unsent[:sent]
            if self._unsent:
                deadline = deadline or time.monotonic() + self.timeout
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return
                poll = select.poll()  # select() cannot watch descriptors above 1023
                poll.register(self._socket, select.POLLOUT)
                poll.poll(remaining * 1000)

    def server_is_there(self) -> bool:
        """Look, without waiting, whether the server has hung up."""
        if self._socket is None:
            return False
        try:
            if self._socket.recv(4096) != b"":
                return True
        except BlockingIOError:
            return True
        except ConnectionError:
            pass  # reset: gone all the same
        self.disconnect()
        return False

    def disconnect(self) -> None:
        """Close the connection; orders that still wait are forgotten."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self.session = None
        self._unsent.clear()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()
