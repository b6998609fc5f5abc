"""Whether strategy files can be loaded at all, tried before a run begins.

    check_loadable(config.Strategy)

Each is loaded in a process of its own, locked in as a worker of the run would be. `python -m lab.loadable` is what
forks those processes: an `Order` on the standard input, a JSON list of faults on the standard output.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec

from config import ROOT, StrategySection, resolve
from runtime.part import die_with_parent
from Strategy import sandbox
from Strategy.worker import DESCRIPTORS
from trading_lib.strategy_file import StrategyError, load_strategy

LIMIT_S: Final = 15.0  # some imports take a second: longer than this is a loop without an end
LOADED: Final = b"loaded"
MODULE: Final = "lab.loadable"


class Order(msgspec.Struct, frozen=True):
    """Which files to load, and how they are locked in."""

    paths: tuple[str, ...]
    locked_in: bool
    memory_mb: int


def check_loadable(section: StrategySection) -> None:
    """Load every strategy file once, elsewhere. Raises StrategyError with a line for each that cannot be loaded."""
    paths = dict.fromkeys(str(resolve(entry.path)) for entry in section.entries)
    order = Order(tuple(paths), section.sandbox, section.memory_mb)
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        cwd=ROOT,
        input=msgspec.json.encode(order),
        capture_output=True,
        check=True,
    )
    if faults := msgspec.json.decode(done.stdout, type=list[str]):
        raise StrategyError("\n".join(faults))


def main() -> None:
    """The process."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sandbox.prepare()
    faults = [fault for path in order.paths if (fault := fault_of(Path(path), order))]
    sys.stdout.buffer.write(msgspec.json.encode(faults))


def fault_of(path: Path, order: Order) -> str:
    """Why a file cannot be loaded; empty if it can."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the strategy prints is no answer
        die_with_parent()
        _load_locked_in(theirs, path, order)
        os._exit(0)
    theirs.close()
    try:
        with ours:
            ours.settimeout(LIMIT_S)
            said = _listen(ours)
    except TimeoutError:
        return f"{path}: still loading after {LIMIT_S:g} s"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if said == LOADED:
        return ""
    return said.decode(errors="replace") or f"{path}: the process ended while it was being loaded"


def _load_locked_in(link: socket.socket, path: Path, order: Order) -> None:
    """The first byte on the link carries who is asked for denied calls."""
    notify_fd = None
    if order.locked_in:
        limits = sandbox.Limits((str(path.parent),), order.memory_mb, DESCRIPTORS)
        notify_fd = sandbox.lock_down(limits, (0, 1, 2, link.fileno())).notify_fd
    if notify_fd is None:
        link.send(b".")
    else:
        socket.send_fds(link, [b"."], [notify_fd])
        os.close(notify_fd)
    try:
        load_strategy(path)
    except StrategyError as fault:
        link.sendall(str(fault).encode())
    else:
        link.sendall(LOADED)


def _listen(link: socket.socket) -> bytes:
    """The answer, empty if none came. Raises TimeoutError."""
    _, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    if descriptors:
        Thread(target=_deny, args=(sandbox.DenialCounter(descriptors[0]),), daemon=True).start()
    return b"".join(iter(lambda: link.recv(1 << 16), b""))


def _deny(denials: sandbox.DenialCounter) -> None:
    """Answer denied calls until nobody is left who could make one."""
    poll = select.poll()
    poll.register(denials, select.POLLIN)
    while not denials.ended:
        poll.poll()
        denials.turn()
    denials.close()


if __name__ == "__main__":
    main()
