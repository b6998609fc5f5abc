"""What `python main.py` costs and how it holds: the first order, an idle system, a killed Gateway."""

import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from benchmarks.system import Failed, cpu_percent, python_path, random_walk, usage
from runtime import status_socket
from shared_memory_utils import RECORD, SegmentError, TapeReader, unlink_all
from testing.harness import Process, running, system_config, wait_until, write_config
from trading_lib.models import Kind

KILL_RATE: Final = 1_000  # ticks/s while the Gateway is killed: its recovery is known to a millisecond
IDLE_RATE: Final = 0.001  # ticks/s: one at the start, then none
SETTLE_S: Final = 1.0  # after the start, before idleness is measured
PATIENCE_S: Final = 60.0
FIRST_ORDER: Final = "Received Order 1:"


class Idle(msgspec.Struct, frozen=True):
    """CPU of each process while no tick comes, in percent of one core."""

    seconds: float
    cpu_percent: dict[str, float]
    rss_mb: dict[str, float]

    @property
    def total_percent(self) -> float:
        """Over all processes, main.py included."""
        return round(sum(self.cpu_percent.values()), 2)


@contextlib.contextmanager
def main_py(settings: Mapping[str, Any]) -> Iterator[tuple[Process, Path, dict[str, Any]]]:
    """`python main.py` on a configuration of its own: the process, its folder, its configuration."""
    with tempfile.TemporaryDirectory(prefix="algosim-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        tree = system_config(folder, **settings)
        config = write_config(folder, tree)
        try:
            with python_path(pure=False), running(["main.py", str(config)], folder) as process:
                yield process, folder, tree
                code = process.stop()
                if code:
                    raise Failed(f"main.py ended with exit code {code}:\n{process.output[-400:]}")
        finally:
            unlink_all(tree["OrderBook"]["shared_memory_name"])


def status_of(folder: Path) -> dict[str, Any]:
    """The status that main.py publishes now, on its socket in the run's folder."""
    with contextlib.closing(
        status_socket.connect(next(folder.glob(f"runs/*/{status_socket.STATUS_SOCKET}")))
    ) as listener:
        listener.settimeout(PATIENCE_S)
        with listener.makefile("rb") as lines:
            status: dict[str, Any] = json.loads(lines.readline())
    return status


def all_ready(folder: Path) -> dict[str, Any] | None:
    """The status, once every part is READY."""
    try:
        status = status_of(folder)
    except (OSError, StopIteration, json.JSONDecodeError):
        return None  # not there yet
    parts = status["parts"].values()
    return status if all(part["state"] == "ready" for part in parts) else None


def first_order() -> float:
    """Seconds from the start of `python main.py` with the shipped configuration to the first order's log line."""
    begun = time.monotonic()
    with main_py({}) as (_, folder, _):
        log = folder / "logs" / "order_manager.log"

        def ordered() -> float | None:
            with contextlib.suppress(FileNotFoundError):
                if FIRST_ORDER in log.read_text():
                    return time.monotonic()
            return None

        at: float = wait_until(ordered, "the first order", PATIENCE_S)
    return at - begun


def idle(seconds: float) -> Idle:
    """The whole system with no ticks."""
    with main_py(random_walk(IDLE_RATE, 1)) as (process, folder, _):
        status = wait_until(lambda: all_ready(folder), "every part to be ready", PATIENCE_S)
        pids = {"main": process.pid} | {name: part["pid"] for name, part in status["parts"].items()}
        pids |= pids_below(process.pid, known=pids.values())
        time.sleep(SETTLE_S)
        begun, before = time.monotonic(), {name: usage(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        elapsed, after = time.monotonic() - begun, {name: usage(pid) for name, pid in pids.items()}
    return Idle(
        elapsed,
        {name: cpu_percent(before[name], after[name], elapsed) for name in pids},
        {name: round(used.rss / 1e6, 1) for name, used in after.items()},
    )


def pids_below(pid: int, known: Iterable[int] = ()) -> dict[str, int]:
    """Every other process that `pid` has started, or that these have: the zygote and the workers."""
    others = [child for child in psutil.Process(pid).children(recursive=True) if child.pid not in set(known)]
    return {f"worker {number}" if number else "zygote": child.pid for number, child in enumerate(others)}


def recoveries(kills: int) -> list[float]:
    """ms from SIGKILL of the Gateway to the next tick of its successor on the tape, for each kill."""
    found = []
    killed: set[int] = set()
    with main_py(random_walk(KILL_RATE, 1)) as (_, folder, tree):

        def gateway() -> int | None:
            status = all_ready(folder)
            pid = int(status["parts"]["gateway"]["pid"]) if status else None
            return None if pid in killed else pid

        for _ in range(kills):
            pid = wait_until(gateway, "a Gateway that is ready", PATIENCE_S)
            killed.add(pid)
            found.append(_recovery(pid, tree["OrderBook"]["shared_memory_name"]))
    return found


def _recovery(pid: int, name: str) -> float:
    try:
        tape = TapeReader(name)
    except SegmentError as fault:
        raise Failed(str(fault)) from None
    with contextlib.closing(tape):
        killed = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        return (_next_tick(tape) - killed) / 1e6


def _next_tick(tape: TapeReader) -> int:
    """When the first tick after an EPOCH mark was booked, wall ns. What the dead Gateway still had sent is before."""
    again = False
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        tape.wait(0.1)
        for _, _, _, _, booked, _, kind in RECORD.iter_unpack(tape.take()):
            if kind == Kind.EPOCH:
                again = True
            elif again and kind == Kind.TICK:
                return int(booked)
    raise Failed("no tick after the Gateway was killed")
