"""The status socket: a line of JSON to whoever asks, commands answered, and nobody can hold the run up."""

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.loop import EventLoop
from runtime.status_socket import MAX_COMMAND, MAX_LISTENERS, Command, Refused, StatusSocket, ask, connect
from testing.harness import wait_until


class Run:
    """A status socket and its loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = EventLoop()
        self.socket = StatusSocket(self.loop, path, self._obey)
        self.obeyed: list[Command] = []
        self.listeners: list[socket.socket] = []

    def _obey(self, command: Command) -> None:
        if command.kill == "nobody":
            raise Refused("there is no such part")
        self.obeyed.append(command)

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


def answers(run: Run, said: bytes, count: int) -> list[object]:
    """What somebody who says this is answered."""
    listener = run.listen()
    listener.sendall(said)
    listener.setblocking(False)
    data = b""

    def enough() -> bool:
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            data += listener.recv(1 << 20)
        return data.count(b"\n") >= count

    run.until(enough)
    return [json.loads(text) for text in data.splitlines()]


def test_a_command_is_obeyed_and_answered(run: Run) -> None:
    assert answers(run, b'{"kill": "strategy"}\n{"start": "recorder"}\n', 2) == [{"ok": True}] * 2
    assert run.obeyed == [Command(kill="strategy"), Command(start="recorder")]
    assert run.socket.refused == 0


def test_what_is_refused_is_answered_with_the_reason_and_counted(run: Run) -> None:
    assert answers(run, b'{"kill": "nobody"}\n', 1) == [{"ok": False, "error": "there is no such part"}]
    assert run.socket.refused == 1


def test_answers_come_as_lines_amid_the_statuses(run: Run) -> None:
    run.socket.publish({"ticks": 1})
    assert answers(run, b'{"kill": "a"}\n', 2) == [{"ticks": 1}, {"ok": True}]


@pytest.mark.parametrize(
    "garbage",
    [b"", b"GET / HTTP/1.1", b"[]", b"{}", b'{"kill": 3}', b'{"kill": "a", "start": "a"}', b"\xff\xfe"],
)
def test_a_line_that_is_no_command_is_answered_and_counted_and_the_next_one_obeyed(
    run: Run, garbage: bytes
) -> None:
    refused, obeyed = answers(run, garbage + b'\n{"kill": "a"}\n', 2)
    assert isinstance(refused, dict) and refused["ok"] is False and refused["error"]
    assert obeyed == {"ok": True}
    assert run.socket.refused == 1


@pytest.mark.parametrize("length", [MAX_COMMAND, MAX_COMMAND + 1, 2 * MAX_COMMAND - 1, 100 * MAX_COMMAND])
def test_a_line_that_is_too_long_is_refused_once_and_passed_over(run: Run, length: int) -> None:
    first, second = answers(run, b"x" * length + b'\n{"kill": "a"}\n', 2)
    assert isinstance(first, dict) and first["ok"] is False
    assert second == {"ok": True}
    assert (run.socket.refused, run.obeyed) == (1, [Command(kill="a")])


@given(data=st.binary(max_size=4000), cuts=st.lists(st.integers(0, 4000), max_size=5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_is_said_every_line_has_one_answer(data: bytes, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "status.sock")
        try:
            listener = run.listen()
            said = data + b"\n"
            edges = [0, *sorted(cuts), len(said)]
            for start, end in pairwise(edges):
                listener.sendall(said[start:end])
                run.loop.run_once(0)
            run.until(lambda: run.socket.refused == said.count(b"\n"))
        finally:
            run.close()


def test_who_commands_and_reads_nothing_is_not_heard_any_more(run: Run) -> None:
    listener = run.listen()
    listener.setblocking(False)

    def full() -> bool:
        try:
            listener.send(b"\n" * 4096)
        except BlockingIOError:
            return True
        return False

    run.until(full)
    for _ in range(20):
        run.loop.run_once(0)
    refused = run.socket.refused
    run.loop.run_once(0.01)
    assert run.socket.refused == refused


def test_who_has_said_everything_listens_on(run: Run) -> None:
    listener = run.listen()
    listener.shutdown(socket.SHUT_WR)
    run.loop.run_once(1)
    run.socket.publish({"ticks": 1})
    assert line(listener) == {"ticks": 1}
    assert len(run.loop._callbacks) == 1  # its end of file is not looked at again and again


@pytest.mark.parametrize(("part", "outcome"), [("strategy", None), ("nobody", "there is no such part")])
def test_who_asks_gets_the_answer_or_the_refusal(run: Run, part: str, outcome: str | None) -> None:
    run.socket.publish({"padding": "x" * 1_000_000})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, run.path, {"kill": part})
        run.until(asked.done)
        if outcome is None:
            asked.result()
        else:
            with pytest.raises(Refused, match=outcome):
                asked.result()


def test_who_asks_a_run_that_ends_meanwhile_is_told_so(run: Run) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, run.path, {"kill": "strategy"})
        run.loop.run_once(5)  # it has connected
        run.socket.close()
        with pytest.raises(OSError, match=r"not answered|reset|Broken pipe"):
            asked.result()


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
