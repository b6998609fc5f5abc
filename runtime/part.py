"""The outermost frame of every process: arguments, configuration, log, signals, supervisor link, exit code.

    def serve(part: Part, config: Config) -> None:
        ...
        part.ready("ticks on 127.0.0.1:8000")
        while not part.stopping:
            loop.run_once(0.5)

    sys.exit(run_part("gateway", serve))

Started by main.py a process inherits one end of a socketpair (`ALGOSIM_LINK_FD`): it writes JSON lines on it,
READY first and then a status a second, and takes its end-of-file for the parent's death. Signals only
set a flag.
"""

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from config import DEFAULT_CONFIG, Config, ConfigError, load_config, resolve
from logger import LinesFormatter, close_logger, console_level, get_logger
from runtime.loop import EventLoop, PortInUse
from runtime.processors import stay

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h: starting again will not help

LINK_FD: Final = "ALGOSIM_LINK_FD"
RUN_ID: Final = "ALGOSIM_RUN_ID"
ONE_THREAD: Final = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)  # else NumPy starts, in each process, a thread for each processor with nothing to do
STATUS_PERIOD_S: Final = 1.0
DESCRIPTORS: Final = 4096  # two ports of at most 1,000 clients each, and what else a part opens
_PR_SET_PDEATHSIG: Final = 1


class CannotStart(Exception):
    """A fault that starting again will not mend (bad data file, strategy file missing …): exit code 78."""


class Part:
    """What a process is given: its name, log, stop flag and its line to the supervisor."""

    def __init__(self, name: str, log: logging.Logger, link: socket.socket | None, verbose: int = 0) -> None:
        self.name = name
        self.log = log
        self.prints = link is None and not verbose  # with -v the log's lines are on the console already
        self.stopping = False
        self.run_id = os.environ.get(RUN_ID)
        self._link = link
        self._next_status = 0.0
        self._unsent = b""  # of a line that the supervisor took only half of
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    @property
    def supervised(self) -> bool:
        """Whether main.py started this process."""
        return self._link is not None

    def die_with_supervisor(self) -> None:
        """Have the kernel kill this process when main.py dies. Only for a part that owns nothing with a name."""
        if self._link is not None:
            die_with_parent()

    def watch(self, loop: EventLoop) -> None:
        """Have `loop` return at once when a stop is asked for or the supervisor has died."""
        loop.add(self._wake, lambda _: self._drain_wake())
        if self._link is not None:
            loop.add(self._link, lambda _: self.check_link())

    def check_link(self) -> None:
        """Take the link's end-of-file for the supervisor's death: stop."""
        if self._link is None:
            return
        try:
            if self._link.recv(4096) == b"":
                self.stopping = True
        except BlockingIOError:
            pass  # nothing to read: it is alive
        except ConnectionError:
            self.stopping = True

    def ready(self, message: str) -> None:
        """Say that this part does its job now."""
        gc.collect()
        gc.freeze()  # what was made until now stays: a full collection would stop us for tens of milliseconds
        self.log.info("ready: %s", message)
        if self._link is not None:
            self._send({"ready": message})
        elif self.prints:
            print(f"{self.name} ready: {message}", flush=True)

    def status_due(self) -> bool:
        """Whether a second has passed since the last status (a process that answers this is not stuck)."""
        now = time.monotonic()
        if now < self._next_status:
            return False
        self._next_status = now + STATUS_PERIOD_S
        return True

    def report(self, status: Mapping[str, Any]) -> None:
        """One status line to the supervisor; on a standalone part it goes to the log at debug level."""
        if self._link is not None:
            self._send({"status": status})
        else:
            self.log.debug("status %s", status)

    def say(self, text: str) -> None:
        """A line for the person who watches, by way of the supervisor."""
        self._send({"say": text})

    def _send(self, message: Mapping[str, Any]) -> None:
        """Whole lines or nothing: a supervisor that is busy for a while misses some, and never our time."""
        assert self._link is not None
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if self._unsent:
                self._unsent = self._unsent[self._link.send(self._unsent) :]
            if not self._unsent:
                line = msgspec.json.encode(message) + b"\n"
                self._unsent = line[self._link.send(line) :]

    def _on_signal(self, *_: object) -> None:
        self.stopping = True

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)

    def close(self) -> None:
        """Release signals, sockets and the log."""
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._waker.close()
        if self._link is not None:
            self._link.close()
        close_logger(self.log)


class _ToSupervisor(logging.Handler):
    """The console of a supervised part. Writing to it never waits, also when the supervisor is suspended."""

    def __init__(self, part: Part, level: int) -> None:
        super().__init__(level)
        self._part = part
        self.setFormatter(LinesFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._part.say(self.format(record))


def run_part(name: str, serve: Callable[[Part, Config], None], argv: list[str] | None = None) -> int:
    """Run one part until it is told to stop; returns the exit code."""
    arguments = _parser(name).parse_args(argv)
    link = _inherited_link()
    try:
        config = load_config(arguments.config)
    except ConfigError as fault:
        print(f"{name}: {fault}", file=sys.stderr)
        return EXIT_CONFIG
    try:
        log = get_logger(name, resolve(config.run.log_dir), arguments.verbose, console=link is None)
    except OSError as fault:
        print(f"{name}: run.log_dir = {config.run.log_dir!r}: {fault.strerror}", file=sys.stderr)
        return EXIT_CONFIG
    allow_many_descriptors()
    part = Part(name, log, link, arguments.verbose)
    if link is not None:
        log.addHandler(_ToSupervisor(part, console_level(arguments.verbose)))
    if config.run.pin and (processor := stay(name, len(config.Strategy.entries))) is not None:
        log.info("stays on processor %d", processor)
    try:
        serve(part, config)
    except (ConfigError, PortInUse, CannotStart) as fault:
        log.error("%s", fault)
        return EXIT_CONFIG
    except Exception:
        log.exception("stopped by an unexpected error")
        return EXIT_FAILED
    finally:
        part.close()
    return EXIT_OK


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{name}/run.py", description=f"Run the {name} alone, until Ctrl-C."
    )
    parser.add_argument("config", nargs="?", type=Path, default=DEFAULT_CONFIG, help="default: config.json")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more on the console; twice: all")
    return parser


def _inherited_link() -> socket.socket | None:
    fd = os.environ.pop(LINK_FD, None)
    if fd is None:
        return None
    link = socket.socket(fileno=int(fd))
    link.setblocking(False)
    return link


def allow_many_descriptors() -> None:
    """Make room for as many clients as a configuration can ask for; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
