"""One supervised process: started with a link and a pipe for what it prints, watched, restarted, stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from config import is_override
from runtime.loop import EventLoop
from runtime.part import LINK_FD, ONE_THREAD, RUN_ID
from runtime.scheduling import like_everybody

CRASH_LIMIT: Final = 5  # crashes in a row …
CRASH_WINDOW_S: Final = 30.0  # … each within so long of the start before it: then it keeps dying
SILENT_AFTER_S: Final = 3.0  # statuses come once a second
FIRST_DELAY_S: Final = 0.05  # before the first restart; doubles with each crash in a row
LONGEST_DELAY_S: Final = 2.0
MAX_LINE: Final = 1 << 20  # bytes: a longer line is not a status, and of output it is shown in pieces
READ_BYTES: Final = 1 << 16
MAX_BELOW: Final = 256  # processes of a part that are looked at


class State(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    KILLED = "killed"  # at the end, because it took too long
    FAILED = "failed"


class Child:
    """A part's process and what is known of it. `on_line(child, text)` gets what it prints."""

    def __init__(self, name: str, script: Path, on_line: Callable[["Child", str], None]) -> None:
        self.name = name
        self.state = State.WAITING
        self.restarts = 0
        self.asked_kills = 0
        self.outage_s: float | None = None  # of the last end: until it was ready again
        self.exit_code: int | None = None
        self.message = ""
        self.status: dict[str, Any] = {}
        self.status_at = 0.0
        self.restart_at = 0.0
        self._script = script
        self._on_line = on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._usage: psutil.Process | None = None
        self._below: dict[int, psutil.Process] = {}  # what it has started itself, as it says
        self._link: socket.socket | None = None
        self._output: int | None = None
        self._link_rest = b""
        self._link_skipping = False  # inside a line that was too long to keep
        self._output_rest = b""
        self._started_at = 0.0
        self._down_since: float | None = None
        self._crashes = 0
        self._asked = False  # for its end, so that it is no crash
        self._loop: EventLoop | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def uptime_s(self) -> float:
        """Since its last start; 0 while it does not run."""
        return time.monotonic() - self._started_at if self._process is not None else 0.0

    @property
    def silent(self) -> bool:
        """Whether it should have said something by now: it hangs, is suspended, or user code does not return."""
        return self.state is State.READY and time.monotonic() - self.status_at > SILENT_AFTER_S

    def start(self, loop: EventLoop, arguments: list[str], run_id: str) -> None:
        """Start the process."""
        mine, theirs = socket.socketpair()
        output, output_theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(self._script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output_theirs,
                stderr=output_theirs,
                pass_fds=(theirs.fileno(),),
                env={**_environment(), LINK_FD: str(theirs.fileno()), RUN_ID: run_id},
                process_group=0,  # the terminal's Ctrl-C is ours: we stop the parts in their order
            )
        finally:
            theirs.close()
            os.close(output_theirs)
        mine.setblocking(False)
        os.set_blocking(output, False)
        self._loop, self._link, self._output = loop, mine, output
        self._link_rest = self._output_rest = b""
        loop.add(mine, lambda _: self._read_link())
        loop.add(output, lambda _: self._read_output())
        with contextlib.suppress(psutil.Error):
            self._usage = psutil.Process(self._process.pid)
            self._usage.cpu_percent(None)
        self.state = State.STARTING
        self.exit_code = None
        self._asked = False
        self._started_at = time.monotonic()

    # -------------------------------------------------------------------------------------- what it says

    def _read_link(self) -> bool:
        """Read what is there; False when there was nothing."""
        assert self._link is not None
        try:
            data = self._link.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self._loop_remove_link()
            return False
        *lines, rest = (self._link_rest + data).split(b"\n")
        if lines and self._link_skipping:
            del lines[0]
            self._link_skipping = False
        if len(rest) > MAX_LINE:
            rest, self._link_skipping = b"", True
        self._link_rest = rest
        for line in lines:
            message = msgspec.json.decode(line)
            if "ready" in message:
                self.state = State.READY
                self.status_at = time.monotonic()
                self.message = message["ready"]
                if self._down_since is not None:
                    self.outage_s, self._down_since = self.status_at - self._down_since, None
            if "say" in message:
                self._on_line(self, message["say"])
            if "status" in message:
                self.status = message["status"]
                self.status_at = time.monotonic()
        return True

    def _loop_remove_link(self) -> None:
        if self._link is not None and self._loop is not None:
            self._loop.remove(self._link)
            self._link.close()
            self._link = None

    def _read_output(self) -> bool:
        """Read what is there; False when there was nothing."""
        assert self._output is not None
        try:
            data = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_output()
            return False
        *lines, self._output_rest = (self._output_rest + data).split(b"\n")
        if len(self._output_rest) > MAX_LINE:
            lines.append(self._output_rest)
            self._output_rest = b""
        for line in lines:
            self._on_line(self, line.decode("utf-8", "replace"))
        return True

    def _close_output(self) -> None:
        if self._output is not None and self._loop is not None:
            self._loop.remove(self._output)
            os.close(self._output)
            self._output = None
            if self._output_rest:
                self._on_line(self, self._output_rest.decode("utf-8", "replace"))
                self._output_rest = b""

    # ------------------------------------------------------------------------------------------ its end

    def reap(self) -> bool:
        """Whether the process has ended since the last call; then `exit_code` is set."""
        if self._process is None or self._process.poll() is None:
            return False
        self.exit_code = self._process.returncode
        while self._output is not None and self._read_output():
            pass
        while self._link is not None and self._read_link():
            pass
        self._loop_remove_link()
        self._close_output()
        self._process = self._usage = None
        return True

    def plan_restart(self) -> bool:
        """After its end: when to start again; False if it keeps dying, of itself."""
        now = time.monotonic()
        if not self._asked:
            self._crashes = self._crashes + 1 if now - self._started_at < CRASH_WINDOW_S else 1
            if self._crashes > CRASH_LIMIT:
                return False
        self.restarts += 1
        self.state = State.RESTARTING
        self._down_since = now if self._down_since is None else self._down_since
        delay = FIRST_DELAY_S if self._asked else FIRST_DELAY_S * 2 ** (self._crashes - 1)
        self.restart_at = now + min(delay, LONGEST_DELAY_S)
        return True

    def kill_on_request(self) -> bool:
        """SIGKILL because somebody wants to see it; False when it does not run, or dies of that already."""
        if self._process is None or self._asked:
            return False
        self._asked = True
        self.asked_kills += 1
        self.signal(signal.SIGKILL)
        return True

    def forgive(self) -> None:
        """Forget its crashes."""
        self._crashes = 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def hurry(self) -> None:
        """Let it run like everybody else, whatever class it has put itself in; where we may not, it stays there."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                like_everybody(self._process.pid)

    def kill(self) -> None:
        """End the process, whatever it does, and wait until it is gone: only then its locks are free."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def usage(self) -> tuple[float, int]:
        """(CPU in percent of a core since the last call, resident bytes); zeros when it does not run.

        With those of the processes that it says are its own (`pids`); memory that they share counts in each.
        """
        if self._usage is None:
            return 0.0, 0
        own = {pid: self._below.get(pid) or _process(pid) for pid in self.status.get("pids", [])[:MAX_BELOW]}
        self._below = {pid: process for pid, process in own.items() if process is not None}
        cpu, rss = 0.0, 0
        for process in (self._usage, *self._below.values()):
            with contextlib.suppress(psutil.Error):
                cpu += process.cpu_percent(None)
                rss += process.memory_info().rss
        return cpu, rss


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _environment() -> dict[str, str]:
    """Ours, without what overrides a configuration: the effective one, which the child reads, has it already."""
    return ONE_THREAD | {name: value for name, value in os.environ.items() if not is_override(name)}
