"""A host's end of its order session: never waits, outlives connections, and holds the ledger to its host's word.

What was sent and not acknowledged is sent again after a reconnect, under its old ids: the ledger answers an
id it has seen, and never executes it twice. What the host missed of the tape is said again, too, each gap at
its place among the requests: the ledger's lane must not have seen it, either.

The reports that come back must be, byte for byte, those of the host's own lane; the first difference is a
divergence, and then nothing more is sent.

It cannot connect: a worker may not. Who may (`Strategy.dialer`) hands it a connected socket.
"""

import logging
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from runtime.loop import READ, WRITE
from trading_lib import order_wire, wire
from trading_lib.models import CancelRequest, Order

MAX_KEPT: Final = 100_000  # requests without an acknowledgement; then the oldest is dropped, and counted
MAX_GAPS: Final = 1000  # of the tape, to be said again; then the oldest is dropped, and counted
MAX_OUTBOX: Final = 32 << 20  # bytes the OrderManager has not taken; then the connection is given up
READ_BYTES: Final = 1 << 18

Request = Order | CancelRequest


class OrderLink:
    """Owns the socket it is given. `lost(told, why)` is called when the connection breaks: `told` is the last
    report that the ledger and this host agree on, and `again` is to bring a new connection.

    `say(level, text)` takes lines for the log.
    """

    def __init__(self, say: Callable[[int, str], None], lost: Callable[[int, str], None]) -> None:
        self._say = say
        self._on_lost = lost
        self._socket: socket.socket | None = None
        self._splitter = wire.FrameSplitter(order_wire.MAX_REPLY)
        self._outbox = bytearray()
        self._unacknowledged: deque[Request] = deque()
        self._gaps: deque[tuple[int, int]] = deque()  # records from … to … the host has not seen
        self._expected: deque[bytes] = deque()  # frames of the host's own reports, to be told again
        self._told = 0
        self._progress = 0
        self.diverged = ""  # the first report that is not the host's own
        self.counters: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        """Whether orders go out now."""
        return self._socket is not None

    @property
    def kept(self) -> int:
        """Requests without an acknowledgement."""
        return len(self._unacknowledged)

    # ------------------------------------------------------------------------------------------- session

    def join(self, connection: socket.socket, rest: bytes, executions: int, next_seq: int) -> None:
        """Begin with the lane that the ledger gave: with so many reports, at tape record `next_seq`."""
        self._told, self._progress = executions, next_seq
        self._take_over(connection, rest)

    def again(self, connection: socket.socket, rest: bytes) -> None:
        """A session that was lost stands again: say what may not have been heard."""
        self._hang_up()
        self.counters["sent again"] += len(self._unacknowledged)
        self._outbox = bytearray(self._everything_again())
        self._take_over(connection, rest)

    def _take_over(self, connection: socket.socket, rest: bytes) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._splitter = wire.FrameSplitter(order_wire.MAX_REPLY)
        self.counters["connected"] += 1
        self._take(rest)
        self._flush()

    def tend(self) -> None:
        """Read what has come, send what waits, notice a lost connection."""
        if self._socket is not None:
            self._read()
            self._flush()

    def _everything_again(self) -> bytes:
        """What the ledger may not have heard, in the order of the tape records it is about."""
        frames: list[bytes] = []
        gaps = deque(self._gaps)
        for request in self._unacknowledged:
            while gaps and gaps[0][0] <= request.cause_seq:
                frames.append(order_wire.encode_missed(*gaps.popleft()))
            frames.append(order_wire.encode_request(request))
        frames.extend(order_wire.encode_missed(*gap) for gap in gaps)
        frames.append(order_wire.encode_progress(self._progress))
        return b"".join(frames)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._outbox.clear()

    def _lost(self, fault: OSError | None) -> None:
        self._hang_up()
        self.counters["disconnected"] += 1
        why = str(fault or "closed by the OrderManager")
        self._say(logging.INFO, f"order link lost: {why}")
        if not self.diverged:
            self._on_lost(self._told, why)

    # ------------------------------------------------------------------------------------------- sending

    def send(self, requests: Sequence[Request], progress: int) -> None:
        """Send requests and how far the host is, with one system call; or keep them for later."""
        self._progress = progress
        if self._socket is not None:
            encode = order_wire.encode_request
            data = b"".join([encode(request) for request in requests]) + order_wire.encode_progress(progress)
            if self._outbox:
                self._outbox += data
                self._flush()
            else:
                self._send(data)
        kept = self._unacknowledged
        kept.extend(requests)
        while len(kept) > MAX_KEPT:
            kept.popleft()
            self.counters["dropped: no acknowledgement"] += 1
        self.counters["sent"] += len(requests)

    def _send(self, data: bytes) -> None:
        """The usual way: the kernel takes it all."""
        assert self._socket is not None
        try:
            taken = self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError as fault:
            self._lost(fault)
            return
        if taken < len(data):
            self._outbox += data[taken:]
            self.counters["postponed: OrderManager slow"] += 1

    def expect(self, frames: bytes) -> None:
        """The ledger is to report what the host's lane has reported."""
        self._expected.extend(order_wire.split_frames(frames))

    def missed(self, start: int, next_seq: int) -> None:
        """Tell the ledger that the host saw nothing from `start` to `next_seq`: its lane must not, either."""
        self._progress = next_seq
        self._gaps.append((start, next_seq))
        if len(self._gaps) > MAX_GAPS:
            self._gaps.popleft()
            self.counters["dropped: gaps"] += 1
        if self._socket is not None:
            self._outbox += order_wire.encode_missed(start, next_seq)
            self._flush()

    def _flush(self) -> None:
        connection = self._socket
        if connection is None or not self._outbox:
            return
        try:
            del self._outbox[: connection.send(self._outbox)]
        except BlockingIOError:
            self.counters["postponed: OrderManager slow"] += 1
        except OSError as fault:
            self._lost(fault)
        if len(self._outbox) > MAX_OUTBOX:
            self._lost(TimeoutError("the OrderManager does not read"))

    # ----------------------------------------------------------------------------------------- receiving

    def _read(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as fault:
                self._lost(fault)
                return
            if not data:
                self._lost(None)
                return
            self._take(data)
            if len(data) < READ_BYTES:
                return

    def _take(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            if frame is None:
                self._diverge("a frame that is too long")
            elif order_wire.is_report(frame):
                self._compare(frame)
            elif order_wire.is_acknowledgement(frame):
                self._acknowledged(frame)
            else:
                self._say(logging.WARNING, f"from the OrderManager: {frame.decode(errors='replace')}")

    def _compare(self, frame: bytes) -> None:
        if self.diverged:
            return
        if not self._expected:
            self._diverge(f"the ledger reports {frame.decode()!r}, the host nothing")
        elif (expected := self._expected.popleft()) != frame:
            self._diverge(f"the ledger reports {frame.decode()!r}, the host {expected.decode()!r}")
        else:
            self._told += 1

    def _diverge(self, text: str) -> None:
        self.diverged = text
        self._outbox += order_wire.encode_farewell(text)
        self._flush()

    def _acknowledged(self, frame: bytes) -> None:
        try:
            last = order_wire.parse_acknowledgement(frame)
        except wire.Rejected as fault:
            self._say(logging.WARNING, f"from the OrderManager: {fault}")
            return
        kept = self._unacknowledged
        while kept and (kept[0].cause_seq, kept[0].index) <= last:
            kept.popleft()
            self.counters["acknowledged"] += 1

    # ----------------------------------------------------------------------------------------------- end

    def drain(self, wait: float) -> bool:
        """Wait up to `wait` seconds until everything is sent and acknowledged; whether it is."""
        deadline = time.monotonic() + wait
        self.tend()
        while (self.kept or self._outbox) and self._socket is not None and not self.diverged:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            ready = select.poll()
            ready.register(self._socket, READ | WRITE if self._outbox else READ)
            ready.poll(left * 1000)
            self.tend()
        return not self.kept and not self._outbox

    def close(self, *, farewell: bool) -> None:
        """Hang up; `farewell`: and say that nobody will come back."""
        if self._socket is not None and farewell:
            self._outbox += order_wire.encode_farewell()
            self._flush()
        self.counters["lost at the end"] += self.kept
        self._hang_up()
