"""The supervisor: starts the parts, watches them, restarts what crashes, stops them in order.

    with Supervisor(config, log, say) as supervisor:
        exit_code = supervisor.run(show)

The parent waits; signals only set flags; a child's end wakes it through its link. Stopping has two
seconds, shared out in the order of the stream: Gateway, Strategy, OrderManager, OrderBook, Recorder; what one
does not use of its share the next one has. The dashboard, which nobody waits for, stops meanwhile.
"""

import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from config import ROOT, Config, ConfigError, missed_meetings
from runtime.child import Child, State
from runtime.loop import EventLoop
from runtime.part import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from runtime.run_folder import CONFIG_NAME, open_run_folder
from runtime.status_socket import STATUS_SOCKET, Command, Refused, StatusSocket
from shared_memory_utils import new_run_id, unlink_all

SAME_PRESS_S: Final = 0.2  # signals closer than this are one Ctrl-C (a terminal and a tool may both send it)
TICK_S: Final = 0.1  # how often the children are looked at when nothing wakes us
STATUS_S: Final = 1.0
OPTIONAL_START_S: Final = 5.0  # who is optional and slower to start misses the first records
STOP_SHARES: Final = {  # of 2 s
    "gateway": 0.6,
    "strategy": 0.4,
    "order_manager": 0.4,
    "orderbook": 0.3,
    "recorder": 0.3,
    "dashboard": 0.3,
    "keep_awake": 0.1,
}
FED: Final = ("session", "plain")  # what the OrderBook calls a feed that stands
SCRIPTS: Final = {
    "orderbook": "OrderBook/run.py",
    "order_manager": "OrderManager/run.py",
    "strategy": "Strategy/run.py",
    "gateway": "Gateway/run.py",
}
OPTIONAL: Final = {  # the others do not notice when one of these dies
    "recorder": "Recorder/run.py",
    "keep_awake": "runtime/keep_awake.py",
    "dashboard": "Dashboard/run.py",
}
LAST: Final = "dashboard"  # started behind the Gateway, so that it costs the start of the others nothing


class Supervisor:
    """Owns the children, the run's folder and its status socket.

    Raises ConfigError without a folder, and when the parts would not meet.

    The children read the configuration that was written into that folder: it may have come from a file, the
    environment and a command line.
    """

    def __init__(
        self, config: Config, log: logging.Logger, say: Callable[[str], None], verbose: int = 0
    ) -> None:
        for missed in missed_meetings(config):
            raise ConfigError(missed)
        self.config = config
        self.run_id = new_run_id()
        try:
            self.run_dir = open_run_folder(config, self.run_id)
        except OSError as fault:
            raise ConfigError(f"run.export_dir = {config.run.export_dir!r}: {fault.strerror}") from None
        self._log = log
        self._say = say
        self._loop = EventLoop()
        self._arguments = [str((self.run_dir / CONFIG_NAME).resolve()), *["-v"] * verbose]
        wanted = {
            "recorder": config.Recorder.enabled,
            "keep_awake": config.run.keep_awake,
            "dashboard": config.Dashboard.enabled,
        }
        scripts = SCRIPTS | {name: script for name, script in OPTIONAL.items() if wanted[name]}
        self.children = {name: Child(name, ROOT / script, self._on_line) for name, script in scripts.items()}
        self.interrupts = 0  # presses of Ctrl-C, and signals that mean the same
        self.forced = False  # by a second one
        self._address = ""  # of the dashboard, as it was said
        self._source_ended_at = self._book_seen_at = float("inf")
        self._interrupted_at = float("-inf")
        self._started = time.monotonic()
        self._exit_code = EXIT_OK
        self._failed = self._stopping = False
        self._socket = StatusSocket(self._loop, self.run_dir / STATUS_SOCKET, self._obey)
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._loop.add(self._wake, lambda _: self._drain_wake())

    # ------------------------------------------------------------------------------------------ running

    def run(self, show: Callable[[dict[str, Any]], None]) -> int:
        """Until interrupted, ended or failed; returns the exit code. `show` gets the status each second."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        next_status = 0.0
        for name, child in self.children.items():
            if name not in ("gateway", LAST):
                self._start(child)
        while not self.interrupts and not self._failed and not self._ended:
            self._loop.run_once(TICK_S)
            self._look_after()
            if time.monotonic() >= next_status:
                next_status = time.monotonic() + STATUS_S
                status = self.status()
                self._socket.publish(status)
                show(status)
        self._stop()
        show({**self.status(), "stopped": True})
        return self._exit_code

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)

    def _on_signal(self, *_: object) -> None:
        now = time.monotonic()
        if now - self._interrupted_at > SAME_PRESS_S:
            self.interrupts += 1
            self._interrupted_at = now

    def _start(self, child: Child) -> None:
        child.start(self._loop, self._arguments, self.run_id)
        self._log.info("started %s, pid %s", child.name, child.pid)

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            if child.reap():
                self._after_end(child)
            if child.state is State.RESTARTING and now >= child.restart_at:
                self._start(child)
        gateway = self.children["gateway"]
        if gateway.state is State.WAITING and all(
            self._may_play(child) for child in self.children.values() if child is not gateway
        ):
            self._start(gateway)
        if (dashboard := self.children.get(LAST)) is not None:
            self._look_after_dashboard(dashboard, gateway)

    def _may_play(self, child: Child) -> bool:
        """Whether the Gateway need not wait for a part."""
        if child.name in OPTIONAL and self._uptime_s > OPTIONAL_START_S:
            return True
        is_given_up = child.name in OPTIONAL and child.state is State.FAILED
        return child.state is State.READY or is_given_up or child.name == LAST

    def _look_after_dashboard(self, dashboard: Child, gateway: Child) -> None:
        """Start it, and say once where it is."""
        if dashboard.state is State.WAITING and (
            gateway.state is not State.WAITING or self._uptime_s > OPTIONAL_START_S
        ):
            self._start(dashboard)
        if dashboard.state is State.READY and dashboard.message != self._address:
            self._address = dashboard.message
            self._tell(f"dashboard: {self._address}", logging.INFO)

    @property
    def _uptime_s(self) -> float:
        return time.monotonic() - self._started

    def _after_end(self, child: Child) -> None:
        code = child.exit_code
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        if child.name in OPTIONAL and (code == EXIT_CONFIG or not child.plan_restart()):
            child.state = State.FAILED
            what = "cannot start" if code == EXIT_CONFIG else "keeps dying"
            self._tell(f"{child.name} {what} ({how}): the run goes on WITHOUT IT", logging.ERROR)
        elif child.name in OPTIONAL:
            self._tell(f"{child.name} died ({how}); restart {child.restarts}")
        elif code == EXIT_CONFIG:
            self._fail(child, EXIT_CONFIG, f"{child.name} cannot start (exit code 78), see above")
        elif child.plan_restart():
            delay = max(0.0, child.restart_at - time.monotonic())
            self._tell(f"{child.name} died ({how}); restart {child.restarts} in {delay:.2f} s")
        else:
            self._fail(child, EXIT_FAILED, f"{child.name} keeps dying ({how}): giving up")

    def _fail(self, child: Child, exit_code: int, text: str) -> None:
        child.state = State.FAILED
        self._failed = True
        self._exit_code = exit_code
        self._tell(text, logging.ERROR)

    @property
    def has_played(self) -> bool:
        """Whether the Gateway was ever ready: before that there is no record."""
        return self.children["gateway"].message != ""

    @property
    def _ended(self) -> bool:
        """Whether the source has ended and everything behind it has caught up."""
        gateway, book, strategy = (self.children[name] for name in ("gateway", "orderbook", "strategy"))
        if (
            not gateway.status.get("ended")
            or gateway.status.get("unsent")
            or gateway.state is not State.READY
        ):
            self._source_ended_at = self._book_seen_at = float("inf")
            return False
        self._source_ended_at = min(self._source_ended_at, gateway.status_at)
        if book.status_at > self._source_ended_at:  # it has looked round since, so it took what was there
            self._book_seen_at = min(self._book_seen_at, book.status_at)
        return strategy.status_at > self._book_seen_at and not strategy.status.get("lag")

    def _on_line(self, child: Child, line: str) -> None:
        prefix = "" if line.startswith(f"{child.name}:") else f"{child.name}: "
        self._tell(f"{prefix}{line}")

    def _tell(self, text: str, level: int = logging.WARNING) -> None:
        self._log.log(level, "%s", text)
        self._say(text)

    # ------------------------------------------------------------------------------------------ commands

    def _obey(self, command: Command) -> None:
        """Do what somebody asks for at the status socket. Raises Refused."""
        name = command.kill or command.start or ""
        child = self.children.get(name)
        if child is None:
            raise Refused(f"no part {name!r}, only {', '.join(self.children)}")
        if self._stopping:
            raise Refused("the run is stopping")
        if command.kill is not None:
            self._kill(child)
        else:
            self._start_again(child)

    def _kill(self, child: Child) -> None:
        if not child.kill_on_request():
            why = "is dying already" if child.pid is not None else f"does not run: it is {child.state}"
            raise Refused(f"{child.name} {why}")
        self._tell(f"{child.name}: killed on request")

    def _start_again(self, child: Child) -> None:
        """Start what waits for its restart, or was given up."""
        if child.state not in (State.RESTARTING, State.FAILED):
            raise Refused(f"{child.name} is not down: it is {child.state}")
        child.forgive()
        self._start(child)
        self._tell(f"{child.name}: started on request")

    # ------------------------------------------------------------------------------------------ stopping

    def _stop(self) -> None:
        """Gateway first, so that END passes through everything behind it; SIGKILL for who takes too long."""
        interrupts = self.interrupts
        self._stopping = True
        if LAST in self.children:
            self.children[LAST].signal(signal.SIGTERM)
        began = time.monotonic()
        ends_at = 0.0
        for name, share in STOP_SHARES.items():
            ends_at += share
            child = self.children.get(name)
            if child is None:
                continue
            if name == "strategy":
                self._let_the_feed_run_dry(began + ends_at - share)
            child.hurry()
            child.signal(signal.SIGTERM)
            asked_at, deadline = time.monotonic(), began + ends_at
            while child.pid is not None and not child.reap():
                self._loop.run_once(0.005)
                if self.interrupts > max(interrupts, 1):
                    self._force()
                    return
                if time.monotonic() > deadline:
                    if child.state is not State.STARTING:  # it hears nothing while it loads and compiles
                        self._tell(f"{name} did not stop within {time.monotonic() - asked_at:.1f} s: killed")
                    child.signal(signal.SIGKILL)
                    child.state = State.KILLED
                    deadline = float("inf")
            if child.state not in (State.FAILED, State.KILLED):
                child.state = State.STOPPED

    def _let_the_feed_run_dry(self, deadline: float) -> None:
        """What the Gateway has sent is to be on the tape before anybody is told to take what is there."""
        book, interrupts = self.children["orderbook"], self.interrupts
        while book.pid is not None and book.status.get("feed") in FED and time.monotonic() < deadline:
            self._loop.run_once(0.005)
            if self.interrupts > max(interrupts, 1):
                return

    def _force(self) -> None:
        self._tell("interrupted again: killing everything")
        self.forced = True
        self._exit_code = EXIT_FAILED
        for child in self.children.values():
            child.signal(signal.SIGKILL)
        for child in self.children.values():
            while child.pid is not None and not child.reap():
                self._loop.run_once(0.005)
            child.state = State.STOPPED

    # -------------------------------------------------------------------------------------------- status

    def status(self) -> dict[str, Any]:
        """Everything known, as plain values."""
        parts = {}
        for child in self.children.values():
            cpu, rss = child.usage()
            parts[child.name] = {
                "state": "silent" if child.silent else str(child.state),
                "pid": child.pid,
                "uptime_s": child.uptime_s,
                "status_at_s": max(0.0, child.status_at - self._started),
                "cpu_percent": cpu,
                "rss_bytes": rss,
                "restarts": child.restarts,
                "asked_kills": child.asked_kills,
                "outage_s": child.outage_s,
                "message": child.message,
                **child.status,
            }
        return {
            "run_id": self.run_id,
            "uptime_s": self._uptime_s,
            "commands_refused": self._socket.refused,
            "parts": parts,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self.children.values():
            child.kill()
        signal.set_wakeup_fd(-1)
        self._socket.close()
        self._loop.close()
        self._wake.close()
        self._waker.close()
        unlink_all(self.config.OrderBook.shared_memory_name)
