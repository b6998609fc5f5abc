"""The way to the OrderManager: never waits, reconnects by itself, and holds the ledger to its host's word.

What was sent and not acknowledged is sent again after a reconnect, under its old ids: the ledger answers an
id it has seen, and never executes it twice. What the host missed of the tape is said again, too, each gap at
its place among the requests: the ledger's lane must not have seen it, either.

The reports that come back must be, byte for byte, those of the host's own lane; the first difference is a
divergence, and then nothing more is sent.
"""

import contextlib
import logging
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from OrderManager.client import SessionRefused, open_session
from runtime.loop import Backoff, Reminder
from trading_lib import order_wire, wire
from trading_lib.models import CancelRequest, Order
from trading_lib.order_wire import Welcome

MAX_KEPT: Final = 100_000  # requests without an acknowledgement; then the oldest is dropped, and counted
MAX_GAPS: Final = 1000  # of the tape, to be said again; then the oldest is dropped, and counted
MAX_OUTBOX: Final = 32 << 20  # bytes the OrderManager has not taken; then the connection is given up
READ_BYTES: Final = 1 << 18
HELLO_TIMEOUT_S: Final = 5.0

Request = Order | CancelRequest


class OrderLink:
    """A session that comes back. Connecting happens in a thread: a hung OrderManager cannot hold ticks up.

    `begin` asks for a lane; `welcome` is the answer, once it is there.
    """

    def __init__(self, host: str, port: int, strategy_id: str, log: logging.Logger) -> None:
        self._address = (host, port)
        self._strategy_id = strategy_id
        self._log = log
        self._socket: socket.socket | None = None
        self._splitter = wire.FrameSplitter(order_wire.MAX_REPLY)
        self._connecting: threading.Thread | None = None
        self._found: tuple[socket.socket, Welcome] | None = None
        self._fault: OSError | None = None
        self._backoff = Backoff()
        self._closed = False
        self._outbox = bytearray()
        self._unacknowledged: deque[Request] = deque()
        self._gaps: deque[tuple[int, int]] = deque()  # records from … to … the host has not seen
        self._expected: deque[bytes] = deque()  # frames of the host's own reports, to be told again
        self._told = 0  # the number of the last report that the ledger and the host agree on
        self._hello: tuple[str, str, int] | None = None  # token, mode, number
        self._progress = 0
        self.welcome: Welcome | None = None
        self.refused = ""  # why the ledger does not want this host back
        self.diverged = ""  # the first report that is not the host's own
        self.counters: Counter[str] = Counter()
        self._reminder = Reminder(
            log.warning,
            f"no OrderManager on {host}:{port} (Strategy.order_manager_port) for 10 s; orders wait, at most "
            f"{MAX_KEPT:,} of them, and then the oldest are dropped",
        )

    @property
    def connected(self) -> bool:
        """Whether orders go out now."""
        return self._socket is not None

    @property
    def kept(self) -> int:
        """Requests without an acknowledgement."""
        return len(self._unacknowledged)

    # ------------------------------------------------------------------------------------------- session

    def begin(self, token: str, seq: int) -> None:
        """Ask for this strategy's lane, to begin at tape record `seq`. Whatever was before is forgotten."""
        self._hang_up()
        self._hello = (token, "new", seq)
        self.welcome = None
        self.refused = self.diverged = ""
        self.counters["dropped: begun anew"] += len(self._unacknowledged)
        self._unacknowledged.clear()
        self._gaps.clear()
        self._expected.clear()

    def joined(self, executions: int, next_seq: int) -> None:
        """The host has taken the lane over as `welcome` gave it: from here on it may come back to it."""
        assert self._hello is not None
        self._told, self._progress = executions, next_seq
        self._hello = (self._hello[0], "again", executions)

    def tend(self) -> None:
        """Read what has come, notice a lost connection, make a new one when it is time to."""
        if self._socket is not None:
            self._reminder.found()
            self._read()
            self._flush()
        if self._socket is not None or self._hello is None:
            return
        self._reminder.missing()
        if self._connecting is not None:
            if self._connecting.is_alive():
                return
            self._connecting.join()
            self._connecting = None
            self._take_over()
        elif not self._backoff.wait and not self.diverged:
            self._connecting = threading.Thread(target=self._connect, args=self._hello, daemon=True)
            self._connecting.start()

    def _connect(self, token: str, mode: str, number: int) -> None:
        try:
            self._found = open_session(
                *self._address, self._strategy_id, token, mode, number, HELLO_TIMEOUT_S
            )
        except OSError as fault:
            self._fault = fault  # `tend` says so, and tries again later
        if self._closed and self._found is not None:
            self._found[0].close()

    def _take_over(self) -> None:
        """What the thread came back with."""
        found, fault = self._found, self._fault
        self._found = self._fault = None
        if found is None:
            self._backoff.failed()
            if isinstance(fault, SessionRefused):
                self.counters["refused"] += 1
                if self.counters["refused"] == 1:
                    self._log.warning("the OrderManager refuses the session: %s", fault)
                self.refused = str(fault)
            return
        assert self._hello is not None
        connection, welcome = found
        connection.setblocking(False)
        self._socket = connection
        self._splitter = wire.FrameSplitter(order_wire.MAX_REPLY)
        self._backoff.succeeded()
        self.refused = ""
        self.counters["connected"] += 1
        self._log.info("order link up: %s:%d", *self._address)
        if self._hello[1] == "new":
            self.welcome = welcome
        else:
            self.counters["sent again"] += len(self._unacknowledged)
            self._outbox = bytearray(self._everything_again())
        self._take(welcome.rest)
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
        self._log.info("order link lost: %s", fault or "closed by the OrderManager")
        self._backoff.failed()
        if self._hello is not None and self._hello[1] == "again":
            self._hello = (self._hello[0], "again", self._told)

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
                self._log.warning("from the OrderManager: %s", frame.decode(errors="replace"))

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
            self._log.warning("from the OrderManager: %s", fault)
            return
        kept = self._unacknowledged
        while kept and (kept[0].cause_seq, kept[0].index) <= last:
            kept.popleft()
            self.counters["acknowledged"] += 1

    # ----------------------------------------------------------------------------------------------- end

    def close(self, wait: float) -> None:
        """Wait up to `wait` seconds until everything is acknowledged, say farewell and hang up."""
        deadline = time.monotonic() + wait
        self.tend()
        while (self.kept or self._outbox) and time.monotonic() < deadline and not self.diverged:
            if not self.connected and self._connecting is None and self._hello is None:
                break
            time.sleep(0.002)
            self.tend()
        self._closed = True
        if self._socket is not None:
            self._outbox += order_wire.encode_farewell()
            self._flush()
        self.counters["lost at the end"] += self.kept
        self._hang_up()
        if self._connecting is not None:
            self._connecting.join(0.2)
        if self._found is not None:
            with contextlib.suppress(OSError):
                self._found[0].close()
