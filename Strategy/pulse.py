"""A worker's pulse: a page it shares with its trusted parent, written before and after each batch of records.

It costs a batch two stores, and the parent can look at any time, also when the worker never comes back from
the strategy's code. A strategy that forges it fools only itself.
"""

import mmap
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from shared_memory_utils import PAGE

_SINCE: Final = 0  # monotonic ns at which the batch began, 0 between two
_RECORDS: Final = 1  # how many there are in it
_NEXT: Final = 2  # the first record it has not seen


def make_pulse() -> int:
    """The descriptor of a new page, zeroed. The caller owns it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("algosim-pulse")
    else:
        fd, name = tempfile.mkstemp()
        Path(name).unlink()
    os.ftruncate(fd, PAGE)
    return fd


class Pulse:
    """One side's mapping of the page. Owns it, not the descriptor."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, PAGE)
        self._words = memoryview(self._map).cast("q")

    def begin(self, records: int) -> None:
        """The worker gives so many records to the strategy."""
        self._words[_RECORDS] = records
        self._words[_SINCE] = time.monotonic_ns()

    def end(self) -> None:
        """It has them back."""
        self._words[_SINCE] = 0

    @property
    def busy_s(self) -> float:
        """For how long the strategy has had its records, seconds; 0 when it has none."""
        since = self._words[_SINCE]
        return max(0.0, (time.monotonic_ns() - since) / 1e9) if since else 0.0

    @property
    def records(self) -> int:
        """How many it has, or last had."""
        return max(1, self._words[_RECORDS])

    @property
    def next_seq(self) -> int:
        """The first record that the strategy has not seen: exact between two batches, whoever looks when."""
        return self._words[_NEXT]

    @next_seq.setter
    def next_seq(self, seq: int) -> None:
        self._words[_NEXT] = seq

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()
