"""The real processes under measurement, started and stopped as main.py does it.

    with System(random_walk(rate=1000, every=1), pure=False) as system:
        system.start()
        before = system.next_status("order_manager")
        ...
        final = system.stop()

Each part is its own `run.py` in its own process, on free ports and its own segments. We hold the other end of
its status line, so that its counts are read without asking, and its last line says where it stopped.
"""

import contextlib
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import psutil

from runtime.child import Child, State
from runtime.loop import EventLoop
from runtime.supervisor import OPTIONAL, SCRIPTS
from shared_memory_utils import SegmentError, TapeReader, unlink_all
from testing.harness import ROOT, system_config, write_config

PURE_PYTHON: Final = "ALGOSIM_PURE_PYTHON"
START_PATIENCE_S: Final = 120.0  # the first start ever compiles the kernels
STATUS_PATIENCE_S: Final = 20.0  # a status comes every second; an overloaded machine is late
STOP_PATIENCE_S: Final = 10.0
LINES_KEPT: Final = 20  # of what the parts print, for the message when one fails
TAPE_CAPACITY: Final = 1 << 20  # records, the default of a real run
STRATEGY: Final = "benchmarks/every_nth_tick.py"


class Failed(Exception):
    """A measurement that could not be made; the message says why."""


class Usage(NamedTuple):
    """What a process has used: CPU seconds ever, resident bytes now."""

    cpu_s: float
    rss: int


def usage(pid: int) -> Usage:
    """See Usage. Raises psutil.Error for a process that is gone."""
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Usage(_cpu_s(pid) or times.user + times.system, process.memory_info().rss)


def _sum(pids: Iterable[int]) -> Usage:
    """What several have used; those that have gone are left out."""
    found = Usage(0.0, 0)
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            one = usage(pid)
            found = Usage(found.cpu_s + one.cpu_s, found.rss + one.rss)
    return found


def _cpu_s(pid: int) -> float:
    """CPU seconds of all threads to the ns, where Linux tells; else 0 (`cpu_times` counts 10 ms)."""
    found = 0
    with contextlib.suppress(OSError):  # no such file, or a thread has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += int((thread / "schedstat").read_text().split()[0])
    return found / 1e9


def cpu_percent(before: Usage, after: Usage, seconds: float) -> float:
    """CPU used between two looks, in percent of one core."""
    return round(100 * (after.cpu_s - before.cpu_s) / seconds, 1)


def random_walk(rate: float, every: int) -> dict[str, Any]:
    """Settings: a random walk at `rate` ticks a second (0: flat out), an order on every `every`-th tick."""
    return {
        "Gateway": {"provider": "random_walk", "pace": {"ticks_per_s": rate}, "news": {"every_ticks": 0}},
        "Strategy": {"strategies": [{"id": "every_nth_tick", "path": STRATEGY, "params": {"every": every}}]},
    }


@contextlib.contextmanager
def python_path(pure: bool) -> Iterator[None]:
    """Processes started inside take the plain-Python path, or the compiled one."""
    before = os.environ.get(PURE_PYTHON)
    os.environ[PURE_PYTHON] = "1" if pure else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PURE_PYTHON]
        else:
            os.environ[PURE_PYTHON] = before


class System:
    """Owns the processes, their folder and what they leave in shared memory."""

    def __init__(
        self, settings: Mapping[str, Any], *, pure: bool = False, parts: tuple[str, ...] = tuple(SCRIPTS)
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="algosim-bench-", ignore_cleanup_errors=True)
        folder = Path(self._temporary.name)
        defaults = {"OrderBook": {"tape_capacity": TAPE_CAPACITY}}
        self.config = system_config(folder, **_merged(defaults, settings))
        self._config_path = write_config(folder, self.config)
        self._pure = pure
        self._loop = EventLoop()
        self._printed: deque[str] = deque(maxlen=LINES_KEPT)
        self.children = {
            name: Child(name, ROOT / script, self._on_line)
            for name, script in (SCRIPTS | OPTIONAL).items()
            if name in parts
        }
        self._stopping = False
        self._processes: dict[str, list[int]] = {}

    @property
    def name(self) -> str:
        """The price book's name in shared memory; the tape is beside it."""
        found: str = self.config["OrderBook"]["shared_memory_name"]
        return found

    def _on_line(self, child: Child, line: str) -> None:
        self._printed.append(f"{child.name}: {line}")

    # ------------------------------------------------------------------------------------------ running

    def start(self) -> None:
        """Start everything, the Gateway when the others are READY, and wait until it is, too."""
        first = [name for name in self.children if name != "gateway"]
        self._start(first)
        self.wait(lambda: self._ready(first), "the parts to be ready", START_PATIENCE_S)
        if "gateway" in self.children:
            self._start(["gateway"])
            self.wait(lambda: self._ready(["gateway"]), "the Gateway to be ready", START_PATIENCE_S)

    def _start(self, names: list[str]) -> None:
        with python_path(self._pure):
            for name in names:
                self.children[name].start(self._loop, [str(self._config_path)], "benchmark")

    def _ready(self, names: list[str]) -> bool:
        return all(self.children[name].state is State.READY for name in names)

    def step(self, seconds: float = 0.05) -> None:
        """Wait that long, or until a part has said something. Raises Failed if one has died."""
        self._loop.run_once(seconds)
        if not self._stopping:
            for child in self.children.values():
                if child.reap():
                    printed = "\n".join(self._printed)
                    raise Failed(f"{child.name} ended with exit code {child.exit_code}\n{printed}".strip())

    def wait(self, condition: Callable[[], Any], what: str, patience: float = STATUS_PATIENCE_S) -> None:
        """Until `condition()`. Raises Failed after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"waited {patience:g} s in vain for {what}")
            self.step()

    def sleep(self, seconds: float) -> None:
        """Let them work for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.step(min(left, 0.2) + 0.001)

    def next_status(self, name: str, not_before: float = 0.0) -> Mapping[str, Any]:
        """The first status of a part that arrives from now on, and not before that instant (monotonic)."""
        child = self.children[name]
        after = max(time.monotonic(), not_before)
        patience = after - time.monotonic() + STATUS_PATIENCE_S
        self.wait(lambda: child.status_at >= after, f"a status of {name}", patience)
        return dict(child.status)

    def usage(self) -> dict[str, Usage]:
        """What each part has used."""
        return {name: _sum(pids) for name, pids in self.processes().items()}

    def processes(self) -> dict[str, list[int]]:
        """The process ids of each part: its own and, as the Strategy's workers, those below. Found once."""
        if not self._processes:
            running = {name: child.pid for name, child in self.children.items() if child.pid is not None}
            self._processes = {
                name: [pid, *(below.pid for below in psutil.Process(pid).children(recursive=True))]
                for name, pid in running.items()
            }
        return self._processes

    @contextlib.contextmanager
    def tape(self) -> Iterator[TapeReader]:
        """A look at the tape. Raises Failed if there is none."""
        try:
            reader = TapeReader(self.name)
        except SegmentError as fault:
            raise Failed(str(fault)) from None
        with contextlib.closing(reader):
            yield reader

    # ----------------------------------------------------------------------------------------- stopping

    def stop(self) -> dict[str, dict[str, Any]]:
        """Stop in the order of the stream; returns each part's last status: the final counts."""
        self._stopping = True
        for name in (
            "dashboard",
            "gateway",
            "strategy",
            "order_manager",
            "recorder",
            "orderbook",
            "keep_awake",
        ):
            child = self.children.get(name)
            if child is None or child.pid is None:
                continue
            child.signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_PATIENCE_S
            while not child.reap():
                self._loop.run_once(0.01)
                if time.monotonic() > deadline:
                    raise Failed(f"{name} did not stop within {STOP_PATIENCE_S:g} s")
            if child.exit_code:
                raise Failed(f"{name} stopped with exit code {child.exit_code}")
        return {name: dict(child.status) for name, child in self.children.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        for child in self.children.values():
            child.signal(signal.SIGKILL)
        for child in self.children.values():
            while child.pid is not None and not child.reap():
                self._loop.run_once(0.01)
        self._loop.close()
        unlink_all(self.name)
        self._temporary.cleanup()


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        known = merged.get(key)
        merged[key] = (
            _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
        )
    return merged
