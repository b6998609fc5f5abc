"""The status socket: a line of JSON to whoever asks, and nobody who listens can hold the run up."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.loop import EventLoop
from runtime.status_socket import MAX_LISTENERS, StatusSocket, connect
from testing.harness import wait_until


class Run:
    """A status socket and its loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = EventLoop()
        self.socket = StatusSocket(self.loop, path)
        self.listeners: list[socket.socket] = []

    def listen(self) -> socket.socket:
        listener = connect(self.path)
        listener.settimeout(30)
        self.listeners.append(listener)
        self.loop.run_once(1)
        return listener

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            self.loop.run_once(0.001)
            return condition()

        wait_until(look)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.socket.close()
        self.loop.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / "status.sock")
    yield made
    made.close()


def line(listener: socket.socket) -> object:
    """The next line."""
    data = b""
    while not data.endswith(b"\n"):
        chunk = listener.recv(1)
        if not chunk:
            return None
        data += chunk
    return json.loads(data)


def test_each_status_goes_to_every_listener(run: Run) -> None:
    listeners = [run.listen() for _ in range(3)]
    run.socket.publish({"ticks": 1})
    run.socket.publish({"ticks": 2})
    for listener in listeners:
        assert [line(listener), line(listener)] == [{"ticks": 1}, {"ticks": 2}]


def test_who_comes_late_gets_the_last_status_at_once(run: Run) -> None:
    run.socket.publish({"ticks": 1})
    run.socket.publish({"ticks": 2})
    assert line(run.listen()) == {"ticks": 2}


def test_before_the_first_status_there_is_nothing_to_read(run: Run) -> None:
    listener = run.listen()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(1)


def test_who_does_not_read_is_let_go_and_the_others_get_every_line(run: Run) -> None:
    slow, fast = run.listen(), run.listen()
    for number in range(200):
        run.socket.publish({"number": number, "padding": "x" * 10_000})
        found = line_fast(fast)
        assert found["number"] == number
    data = b""
    while chunk := slow.recv(1 << 20):
        data += chunk
    assert 0 < data.count(b"\n") < 200


def line_fast(listener: socket.socket) -> dict[str, object]:
    data = b""
    while not data.endswith(b"\n"):
        data += listener.recv(1 << 20)
    found: dict[str, object] = json.loads(data)
    return found


def test_a_line_that_is_longer_than_any_buffer_arrives_whole(run: Run) -> None:
    listener = run.listen()
    run.socket.publish({"padding": "x" * 3_000_000})
    run.socket.publish({"ticks": 1})  # which it misses
    listener.setblocking(False)
    data = b""

    def ended() -> bool:
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            data += listener.recv(1 << 20)
        return data.endswith(b"\n")

    run.until(ended)
    assert len(json.loads(data)["padding"]) == 3_000_000
    run.socket.publish({"ticks": 2})
    listener.setblocking(True)
    assert line(listener) == {"ticks": 2}


def test_who_has_gone_is_forgotten(run: Run) -> None:
    run.listen().close()
    kept = run.listen()
    run.socket.publish({"ticks": 1})
    run.socket.publish({"ticks": 2})
    assert [line(kept), line(kept)] == [{"ticks": 1}, {"ticks": 2}]


def test_one_listener_too_many_replaces_the_oldest(run: Run) -> None:
    listeners = [run.listen() for _ in range(MAX_LISTENERS + 1)]
    run.socket.publish({"ticks": 1})
    assert line(listeners[0]) is None
    assert [line(listener) for listener in listeners[1:]] == [{"ticks": 1}] * MAX_LISTENERS


def test_only_its_owner_may_connect(run: Run) -> None:
    assert run.path.stat().st_mode & 0o777 == 0o600


def test_closed_it_hangs_up_and_removes_its_file(tmp_path: Path) -> None:
    made = Run(tmp_path / "status.sock")
    listener = made.listen()
    made.socket.close()
    assert line(listener) is None
    assert not made.path.exists()
    with pytest.raises(OSError, match=r"No such file|refused"):
        connect(made.path)
    made.listeners[0].close()
    made.loop.close()


def test_a_run_in_a_deep_folder_has_its_status_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("er" * 40)
    folder.mkdir(parents=True)
    made = Run(folder / "status.sock")
    try:
        assert len(os.fsencode(made.path)) > 200  # sun_path holds 108
        made.socket.publish({"ticks": 1})
        assert line(made.listen()) == {"ticks": 1}
    finally:
        made.close()
    assert list(folder.iterdir()) == []
