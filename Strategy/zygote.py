"""The zygote: a clean interpreter with everything imported, which forks a worker in milliseconds when asked to.

It has one thread, holds no token, no session and no port, and its environment is next to nothing: so what a
forked worker inherits is nothing worth having. It ends when its parent does, and its workers with it.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

sys.path[0] = str(Path(__file__).resolve().parents[1])

from runtime.part import die_with_parent  # noqa: E402
from Strategy import sandbox  # noqa: E402
from Strategy.channel import Channel, ChannelClosed  # noqa: E402
from Strategy.messages import Exited, Fork, Forked  # noqa: E402
from Strategy.worker import run_worker  # noqa: E402

LIBRARIES: Final = ("numpy", "pandas", "numba", "scipy")  # what strategies use; those that are installed
CHANNEL_FD: Final = "ALGOSIM_ZYGOTE_FD"


def import_libraries() -> None:
    """Import what strategies may want: they import it again in no time, and share its memory."""
    for name in LIBRARIES:
        if name == "numba" and os.environ.get("ALGOSIM_PURE_PYTHON"):
            continue
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class Zygote:
    """Forks on demand and says when a worker has ended. Owns its channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._workers: dict[int, int] = {}  # numbers by pid
        self._wake, waker = socket.socketpair()
        self._wake.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._waker = waker

    def serve(self) -> None:
        """Until the parent hangs up. Raises ChannelClosed then."""
        while True:
            ready, _, _ = select.select([self._channel.fileno(), self._wake.fileno()], [], [])
            if self._wake.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._channel.fileno() in ready:
                for order, descriptors in self._channel.receive():
                    self._fork(order, descriptors)

    def _fork(self, order: Fork, descriptors: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for connection in (self._wake, self._waker):
                connection.close()
            self._channel.close()
            run_worker(order, descriptors)
        for fd in descriptors:
            os.close(fd)
        self._workers[pid] = order.number
        self._channel.send(Forked(order.number, pid))

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._channel.send(Exited(self._workers.pop(pid), os.waitstatus_to_exitcode(status)))


def main() -> int:
    """Be a zygote on the inherited descriptor, until the parent goes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    connection = socket.socket(fileno=int(os.environ.pop(CHANNEL_FD)))
    import_libraries()
    sandbox.prepare()
    gc.collect()
    gc.freeze()  # collected in a worker it would be copied there
    with contextlib.suppress(ChannelClosed):
        Zygote(Channel(connection, Fork, descriptors=True)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
