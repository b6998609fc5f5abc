"""OrderManagerClient: what it sends, what it keeps, and what it says when the server is slow, silent or gone."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from OrderManager import Order, Side
from OrderManager.client import OrderManagerClient, OrderQueueFull
from OrderManager.server import OrderManagerServer, Received
from testing.harness import free_port, wait_until
from trading_lib import wire
from trading_lib.models import CancelRequest


class Desk:
    """A server in a thread of its own."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.server = OrderManagerServer("127.0.0.1", free_port(), on_orders=self.received.extend)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self.server:
            while not self._stop.is_set():
                self.server.run_once(0.01)

    @property
    def orders(self) -> list[Order]:
        return [received.order for received in self.received]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def desk() -> Iterator[Desk]:
    opened = Desk()
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def silent_server() -> Iterator[socket.socket]:
    """A listening socket whose connections the kernel accepts and nobody serves."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        server.bind(("127.0.0.1", free_port()))
        server.listen()
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


# ----------------------------------------------------------------------------------------------- sending


def test_a_plain_client_sends_what_it_returns(desk: Desk) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port) as client:
        order = client.place_order("AAPL", Side.BUY, 10, 173.20)
        wait_until(lambda: desk.orders)
        assert client.session is None
    (received,) = desk.orders
    assert (received.symbol, received.side, received.quantity, received.price) == (
        "AAPL",
        Side.BUY,
        10,
        173.2,
    )
    assert received.timestamp == order.timestamp


def test_an_order_without_a_time_is_stamped_now() -> None:
    before = time.time_ns()
    order = Order("AAPL", 10, 173.2, Side.BUY)
    assert order.timestamp is not None
    assert before <= order.timestamp <= time.time_ns()


def test_the_side_may_be_text_and_must_be_one(desk: Desk) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port) as client:
        assert client.place_order("AAPL", "SELL", 10, 173.20).side is Side.SELL
        with pytest.raises(ValueError, match="HOLD"):
            client.place_order("AAPL", "HOLD", 10, 173.20)


@pytest.mark.parametrize(
    ("symbol", "quantity", "price", "reason"),
    [
        ("TWO WORDS", 10, 173.2, "bad symbol"),
        ("A*B", 10, 173.2, "bad symbol"),
        ("AAPL", float("inf"), 173.2, "bad quantity"),
        ("AAPL", float("nan"), 173.2, "bad quantity"),
        ("AAPL", 10, float("nan"), "bad price"),
    ],
)
def test_an_order_that_cannot_be_written_is_refused_and_nothing_is_sent(
    desk: Desk, symbol: str, quantity: float, price: float, reason: str
) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port) as client:
        with pytest.raises(wire.Rejected, match=reason):
            client.place_order(symbol, Side.BUY, quantity, price)
        client.place_order("AAPL", Side.BUY, 10, 173.20)
        wait_until(lambda: desk.orders)
    assert [order.symbol for order in desk.orders] == ["AAPL"]
    assert not desk.server.rejected


orders = st.builds(
    Order,
    st.text("ABCXYZ0123456789._/=-^:", min_size=1, max_size=24),
    st.floats(1e-300, 1e300),
    st.floats(1e-300, 1e300),
    st.sampled_from(Side),
    st.integers(0, 2**63 - 1),
)


@given(orders)
@settings(deadline=None, max_examples=150)
def test_an_order_survives_its_bytes(order: Order) -> None:
    frame = order.to_bytes()
    assert Order.from_bytes(frame) == Order.from_bytes(frame.removesuffix(b"*")) == order
    assert len(frame) <= wire.MAX_FRAME
    assert frame.count(b"*") == 1
    assert frame.count(b",") == 4


def test_the_bytes_of_an_order_are_the_plain_frame() -> None:
    order = Order("AAPL", 100, 172.53, Side.BUY, timestamp=1_234_567_890_123_000_000)
    assert order.to_bytes() == b"1234567890.123,BUY,100,AAPL,172.53*"


@pytest.mark.parametrize("frame", [b"", b"1,BUY,10,AAPL", b"1,HOLD,10,AAPL,1*", b"1,BUY,0,AAPL,1*"])
def test_bytes_that_are_no_order_are_rejected(frame: bytes) -> None:
    with pytest.raises(wire.Rejected):
        Order.from_bytes(frame)


# ---------------------------------------------------------------------------------------------- sessions


def test_a_session_sends_cause_and_client_order_id(desk: Desk) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port, strategy="sma") as client:
        assert client.session
        order = client.place_order("AAPL", Side.BUY, 10, 173.2, timestamp=10**18, cause_seq=417, index=2)
        wait_until(lambda: desk.orders)
        assert desk.server.sessions == ["sma"]
    assert desk.orders == [order]
    assert order.client_order_id == "417.2"


def test_a_session_order_names_its_cause(desk: Desk) -> None:
    with (
        OrderManagerClient("127.0.0.1", desk.server.port, strategy="sma") as client,
        pytest.raises(ValueError, match="cause_seq"),
    ):
        client.place_order("AAPL", Side.BUY, 10, 173.2)


def test_a_strategy_name_that_cannot_be_sent_is_refused(desk: Desk) -> None:
    client = OrderManagerClient("127.0.0.1", desk.server.port, strategy="two words")
    with pytest.raises(wire.Rejected):
        client.connect()
    assert not client.connected


@pytest.mark.parametrize("answer", [b"!OK*", b"!OK,x,1*", b"!OK,-1,1*"])
def test_an_answer_that_cannot_be_read_is_a_connection_error(answer: bytes) -> None:
    with silent_server() as server:

        def answer_one() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"noise*" + answer)

        thread = threading.Thread(target=answer_one)
        thread.start()
        client = OrderManagerClient("127.0.0.1", port_of(server), strategy="sma")
        try:
            with pytest.raises(ConnectionError, match="cannot be read"):
                client.connect()
        finally:
            thread.join()
        assert not client.connected


def test_a_server_that_hangs_up_instead_of_answering_is_a_connection_error() -> None:
    with silent_server() as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = OrderManagerClient("127.0.0.1", port_of(server), strategy="sma")
        try:
            with pytest.raises(ConnectionError):
                client.connect()
        finally:
            thread.join()


def test_a_server_that_never_answers_the_hello_is_a_timeout() -> None:
    with silent_server() as server:
        client = OrderManagerClient("127.0.0.1", port_of(server), strategy="sma", timeout=0.05)
        with pytest.raises(TimeoutError):
            client.connect()
        assert not client.connected


# ------------------------------------------------------------------------------------ coming and going


def test_before_connect_and_after_disconnect_nothing_can_be_sent(desk: Desk) -> None:
    client = OrderManagerClient("127.0.0.1", desk.server.port)
    with pytest.raises(ConnectionError, match="not connected"):
        client.place_order("AAPL", Side.BUY, 10, 1.0)
    client.connect()
    client.disconnect()
    client.disconnect()  # twice is no harm
    assert not client.connected
    with pytest.raises(ConnectionError, match="not connected"):
        client.place_order("AAPL", Side.BUY, 10, 1.0)
    assert desk.orders == []


def test_an_order_that_could_not_be_sent_is_not_sent_later(desk: Desk) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port) as client:
        client.disconnect()
        with pytest.raises(ConnectionError):
            client.place_order("LATE", Side.BUY, 10, 1.0)
        client.connect()
        client.place_order("AAPL", Side.BUY, 10, 1.0)
        wait_until(lambda: desk.orders)
    assert [order.symbol for order in desk.orders] == ["AAPL"]


def test_where_nobody_listens_connecting_is_refused() -> None:
    client = OrderManagerClient("127.0.0.1", free_port())
    with pytest.raises(ConnectionRefusedError):
        client.connect()


def test_a_server_that_has_gone_is_a_connection_error_and_is_noticed_without_sending() -> None:
    opened = Desk()
    with OrderManagerClient("127.0.0.1", opened.server.port) as client:
        assert client.server_is_there()
        opened.close()
        wait_until(lambda: not client.server_is_there())
        with pytest.raises(ConnectionError):
            client.place_order("AAPL", Side.BUY, 10, 1.0)


def test_sending_to_a_server_that_has_gone_raises_soon() -> None:
    opened = Desk()
    with OrderManagerClient("127.0.0.1", opened.server.port) as client:
        opened.close()

        def place() -> bool:
            try:
                client.place_order("AAPL", Side.BUY, 10, 1.0)
            except ConnectionError:
                return True
            return False

        wait_until(place)
        assert not client.connected


# ------------------------------------------------------------------------------------------ slow servers


BOUND = 1 << 18


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller bound than the real one, to reach it sooner."""
    monkeypatch.setattr("OrderManager.client.MAX_WAITING", BOUND)


def fill(client: OrderManagerClient, symbol: str = "A" * 24) -> int:
    """Orders until no more can be kept; returns how many were taken."""
    count = 0
    with contextlib.suppress(OrderQueueFull):
        while True:
            client.send_order(Order(symbol, count + 1, 123456.789, Side.BUY, 0))
            count += 1
    return count


@pytest.mark.usefixtures("small_queue")
def test_with_timeout_0_no_call_waits_and_the_queue_is_bounded() -> None:
    with silent_server() as server, OrderManagerClient("127.0.0.1", port_of(server), timeout=0) as client:
        fill(client)
        assert BOUND <= client.waiting < BOUND + wire.MAX_FRAME
        with pytest.raises(OrderQueueFull, match="bytes of orders wait"):
            client.place_order("AAPL", Side.BUY, 10, 1.0)


@pytest.mark.usefixtures("small_queue")
def test_a_full_queue_takes_orders_again_when_the_server_reads_again_and_no_frame_is_cut() -> None:
    with silent_server() as server, OrderManagerClient("127.0.0.1", port_of(server), timeout=0) as client:
        count = fill(client)
        connection, _ = server.accept()
        splitter = wire.FrameSplitter()
        frames: list[bytes | None] = []
        with connection:
            connection.settimeout(0.01)

            def everything_is_read() -> bool:
                with contextlib.suppress(TimeoutError):
                    while True:
                        frames.extend(splitter.feed(connection.recv(1 << 16)))
                        client.flush()
                return len(frames) == count

            wait_until(everything_is_read)
            client.send_order(Order("A" * 24, count + 1, 123456.789, Side.BUY, 0))
            count += 1
            wait_until(everything_is_read)
    quantities = [wire.parse_plain_order(frame or b"").quantity for frame in frames]
    assert quantities == list(range(1, count + 1))


@pytest.mark.usefixtures("small_queue")
def test_a_full_queue_notices_by_itself_that_the_server_reads_again() -> None:
    with silent_server() as server, OrderManagerClient("127.0.0.1", port_of(server), timeout=0) as client:
        fill(client)
        connection, _ = server.accept()
        with connection:

            def order_is_taken() -> bool:  # only send_order is called: it flushes before it refuses
                connection.recv(1 << 20)
                try:
                    client.place_order("AAPL", Side.BUY, 10, 1.0)
                except OrderQueueFull:
                    return False
                return True

            wait_until(order_is_taken)


def test_requests_to_nobody_are_a_connection_error_and_none_of_them_is_kept() -> None:
    client = OrderManagerClient("127.0.0.1", free_port())
    with pytest.raises(ConnectionError, match="not connected"):
        client.send_requests([Order("AAPL", 1, 1.0, Side.BUY)])
    assert client.waiting == 0
    opened = Desk()
    with OrderManagerClient("127.0.0.1", opened.server.port) as client:
        opened.close()

        def fails() -> bool:
            try:
                client.send_requests([Order("AAPL", 1, 1.0, Side.BUY)])
            except ConnectionError:
                return True
            return False

        wait_until(fails)
        assert (client.connected, client.waiting) == (False, 0)


def test_of_requests_that_cannot_all_be_written_none_is_sent(desk: Desk) -> None:
    with OrderManagerClient("127.0.0.1", desk.server.port) as client:
        good, bad = Order("AAPL", 1, 1.0, Side.BUY), Order("AAPL", math.nan, 1.0, Side.BUY)
        with pytest.raises(wire.Rejected, match="bad quantity"):
            client.send_requests([good, bad])
        with pytest.raises(ValueError, match="only a session can cancel"):
            client.send_requests([good, CancelRequest("0.0", 1, 1, 0)])
        assert client.waiting == 0
        client.send_requests([good])
        wait_until(lambda: desk.orders)
    assert desk.server.rejected == {}


def test_a_big_volume_through_a_slow_reader_equals_what_was_sent() -> None:
    count = 60_000
    with silent_server() as server:
        data = bytearray()

        def read_slowly() -> None:
            connection, _ = server.accept()
            with connection:
                while chunk := connection.recv(3001):
                    data.extend(chunk)

        thread = threading.Thread(target=read_slowly)
        thread.start()
        with OrderManagerClient("127.0.0.1", port_of(server)) as client:
            sent = [Order("AAPL", i + 1, 173.25, Side.SELL, i * 10**9) for i in range(count)]
            for order in sent:
                client.send_order(order)
            client.flush()
            assert client.waiting == 0
        thread.join()
    assert bytes(data) == b"".join(map(Order.to_bytes, sent))


@pytest.mark.usefixtures("small_queue")
def test_a_call_waits_for_a_server_that_does_not_read_no_longer_than_its_timeout() -> None:
    with silent_server() as server, OrderManagerClient("127.0.0.1", port_of(server), timeout=0) as client:
        fill(client)
        client.timeout = 0.05
        began = time.monotonic()
        client.flush()
        assert 0.05 <= time.monotonic() - began < 5
        assert client.waiting
