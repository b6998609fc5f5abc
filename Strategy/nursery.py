"""Where workers come from: the zygote that forks them, and a handle on each.

nursery = Nursery(loop, log)
worker = nursery.fork(order, bell_fd)       # its channel works at once; the zygote may still be loading
worker.kill()
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime.loop import READ, WRITE, Backoff, EventLoop
from runtime.part import ONE_THREAD
from Strategy.channel import Channel, ChannelClosed
from Strategy.messages import Exited, Fork, Forked, FromWorker, FromZygote
from Strategy.pulse import Pulse, make_pulse
from Strategy.worker_handle import WorkerHandle
from Strategy.zygote import CHANNEL_FD

ZYGOTE: Final = Path(__file__).with_name("zygote.py")
KEPT_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONHASHSEED", "ALGOSIM_PURE_PYTHON")
DENIALS_A_ROUND: Final = 100  # answers to a worker that makes calls without end, in …
ROUND_S: Final = 0.02  # … so much time: it waits, the others do not


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
        environment |= ONE_THREAD | {CHANNEL_FD: str(theirs.fileno())}
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
