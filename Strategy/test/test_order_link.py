"""The order link: it never waits, comes back by itself, and says what it could not keep."""

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from OrderManager.server import OrderManagerServer, Received
from Strategy.order_link import MAX_KEPT, OrderLink
from testing.harness import free_port, wait_until
from trading_lib import wire
from trading_lib.models import Order, Side

TS = 1_735_828_200_000_000_000
LOG = logging.getLogger("test.order_link")


def order(number: int, symbol: str = "AAPL") -> Order:
    return Order(symbol, number + 1, 173.2, Side.BUY, TS, number, 0, 0)


class Desk:
    """An OrderManager in this thread; it serves while the test waits for something."""

    def __init__(self, port: int) -> None:
        self.received: list[Received] = []
        self.server = OrderManagerServer("127.0.0.1", port, on_orders=self.received.extend)

    @property
    def causes(self) -> list[int]:
        return [received.order.cause_seq for received in self.received]


@contextlib.contextmanager
def desk_on(port: int) -> Iterator[Desk]:
    desk = Desk(port)
    with desk.server:
        yield desk


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def link(port: int) -> Iterator[OrderLink]:
    made = OrderLink("127.0.0.1", port, "sma", LOG)
    yield made
    made.close(0)


def until(link: OrderLink, condition: Callable[[], object], desk: Desk | None = None) -> None:
    """Tend the link, and serve the desk, until it is so."""

    def look() -> object:
        link.tend()
        if desk is not None:
            desk.server.run_once(0.001)
        return condition()

    wait_until(look)


def test_orders_arrive_in_a_session_of_the_strategy(link: OrderLink, port: int) -> None:
    with desk_on(port) as desk:
        until(link, lambda: link.connected, desk)
        link.send([order(0), order(1)])
        link.send([order(2)])
        until(link, lambda: len(desk.received) == 3, desk)
        assert [(r.strategy, r.order) for r in desk.received] == [("sma", order(i)) for i in range(3)]
        assert link.counters == {"connected": 1, "sent": 3}
        assert link.kept == 0


def test_orders_sent_before_the_order_manager_is_there_arrive_when_it_is(link: OrderLink, port: int) -> None:
    link.send([order(i) for i in range(50)])
    assert (link.kept, link.connected) == (50, False)
    with desk_on(port) as desk:
        until(link, lambda: len(desk.received) == 50, desk)
        assert desk.causes == list(range(50))


def test_it_reconnects_when_the_order_manager_comes_back(link: OrderLink, port: int) -> None:
    for k in range(3):
        with desk_on(port) as desk:
            until(link, lambda: link.connected, desk)
            link.send([order(k)])
            until(link, lambda: desk.received, desk)
            assert desk.causes == [k]
        until(link, lambda: not link.connected)
    assert (link.counters["connected"], link.counters["disconnected"]) == (3, 3)


def test_what_is_placed_meanwhile_is_kept_and_arrives_in_order(link: OrderLink, port: int) -> None:
    with desk_on(port) as desk:
        until(link, lambda: link.connected, desk)
    until(link, lambda: not link.connected)
    for i in range(100):
        link.send([order(i)])
        link.tend()
    with desk_on(port) as desk:
        until(link, lambda: len(desk.received) >= 100, desk)
        assert desk.causes == list(range(100))


def test_at_most_so_many_orders_are_kept_and_the_oldest_are_dropped_and_counted(
    link: OrderLink, port: int
) -> None:
    link.send([order(i) for i in range(MAX_KEPT + 7)])
    assert (link.kept, link.counters["dropped: no OrderManager"]) == (MAX_KEPT, 7)
    with desk_on(port) as desk:
        until(link, lambda: len(desk.received) >= MAX_KEPT, desk)
        assert desk.causes == list(range(7, MAX_KEPT + 7))


# --------------------------------------------------------------------------------- hung and slow servers


@contextlib.contextmanager
def silent_server(port: int) -> Iterator[socket.socket]:
    """Connections succeed; nobody answers, nobody reads."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        server.bind(("127.0.0.1", port))
        server.listen()
        yield server


def test_a_server_that_never_answers_the_hello_holds_no_call_up(link: OrderLink, port: int) -> None:
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == wire.encode_hello("orders", "sma")
            for i in range(1000):  # all this returns while the server is silent
                link.send([order(i)])
                link.tend()
            link.flush()
            assert (link.connected, link.kept) == (False, 1000)


def test_a_server_that_stops_reading_holds_no_call_up_and_no_order_is_cut_or_lost(
    link: OrderLink, port: int
) -> None:
    symbol = "A" * 24
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(wire.encode_control("OK", 1, 1))
            until(link, lambda: link.connected)
            sent = 0
            while not link.kept:  # until the kernel takes no more
                link.send([order(sent + i, symbol) for i in range(100)])
                sent += 100
            link.send([order(sent + i, symbol) for i in range(100)])  # returns all the same
            sent += 100
            assert link.counters["postponed: OrderManager slow"] > 0

            splitter = wire.FrameSplitter()
            frames: list[bytes | None] = []
            connection.settimeout(0.01)

            def all_read() -> bool:
                with contextlib.suppress(TimeoutError):
                    while len(frames) < sent:
                        frames.extend(splitter.feed(connection.recv(1 << 16)))
                        link.tend()
                return len(frames) == sent

            until(link, all_read)
            causes = [wire.parse_session_order(frame or b"").cause_seq for frame in frames]
            assert causes == list(range(sent))
            assert (link.kept, link.counters["sent"]) == (0, sent)


def test_an_order_half_sent_when_the_connection_broke_is_sent_again_in_full(
    link: OrderLink, port: int
) -> None:
    symbol = "A" * 24
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        connection.recv(100)
        connection.sendall(wire.encode_control("OK", 1, 1))
        until(link, lambda: link.connected)
        sent = 0
        while not link.kept:
            link.send([order(sent + i, symbol) for i in range(100)])
            sent += 100
        handed_over = link.counters["sent"]
        connection.close()
        until(link, lambda: not link.connected)
    with desk_on(port) as desk:
        until(link, lambda: desk.received and not link.kept, desk)
        until(link, lambda: len(desk.received) >= sent - handed_over, desk)
        assert desk.causes == list(range(handed_over, sent))
        assert not desk.server.rejected


def test_an_order_half_sent_is_never_the_one_that_is_dropped(
    link: OrderLink, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Strategy.order_link.MAX_KEPT", 100)
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(wire.encode_control("OK", 1, 1))
            until(link, lambda: link.connected)
            sent = 0
            while link.counters["dropped: no OrderManager"] < 50:
                link.send([order(sent, "A" * 24)])
                sent += 1
            half_sent = link.counters["sent"]
        until(link, lambda: not link.connected)
    with desk_on(port) as desk:
        until(link, lambda: len(desk.received) == 100, desk)
        assert desk.causes == [half_sent, *range(sent - 99, sent)]


# --------------------------------------------------------------------------------------------- closing


def test_closing_hands_over_what_is_kept(port: int) -> None:
    link = OrderLink("127.0.0.1", port, "sma", LOG)
    with desk_on(port) as desk:
        until(link, lambda: link.connected, desk)
        link.send([order(i) for i in range(10)])
        link.close(1.0)
        until_served(desk, 10)
        assert link.counters["lost at the end"] == 0


def until_served(desk: Desk, count: int) -> None:
    def look() -> bool:
        desk.server.run_once(0.001)
        return len(desk.received) >= count

    wait_until(look)


def test_closing_waits_for_a_connection_that_is_about_to_come_about(port: int) -> None:
    link = OrderLink("127.0.0.1", port, "sma", LOG)
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            link.send([order(i) for i in range(10)])
            connection.sendall(wire.encode_control("OK", 1, 1))
            link.close(5.0)  # the link has not seen the answer yet
            frames = wire.FrameSplitter().feed(connection.recv(1 << 16))
            assert [wire.parse_session_order(frame or b"").cause_seq for frame in frames] == list(range(10))
    assert link.counters["lost at the end"] == 0


def test_closing_without_an_order_manager_counts_what_is_lost(port: int) -> None:
    link = OrderLink("127.0.0.1", port, "sma", LOG)
    link.send([order(i) for i in range(10)])
    link.close(0.1)
    assert link.counters["lost at the end"] == 10


def test_closing_waits_for_a_server_that_does_not_read_no_longer_than_asked(port: int) -> None:
    link = OrderLink("127.0.0.1", port, "sma", LOG)
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(wire.encode_control("OK", 1, 1))
            until(link, lambda: link.connected)
            while link.kept < MAX_KEPT // 2:  # the kernel, too, takes no more
                link.send([order(i, "A" * 24) for i in range(100)])
            began = time.monotonic()
            link.close(0.1)
            assert 0.1 <= time.monotonic() - began < 5
            assert link.counters["lost at the end"] > 0


def test_a_connection_that_comes_about_after_closing_is_given_up(port: int) -> None:
    link = OrderLink("127.0.0.1", port, "sma", LOG)
    with silent_server(port) as server:
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            link.close(0)
            connection.sendall(wire.encode_control("OK", 1, 1))
            connection.settimeout(30)
            assert connection.recv(100) == b""  # it hung up
    assert not link.connected


def test_the_link_says_when_it_was_lost_and_found(
    link: OrderLink, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with desk_on(port) as desk:
            until(link, lambda: link.connected, desk)
        until(link, lambda: not link.connected)
    assert caplog.messages == [
        f"order link up: 127.0.0.1:{port}",
        "order link lost: closed by the OrderManager",
    ]
