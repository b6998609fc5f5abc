"""The event loop, listening and accepting, and waiting times."""

import contextlib
import os
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from runtime.loop import (
    READ,
    WRITE,
    Backoff,
    EventLoop,
    PortInUse,
    Reminder,
    accept,
    listen,
    start_connect,
)
from testing.harness import free_port, wait_until


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_what_is_ready_is_called_with_its_mask(loop: EventLoop, pair: Pair) -> None:
    masks: list[int] = []
    loop.add(pair[0], masks.append)
    loop.run_once(0)
    assert masks == []
    pair[1].send(b"x")
    loop.run_once(None)
    assert masks == [READ]


def test_a_source_is_watched_for_what_was_last_asked_for(loop: EventLoop, pair: Pair) -> None:
    masks: list[int] = []
    loop.add(pair[0], masks.append, READ | WRITE)
    loop.run_once(None)
    loop.set_events(pair[0], READ)
    loop.run_once(0)
    assert masks == [WRITE]


def test_a_plain_descriptor_can_be_watched(loop: EventLoop) -> None:
    reading, writing = os.pipe()
    try:
        masks: list[int] = []
        loop.add(reading, masks.append)
        os.write(writing, b"x")
        loop.run_once(None)
        assert masks == [READ]
        loop.remove(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_hang_up_calls_back_too(loop: EventLoop, pair: Pair) -> None:
    masks: list[int] = []
    loop.add(pair[0], masks.append)
    pair[1].close()
    loop.run_once(None)
    assert masks[0] & ~WRITE


def test_a_source_removed_by_an_earlier_callback_of_the_round_is_not_called(loop: EventLoop) -> None:
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
        called: list[int] = []

        def remove_the_other(mine: int) -> None:
            called.append(mine)
            loop.remove(pairs[1 - mine][0])

        for i, (ours, theirs) in enumerate(pairs):
            loop.add(ours, lambda _, i=i: remove_the_other(i))  # type: ignore[misc]
            theirs.send(b"x")
        loop.run_once(None)
        assert len(called) == 1


def test_removing_what_is_not_there_is_no_harm(loop: EventLoop, pair: Pair) -> None:
    loop.remove(pair[0])


def test_without_anything_ready_it_waits_for_its_timeout(loop: EventLoop) -> None:
    began = time.monotonic()
    loop.run_once(0.02)
    assert time.monotonic() - began >= 0.019


# ------------------------------------------------------------------------------------------- listening


def test_a_busy_port_says_which_and_names_the_key_to_change() -> None:
    port = free_port()
    with listen("127.0.0.1", port, "Some.port"), pytest.raises(PortInUse) as refused:
        listen("127.0.0.1", port, "Other.port")
    assert str(refused.value) == (
        f"port {port} on 127.0.0.1 cannot be listened on (Address already in use): "
        "change Other.port, or stop what holds it"
    )


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_an_address_that_is_not_ours_is_refused_in_the_same_words(host: str) -> None:
    with pytest.raises(PortInUse, match=r"change Some\.port"):
        listen(host, free_port(), "Some.port")


def test_accept_gives_each_waiting_connection_and_whose_it_is_then_none() -> None:
    with listen("127.0.0.1", free_port(), "Some.port") as server:
        assert accept(server) is None
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(server.getsockname())) for _ in range(3)]
            for client in clients:
                accepted = wait_until(lambda: accept(server))
                connection, peer = accepted
                with connection:
                    assert peer == f"127.0.0.1:{client.getsockname()[1]}"
                    assert not connection.getblocking()
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accept(server) is None


def test_a_connection_reset_before_it_was_accepted_can_be_accepted() -> None:
    with listen("127.0.0.1", free_port(), "Some.port") as server:
        client = socket.create_connection(server.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        connection, peer = wait_until(lambda: accept(server))
        assert peer.startswith("127.0.0.1:")
        connection.close()


def test_without_a_descriptor_left_who_waits_is_refused_and_counted_and_later_ones_are_served() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen("127.0.0.1", free_port(), "Some.port"))
        clients = [stack.enter_context(socket.create_connection(server.getsockname())) for _ in range(3)]
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
        try:
            wait_until(lambda: accept(server) is None and server.refused == 3)
            assert select.select([server], [], [], 0)[0] == [], "it would be called again at once"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert [client.recv(1) for client in clients] == [b"", b"", b""]
        stack.enter_context(socket.create_connection(server.getsockname()))
        connection, _ = wait_until(lambda: accept(server))
        connection.close()
        assert server.refused == 3


def test_ipv6_loopback_can_be_listened_on_and_connected_to(loop: EventLoop) -> None:
    try:
        server = listen("::1", free_port(), "Some.port")
    except PortInUse:
        pytest.skip("no IPv6 here")
    with server, start_connect("::1", server.getsockname()[1]) as client:
        ready: list[int] = []
        loop.add(client, ready.append, WRITE)
        loop.run_once(5)
        assert ready == [WRITE]
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        connection, _ = wait_until(lambda: accept(server))
        connection.close()


def test_a_connection_on_its_way_to_nobody_fails_when_it_is_ready(loop: EventLoop) -> None:
    try:
        client = start_connect("127.0.0.1", free_port())
    except ConnectionRefusedError:
        return  # some kernels know at once
    with client:
        ready: list[int] = []
        loop.add(client, ready.append, WRITE)
        loop.run_once(5)
        assert ready
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


# ---------------------------------------------------------------------------------------- waiting times


class ManualClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_waiting_times_double_up_to_a_limit_and_begin_anew_after_success() -> None:
    clock = ManualClock()
    backoff = Backoff(first=0.5, limit=3.0, clock=clock)
    assert backoff.wait == 0
    waits = []
    for _ in range(5):
        backoff.failed()
        waits.append(backoff.wait)
        clock.now += backoff.wait
        assert backoff.wait == 0
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.succeeded()
    assert backoff.wait == 0
    backoff.failed()
    assert backoff.wait == 0.5


def test_a_wait_shrinks_as_time_passes() -> None:
    clock = ManualClock()
    backoff = Backoff(first=1.0, clock=clock)
    backoff.failed()
    clock.now += 0.25
    assert backoff.wait == 0.75


def test_a_reminder_speaks_once_after_its_time_and_again_after_the_thing_was_found_and_lost() -> None:
    clock, said = ManualClock(), list[str]()
    reminder = Reminder(said.append, "still missing", after=10.0, clock=clock)
    for _ in range(2):
        reminder.missing()
        clock.now += 9.9
        reminder.missing()
        assert said == []
        clock.now += 0.1
        reminder.missing()
        clock.now += 100
        reminder.missing()
        assert said == ["still missing"]
        reminder.found()
        said.clear()


def test_a_reminder_of_what_comes_in_time_says_nothing() -> None:
    clock, said = ManualClock(), list[str]()
    reminder = Reminder(said.append, "still missing", after=10.0, clock=clock)
    for _ in range(5):
        reminder.missing()
        clock.now += 9
        reminder.found()
        clock.now += 9
    assert said == []
