"""An fdatasync in a thread: whoever stands at the port does not wait for the disk.

syncer.start(journal.begin_sync())
...                                     # `syncer.channel` becomes readable
if syncer.finished():
    journal.end_sync(syncer.fault)
"""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

_sync_data: Final = getattr(os, "fdatasync", os.fsync)


class Syncer:
    """One fdatasync at a time. Owns its thread, which starts with the first, and a pair of sockets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.busy = False
        self.fault: OSError | None = None  # of the last one …
        self.took = 0.0  # … and how many seconds it has taken
        self.channel, self._done = socket.socketpair()
        self.channel.setblocking(False)
        self._orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fdatasync", daemon=True)

    def start(self, fd: int) -> None:
        """Have the disk take what was written to `fd`. Not while `busy`."""
        assert not self.busy
        self.busy, self.fault = True, None
        if not self._thread.is_alive():
            self._thread.start()
        self._orders.put(fd)

    def _run(self) -> None:
        while (fd := self._orders.get()) is not None:
            began = self._clock()
            try:
                _sync_data(fd)
            except OSError as fault:
                self.fault = fault
            self.took = self._clock() - began
            self._done.send(b".")

    def finished(self) -> bool:
        """Whether the one that was started has ended; then `fault` says how. Never waits."""
        with contextlib.suppress(BlockingIOError):
            if self.channel.recv(16):
                self.busy = False
        return not self.busy

    def wait(self) -> None:
        """Until the one that was started, if any, has ended."""
        if self.busy:
            self.channel.setblocking(True)
            self.channel.recv(16)
            self.channel.setblocking(False)
            self.busy = False

    def close(self) -> None:
        """End the thread."""
        self.wait()
        if self._thread.is_alive():
            self._orders.put(None)
            self._thread.join()
        self.channel.close()
        self._done.close()
