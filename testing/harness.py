"""Real parts on free ports with their own segment names, and conditions to wait on instead of sleeps."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from runtime.part import ONE_THREAD

ROOT: Final = Path(__file__).resolve().parents[1]
PATIENCE_S: Final = 30.0  # far beyond anything that works; a loaded machine is slow, not wrong
LOOK_S: Final = 0.02  # between two looks at a condition that takes its time: looking costs, too
PORTS: Final = range(20000, 30000)  # below the ephemeral range: nobody is given one of these by chance

_held_ports: list[int] = []  # descriptors whose locks keep our ports ours until this process ends


class ConditionNotMet(AssertionError):
    """Something that should have happened did not."""


def wait_until(condition: Callable[[], Any], what: str = "", patience: float = PATIENCE_S) -> Any:
    """Call `condition` until it is true; returns what it returned."""
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise ConditionNotMet(f"not within {patience} s: {what or condition}")
        time.sleep(pause)
        pause = min(1.2 * pause, LOOK_S)


def free_port() -> int:
    """A port nobody listens on, reserved for this process: two test runs at once never share one."""
    folder = Path(tempfile.gettempdir()) / f"algosim-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    start = secrets.randbelow(len(PORTS))
    for offset in range(len(PORTS)):
        port = PORTS[(start + offset) % len(PORTS)]
        fd = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(fd)
            continue
        _held_ports.append(fd)
        return port
    raise RuntimeError("no free port")


def segment_name() -> str:
    """A segment name of this test's own."""
    return f"algosim-test-{os.getpid()}-{secrets.token_hex(4)}"


def deep_update(tree: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings into a configuration tree."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            deep_update(tree[key], value)
        else:
            tree[key] = value
    return tree


def system_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of a whole system on free ports, writing only below `folder`."""
    md_port, news_port, order_port, name = free_port(), free_port(), free_port(), segment_name()
    events_port, control_port = free_port(), free_port()
    tree: dict[str, Any] = {
        "symbols": ["AAPL", "GOOG", "IBM", "MSFT"],
        "run": {"export_dir": str(folder / "runs"), "log_dir": str(folder / "logs")},
        "Gateway": {"md_port": md_port, "news_port": news_port},
        "OrderBook": {
            "md_port": md_port,
            "news_port": news_port,
            "shared_memory_name": name,
            "tape_capacity": 1 << 16,
            "control_port": control_port,
        },
        "Strategy": {"shared_memory_name": name, "order_manager_port": order_port},
        "OrderManager": {"port": order_port, "events_port": events_port, "shared_memory_name": name},
        "Recorder": {"enabled": False},  # one process less, where its files are not looked at
        "Dashboard": {"enabled": False, "port": free_port()},  # another one
    }
    return deep_update(tree, changes)


def write_config(folder: Path, tree: Mapping[str, Any]) -> Path:
    """The configuration as a file."""
    path = folder / "config.json"
    path.write_text(json.dumps(tree, indent=2))
    return path


class Process:
    """A real process of ours: its output is collected in a file, so that it can never block."""

    def __init__(self, arguments: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.output_path = folder / f"{Path(arguments[0]).parent.name or 'main'}-{secrets.token_hex(3)}.out"
        with self.output_path.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**ONE_THREAD, **os.environ, **(env or {})},
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.output_path.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def wait_for(self, text: str, patience: float = PATIENCE_S) -> None:
        """Until it has printed `text`. Fails at once when it ends without."""
        deadline = time.monotonic() + patience
        while text not in self.output:
            if not self.alive and text not in self.output:
                raise ConditionNotMet(f"ended with {self.popen.returncode} before {text!r}:\n{self.output}")
            if time.monotonic() > deadline:
                raise ConditionNotMet(f"no {text!r} within {patience} s:\n{self.output}")
            time.sleep(0.005)

    def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = PATIENCE_S) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.alive:
            self.popen.send_signal(number)
        return self.popen.wait(patience)

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.alive:
            self.popen.kill()
        self.popen.wait()


@contextlib.contextmanager
def running(arguments: list[str], folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A process that is gone at the end, whatever happens."""
    process = Process(arguments, folder, env)
    try:
        yield process
    finally:
        process.kill()


def part_of(main: Process, part: str) -> psutil.Process | None:
    """The process of a part (`OrderManager`) that a `main.py` has started; None when it does not run just now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(main.pid).children():
            with contextlib.suppress(psutil.Error):  # it has died
                if any(argument.endswith(f"{part}/run.py") for argument in child.cmdline()):
                    return child
    return None


def wait_for_part(main: Process, part: str) -> psutil.Process:
    """The process of a part, once it runs."""
    found: psutil.Process = wait_until(lambda: part_of(main, part), f"a process of {part}")
    return found


@contextlib.contextmanager
def running_part(part: str, config: Path, folder: Path) -> Iterator[Process]:
    """`python <part>/run.py config`, ready."""
    with running([f"{part}/run.py", str(config)], folder) as process:
        yield process


def read_available(connection: socket.socket, enough: Callable[[bytes], bool]) -> bytes:
    """Read from a connection until `enough(data)`."""
    data = b""
    connection.settimeout(0.05)

    def more() -> bool:
        nonlocal data
        with contextlib.suppress(TimeoutError):
            data += connection.recv(1 << 16)
        return enough(data)

    wait_until(more, "enough data from the connection")
    return data


def segments(name: str) -> list[str]:
    """What is in shared memory under a name."""
    from shared_memory.segment import SHM_DIR

    return sorted(path.name for path in SHM_DIR.glob(f"*{name}*"))
