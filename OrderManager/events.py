"""The event stream: what the ledger journals, as JSON lines, for whoever listens.

Each line is an object with `schema`, `seq` (the journal's record number), `run_id`, `ts_wall`, and what
`records.event_of` makes of the record. Who joins is told the lanes as they are first (`snapshot`),
then what follows. A listener that does not read loses its connection, nobody else anything.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from OrderManager import records
from runtime.loop import READ, WRITE, EventLoop, accept, listen

SCHEMA: Final = 1
MAX_OUTBOX: Final = 4 << 20  # bytes for a listener that does not read; then it is disconnected
_encode: Final = msgspec.json.Encoder().encode


class _Listener:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.outbox = bytearray()


class EventServer:
    """Publishes on one port. `snapshot()` gives the fields of a newcomer's first line. Owns its sockets."""

    def __init__(
        self,
        loop: EventLoop,
        host: str,
        port: int,
        snapshot: Callable[[], dict[str, Any]],
        max_clients: int = 64,
    ) -> None:
        self._loop = loop
        self._snapshot = snapshot
        self._max_clients = max_clients
        self._socket = listen(host, port, "OrderManager.events_port")
        self._listeners: set[_Listener] = set()
        self._lines: list[bytes] = []
        self.counters: Counter[str] = Counter()
        loop.add(self._socket, lambda _: self._accept())

    @property
    def clients(self) -> int:
        """Open connections."""
        return len(self._listeners)

    def publish(self, number: int, record: records.JournalRecord, run_id: str) -> None:
        """Queue a record for everybody; `flush` sends. Costs nothing while nobody listens."""
        if self._listeners:
            event = records.event_of(record)
            if event is not None:
                self._lines.append(_line(number, run_id, event))

    def flush(self) -> None:
        """Send what was published since the last time."""
        if self._lines:
            data = b"".join(self._lines)
            self._lines.clear()
            for listener in tuple(self._listeners):
                self._send(listener, data)

    def _accept(self) -> None:
        while (accepted := accept(self._socket)) is not None:
            connection, _ = accepted
            if len(self._listeners) >= self._max_clients:
                self.counters["refused: too many listeners"] += 1
                connection.close()
                continue
            self.flush()  # what is queued is in the newcomer's snapshot already
            listener = _Listener(connection)
            self._listeners.add(listener)
            self.counters["connected"] += 1
            self._loop.add(connection, lambda mask, listener=listener: self._on_ready(listener, mask))  # type: ignore[misc]
            snapshot = self._snapshot()
            self._send(listener, _line(snapshot.pop("seq"), snapshot.pop("run_id"), snapshot))
        if self._socket.refused:
            self.counters["refused: no descriptor left"] = self._socket.refused

    def _send(self, listener: _Listener, data: bytes) -> None:
        if not listener.outbox:
            data = data[self._try_send(listener, data) :]
            if data and listener in self._listeners:
                self._loop.set_events(listener.socket, READ | WRITE)
        listener.outbox += data
        if len(listener.outbox) > MAX_OUTBOX:
            self._drop(listener, "disconnected: does not read")

    def _try_send(self, listener: _Listener, data: bytes | bytearray) -> int:
        try:
            return listener.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop(listener, "disconnected")
            return len(data)

    def _on_ready(self, listener: _Listener, mask: int) -> None:
        if mask & WRITE:
            del listener.outbox[: self._try_send(listener, listener.outbox)]
            if not listener.outbox and listener in self._listeners:
                self._loop.set_events(listener.socket, READ)
        if mask != WRITE and listener in self._listeners:
            self._read(listener)

    def _read(self, listener: _Listener) -> None:
        """Nobody has anything to say to us: bytes are ignored, an end is an end."""
        try:
            if listener.socket.recv(4096):
                self.counters["bytes ignored"] += 1
                return
        except BlockingIOError:
            return
        except ConnectionError:
            pass  # reset: gone all the same
        self._drop(listener, "disconnected")

    def _drop(self, listener: _Listener, reason: str) -> None:
        if listener in self._listeners:
            self.counters[reason] += 1
            self._listeners.discard(listener)
            self._loop.remove(listener.socket)
            listener.socket.close()

    def close(self) -> None:
        """Close every connection and the port."""
        self.flush()
        for listener in tuple(self._listeners):
            self._drop(listener, "closed")
        self._loop.remove(self._socket)
        self._socket.close()


def _line(number: int, run_id: str, event: dict[str, Any]) -> bytes:
    head = {"schema": SCHEMA, "seq": number, "run_id": run_id, "ts_wall": str(time.time_ns())}
    return _encode(head | event) + b"\n"
