"""Orders over real sockets: however the bytes are cut, the same orders and the same rejections, in order."""

import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from OrderManager import Order, Side
from OrderManager.server import OrderManagerServer, Received
from testing.harness import free_port, wait_until
from trading_lib import wire

EXAMPLES = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
Log = list[tuple[str, ...]]

symbols = st.text("ABCXYZ0123456789._/=-^:", min_size=1, max_size=24)
numbers = st.floats(min_value=1e-6, max_value=1e5, allow_nan=False).map(lambda x: round(x, 6) or 1.0)
orders = st.builds(Order, symbols, numbers, numbers, st.sampled_from(Side), st.integers(0, 2**62))
bad = st.one_of(
    st.binary(min_size=1, max_size=60).filter(lambda b: not wire.looks_like_http(b)).map(lambda b: b + b"*"),
    st.sampled_from([b"*", b"1,BUY,0,AAPL,1*", b"1,HOLD,1,AAPL,1*", b"1,BUY,1,AAPL,nan*", b"x" * 300 + b"*"]),
)
streams = st.lists(st.one_of(orders.map(Order.to_bytes), orders.map(Order.to_bytes), bad), max_size=15)


class Desk:
    """A server whose loop the test turns, and a list of all that it says happened."""

    def __init__(self) -> None:
        self.log: Log = []
        self.received: list[Received] = []
        self.server = OrderManagerServer(
            "127.0.0.1", free_port(), on_orders=self._on_orders, on_rejected=self._on_rejected
        )

    def _on_orders(self, batch: Sequence[Received]) -> None:
        self.received += batch

    def _on_rejected(self, rejection: wire.Rejection, _: str) -> None:
        self.log.append((rejection.reason,))

    def _until(self, condition: Callable[[], bool]) -> None:
        def turned() -> bool:
            self.server.run_once(0.01)
            return condition()

        wait_until(turned)

    def send(self, pieces: list[bytes]) -> tuple[list[Order], Log]:
        """What comes of a connection that sends these pieces, each as a packet of its own, and hangs up."""
        self.received.clear()
        self.log.clear()
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._until(lambda: self.server.clients == 1)
            for piece in pieces:
                client.sendall(piece)
                self.server.run_once(1.0)
        self._until(lambda: self.server.clients == 0)
        return [received.order for received in self.received], list(self.log)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    opened = Desk()
    with opened.server:
        yield opened


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges) if data[a:b]]


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
@EXAMPLES
def test_any_split_of_the_bytes_gives_the_same_orders_and_rejections(
    desk: Desk, frames: list[bytes], places: list[int]
) -> None:
    data = b"".join(frames)
    if data:
        assert desk.send(cut(data, places)) == desk.send([data])


@given(st.lists(orders, min_size=1, max_size=15), st.lists(st.integers(0, 10_000), max_size=12))
@EXAMPLES
def test_every_order_arrives_once_exactly_as_sent_in_order(
    desk: Desk, sent: list[Order], places: list[int]
) -> None:
    before = desk.server.orders
    received, rejected = desk.send(cut(b"".join(map(Order.to_bytes, sent)), places))
    assert received == sent
    assert rejected == []
    assert [r.number for r in desk.received] == list(range(before + 1, before + 1 + len(sent)))


def test_byte_by_byte_is_an_order(desk: Desk) -> None:
    order = Order("AAPL", 10, 173.2, Side.BUY, 1_234_567_890_123_000_000)
    assert desk.send([bytes([byte]) for byte in order.to_bytes()]) == ([order], [])


def test_two_orders_in_one_packet_are_two_orders(desk: Desk) -> None:
    frame = b"1234567890.123,BUY,100,AAPL,172.53*"
    received, rejected = desk.send([frame * 2])
    assert (len(received), rejected) == (2, [])


def test_half_an_order_at_the_end_is_counted_and_not_executed(desk: Desk) -> None:
    received, rejected = desk.send([b"1,BUY,100,AAPL,172.53*1,SELL,100,AAP"])
    assert len(received) == 1
    assert rejected == [("half a frame at the end",)]


def test_ten_megabytes_without_a_delimiter_are_one_rejection_and_the_next_order_is_served(desk: Desk) -> None:
    received, rejected = desk.send([b"x" * 50_000] * 200 + [b"*1,BUY,100,AAPL,172.53*"])
    assert len(received) == 1
    assert rejected == [("frame too long",)]
