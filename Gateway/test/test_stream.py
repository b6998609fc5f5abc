"""The streams: real sockets, one thread, the server's loop turned by the test."""

import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.outbox import OnSlow, Outbox
from Gateway.stream import HELLO_PATIENCE_S, Client, StreamServer
from runtime.loop import EventLoop, PortInUse
from testing.harness import free_port, wait_until
from trading_lib import wire

HELLO = wire.encode_hello("feed")
WAITING_HELLO = wire.encode_hello("feed", "wait")
CONTROL_HELLO = wire.encode_hello("feed", "wait", "control")
OK = b"!OK,77,0*"
FRAMES = b"AAPL,173.2*MSFT,410.55*"
NOW_PLAIN = HELLO_PATIENCE_S + 1.0  # seconds after which whoever is silent is plain, without waiting for it
LIMIT = 1 << 16


class Port:
    """A stream server, its loop, and the clients of a test."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "limit": LIMIT,
            "on_slow": "drop",
            "session_on_slow": "drop",
            "max_clients": 100,
            "hello": lambda: OK,
        }
        self.loop = EventLoop()
        self.number = free_port()
        self.server = StreamServer(
            self.loop, "127.0.0.1", self.number, "Gateway.md_port", **{**defaults, **options}
        )
        self._clients: list[socket.socket] = []

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A client that the server has accepted."""
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._clients.append(client)
        before = self.server.counters["connected"]
        client.connect(("127.0.0.1", self.number))
        client.setblocking(False)
        self.until(lambda: self.server.counters["connected"] > before)
        return client

    def connect_plain(self, receive_buffer: int | None = None) -> socket.socket:
        client = self.connect(receive_buffer)
        self.server.settle(time.monotonic() + NOW_PLAIN)
        return client

    def connect_session(self, hello: bytes = HELLO) -> socket.socket:
        client = self.connect()
        client.sendall(hello)
        self.until(lambda: read(client) == OK)
        return client

    def until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.loop.run_once(0.001)
            return condition()

        wait_until(turned)

    def count(self, name: str) -> int:
        return self.server.counters[name]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.close()
        self.loop.close()


@contextlib.contextmanager
def open_port(**options: Any) -> Iterator[Port]:
    port = Port(**options)
    try:
        yield port
    finally:
        port.close()


@pytest.fixture
def port() -> Iterator[Port]:
    with open_port() as opened:
        yield opened


def read(client: socket.socket) -> bytes | None:
    """What has arrived; None when nothing has."""
    try:
        return client.recv(1 << 20)
    except BlockingIOError:
        return None


def everything(port: Port, client: socket.socket, size: int) -> bytes:
    """The next `size` bytes, the server turning meanwhile."""
    data = b""

    def arrived() -> bool:
        nonlocal data
        data += read(client) or b""
        return len(data) >= size

    port.until(arrived)
    return data


def hung_up(port: Port, client: socket.socket) -> None:
    """Until the server has closed the connection, having sent nothing."""

    def closed() -> bool:
        try:
            found = client.recv(100)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        assert found == b""
        return True

    port.until(closed)


# ----------------------------------------------------------------------------------------- who is who


def test_a_silent_client_gets_nothing_before_100_ms_and_exactly_the_frames_after(port: Port) -> None:
    began = time.monotonic()
    client = port.connect()
    port.server.settle(began + HELLO_PATIENCE_S - 0.001)
    port.server.send_plain(FRAMES, 2)
    assert (port.server.greeting, port.server.clients, read(client)) == (True, 0, None)
    port.server.settle(time.monotonic() + HELLO_PATIENCE_S)
    assert (port.server.greeting, port.server.clients, read(client)) == (False, 1, None)
    port.server.send_plain(FRAMES, 2)
    port.server.send_plain(b"AAPL,173.21*", 1)
    assert everything(port, client, len(FRAMES) + 12) == FRAMES + b"AAPL,173.21*"


def test_a_hello_gets_ok_at_once_and_then_the_session_only(port: Port) -> None:
    session, plain = port.connect_session(), port.connect_plain()
    port.server.send_sessions(b"!S,0,1*AAPL,173.2,5*", 1)
    port.server.send_plain(FRAMES, 2)
    assert everything(port, session, 20) == b"!S,0,1*AAPL,173.2,5*"
    assert everything(port, plain, len(FRAMES)) == FRAMES
    assert read(session) is None
    assert (len(port.server.sessions), len(port.server.plain)) == (1, 1)


def test_a_hello_that_comes_late_ends_the_plain_frames_and_begins_the_session(port: Port) -> None:
    client = port.connect_plain()
    port.server.send_plain(FRAMES, 2)
    client.sendall(HELLO)
    port.until(lambda: port.server.sessions)
    assert port.server.plain == []
    port.server.send_plain(FRAMES, 2)
    port.server.send_sessions(b"!S,0,1*", 1)
    assert everything(port, client, len(FRAMES + OK) + 7) == FRAMES + OK + b"!S,0,1*"


def test_a_hello_byte_by_byte_is_a_hello(port: Port) -> None:
    client = port.connect()
    for byte in HELLO:
        assert read(client) is None
        client.send(bytes([byte]))
        port.loop.run_once(1.0)
    port.until(lambda: read(client) == OK)


@pytest.mark.parametrize("said", [b"!HELLO,99,feed*", b"!HELLO,1,orders,x*", b"!HELLO*", b"!HELLO,1*"])
def test_a_hello_that_asks_for_something_else_is_none(port: Port, said: bytes) -> None:
    client = port.connect()
    client.sendall(said)
    port.until(lambda: port.count("rejected: not a hello"))
    port.server.settle(time.monotonic() + NOW_PLAIN)
    port.server.send_plain(FRAMES, 2)
    assert everything(port, client, len(FRAMES)) == FRAMES


def test_a_port_without_sessions_serves_plain_clients_only() -> None:
    with open_port(hello=None) as port:
        client = port.connect()
        client.sendall(HELLO)
        port.until(lambda: port.count("rejected: not a hello"))
        port.server.settle(time.monotonic() + NOW_PLAIN)
        port.server.send_plain(FRAMES, 2)
        assert everything(port, client, len(FRAMES)) == FRAMES


@pytest.mark.parametrize(
    "said", [b"hello*", b"*", b"\xff\xfe\x00*", b"!\xff*", b"1234567890.1,BUY,1,AAPL,1*", b"x" * 300]
)
def test_garbage_instead_of_a_hello_is_counted_and_the_client_is_plain(port: Port, said: bytes) -> None:
    client = port.connect()
    client.sendall(said)
    port.until(lambda: port.count("rejected: not a hello") == 1)
    port.server.settle(time.monotonic() + NOW_PLAIN)
    port.server.send_plain(FRAMES, 2)
    assert everything(port, client, len(FRAMES)) == FRAMES


def test_a_lot_of_talk_from_a_plain_client_is_counted_and_passed_over(port: Port) -> None:
    client = port.connect_plain()
    client.setblocking(True)
    for _ in range(16):
        client.send(b"x" * 16_384)
        port.loop.run_once(0)
    port.until(lambda: port.count("ignored: bytes from a client") == 1 << 18)
    client.setblocking(False)
    port.server.send_plain(FRAMES, 2)
    assert everything(port, client, len(FRAMES)) == FRAMES


# ------------------------------------------------------------------------------------------------ HTTP

BROWSER = (
    b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: "
    + b"Mozilla/5.0 " * 30
    + b"\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_what_a_session_says_is_handed_on_frame_by_frame_however_it_comes(size: int) -> None:
    heard: list[bytes] = []
    said = b"!CONTROL,2,{}*" + b"x" * 3000 + b"*" + b"y" * 5000 + b"*!LAST*"
    with open_port(on_request=lambda _, frame: heard.append(frame)) as port:
        client = port.connect()
        client.sendall(CONTROL_HELLO + b"!CONTROL,1,{}*!CONT")
        port.until(lambda: heard)
        client.sendall(b"ROL,1,{}*")
        for start in range(0, len(said), size):
            client.sendall(said[start : start + size])
            port.loop.run_once(0)
        port.until(lambda: heard[-1] == b"!LAST")
    assert heard == [b"!CONTROL,1,{}", b"!CONTROL,1,{}", b"!CONTROL,2,{}", b"x" * 3000, b"", b"!LAST"]


def test_the_control_is_the_first_sessions_that_asked_for_it_until_it_goes() -> None:
    heard: list[Client] = []
    with open_port(on_request=lambda client, _: heard.append(client)) as port:
        port.connect_session()
        clients = [port.connect_session(CONTROL_HELLO) for _ in range(2)]
        for said, client in enumerate(clients, 1):
            client.sendall(b"!CONTROL,1,{}*")
            port.until(lambda said=said: len(heard) == said)  # type: ignore[misc]
        for client, session in zip(clients, heard, strict=True):
            assert port.server.controller is session
            client.close()
            port.until(lambda session=session: port.server.controller is not session)  # type: ignore[misc]
        assert port.server.controller is None


@pytest.mark.parametrize(
    "request_bytes",
    [BROWSER, b"POST /x HTTP/1.1\r\n\r\nAAPL,1*", b"OPTIONS * HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n"],
)
def test_an_http_request_is_closed_and_counted(port: Port, request_bytes: bytes) -> None:
    client = port.connect()
    client.sendall(request_bytes)
    hung_up(port, client)
    assert port.count("rejected: HTTP request") == 1
    assert not port.server.greeting


def test_an_http_request_in_single_bytes_is_closed_too(port: Port) -> None:
    client = port.connect()
    with contextlib.suppress(ConnectionError):
        for byte in BROWSER[:30]:
            client.send(bytes([byte]))
            port.loop.run_once(0.1)
    port.until(lambda: port.count("rejected: HTTP request") == 1)


def test_an_http_request_after_100_ms_of_silence_is_closed_too(port: Port) -> None:
    client = port.connect_plain()
    client.sendall(BROWSER)
    hung_up(port, client)
    assert port.count("rejected: HTTP request") == 1
    assert port.server.clients == 0


# --------------------------------------------------------------------------------------------- who is slow


def numbered(first: int, count: int, width: int = 12) -> bytes:
    """Frames with consecutive numbers for prices."""
    return b"".join(b"A,%0*d*" % (width, number) for number in range(first, first + count))


def numbers(data: bytes) -> list[int]:
    """The prices of whole frames; the bytes must end with one."""
    *frames, rest = data.split(b"*")
    assert rest == b""
    assert all(frame.startswith(b"A,") and len(frame) == 14 for frame in frames)
    return [int(frame[2:]) for frame in frames]


def test_a_client_that_never_reads_takes_nothing_from_the_others_and_loses_whole_frames_counted(
    port: Port,
) -> None:
    slow, fast = port.connect_plain(receive_buffer=1 << 16), port.connect_plain()
    sent, received = 0, b""
    while port.server.dropped < 1000:
        port.server.send_plain(numbered(sent, 500), 500)
        sent += 500
        received += everything(port, fast, 500 * 15)
    assert numbers(received) == list(range(sent))

    got = everything(port, slow, (sent - port.server.dropped) * 15)
    found = numbers(got)
    assert len(found) + port.server.dropped == sent
    assert all(a < b for a, b in pairwise(found))
    newest = (LIMIT // (500 * 15) - 1) * 500  # the oldest piece of those kept may be half sent, and stays
    assert found[-newest:] == list(range(sent - newest, sent))
    assert port.server.clients == 2


def test_with_disconnect_who_is_too_slow_is_let_go_and_the_others_live_on() -> None:
    with open_port(on_slow="disconnect") as port:
        port.connect_plain(receive_buffer=4096)
        fast = port.connect_plain()
        sent = 0
        received = b""
        while not port.count("disconnected: too slow"):
            port.server.send_plain(numbered(sent, 500), 500)
            sent += 500
            received += everything(port, fast, 500 * 15)
        port.server.send_plain(numbered(sent, 1), 1)
        received += everything(port, fast, 15)
        assert numbers(received) == list(range(sent + 1))
        assert (port.server.clients, port.server.dropped) == (1, 0)


def test_with_wait_the_source_pauses_while_the_session_that_asked_is_full_and_nothing_is_lost() -> None:
    with open_port(session_on_slow="wait") as port:
        session = port.connect_session(WAITING_HELLO)
        sent = 0
        while not port.server.blocked:
            port.server.send_sessions(numbered(sent, 500), 500)
            sent += 500
        assert port.server.unsent > LIMIT
        assert numbers(everything(port, session, sent * 15)) == list(range(sent))
        assert (port.server.blocked, port.server.unsent, port.server.dropped) == (False, 0, 0)


def test_only_sessions_make_the_source_pause() -> None:
    with open_port(session_on_slow="wait") as port:
        port.connect_plain(receive_buffer=4096)
        sent = 0
        while not port.server.dropped:
            port.server.send_plain(numbered(sent, 500), 500)
            sent += 500
            assert not port.server.blocked


def test_a_session_that_did_not_ask_never_makes_the_source_pause() -> None:
    with open_port(session_on_slow="wait") as port:
        port.connect_session()
        patient = port.connect_session(WAITING_HELLO)
        taken, sent = b"", 0
        while not port.server.dropped:
            port.server.send_sessions(numbered(sent, 500), 500)
            sent += 500
            taken += everything(port, patient, 500 * 15)
            assert not port.server.blocked
        assert numbers(taken) == list(range(sent))


def test_the_source_waits_for_one_session_only_and_when_it_has_gone_for_the_next_that_asks() -> None:
    with open_port(session_on_slow="wait") as port:
        first = port.connect_session(WAITING_HELLO)
        port.connect_session(WAITING_HELLO)
        while not port.server.dropped:
            port.server.send_sessions(numbered(0, 500), 500)
            everything(port, first, 500 * 15)
            assert not port.server.blocked
        first.close()
        port.until(lambda: port.server.clients == 1)
        port.connect_session(WAITING_HELLO)
        while not port.server.blocked:
            port.server.send_sessions(numbered(0, 500), 500)


def test_where_the_source_does_not_wait_nobody_can_ask_for_it(port: Port) -> None:
    port.connect_session(WAITING_HELLO)
    while not port.server.dropped:
        port.server.send_sessions(numbered(0, 500), 500)
        assert not port.server.blocked


def test_a_client_that_reads_a_byte_at_a_time_delays_no_other(port: Port) -> None:
    slow, fast = port.connect_plain(receive_buffer=4096), port.connect_plain()
    trickle, received = b"", b""
    for i in range(300):
        port.server.send_plain(numbered(i * 500, 500), 500)
        received += everything(port, fast, 500 * 15)
        trickle += slow.recv(1)
    assert numbers(received) == list(range(150_000))
    assert trickle == received[:300]


def test_a_clients_dropped_frames_stay_counted_after_it_has_left(port: Port) -> None:
    slow = port.connect_plain(receive_buffer=4096)
    while not port.server.dropped:
        port.server.send_plain(numbered(0, 500), 500)
    dropped = port.server.dropped
    slow.close()
    port.until(lambda: port.server.clients == 0)
    assert port.server.dropped == dropped


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """What happens to an outbox: pieces of so many frames, reads of so many bytes (then there is room again)."""
    push = st.tuples(st.just("push"), st.sampled_from([1, 7, 100, 150, 299, 300]))
    read = st.tuples(st.just("read"), st.integers(1000, 9000))
    return draw(st.lists(st.one_of(push, push, read), min_size=15, max_size=60))


@given(histories(), st.integers(0, 20_000))
@settings(deadline=None, max_examples=80)
def test_whatever_a_slow_client_does_it_gets_whole_frames_in_order_and_the_rest_is_counted(
    history: list[tuple[str, int]], limit: int
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end, option in ((ours, socket.SO_SNDBUF), (theirs, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 4096)
            end.setblocking(False)
        outbox = Outbox(ours, limit, "drop")
        sent, got, sizes = 0, b"", []
        for what, amount in history:
            if what == "push":
                outbox.push(numbered(sent, amount), amount)
                sent += amount
                sizes.append(amount)
            else:
                with contextlib.suppress(BlockingIOError):
                    got += theirs.recv(amount)
                outbox.flush()
            # over the bound is at most the piece whose first half is sent already
            assert outbox.size <= limit + 300 * 15
        while not outbox.empty:
            outbox.flush()
            with contextlib.suppress(BlockingIOError):
                got += theirs.recv(1 << 16)
        ours.shutdown(socket.SHUT_WR)
        with contextlib.suppress(BlockingIOError):
            while data := theirs.recv(1 << 16):
                got += data
        found = numbers(got)
        assert len(found) + outbox.dropped == sent
        assert all(a < b for a, b in pairwise(found))
        newest = 0  # frames of the last pieces that fit beside a half-sent one: the oldest are dropped first
        while sizes and (newest + sizes[-1] + 300) * 15 <= limit:
            newest += sizes.pop()
        assert not newest or found[-newest:] == list(range(sent - newest, sent))


@pytest.mark.parametrize("policy", ["drop", "disconnect"])
def test_frames_that_the_peer_takes_at_once_never_count_as_slow(policy: OnSlow) -> None:
    with open_port(limit=0, on_slow=policy) as port:
        client = port.connect_plain()
        for i in range(50):
            port.server.send_plain(numbered(i * 10, 10), 10)
            assert numbers(everything(port, client, 150)) == list(range(i * 10, i * 10 + 10))
        assert (port.server.dropped, port.server.clients) == (0, 1)


# ------------------------------------------------------------------------------------- coming and going


def reset(client: socket.socket) -> None:
    """Hang up at once: the peer gets a reset instead of a polite end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_clients_that_leave_at_once_leave_nothing_behind(
    port: Port, leave: Callable[[socket.socket], None]
) -> None:
    for _ in range(30):  # gone before they are accepted
        leave(socket.create_connection(("127.0.0.1", port.number)))
    port.until(lambda: port.count("disconnected") == 30)
    for _ in range(30):  # gone while new, while plain, in a session
        leave(port.connect())
        leave(port.connect_plain())
        leave(port.connect_session())
        port.server.send_plain(FRAMES, 2)
        port.server.send_sessions(FRAMES, 2)
    port.until(lambda: port.count("disconnected") == 120)
    assert (port.server.clients, port.server.greeting) == (0, False)


def test_one_client_too_many_is_refused_and_counted_and_those_before_it_are_served() -> None:
    with open_port(max_clients=3) as port:
        clients = [port.connect_plain(), port.connect_session(), port.connect()]
        with socket.create_connection(("127.0.0.1", port.number)) as refused:
            refused.setblocking(False)
            hung_up(port, refused)
        assert port.count("refused: too many clients") == 1
        port.server.settle(time.monotonic() + NOW_PLAIN)
        port.server.send_plain(FRAMES, 2)
        assert everything(port, clients[0], len(FRAMES)) == FRAMES
        assert everything(port, clients[2], len(FRAMES)) == FRAMES
        clients[0].close()
        port.until(lambda: port.count("disconnected") == 1)
        port.server.send_plain(FRAMES, 2)
        port.connect_plain()  # there is room again


def test_a_client_for_whom_no_descriptor_is_left_is_refused_and_counted_and_those_before_it_are_served() -> (
    None
):
    with open_port() as port, contextlib.ExitStack() as stack:
        served = port.connect_plain()
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", port.number)))
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(served.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
        try:
            port.until(lambda: port.count("refused: no descriptor left") == 1)
            port.server.send_plain(FRAMES, 2)
            assert everything(port, served, len(FRAMES)) == FRAMES
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert waiting.recv(1) == b""


def test_fifty_clients_all_get_everything(port: Port) -> None:
    clients = [port.connect() for _ in range(50)]
    port.server.settle(time.monotonic() + NOW_PLAIN)
    for i in range(20):
        port.server.send_plain(numbered(i * 10, 10), 10)
    for client in clients:
        assert numbers(everything(port, client, 200 * 15)) == list(range(200))


def test_a_closed_server_hangs_up_and_frees_its_port() -> None:
    with open_port() as port:
        plain, session = port.connect_plain(), port.connect_session()
        port.server.send_sessions(b"!X,5*", 1)
        port.server.close()
        assert session.recv(100) == b"!X,5*"
        assert session.recv(100) == b""
        assert plain.recv(100) == b""
        with StreamOn(port.number):
            pass


class StreamOn:
    """A second server on a port."""

    def __init__(self, number: int) -> None:
        self._loop = EventLoop()
        try:
            self._server = StreamServer(
                self._loop,
                "127.0.0.1",
                number,
                "Gateway.md_port",
                limit=LIMIT,
                on_slow="drop",
                session_on_slow="drop",
                max_clients=1,
                hello=None,
            )
        except PortInUse:
            self._loop.close()
            raise

    def __enter__(self) -> "StreamOn":
        return self

    def __exit__(self, *error: object) -> None:
        self._server.close()
        self._loop.close()


def test_a_busy_port_names_the_key_to_change(port: Port) -> None:
    with pytest.raises(PortInUse, match=rf"port {port.number} .*change Gateway\.md_port"):
        StreamOn(port.number)
