"""main.py's socket in the run's folder: the status, a line of JSON a second, and commands on the parts.

    with connect(path) as link, link.makefile() as lines:
        status = json.loads(lines.readline())

    ask(path, {"kill": "strategy"})

A command is a line of JSON, `{"kill": PART}` or `{"start": PART}`. The answer comes as a line amid the statuses:
`{"ok": true}`, or `{"ok": false, "error": "why"}`. The file's mode says who may connect: the run's owner.
"""

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.loop import READ, WRITE, EventLoop, Listener

STATUS_SOCKET: Final = "status.sock"  # its name in the run's folder
MAX_LISTENERS: Final = 32  # one more replaces the oldest
MAX_MISSED: Final = 5  # lines, while one is not read: one more and it is let go
MAX_COMMAND: Final = 1024  # bytes: the longest command has under 100, so more is none
ANSWER_S: Final = 5.0  # main.py looks round many times a second
_MAX_PATH: Final = 100  # sun_path holds 108 bytes with its end


class Refused(Exception):
    """A command that is not obeyed; the message says why."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wanted of main.py: the part to kill, or the part to start."""

    kill: str | None = None
    start: str | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command. A status has no `ok`."""

    ok: bool | None = None
    error: str = ""


def parse_command(line: bytes) -> Command:
    """A line as a command. Raises Refused."""
    try:
        command = msgspec.json.decode(line, type=Command)
    except msgspec.DecodeError as fault:
        raise Refused(f"no command: {fault}") from None
    if (command.kill is None) is (command.start is None):
        raise Refused('expected {"kill": PART} or {"start": PART}')
    return command


class StatusSocket:
    """Owns the socket and its file. `obey(command)` does it or raises Refused."""

    def __init__(self, loop: EventLoop, path: Path, obey: Callable[[Command], None]) -> None:
        self.refused = 0  # commands, and lines that are none
        self._loop = loop
        self._path = path
        self._obey = obey
        self._last = b""
        self._listeners: list[_Listener] = []
        self._server = Listener(socket.AF_UNIX)
        draft = path.with_name(f".{path.name}")  # who sees the name can connect
        draft.unlink(missing_ok=True)
        with _short(draft) as name:
            self._server.bind(name)
        draft.chmod(0o600)
        self._server.listen()
        self._server.setblocking(False)
        draft.rename(path)
        loop.add(self._server, lambda _: self._accept())

    def _accept(self) -> None:
        while (taken := self._server.take()) is not None:
            connection, _ = taken
            if len(self._listeners) >= MAX_LISTENERS:
                self._listeners[0].close()
            listener = _Listener(self._loop, connection, self._answer, self._listeners.remove)
            self._listeners.append(listener)
            if self._last:
                listener.publish(self._last)

    def _answer(self, line: bytes) -> bytes:
        try:
            self._obey(parse_command(line))
        except Refused as fault:
            self.refused += 1
            return msgspec.json.encode(Answer(ok=False, error=str(fault))) + b"\n"
        return msgspec.json.encode(Answer(ok=True)) + b"\n"

    def publish(self, status: dict[str, Any]) -> None:
        """Send a status to everyone who listens; who does not read it misses it or is let go."""
        self._last = msgspec.json.encode(status) + b"\n"
        for listener in tuple(self._listeners):
            listener.publish(self._last)

    def close(self) -> None:
        """Hang up and remove the file."""
        self._loop.remove(self._server)
        self._server.close()
        for listener in tuple(self._listeners):
            listener.close()
        self._path.unlink(missing_ok=True)


class _Listener:
    """One who listens. While he does not read, nothing is read of him: so what waits for him is bounded."""

    def __init__(
        self,
        loop: EventLoop,
        connection: socket.socket,
        answer: Callable[[bytes], bytes],
        forget: Callable[["_Listener"], None],
    ) -> None:
        self._loop, self._connection, self._answer, self._forget = loop, connection, answer, forget
        self._unsent = b""  # of a line that is longer than the socket's buffer
        self._missed = 0  # lines that came meanwhile
        self._begun = b""  # of a command
        self._skipping = False  # inside a line that is too long for a command
        self._hears = True  # until he has said everything: he may listen on
        self._closed = False
        loop.add(connection, self._on_ready)

    def publish(self, line: bytes) -> None:
        """Send a line; while another one is on its way, this one is missed."""
        if self._unsent:
            self._missed += 1
            if self._missed > MAX_MISSED:
                self.close()
            return
        self._send(line)

    def _send(self, lines: bytes) -> None:
        self._unsent += lines
        self._flush()

    def _on_ready(self, mask: int) -> None:
        if mask & WRITE:
            self._flush()
        if mask & ~WRITE and not self._closed:
            self._read(mask)

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            pass  # what is unsent is sent when he has read something
        except OSError:  # he has gone
            self.close()
            return
        if not self._unsent:
            self._missed = 0
        self._watch()

    def _watch(self) -> None:
        self._loop.remove(self._connection)
        if self._unsent:
            self._loop.add(self._connection, self._on_ready, WRITE)
        elif self._hears:
            self._loop.add(self._connection, self._on_ready, READ)

    def _read(self, mask: int) -> None:
        try:
            data = self._connection.recv(MAX_COMMAND)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            if mask & select.POLLHUP:
                self.close()
            else:
                self._hears = False
                self._watch()
            return
        answers = b"".join(map(self._answer, self._commands(data)))
        if answers and not self._closed:
            self._send(answers)

    def _commands(self, data: bytes) -> Iterator[bytes]:
        """The lines that have ended; one that grows too long comes as it is, once, and is passed over."""
        *lines, rest = (self._begun + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                yield line[:MAX_COMMAND]
            self._skipping = False
        if len(rest) >= MAX_COMMAND:
            if not self._skipping:
                yield rest[:MAX_COMMAND]
            rest, self._skipping = b"", True
        self._begun = rest

    def close(self) -> None:
        """Hang up."""
        if not self._closed:
            self._closed = True
            self._loop.remove(self._connection)
            self._connection.close()
            self._forget(self)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for `path` that fits a socket address, however deep the folder is."""
    if len(os.fsencode(path)) <= _MAX_PATH or sys.platform != "linux":
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path) -> socket.socket:
    """A connection to a run's status socket. Raises OSError when the run has ended."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            client.connect(name)
    except BaseException:
        client.close()
        raise
    return client


def goes_on(run: Path) -> bool:
    """Whether a run's main.py answers; one that was killed leaves its socket behind."""
    try:
        connect(run / STATUS_SOCKET).close()
    except OSError:
        return False
    return True


def ask(path: Path, command: Mapping[str, str]) -> None:
    """Have main.py do `{"kill": PART}` or `{"start": PART}`; returns when it is begun.

    Raises Refused with its reason, and OSError when the run has ended or does not answer.
    """
    deadline = time.monotonic() + ANSWER_S
    with connect(path) as link, link.makefile("rb") as lines:
        link.settimeout(ANSWER_S)
        link.sendall(msgspec.json.encode(command) + b"\n")
        while time.monotonic() < deadline and (line := lines.readline()).endswith(b"\n"):
            answer = msgspec.json.decode(line, type=Answer)
            if answer.ok is False:
                raise Refused(answer.error)
            if answer.ok:
                return
    raise ConnectionError(f"{path}: main.py has not answered")
