"""Sending orders.

    with OrderManagerClient("127.0.0.1", 9000) as client:
        client.place_order("AAPL", Side.BUY, 10, 173.20)

A plain client is fire and forget. With `strategy="…"` (and the run's token) it negotiates a session: its
orders name the tape record that caused them and have client order ids, may be limit and stop orders, can be
cancelled, are acknowledged once they are durable, and their execution reports come back:

    with OrderManagerClient(strategy="mine", token=token) as client:
        client.send_order(Order("AAPL", 10, 173.2, Side.BUY, record_ts, record_seq))
        client.receive(1.0)        # [(5, 0)], then [Report(...), ...]
"""

import math
import select
import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from trading_lib import order_wire, wire
from trading_lib.models import CancelRequest, Order, Report, Side
from trading_lib.order_wire import Refusal, Welcome

MAX_WAITING: Final = 8 << 20  # bytes (some 100,000 orders) kept for a server that does not read
HELLO_TIMEOUT_S: Final = 5.0
READ_BYTES: Final = 1 << 18


class SessionRefused(ConnectionError):
    """The OrderManager does not want this session; the message is its reason. Trying again will not help."""


def open_session(
    host: str,
    port: int,
    strategy: str,
    token: str = "",
    mode: str = "",
    number: int = 0,
    timeout: float = HELLO_TIMEOUT_S,
    *,
    version: str = "",
    reload: bool = False,
) -> tuple[socket.socket, Welcome]:
    """Connect and negotiate; the caller owns the (blocking) socket. Raises SessionRefused or another OSError.

    `version` and `reload` are what a host says of its strategy.
    """
    connection = socket.create_connection((host, port), timeout=timeout)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = wire.parse_symbol(strategy)
        connection.sendall(order_wire.encode_order_hello(name, token, mode, number, version, reload=reload))
        return connection, _read_welcome(connection, timeout)
    except BaseException:
        connection.close()
        raise


def _read_welcome(connection: socket.socket, timeout: float) -> Welcome:
    reader = order_wire.WelcomeReader()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        data = connection.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the OrderManager closed the connection instead of answering the hello")
        try:
            answer = reader.feed(data)
        except wire.Rejected as fault:
            raise ConnectionError(f"the OrderManager's answer to the hello cannot be read: {fault}") from None
        if isinstance(answer, Refusal):
            raise SessionRefused(answer.reason)
        if answer is not None:
            return answer
    raise TimeoutError("the OrderManager did not answer the hello")


class OrderQueueFull(Exception):
    """The server does not read and no more can be kept; nothing of this order was sent."""


class OrderManagerClient:
    """One connection to the OrderManager; owns its socket.

    `timeout`: for how many seconds a call may wait for the server to take bytes. With 0 no call ever waits:
    what the server does not take is kept, in order, and goes out with the next call or `flush`.
    `mode` and `number` make the session a host's, which reports its `progress`: see `trading_lib.order_wire`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9000,
        *,
        strategy: str | None = None,
        token: str = "",
        mode: str = "",
        number: int = 0,
        timeout: float = 5.0,
    ) -> None:
        self.host = host
        self.port = port
        self.strategy = strategy
        self.token = token
        self.mode = mode
        self.number = number
        self.timeout = timeout
        self.session: int | None = None
        self.next_seq = 0  # where the ledger stood on the tape when the session began
        self.lane = b""  # the state of the strategy's lane then: `trading_lib.lane_state.LaneState` as JSON
        self._frames = wire.FrameSplitter(order_wire.MAX_REPLY)
        self._unread = b""
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
        timeout = self.timeout or HELLO_TIMEOUT_S
        if self.strategy is None:
            connection = socket.create_connection((self.host, self.port), timeout=timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connection, welcome = open_session(
                self.host, self.port, self.strategy, self.token, self.mode, self.number, timeout
            )
            self.session, self.next_seq, self.lane = welcome[:3]
            self._frames = wire.FrameSplitter(order_wire.MAX_REPLY)
            self._unread = welcome.rest
        connection.setblocking(False)
        self._socket = connection

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
        """Send an order. Raises as `send_requests` does."""
        self.send_requests((order,))

    def send_requests(self, requests: Sequence[Order | CancelRequest]) -> None:
        """Send orders, and in a session cancel requests, with one system call.

        What the server does not take now is kept, and goes first the next time.

        Raises OrderQueueFull, ConnectionError, or wire.Rejected for one that cannot be written: then none was sent.
        """
        self._put(b"".join([self._encode(request) for request in requests]))

    def cancel(self, target: str, timestamp: int, cause_seq: int, index: int) -> CancelRequest:
        """Ask to cancel the order `target`; the request has an id and a cause of its own, as an order has."""
        request = CancelRequest(target, timestamp, cause_seq, index)
        self.send_requests((request,))
        return request

    def progress(self, next_seq: int) -> None:
        """As a host: every tape record before `next_seq` was processed, so the ledger may go so far."""
        self._put(order_wire.encode_progress(next_seq))

    def say_farewell(self, diverged: str = "") -> None:
        """As a host: nothing more will come; `diverged` says how the ledger's reports differ, if that is why."""
        self._put(order_wire.encode_farewell(diverged))

    def _encode(self, request: Order | CancelRequest) -> bytes:
        if isinstance(request, CancelRequest):
            if self.session is None:
                raise ValueError("only a session can cancel its orders")
            return order_wire.encode_request(request)
        wire.parse_symbol(request.symbol)
        if not math.isfinite(request.quantity):
            raise wire.Rejected("bad quantity", repr(request.quantity))
        if not math.isfinite(request.price):
            raise wire.Rejected("bad price", repr(request.price))
        if self.session is None:
            return request.to_bytes()
        if request.cause_seq < 0:
            raise ValueError("an order of a session names the tape record that caused it: cause_seq")
        return order_wire.encode_request(request)

    def _put(self, data: bytes) -> None:
        """Send bytes, or keep them, whole; or neither, if there is no room or no connection."""
        if self.waiting >= MAX_WAITING:
            self.flush()
        if self.waiting >= MAX_WAITING:
            raise OrderQueueFull(f"{self.waiting:,} bytes of orders wait for {self.host}:{self.port}")
        if self._socket is not None:
            self._unsent += data
        self.flush()

    def receive(self, timeout: float = 0.0) -> list[tuple[int, int] | Report]:
        """What has come back: acknowledgements, as the id up to which all is durable, and execution reports.

        Waits up to `timeout` seconds for the first. Raises ConnectionError once the server has hung up.
        """
        if self._socket is None or self.strategy is None:
            raise ConnectionError("not in a session")
        if not self._unread and timeout:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.poll(timeout * 1000)
        data, self._unread = self._unread, b""
        try:
            received = self._socket.recv(READ_BYTES)
            if not received and not data:
                self.disconnect()
                raise ConnectionError("the OrderManager has hung up")
            data += received
        except BlockingIOError:
            pass  # nothing more
        return [self._read(frame) for frame in self._frames.feed(data) if frame is not None]

    def _read(self, frame: bytes) -> tuple[int, int] | Report:
        if order_wire.is_report(frame):
            return order_wire.parse_report(frame)
        if order_wire.is_acknowledgement(frame):
            return order_wire.parse_acknowledgement(frame)
        control = wire.parse_control(frame)
        self.disconnect()
        raise SessionRefused(", ".join((control.name, *control.fields)))

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
            if self._socket.recv(1, socket.MSG_PEEK) != b"":
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
