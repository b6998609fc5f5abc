"""The run's status for whoever asks: a Unix socket that answers with a line of JSON a second."""

import contextlib
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.loop import WRITE, EventLoop, Listener

MAX_LISTENERS: Final = 32  # one more replaces the oldest
MAX_MISSED: Final = 5  # lines, while one is not read: one more and it is let go
_MAX_PATH: Final = 100  # sun_path holds 108 bytes with its end


class StatusSocket:
    """Owns the socket and its file."""

    def __init__(self, loop: EventLoop, path: Path) -> None:
        self._loop = loop
        self._path = path
        self._last = b""
        self._listeners: list[socket.socket] = []
        self._unsent: dict[socket.socket, bytes] = {}  # of a line that is longer than a socket's buffer
        self._missed: Counter[socket.socket] = Counter()  # lines that came meanwhile
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
            listener, _ = taken
            if len(self._listeners) >= MAX_LISTENERS:
                self._let_go(self._listeners[0])
            self._listeners.append(listener)
            if self._last:
                self._send(listener, self._last)

    def publish(self, status: dict[str, Any]) -> None:
        """Send a status to everyone who listens; who does not read it misses it or is let go."""
        self._last = msgspec.json.encode(status) + b"\n"
        for listener in tuple(self._listeners):
            self._send(listener, self._last)

    def _send(self, listener: socket.socket, line: bytes) -> None:
        if listener in self._unsent:  # a line that has begun is ended first
            self._missed[listener] += 1
            if self._missed[listener] > MAX_MISSED:
                self._let_go(listener)
            return
        self._unsent[listener] = line
        self._loop.add(listener, lambda _: self._flush(listener), WRITE)
        self._flush(listener)

    def _flush(self, listener: socket.socket) -> None:
        try:
            rest = self._unsent[listener][listener.send(self._unsent[listener]) :]
        except BlockingIOError:
            return
        except OSError:  # it has gone
            self._let_go(listener)
            return
        if rest:
            self._unsent[listener] = rest
        else:
            del self._unsent[listener], self._missed[listener]
            self._loop.remove(listener)

    def _let_go(self, listener: socket.socket) -> None:
        self._listeners.remove(listener)
        if self._unsent.pop(listener, None) is not None:
            del self._missed[listener]
            self._loop.remove(listener)
        listener.close()

    def close(self) -> None:
        """Hang up and remove the file."""
        self._loop.remove(self._server)
        self._server.close()
        for listener in tuple(self._listeners):
            self._let_go(listener)
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _short(path: Path) -> Any:
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
