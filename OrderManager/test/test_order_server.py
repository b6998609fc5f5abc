"""The order port: who is served, who is refused and why, and that nobody can harm anybody else."""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from OrderManager import Order, Side
from OrderManager.client import OrderManagerClient
from OrderManager.server import OrderManagerServer, Received
from runtime.loop import EventLoop, PortInUse
from testing.harness import free_port, wait_until
from trading_lib import wire

GOOD = b"1234567890.123,BUY,10,AAPL,173.2*"


class Desk:
    """A server whose loop the test turns."""

    def __init__(self, **options: Any) -> None:
        self.received: list[Received] = []
        self.rejections: list[wire.Rejection] = []
        self.rejected_from: list[str] = []
        self.server = OrderManagerServer(
            "127.0.0.1",
            free_port(),
            on_orders=self.received.extend,
            on_rejected=self._on_rejected,
            **options,
        )
        self.clients: list[socket.socket] = []

    def _on_rejected(self, rejection: wire.Rejection, who: str) -> None:
        self.rejections.append(rejection)
        self.rejected_from.append(who)

    def connect(self) -> socket.socket:
        """A client that the server has accepted."""
        before = self.server.counters["connected"]
        client = socket.create_connection(("127.0.0.1", self.server.port))
        self.clients.append(client)
        self.until(lambda: self.server.counters["connected"] > before)
        return client

    def connect_session(self, strategy: str = "sma") -> socket.socket:
        client = self.connect()
        client.sendall(wire.encode_hello("orders", strategy))
        self.until(lambda: strategy in self.server.sessions)
        return client

    def until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.server.run_once(0.005)
            return condition()

        wait_until(turned)

    def until_orders(self, count: int) -> list[Received]:
        self.until(lambda: len(self.received) >= count)
        assert len(self.received) == count
        return self.received


@contextlib.contextmanager
def open_desk(**options: Any) -> Iterator[Desk]:
    desk = Desk(**options)
    try:
        with desk.server:
            yield desk
    finally:
        for client in desk.clients:
            client.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk() as opened:
        yield opened


# ------------------------------------------------------------------------------------------- good orders


def test_a_plain_order_is_served_and_numbered_from_one(desk: Desk) -> None:
    desk.connect().sendall(b"1234567890.123,BUY,100,AAPL,172.53*")
    (received,) = desk.until_orders(1)
    assert received.order == Order("AAPL", 100, 172.53, Side.BUY, 1_234_567_890_123_000_000)
    assert (received.number, received.strategy, received.order.client_order_id) == (1, "manual", None)
    assert str(received) == "Received Order 1: BUY 100 AAPL @ 172.53"


@pytest.mark.parametrize(
    ("quantity", "price", "text"),
    [
        (10, 173.2, "BUY 10 AAPL @ 173.20"),
        (10, 173, "BUY 10 AAPL @ 173.00"),
        (0.5, 173.2051, "BUY 0.5 AAPL @ 173.2051"),
        (1e6, 1e-8, "BUY 1000000 AAPL @ 1e-08"),
        (1, 0.1 + 0.2, "BUY 1 AAPL @ 0.30000000000000004"),
    ],
)
def test_the_log_line_shows_every_digit_of_the_price_and_at_least_two_decimals(
    quantity: float, price: float, text: str
) -> None:
    received = Received(12, Order("AAPL", quantity, price, Side.BUY, 0), "manual", 0)
    assert str(received) == f"Received Order 12: {text}"


def test_spaces_and_lower_case_sides_are_read(desk: Desk) -> None:
    desk.connect().sendall(b" 1 , sell , 10 , AAPL , 173.2 *")
    assert str(desk.until_orders(1)[0]) == "Received Order 1: SELL 10 AAPL @ 173.20"


def test_ten_thousand_orders_in_one_burst_by_one_client_all_arrive_in_order(desk: Desk) -> None:
    client = desk.connect()
    frames = [Order("AAPL", i + 1, 100 + i, Side.BUY, i).to_bytes() for i in range(10_000)]
    sender = threading.Thread(target=client.sendall, args=(b"".join(frames),))
    sender.start()
    try:
        received = desk.until_orders(10_000)
    finally:
        sender.join()
    assert [r.number for r in received] == list(range(1, 10_001))
    assert [r.order.quantity for r in received] == list(range(1, 10_001))


def test_forty_clients_share_one_numbering_and_each_keeps_its_order(desk: Desk) -> None:
    clients = [desk.connect() for _ in range(40)]
    for k in range(25):
        for i, client in enumerate(clients):
            client.sendall(Order(f"C{i}", k + 1, 1.0, Side.SELL, 0).to_bytes())
    received = desk.until_orders(1000)
    assert [r.number for r in received] == list(range(1, 1001))
    for i in range(40):
        assert [r.order.quantity for r in received if r.order.symbol == f"C{i}"] == list(range(1, 26))


# -------------------------------------------------------------------------------------------- bad orders


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"hello*", "wrong number of fields"),
        (b"*", "wrong number of fields"),
        (b"1,BUY,10,AAPL*", "wrong number of fields"),
        (b"1,BUY,10,AAPL,173.2,surprise*", "wrong number of fields"),
        (b"\xff\xfe\x00\x01*", "not UTF-8"),
        (b"1,BUY,10,\xff,173.2*", "not UTF-8"),
        (b"1,HOLD,10,AAPL,173.2*", "bad side"),
        (b"1,,10,AAPL,173.2*", "bad side"),
        ("1,\u017fell,10,AAPL,173.2*".encode(), "bad side"),
        (b"1,BUY,0,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,-1,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,ten,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,nan,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,inf,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,1e999,AAPL,173.2*", "bad quantity"),
        (b"1,BUY,1e9,AAPL,173.2*", "quantity above OrderManager.risk.max_order_qty"),
        (b"1,BUY,1000000.1,AAPL,173.2*", "quantity above OrderManager.risk.max_order_qty"),
        (b"1,BUY,10,AAPL,nan*", "bad price"),
        (b"1,BUY,10,AAPL,inf*", "bad price"),
        (b"1,BUY,10,AAPL,-1*", "bad price"),
        (b"1,BUY,10,AAPL,0*", "bad price"),
        (b"1,BUY,10,AAPL,much*", "bad price"),
        (b"1,BUY,10,,173.2*", "bad symbol"),
        (b"1,BUY,10,TWO WORDS,173.2*", "bad symbol"),
        (b"1,BUY,10," + b"A" * 25 + b",173.2*", "bad symbol"),
        (b"yesterday,BUY,10,AAPL,173.2*", "bad timestamp"),
        (b"-1,BUY,10,AAPL,173.2*", "bad timestamp"),
        (b"x" * 257 + b"*", "frame too long"),
        (b"!NONSENSE,1*", "bad control frame"),
        (b"!HELLO*", "bad hello"),
        (b"!HELLO,1,feed*", "bad hello"),
        (b"!HELLO,99,orders,sma*", "bad hello"),
        (b"!HELLO,1,orders*", "bad symbol"),
        (b"!HELLO,1,orders,two words*", "bad symbol"),
    ],
)
def test_a_bad_frame_is_rejected_with_its_reason_and_the_next_good_order_is_served(
    desk: Desk, frame: bytes, reason: str
) -> None:
    desk.connect().sendall(frame + GOOD)
    (received,) = desk.until_orders(1)
    assert received.number == 1
    assert desk.server.rejected == {reason: 1}
    assert [rejection.reason for rejection in desk.rejections] == [reason]
    assert desk.server.clients == 1


def test_the_largest_quantity_is_configurable_and_allowed_itself() -> None:
    with open_desk(max_order_qty=100) as desk:
        desk.connect().sendall(b"1,BUY,100,AAPL,1*1,BUY,100.5,AAPL,1*")
        desk.until(lambda: desk.rejections)
        assert desk.rejections == [
            wire.Rejection("quantity above OrderManager.risk.max_order_qty", "100.5 > 100")
        ]
        desk.until_orders(1)


@pytest.mark.parametrize("pieces", [1, 5, 40])
def test_an_http_request_is_closed_and_nothing_of_its_body_is_executed(desk: Desk, pieces: int) -> None:
    request = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 34\r\n\r\n" + GOOD
    client, other = desk.connect(), desk.connect()
    step = len(request) // pieces
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(request), step):
            client.sendall(request[start : start + step])
            desk.server.run_once(0.05)
    desk.until(lambda: desk.server.clients == 1)
    assert desk.server.rejected == {"HTTP request": 1}
    other.sendall(GOOD)
    desk.until_orders(1)


def test_a_short_first_frame_is_not_taken_for_http(desk: Desk) -> None:
    client = desk.connect()
    client.sendall(b"*")
    desk.until(lambda: desk.rejections)
    client.sendall(GOOD)
    desk.until_orders(1)


# ---------------------------------------------------------------------------------------------- sessions


def test_a_session_is_answered_and_its_orders_carry_cause_and_client_order_id(desk: Desk) -> None:
    desk.connect().sendall(GOOD)
    desk.until_orders(1)
    client = desk.connect_session("sma_news")
    answer = wire.parse_control(client.recv(100).removesuffix(b"*"))
    assert answer.name == "OK"
    assert [int(field) for field in answer.fields][1:] == [0]  # the record to begin at: there is no tape
    ts = 1_735_828_200_000_000_000
    client.sendall(wire.encode_session_order(wire.SessionOrder(ts, "SELL", 10, "AAPL", 173.2, 417, 3, 99)))
    received = desk.until_orders(2)[1]
    assert received.order == Order("AAPL", 10, 173.2, Side.SELL, ts, 417, 3, 99)
    assert (received.order.client_order_id, received.strategy) == ("417.3", "sma_news")


def test_hello_and_orders_may_come_in_one_packet(desk: Desk) -> None:
    order = wire.encode_session_order(wire.SessionOrder(10**18, "BUY", 1, "AAPL", 1.0, 5, 0, 0))
    desk.connect().sendall(wire.encode_hello("orders", "sma") + order * 3)
    assert [r.strategy for r in desk.until_orders(3)] == ["sma"] * 3


def test_a_plain_order_in_a_session_is_rejected_and_a_session_order_outside_one_too(desk: Desk) -> None:
    order = wire.encode_session_order(wire.SessionOrder(10**18, "BUY", 1, "AAPL", 1.0, 5, 0, 0))
    desk.connect_session().sendall(GOOD + order)
    desk.connect().sendall(order + GOOD)
    desk.until_orders(2)
    assert desk.server.rejected == {"wrong number of fields": 2}


def test_sessions_are_listed_by_strategy_while_they_are_connected(desk: Desk) -> None:
    b, _ = desk.connect_session("b"), desk.connect_session("a")
    assert (desk.server.sessions, desk.server.clients) == (["a", "b"], 2)
    b.close()
    desk.until(lambda: desk.server.sessions == ["a"])


def test_a_second_hello_is_rejected_and_the_session_stays_what_it_was(desk: Desk) -> None:
    client = desk.connect_session("a")
    client.sendall(wire.encode_hello("orders", "b"))
    desk.until(lambda: desk.rejections)
    assert desk.server.rejected == {"bad hello": 1}
    assert desk.server.sessions == ["a"]


# --------------------------------------------------------------------------------------- bad neighbours


def test_a_client_that_says_hello_over_and_over_and_never_reads_harms_nobody(desk: Desk) -> None:
    flood = wire.encode_hello("orders", "a") * 50_000
    rude, other = desk.connect(), desk.connect()
    sender = threading.Thread(target=rude.sendall, args=(flood,))
    sender.start()
    try:
        desk.until(lambda: desk.server.rejected["bad hello"] == 49_999)
    finally:
        sender.join()
    other.sendall(GOOD)
    desk.until_orders(1)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("said", [b"", b"!HELLO,1,orders,sma*", GOOD[:10]])
def test_clients_that_leave_at_once_leave_nothing_behind(
    desk: Desk, said: bytes, leave: Callable[[socket.socket], None]
) -> None:
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", desk.server.port))
        client.sendall(said)
        leave(client)
    desk.until(lambda: desk.server.counters["connected"] == 20 and desk.server.clients == 0)
    assert (desk.server.sessions, desk.received) == ([], [])
    desk.connect().sendall(GOOD)
    desk.until_orders(1)


def test_one_client_too_many_is_refused_and_counted() -> None:
    with open_desk(max_clients=2) as desk:
        first, _ = desk.connect(), desk.connect()
        with socket.create_connection(("127.0.0.1", desk.server.port)) as refused:
            desk.until(lambda: desk.server.counters["refused: too many clients"] == 1)
            assert refused.recv(1) == b""
        first.sendall(GOOD)
        desk.until_orders(1)


def test_orders_of_a_client_that_has_hung_up_are_all_taken(desk: Desk) -> None:
    client = desk.connect()
    client.sendall(GOOD * 500)
    client.close()
    desk.until_orders(500)


# -------------------------------------------------------------------------------------------- its life


def test_drain_takes_what_is_on_its_way_until_everybody_has_hung_up(desk: Desk) -> None:
    client = desk.connect()
    client.sendall(GOOD * 100)
    client.close()
    desk.server.drain(5.0)
    assert (desk.server.orders, desk.server.clients) == (100, 0)


def test_drain_takes_the_orders_of_who_was_not_accepted_yet(desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", desk.server.port)) as client:
        client.sendall(GOOD * 100)
    desk.server.drain(5.0)
    assert (desk.server.orders, desk.server.clients) == (100, 0)


def test_connections_that_no_descriptor_was_left_for_are_counted(desk: Desk) -> None:
    desk.server._socket.refused = 3
    client = desk.connect()
    assert desk.server.counters["refused: no descriptor left"] == 3
    client.close()


def test_a_busy_port_names_the_key_to_change(desk: Desk) -> None:
    with pytest.raises(PortInUse, match=rf"port {desk.server.port} .*change OrderManager\.port"):
        OrderManagerServer("127.0.0.1", desk.server.port, loop=desk.server._loop)


def test_a_closed_server_hangs_up_and_frees_its_port() -> None:
    with open_desk() as desk:
        port, client = desk.server.port, desk.connect()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert client.fileno() == -1
    with OrderManagerServer("127.0.0.1", port):
        pass


def test_a_server_in_a_thread_of_its_own_serves_a_client() -> None:
    lines: list[str] = []
    stop = threading.Event()

    def print_them(batch: Sequence[Received]) -> None:
        lines.extend(map(str, batch))

    with OrderManagerServer("127.0.0.1", free_port(), on_orders=print_them) as server:

        def serve() -> None:
            while not stop.is_set():
                server.run_once(0.05)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with OrderManagerClient("127.0.0.1", server.port) as client:
                client.place_order("AAPL", Side.BUY, 10, 173.20)
                client.send_order(Order("MSFT", 5, 410.5, Side.SELL))
            wait_until(lambda: len(lines) == 2)
        finally:
            stop.set()
            thread.join()
    assert lines == ["Received Order 1: BUY 10 AAPL @ 173.20", "Received Order 2: SELL 5 MSFT @ 410.50"]


def test_a_server_on_a_loop_of_others_leaves_that_loop_open() -> None:
    loop = EventLoop()
    try:
        with OrderManagerServer("127.0.0.1", free_port(), loop=loop):
            pass
        loop.run_once(0)
    finally:
        loop.close()


def test_a_rejection_says_who_sent_it(desk: Desk) -> None:
    desk.connect().sendall(b"nonsense*")
    desk.connect_session("sma").sendall(b"nonsense*")
    desk.until(lambda: len(desk.rejected_from) == 2)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", desk.rejected_from[0])
    assert desk.rejected_from[1] == "sma"
