"""The order link: it never waits, comes back by itself, keeps what has no acknowledgement, and holds the ledger
to its host's word."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from OrderManager.server import (
    CancelReceived,
    Connection,
    Farewell,
    Hello,
    Input,
    OrderManagerServer,
    Progress,
    Received,
    SessionDenied,
)
from Strategy.order_link import MAX_GAPS, MAX_KEPT, OrderLink
from Strategy.test.line import Line
from testing.harness import free_port, wait_until
from trading_lib import order_wire, wire
from trading_lib.models import CancelRequest, Order, OrderStatus, Report, Side

TS = 1_735_828_200_000_000_000
LOG = logging.getLogger("test.order_link")


def order(number: int, symbol: str = "AAPL") -> Order:
    return Order(symbol, number + 1, 173.2, Side.BUY, TS, number, 0, 0)


def report(number: int, reason: str = "") -> bytes:
    """A report's frame, as a lane gives it."""
    return order_wire.encode_report(
        Report(
            "sma",
            f"{number}.0",
            number,
            number,
            OrderStatus.NEW,
            "AAPL",
            Side.BUY,
            1,
            0,
            0,
            TS,
            reason=reason,
        )
    )


class Desk:
    """An OrderManager in this thread, serving while the test waits; it acknowledges when told to."""

    def __init__(self, port: int) -> None:
        self.hellos: list[Hello] = []
        self.inputs: list[Input] = []
        self.client: Connection | None = None
        self.denied = ""
        self.acknowledges = True
        self.lane = b'{"a lane": 1}' * 200  # more than a frame
        self.server = OrderManagerServer("127.0.0.1", port, desk=self)

    def welcome(self, client: Connection, hello: Hello) -> tuple[Iterable[bytes], int]:
        self.hellos.append(hello)
        if self.denied:
            raise SessionDenied(self.denied)
        self.client = client
        return (order_wire.encode_lane(self.lane) if hello.mode == "new" else ()), 17

    def take(self, client: Connection, inputs: Sequence[Input]) -> None:
        self.inputs += inputs
        orders = [found.order for found in inputs if isinstance(found, Received)]
        if orders and self.acknowledges:
            client.send(wire.encode_control("A", orders[-1].cause_seq, orders[-1].index))

    def left(self, client: Connection) -> None:
        assert client is self.client
        self.client = None

    def say(self, data: bytes) -> None:
        assert self.client is not None
        self.client.send(data)

    @property
    def received(self) -> list[Received]:
        return [found for found in self.inputs if isinstance(found, Received)]

    @property
    def causes(self) -> list[int]:
        return [received.order.cause_seq for received in self.received]

    @property
    def progress(self) -> list[int]:
        return [found.next_seq for found in self.inputs if isinstance(found, Progress) and not found.missed]

    @property
    def farewells(self) -> list[str]:
        return [found.text for found in self.inputs if isinstance(found, Farewell)]


@contextlib.contextmanager
def desk_on(port: int, *, acknowledges: bool = True, denied: str = "") -> Iterator[Desk]:
    desk = Desk(port)
    desk.acknowledges, desk.denied = acknowledges, denied
    with desk.server:
        yield desk


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def link(port: int) -> Iterator[Line]:
    made = Line("127.0.0.1", port, "sma", LOG)
    yield made
    made.hang_up(0)


def until(link: Line, condition: Callable[[], object], desk: Desk | None = None) -> None:
    """Tend the link, and serve the desk, until it is so."""

    def look() -> object:
        link.tend()
        if desk is not None:
            desk.server.run_once(0.001)
            desk.server.drop_hopeless()
        return condition()

    wait_until(look)


def join(link: Line, desk: Desk, executions: int = 0) -> None:
    """Begin, and take the lane over."""
    link.begin("token", 5)
    until(link, lambda: link.welcome, desk)
    assert link.welcome is not None
    link.joined(executions, link.welcome.next_seq)


# ---------------------------------------------------------------------------------------------- sessions


def test_until_it_is_told_to_begin_it_does_not_connect(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        deadline = time.monotonic() + 0.05
        until(link, lambda: time.monotonic() > deadline, desk)
        assert (link.connected, desk.server.clients) == (False, 0)


def test_it_asks_for_a_lane_with_the_token_and_gets_it_whole(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        link.begin("token", 5)
        until(link, lambda: link.welcome, desk)
        assert desk.hellos == [Hello("sma", "token", "new", 5)]
        assert link.welcome is not None
        assert (link.welcome.next_seq, link.welcome.lane) == (17, desk.lane)
        assert link.connected


def test_orders_arrive_with_progress_and_are_kept_until_they_are_acknowledged(link: Line, port: int) -> None:
    with desk_on(port, acknowledges=False) as desk:
        join(link, desk)
        link.send([order(0), order(1)], 20)
        link.send([order(2)], 21)
        until(link, lambda: len(desk.received) == 3, desk)
        assert [(r.strategy, r.order) for r in desk.received] == [("sma", order(i)) for i in range(3)]
        assert desk.progress == [20, 21]
        assert link.kept == 3
        desk.say(wire.encode_control("A", 1, 0))
        until(link, lambda: link.kept == 1, desk)
        desk.say(wire.encode_control("A", 2, 0))
        until(link, lambda: link.kept == 0, desk)
        assert link.counters["acknowledged"] == 3


def test_a_cancel_is_a_request_like_any_other(link: Line, port: int) -> None:
    request = CancelRequest("0.0", TS, 1, 0)
    with desk_on(port, acknowledges=False) as desk:
        join(link, desk)
        link.send([order(0), request], 20)
        until(link, lambda: len(desk.inputs) == 3, desk)
        cancels = [found.request for found in desk.inputs if isinstance(found, CancelReceived)]
        assert cancels == [request]
        desk.say(wire.encode_control("A", 1, 0))
        until(link, lambda: link.kept == 0, desk)


def test_what_the_host_missed_is_said_before_what_follows(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        join(link, desk)
        link.send([], 20)
        link.missed(25, 30)  # it had come further than it had said
        link.send([], 31)
        until(link, lambda: len(desk.inputs) == 4, desk)
        assert desk.inputs == [
            Progress(20, False),
            Progress(25, False),
            Progress(30, True),
            Progress(31, False),
        ]


def test_a_denied_session_says_why_and_is_asked_for_again(
    link: Line, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with desk_on(port, denied="wrong token: it is in run-1/token") as desk:
        link.begin("nonsense", 5)
        until(link, lambda: len(desk.hellos) >= 2, desk)
        assert "wrong token" in link.refused
        assert not link.connected
        desk.denied = ""
        until(link, lambda: link.welcome, desk)
        assert link.refused == ""
    assert [m for m in caplog.messages if "refuses" in m] == [
        "the OrderManager refuses the session of sma: wrong token: it is in run-1/token"
    ]


# -------------------------------------------------------------------------------------------- coming back


def test_it_reconnects_as_who_it_was_with_the_last_report_it_agrees_on(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        join(link, desk, executions=40)
        link.send([order(0)], 20)
        link.expect(report(41) + report(42))
        until(link, lambda: desk.received, desk)
        desk.say(report(41))
        until(link, lambda: len(link._expected) == 1, desk)
    until(link, lambda: not link.connected)
    with desk_on(port) as desk:
        until(link, lambda: desk.progress, desk)
        assert desk.hellos == [Hello("sma", "token", "again", 41)]
        assert desk.progress == [20]
        desk.say(report(42))
        until(link, lambda: not link._expected, desk)
    assert link.diverged == ""
    until(link, lambda: not link.connected)
    assert (link.counters["connected"], link.counters["disconnected"]) == (2, 2)


def test_what_was_not_acknowledged_is_sent_again_under_its_old_ids_and_what_was_is_not(
    link: Line, port: int
) -> None:
    with desk_on(port, acknowledges=False) as desk:
        join(link, desk)
        link.send([order(0), order(1), order(2)], 20)
        until(link, lambda: len(desk.received) == 3, desk)
        desk.say(wire.encode_control("A", 0, 0))
        until(link, lambda: link.kept == 2, desk)
    until(link, lambda: not link.connected)
    link.send([order(3)], 25)  # meanwhile
    assert link.kept == 3
    with desk_on(port) as desk:
        until(link, lambda: link.kept == 0, desk)
        assert [r.order for r in desk.received] == [order(1), order(2), order(3)]
        assert desk.progress[-1] == 25
        assert link.counters["sent again"] == 3


def test_after_a_reconnect_what_was_missed_is_said_at_its_place_among_the_requests(
    link: Line, port: int
) -> None:
    with desk_on(port, acknowledges=False) as desk:
        join(link, desk)
        link.send([order(18)], 20)
        until(link, lambda: desk.received, desk)
    until(link, lambda: not link.connected)
    link.missed(20, 30)
    link.send([order(31)], 32)
    link.missed(40, 50)
    link.send([], 51)
    with desk_on(port) as desk:
        until(link, lambda: link.kept == 0, desk)
        until(link, lambda: desk.progress[-1] == 51, desk)
        said = [f.order.cause_seq if isinstance(f, Received) else f for f in desk.inputs]
        assert said == [
            18,
            *(Progress(20, False), Progress(30, True)),
            31,
            *(Progress(40, False), Progress(50, True)),
            Progress(51, False),
        ]


def test_at_most_so_many_gaps_are_kept_and_the_oldest_are_dropped_and_counted(link: Line) -> None:
    for gap in range(MAX_GAPS + 3):
        link.missed(gap * 10, gap * 10 + 5)
    assert (len(link._gaps), link._gaps[0]) == (MAX_GAPS, (30, 35))
    assert link.counters["dropped: gaps"] == 3


def test_a_connection_lost_over_and_over_loses_no_order(link: Line, port: int) -> None:
    number, arrived = 0, set[int]()
    for k in range(4):
        with desk_on(port) as desk:
            if k == 0:
                join(link, desk)
            until(link, lambda: link.connected, desk)
            for _ in range(50):
                link.send([order(number)], 20 + number)
                number += 1
            if k < 3:
                until(link, lambda: desk.received, desk)
            else:
                until(link, lambda: link.kept == 0, desk)
            arrived.update(desk.causes)
        until(link, lambda: not link.connected)
    assert arrived == set(range(number))


def test_at_most_so_many_requests_are_kept_and_the_oldest_are_dropped_and_counted(link: Line) -> None:
    link.send([order(i) for i in range(MAX_KEPT + 7)], 1)
    assert (link.kept, link.counters["dropped: no acknowledgement"]) == (MAX_KEPT, 7)


def test_the_link_says_when_it_was_lost_and_found(
    link: Line, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with desk_on(port) as desk:
            join(link, desk)
        until(link, lambda: not link.connected)
    assert caplog.messages == [
        f"order link up: 127.0.0.1:{port}",
        "order link lost: closed by the OrderManager",
    ]


# -------------------------------------------------------------------------------------------- divergence


def test_reports_that_are_the_hosts_own_are_agreed_upon(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        join(link, desk)
        link.send([], 20)
        link.expect(report(1) + report(2))
        desk.say(report(1) + report(2))
        until(link, lambda: not link._expected, desk)
        assert link.diverged == ""


@pytest.mark.parametrize("at", range(3))
def test_the_first_byte_that_differs_is_a_divergence_and_said_with_both_reports(
    link: Line, port: int, at: int
) -> None:
    own = [report(number) for number in (1, 2, 3)]
    theirs = own.copy()
    theirs[at] = theirs[at].replace(b"AAPL", b"AAPM")
    with desk_on(port) as desk:
        join(link, desk)
        link.send([], 20)
        link.expect(b"".join(own))
        desk.say(b"".join(theirs))
        until(link, lambda: link.diverged, desk)
        assert link.diverged == (
            f"the ledger reports {theirs[at][:-1].decode()!r}, the host {own[at][:-1].decode()!r}"
        )
        until(link, lambda: desk.farewells, desk)
        (said,) = desk.farewells
        assert said.startswith("the ledger reports ")


def test_a_report_the_host_does_not_have_is_a_divergence(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        join(link, desk)
        desk.say(report(1))
        until(link, lambda: link.diverged, desk)
        assert link.diverged.endswith(", the host nothing")


def test_after_a_divergence_it_does_not_connect_again(link: Line, port: int) -> None:
    with desk_on(port) as desk:
        join(link, desk)
        desk.say(report(1))
        until(link, lambda: desk.farewells, desk)
    until(link, lambda: not link.connected)
    with desk_on(port) as desk:
        deadline = time.monotonic() + 0.3
        until(link, lambda: time.monotonic() > deadline, desk)
        assert desk.hellos == []


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


@contextlib.contextmanager
def welcomed(link: Line, port: int) -> Iterator[socket.socket]:
    """A server that says OK to the hello, and then does as the test wants."""
    with silent_server(port) as server:
        link.begin("token", 5)
        link.tend()
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == order_wire.encode_order_hello("sma", "token", "new", 5)
            connection.sendall(wire.encode_control("OK", 1, 5))
            until(link, lambda: link.connected)
            link.joined(0, 5)
            yield connection


def fill(link: Line) -> int:
    """Send until the kernel takes no more; how many orders."""
    sent = 0
    while not link._outbox:
        link.send([order(sent + i, "A" * 24) for i in range(100)], sent)
        sent += 100
    return sent


def read_causes(link: Line, connection: socket.socket, count: int) -> list[int]:
    splitter, causes = wire.FrameSplitter(), list[int]()
    connection.settimeout(0.01)

    def all_read() -> bool:
        with contextlib.suppress(TimeoutError):
            while len(causes) < count:
                frames = splitter.feed(connection.recv(1 << 16))
                causes.extend(
                    order_wire.parse_order(frame).cause_seq
                    for frame in frames
                    if frame is not None and not frame.startswith(b"!")
                )
                link.tend()
        return len(causes) >= count

    until(link, all_read)
    return causes


def test_a_server_that_never_answers_the_hello_holds_no_call_up(link: Line, port: int) -> None:
    with silent_server(port) as server:
        link.begin("token", 5)
        link.tend()
        connection, _ = server.accept()
        with connection:
            for i in range(1000):  # all this returns while the server is silent
                link.send([order(i)], i)
                link.tend()
            assert (link.connected, link.kept) == (False, 1000)


def test_a_server_that_stops_reading_holds_no_call_up_and_no_order_is_cut_or_lost(
    link: Line, port: int
) -> None:
    with welcomed(link, port) as connection:
        sent = fill(link)
        link.send([order(sent + i, "A" * 24) for i in range(100)], sent)  # returns all the same
        assert link.counters["postponed: OrderManager slow"] > 0
        assert read_causes(link, connection, sent + 100) == list(range(sent + 100))


def test_a_server_that_reads_nothing_for_long_loses_its_connection_and_the_orders_are_kept(
    link: Line, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("Strategy.order_link.MAX_OUTBOX", 100_000)
    with caplog.at_level(logging.INFO), welcomed(link, port):
        sent = fill(link)
        while link.connected:
            link.send([order(sent)], sent)
            sent += 1
        assert link.kept == sent
    assert "order link lost: the OrderManager does not read" in caplog.messages


def test_an_order_half_sent_when_the_connection_broke_is_sent_again_in_full(link: Line, port: int) -> None:
    with welcomed(link, port):
        sent = fill(link)
    until(link, lambda: not link.connected)
    with desk_on(port) as desk:
        until(link, lambda: not link.kept, desk)
        assert desk.causes == list(range(sent))
        assert not desk.server.rejected


@pytest.mark.parametrize("garbage", [b"x" * 5000 + b"*", b"!R,nonsense*"])
def test_an_answer_that_cannot_be_is_a_divergence(link: Line, port: int, garbage: bytes) -> None:
    with welcomed(link, port) as connection:
        connection.sendall(garbage)
        until(link, lambda: link.diverged)


def test_what_else_a_server_says_is_logged(link: Line, port: int, caplog: pytest.LogCaptureFixture) -> None:
    with welcomed(link, port) as connection:
        connection.sendall(b"!WEATHER,fine*")
        until(link, lambda: "from the OrderManager: !WEATHER,fine" in caplog.messages)
        assert (link.diverged, link.connected) == ("", True)


# --------------------------------------------------------------------------------------------- closing


def test_closing_waits_for_the_acknowledgements_and_says_farewell(port: int) -> None:
    link = Line("127.0.0.1", port, "sma", LOG)
    with welcomed(link, port) as connection:
        link.send([order(i) for i in range(10)], 20)
        connection.sendall(wire.encode_control("A", 9, 0))
        link.hang_up(30.0)  # which returns as soon as all is acknowledged
        data = b""
        while received := connection.recv(1 << 16):
            data += received
        assert data.endswith(b"!P,20*!BYE*")
    assert link.counters["lost at the end"] == 0


class Counted(OrderLink):
    """An order link on one end of a socket pair, which counts how often it is tended."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(lambda *_: None, lambda *_: None)
        self.tended = 0
        self.join(connection, b"", 0, 5)

    def tend(self) -> None:
        self.tended += 1
        super().tend()


def answer(connection: socket.socket) -> None:
    """Read until the last order, then acknowledge it."""
    received = b""
    while not received.endswith(b"!P,20*"):
        received += connection.recv(1 << 20)
    connection.sendall(wire.encode_control("A", 9, 0))


def test_it_waits_asleep_until_all_is_sent_and_acknowledged() -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    link = Counted(ours)
    while not link.counters["postponed: OrderManager slow"]:
        link.missed(5, 6)
    link.send([order(i) for i in range(10)], 20)
    server = threading.Timer(0.1, answer, [theirs])
    server.start()
    assert link.drain(30.0)
    server.join()
    assert link.tended < 20  # each time that it was woken
    theirs.close()
    link.close(farewell=False)


def test_it_does_not_wait_for_who_has_hung_up() -> None:
    ours, theirs = socket.socketpair()
    link = Counted(ours)
    link.send([order(0)], 20)
    theirs.close()
    assert not link.drain(30.0)
    assert (link.connected, link.tended <= 2) == (False, True)


def test_closing_without_an_order_manager_counts_what_is_lost(port: int) -> None:
    link = Line("127.0.0.1", port, "sma", LOG)
    link.send([order(i) for i in range(10)], 20)
    link.hang_up(0.1)
    assert link.counters["lost at the end"] == 10


def test_closing_waits_for_a_server_that_does_not_read_no_longer_than_asked(port: int) -> None:
    link = Line("127.0.0.1", port, "sma", LOG)
    with welcomed(link, port):
        fill(link)
        began = time.monotonic()
        link.hang_up(0.1)
        assert 0.1 <= time.monotonic() - began < 5
        assert link.counters["lost at the end"] > 0


def test_a_connection_that_comes_about_after_closing_is_given_up(port: int) -> None:
    link = Line("127.0.0.1", port, "sma", LOG)
    with silent_server(port) as server:
        link.begin("token", 5)
        link.tend()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            link.hang_up(0)
            connection.sendall(wire.encode_control("OK", 1, 1))
            connection.settimeout(30)
            assert connection.recv(100) == b""  # it hung up
    assert not link.connected
