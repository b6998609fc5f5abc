"""The parent's side of workers: the zygote that forks them, and a handle on each.

nursery = Nursery(loop, log)
worker = nursery.fork(order, bell_fd)       # its channel works at once; the zygote may still be loading
worker.kill()
"""

import contextlib
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime.loop import READ, WRITE, Backoff, EventLoop
from Strategy.bounds import bounded_message
from Strategy.channel import Channel, ChannelClosed
from Strategy.messages import (
    Declared,
    Exited,
    Failed,
    Fork,
    Forked,
    FromWorker,
    FromZygote,
    Locked,
    Lost,
    Message,
    Status,
)
from Strategy.pulse import Pulse, make_pulse
from Strategy.sandbox import DenialCounter
from Strategy.zygote import CHANNEL_FD

ZYGOTE: Final = Path(__file__).with_name("zygote.py")
KEPT_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONHASHSEED", "ALGOSIM_PURE_PYTHON")
ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
DENIALS_A_ROUND: Final = 100  # answers to a worker that makes calls without end, in …
ROUND_S: Final = 0.02  # … so much time: it waits, the others do not
OUTPUT_AT_ONCE: Final = 1 << 14  # bytes of a worker's output read in a round: who prints more is slowed down
LAST_READS: Final = 65  # of so much, when it has ended: more than a pipe holds
OUTPUT_LINE: Final = 1000  # characters of a line that are shown
TRACE_HEAD: Final = "Stack (most recent call first):"  # of faulthandler
TRACE_LINES: Final = 40  # of a stack trace that are looked at for the strategy's own
_FRAME: Final = re.compile(r'  File "(.+)", line (\d+) in (.+)')


class WorkerHandle:
    """One worker: its channel, its output, its pulse. `messages` is what it has said and nobody has taken."""

    def __init__(self, number: int, path: str, channel: Channel, output: int, pulse: Pulse) -> None:
        self.number = number
        self.path = path  # of the strategy file
        self.channel = channel
        self.pulse = pulse
        self.pid: int | None = None
        self.exit_status: int | None = None
        self.gone = ""  # why it can say nothing more
        self.messages: deque[Message] = deque()
        self.status = Status()
        self.status_cut = 0  # what of it was too much
        self.heard = 0  # how often it has said something
        self.printed: list[str] = []
        self.trace = ""  # where the strategy's code was when it was last asked
        self.denials: DenialCounter | None = None
        self.denied_this_round = 0
        self.missing: tuple[str, ...] = ()
        self._output = output
        self._rest = b""
        self._tracing = 0  # lines of a trace that may still come

    @property
    def alive(self) -> bool:
        """Whether its process has not ended."""
        return self.exit_status is None

    @property
    def output(self) -> int:
        """The reading end of what it prints."""
        return self._output

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Say something; who does not hear it has ended, and that is noticed elsewhere."""
        try:
            self.channel.send(message, descriptors)
        except OSError as fault:  # ChannelClosed, or no room for a copy of a descriptor
            self.gone = self.gone or str(fault)

    def read_channel(self) -> None:
        """Take what it says."""
        try:
            found = self.channel.receive()
        except ChannelClosed as fault:
            self.gone = self.gone or str(fault)
            return
        self.heard += len(found)
        for message, descriptors in found:
            if isinstance(message, Locked):
                self._lock(message, descriptors)
            elif isinstance(message, Status):
                self.status, self.status_cut = bounded_message(message)  # conflated: the newest counts
            elif isinstance(message, Declared | Failed | Lost):
                self.messages.append(bounded_message(message)[0])
            else:
                self.messages.append(message)

    def _lock(self, message: Locked, descriptors: list[int]) -> None:
        if not self.channel.descriptors:
            self.gone = self.gone or "it says twice that it is locked in"
            return
        self.channel.descriptors = False  # from here on user code may be who speaks
        self.missing = message.missing
        if message.counted:
            self.denials = DenialCounter(descriptors[0])

    def read_output(self) -> bool:
        """Take what it prints; False at its end."""
        try:
            data = os.read(self._output, OUTPUT_AT_ONCE)
        except BlockingIOError:
            return True
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > OUTPUT_AT_ONCE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._take_line(line)
        return bool(data)

    def read_last_output(self) -> None:
        """Take what it has printed and nobody has read: it is to print no more."""
        waits = select.poll()
        waits.register(self._output, select.POLLIN)
        more = all(waits.poll(0) and self.read_output() for _ in range(LAST_READS))
        if self._rest:
            self._take_line(self._rest)
            self._rest = b""
        if more:
            self.printed.append("… and more, which is not read")

    def _take_line(self, data: bytes) -> None:
        line = data.decode(errors="replace")
        if line == TRACE_HEAD:
            self._tracing = TRACE_LINES
        elif self._tracing and (frame := _FRAME.fullmatch(line)) is not None:
            self._tracing -= 1
            if not self.trace and Path(frame[1]).parent == Path(self.path).parent:
                self.trace = f"{Path(frame[1]).name} line {frame[2]} in {frame[3]}"
        else:
            self._tracing = 0
            self.printed.append(line if len(line) <= OUTPUT_LINE else f"{line[:OUTPUT_LINE]}…")

    def ask_where(self) -> None:
        """Have it say where the strategy's code is, also from within C; `trace` is the answer, soon."""
        self.trace = ""
        if self.pid is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """SIGKILL."""
        if self.pid is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything."""
        self.channel.close()
        os.close(self._output)
        self.pulse.close()
        if self.denials is not None:
            self.denials.close()


class Nursery:
    """Owns the zygote and every worker. A zygote that dies takes its workers along; the next fork has a new one."""

    def __init__(self, loop: EventLoop, log: logging.Logger) -> None:
        self._loop = loop
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._backoff = Backoff()
        self._numbers = 0
        self.workers: dict[int, WorkerHandle] = {}
        self.denied: Counter[str] = Counter()  # system calls, of workers that have ended
        self.restarts = 0  # of the zygote
        self._next_round = 0.0  # monotonic

    @property
    def ready(self) -> bool:
        """Whether a worker can be asked for now; starts a zygote when it is time to."""
        if self._channel is None and not self._backoff.wait:
            self._start()
        return self._channel is not None and not self._channel.unsent

    @property
    def pids(self) -> list[int]:
        """The zygote's and the workers'."""
        zygote = [self._process.pid] if self._process is not None and self._channel is not None else []
        return zygote + [worker.pid for worker in self.workers.values() if worker.pid is not None]

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        self.restarts += self._process is not None
        environment |= dict.fromkeys(ONE_THREAD, "1") | {CHANNEL_FD: str(theirs.fileno())}
        self._process = subprocess.Popen(
            [sys.executable, str(ZYGOTE)],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._channel = Channel(ours, FromZygote, descriptors=False)
        self._loop.add(self._channel, lambda mask: self._on_zygote(mask))
        self._backoff.failed()

    def _on_zygote(self, mask: int) -> None:
        assert self._channel is not None
        try:
            if mask & WRITE:
                self._channel.flush()
            if mask & ~WRITE:
                for message, _ in self._channel.receive():
                    self._hear(message)
            self._watch_zygote()
        except ChannelClosed:
            self._lose_zygote()

    def _watch_zygote(self) -> None:
        assert self._channel is not None
        self._loop.set_events(self._channel, READ | WRITE if self._channel.unsent else READ)

    def _hear(self, message: Forked | Exited) -> None:
        worker = self.workers.get(message.number)
        if worker is None:
            return
        if isinstance(message, Forked):
            worker.pid = message.pid
            self._backoff.succeeded()
        else:
            worker.exit_status = message.status

    def _lose_zygote(self) -> None:
        """It has died, and with it every worker."""
        assert self._channel is not None and self._process is not None
        self._loop.remove(self._channel)
        self._channel.close()
        self._channel = None
        self._process.kill()
        code = self._process.wait()
        self._log.error("the zygote of the strategies has died (exit code %d): a new one is started", code)
        for worker in self.workers.values():
            worker.exit_status = worker.exit_status if worker.exit_status is not None else code

    # --------------------------------------------------------------------------------------------- workers

    def fork(self, make: Callable[[int], Fork], bell_fd: int) -> WorkerHandle:
        """A new worker; `make(number)` gives its order. Only when `ready`. Raises OSError."""
        assert self._channel is not None
        self._numbers += 1
        order = make(self._numbers)
        with contextlib.ExitStack() as lent, contextlib.ExitStack() as kept:
            ours, theirs = socket.socketpair()
            kept.callback(ours.close)
            lent.callback(theirs.close)
            reading, writing = os.pipe()
            kept.callback(os.close, reading)
            lent.callback(os.close, writing)
            os.set_blocking(reading, False)
            pulse_fd = make_pulse()
            lent.callback(os.close, pulse_fd)
            worker = WorkerHandle(
                order.number,
                order.path,
                Channel(ours, FromWorker, descriptors=True),
                reading,
                Pulse(pulse_fd),
            )
            with contextlib.suppress(ChannelClosed):  # noticed by the loop
                self._channel.send(order, [theirs.fileno(), writing, bell_fd, pulse_fd])
                self._watch_zygote()
            kept.pop_all()
        self.workers[order.number] = worker
        self._loop.add(worker.channel, lambda mask: self._on_worker(worker, mask))
        self._loop.add(reading, lambda _: self._on_output(worker))
        return worker

    def _on_worker(self, worker: WorkerHandle, mask: int) -> None:
        if mask & WRITE:
            with contextlib.suppress(ChannelClosed):
                worker.channel.flush()
        if mask & ~WRITE:
            new = worker.denials is None
            worker.read_channel()
            if new and worker.denials is not None:
                self.answer_denials(worker)
        if worker.gone:
            self._loop.remove(worker.channel)
        else:
            self._loop.set_events(worker.channel, READ | WRITE if worker.channel.unsent else READ)

    def _on_output(self, worker: WorkerHandle) -> None:
        if not worker.read_output():
            self._loop.remove(worker.output)

    def answer_denials(self, worker: WorkerHandle) -> None:
        """Answer system calls that it may not make: at once, but not more than so many a round."""
        assert worker.denials is not None
        self._loop.add(worker.denials, lambda _: self._on_denials(worker))

    def _on_denials(self, worker: WorkerHandle) -> None:
        assert worker.denials is not None
        worker.denied_this_round += worker.denials.turn(DENIALS_A_ROUND - worker.denied_this_round)
        if worker.denials.ended or worker.denied_this_round >= DENIALS_A_ROUND:
            self._loop.remove(worker.denials)

    def next_round(self) -> None:
        """Have what was said to workers arrive, also what their sockets did not take at once; and if it is time
        to, answer those again who have made too many calls that they may not make."""
        for worker in self.workers.values():
            if worker.channel.unsent and not worker.gone:
                self._loop.set_events(worker.channel, READ | WRITE)
        now = time.monotonic()
        if now >= self._next_round:
            self._next_round = now + ROUND_S
            self._begin_round()

    def _begin_round(self) -> None:
        for worker in self.workers.values():
            waits = worker.denied_this_round >= DENIALS_A_ROUND
            worker.denied_this_round = 0
            if waits and worker.denials is not None and not worker.denials.ended:
                self.answer_denials(worker)

    def bury(self, worker: WorkerHandle) -> None:
        """Kill it if it lives, and forget it, and what it has said."""
        worker.kill()
        worker.messages.clear()
        worker.read_last_output()
        if worker.denials is not None:
            self.denied.update(worker.denials.counts)
            self._loop.remove(worker.denials)
        self._loop.remove(worker.channel)
        self._loop.remove(worker.output)
        worker.close()
        del self.workers[worker.number]

    def close(self) -> None:
        """End every worker and the zygote."""
        for worker in tuple(self.workers.values()):
            self.bury(worker)
        if self._channel is not None:
            self._loop.remove(self._channel)
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
