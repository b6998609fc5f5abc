"""Keep the processors from falling asleep between two ticks: `run.keep_awake`.

A processor that has nothing to do is halted, and waking it costs tens of microseconds at each of the four
hops from a tick to its order, most of all in a virtual machine. Here one process per processor waits for the
tape without sleeping, in the scheduler's idle class: whoever else wants the processor has it at once. They
sleep like everybody else as soon as no tick has come for a while. The price is electricity: while ticks come
every processor is busy.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from config import Config
from runtime.loop import Backoff
from runtime.part import CannotStart, Part, die_with_parent, run_part
from runtime.scheduling import in_nobodys_way
from shared_memory_utils import SegmentError, TapeReader

LINGER_S: Final = 0.02  # without a tick for so long, sleep
LOOKS: Final = 2000  # at the tape between two looks at the clock: some 100 µs
SEARCH_S: Final = 0.1  # between two looks for a tape that is not there
ROUND_S: Final = 0.5
FIRST_PAUSE_S: Final = 0.5  # before one that has died is started again …
LONGEST_PAUSE_S: Final = 60.0  # … and when they keep dying


def serve(part: Part, config: Config) -> None:
    """Run a waker on every processor until told to stop."""
    if not hasattr(os, "SCHED_IDLE"):
        raise CannotStart("run.keep_awake: this system's scheduler has no idle class")
    wakers = Wakers(config.OrderBook.shared_memory_name, part.log)
    try:
        wakers.look()
        part.ready(f"{wakers.alive} processors")
        while not part.stopping:
            part.check_link()
            wakers.look()
            if part.status_due():
                part.report({"wakers": wakers.alive, "wakers_died": wakers.died})
            time.sleep(ROUND_S / 10)
    finally:
        wakers.close()


class Wakers:
    """One on every processor, following the tape `name`. Owns them: who dies is counted and started again."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self.died = 0
        self._name = name
        self._log = log
        self._processors = sorted(os.sched_getaffinity(0))
        self._pids: dict[int, int] = {}  # by processor
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def alive(self) -> int:
        """How many there are."""
        return len(self._pids)

    def look(self) -> None:
        """Notice those that have died, start those that are missing."""
        for processor, pid in tuple(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[processor]
                self.died += 1
                code = os.waitstatus_to_exitcode(status)
                self._log.warning("the waker of processor %d has died (exit code %d)", processor, code)
        if self.alive < len(self._processors) and not self._backoff.wait:
            self._pids |= {cpu: _start(cpu, self._name) for cpu in self._processors if cpu not in self._pids}
            self._backoff.failed()  # so that the next time is not at once

    def close(self) -> None:
        """End them."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._pids.clear()


def _start(cpu: int, name: str) -> int:
    """A process on one processor; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent()
        os.sched_setaffinity(0, {cpu})
        in_nobodys_way()
        while True:
            _wait_awake(name)
            time.sleep(SEARCH_S)
    finally:
        os._exit(1)


def _wait_awake(name: str) -> None:
    """Follow the tape while it lives."""
    try:
        tape = TapeReader(name)
    except SegmentError:
        return
    moved = time.monotonic()
    while not tape.closed:
        tail = tape.tail
        if any(tape.tail != tail for _ in range(LOOKS)):
            moved = time.monotonic()
        elif time.monotonic() - moved > LINGER_S:
            tape.cursor = tape.tail
            tape.wait(ROUND_S)
            moved = time.monotonic()
    tape.close()


if __name__ == "__main__":
    sys.exit(run_part("keep_awake", serve))
