"""Doorbells: how a reader with nothing to do sleeps in the kernel and is woken within microseconds.

`<tape>.bells` has a page per sleeper, because a page is what can be mapped writable alone. The sleeper
sets its flag, looks once more for records, and waits on the flag; the writer, after publishing, exchanges
every flag for 0 and wakes whose flag was set. A flag, not a count: a killed sleeper leaves nothing that
could leak. Where there is no futex a reader looks every half millisecond.
"""

import ctypes
import mmap
import platform
import sys
import time
from collections.abc import Callable
from typing import Final

from shared_memory.layout import BELL_HIGH_WATER, BELL_MAGIC, MAX_BELLS, PAGE, STATE_LIVE
from shared_memory.segment import Segment, SegmentError, fence

_SYS_FUTEX: Final = (
    {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
)
_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1
_EVERYONE: Final = 2**31 - 1
_POLL_S: Final = 0.0005  # without a futex: half a millisecond between two looks
_FLAG_WORDS: Final = PAGE // 4  # flags are 32-bit words, one at the start of each page


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
)


def bells_name(tape_name: str) -> str:
    """The name of a tape's doorbell segment."""
    return f"{tape_name}.bells"


def prepare_bells(tape_name: str, run_id: str) -> Segment:
    """A new doorbell segment, not yet published."""
    segment = Segment.prepare(bells_name(tape_name), (1 + MAX_BELLS) * PAGE, "OrderBook.shared_memory_name")
    segment.write_header(BELL_MAGIC, MAX_BELLS, run_id, 1, STATE_LIVE)
    return segment


class _Flags:
    """The 32-bit words of a bells segment, and the address of each page's first."""

    def __init__(self, segment: Segment) -> None:
        self.words = segment.bytes.cast("i")
        anchor = ctypes.c_char.from_buffer(segment.map)
        self.address = ctypes.addressof(anchor)
        del anchor  # an exported pointer would keep the mapping from closing

    def release(self) -> None:
        self.words.release()


class DoorbellPanel:
    """The writer's side: rings whoever sleeps. Owns its mapping of the segment."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._flags = _Flags(segment)

    @property
    def address(self) -> int:
        """Where the segment is mapped, for the compiled path."""
        return self._flags.address

    def ring(self) -> None:
        """Wake every sleeping reader. Call after publishing."""
        fence()
        words = self._flags.words
        for page in range(1, self._segment.words[BELL_HIGH_WATER] + 1):
            if words[page * _FLAG_WORDS]:
                self._wake(page)

    def ring_everyone(self) -> None:
        """Wake every reader, whatever its flag says: for who comes after a dead writer.

        One killed between taking a flag down and waking its sleeper leaves that one asleep with no flag up.
        """
        for page in range(1, self._segment.words[BELL_HIGH_WATER] + 1):
            self._wake(page)

    def _wake(self, page: int) -> None:
        self._flags.words[page * _FLAG_WORDS] = 0
        if _SYS_FUTEX is not None:
            address = self._flags.address + page * PAGE
            _syscall(_SYS_FUTEX, address, _FUTEX_WAKE, _EVERYONE, None, None, 0)

    @property
    def readers(self) -> int:
        """How many readers hold a doorbell now."""
        high = self._segment.words[BELL_HIGH_WATER]
        return sum(self._segment.claimed(page) for page in range(1, high + 1))

    def close(self) -> None:
        """Unmap."""
        self._flags.release()
        self._segment.close()


class BellPage:
    """The one page of a sleeper, mapped writable alone: what else is in the segment cannot be reached from here.

    Owns its mapping, not the descriptor, which may be closed once it is made.
    """

    def __init__(self, fd: int, page: int) -> None:
        self._map = mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=page * PAGE)
        self._words = memoryview(self._map).cast("i")
        anchor = ctypes.c_char.from_buffer(self._map)
        self._address = ctypes.addressof(anchor)
        del anchor  # an exported pointer would keep the mapping from closing
        self._timeout = 0.0
        self._limit = ctypes.byref(_Timespec(0, 0))

    def wait(self, timeout: float, nothing_new: Callable[[], bool]) -> None:
        """Sleep up to `timeout` seconds, or until rung. Returns at once unless `nothing_new()`."""
        words = self._words
        words[0] = 1
        fence()
        if nothing_new():
            if _SYS_FUTEX is None:
                self._poll(timeout, nothing_new)
            else:
                if timeout != self._timeout:
                    self._timeout = timeout
                    self._limit = ctypes.byref(_Timespec(int(timeout), int(timeout % 1.0 * 1e9)))
                _syscall(_SYS_FUTEX, self._address, _FUTEX_WAIT, 1, self._limit, None, 0)
        words[0] = 0

    @staticmethod
    def _poll(timeout: float, nothing_new: Callable[[], bool]) -> None:
        deadline = time.monotonic() + timeout
        while nothing_new() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def ring(self) -> None:
        """Wake who sleeps on this page, from another process that has mapped it."""
        self._words[0] = 0
        if _SYS_FUTEX is not None:
            _syscall(_SYS_FUTEX, self._address, _FUTEX_WAKE, _EVERYONE, None, None, 0)

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()


class Doorbell:
    """The reader's side: a page of its own, held until it is closed. Raises SegmentError when all are taken.

    `fd` and `page` are what another process needs to sleep in this one's place: see BellPage.
    """

    def __init__(self, tape_name: str) -> None:
        self._segment = Segment.attach(bells_name(tape_name), BELL_MAGIC, writable=True)
        for page in range(1, MAX_BELLS + 1):
            if self._segment.claim(page):
                break
        else:
            self._segment.close()
            raise SegmentError(f"all {MAX_BELLS} doorbells of {tape_name!r} are taken")
        with self._segment.lock():
            self._segment.words[BELL_HIGH_WATER] = max(page, self._segment.words[BELL_HIGH_WATER])
        self.page = page
        self._own = BellPage(self._segment.fd, page)
        self.wait = self._own.wait
        self.ring = self._own.ring

    @property
    def fd(self) -> int:
        """The segment's descriptor, which holds the page."""
        return self._segment.fd

    def close(self) -> None:
        """Give the page back."""
        self._own.close()
        self._segment.close()
