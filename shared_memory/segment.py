"""Named shared-memory segments: files in /dev/shm (elsewhere: in the temporary folder), mapped.

Plain files instead of `multiprocessing.shared_memory`, because its resource tracker destroys a segment
when a *reader* exits (bpo-38119), and because a file has what we need: `flock`, `posix_fallocate`, an
atomic `link`, and pages a kernel can map read-only.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import platform
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from shared_memory.layout import (
    CAPACITY,
    GENERATION,
    LAYOUT_VERSION,
    MAGIC,
    OWNER_PID,
    RUN_ID_BYTES,
    RUN_ID_OFFSET,
    STATE,
    STATE_CLOSED,
    VERSION,
)

SHM_DIR: Final = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
TOTAL_STORE_ORDER: Final = platform.machine().lower() in ("x86_64", "amd64")
"""On x86-64 loads and stores are seen in program order; elsewhere pure Python, which cannot fence, locks."""

_MAP_FLAGS: Final = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
"""Page tables are filled at once: a page fault in the middle of a burst costs tens of microseconds."""
_FLOCK_FORMAT: Final = "hhqqi"  # struct flock on 64-bit Linux
_fence_lock = threading.Lock()


class SegmentError(Exception):
    """A segment that cannot be made or used; the message says which and why."""


class SegmentInUse(SegmentError):
    """A live process owns the segment."""


class SegmentMissing(SegmentError):
    """There is no such segment (yet)."""


def fence() -> None:
    """A full memory fence: taking a free lock is a locked instruction."""
    with _fence_lock:
        pass


class SegmentLock:
    """`with segment.lock():`, made once per segment: a generator would cost a microsecond a batch."""

    __slots__ = ("_segment",)

    def __init__(self, segment: "Segment") -> None:
        self._segment = segment

    def __enter__(self) -> None:
        self._segment.acquire()

    def __exit__(self, *_: object) -> None:
        self._segment.release()


class Segment:
    """One mapped file. Owns its descriptor and mapping; `close` releases both, `unlink` removes the name."""

    def __init__(self, name: str, fd: int, writable: bool) -> None:
        self.name = name
        self.path = SHM_DIR / name
        self._temporary: Path | None = None  # its name until it is published, where it needs one
        self.fd = fd
        self.writable = writable
        self._pid = os.getpid()
        self._thread_lock = threading.Lock()
        self._lock = SegmentLock(self)
        self.map: mmap.mmap
        self.bytes: memoryview
        self.words: memoryview
        self._map()

    def _map(self) -> None:
        rights = mmap.PROT_READ | mmap.PROT_WRITE if self.writable else mmap.PROT_READ
        self.map = mmap.mmap(self.fd, os.fstat(self.fd).st_size, _MAP_FLAGS, rights)
        self.bytes = memoryview(self.map)
        self.words = self.bytes.cast("q")

    # ------------------------------------------------------------------------------------------ making

    @classmethod
    def prepare(cls, name: str, size: int, key: str) -> "Segment":
        """A new, zeroed, unnamed-yet segment of `size` bytes, fully reserved; `publish` gives it its name.

        Raises SegmentError naming the configuration `key` when there is not enough space.
        """
        fd, temporary = _nameless_file(name)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size)
            else:
                os.ftruncate(fd, size)
        except OSError as fault:
            os.close(fd)
            if temporary is not None:
                temporary.unlink()
            if fault.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise SegmentError(
                    f"not enough shared memory for {name}: {size:,} bytes wanted in {SHM_DIR}; "
                    f"make {key} smaller or {SHM_DIR} larger"
                ) from None
            raise
        segment = cls(name, fd, writable=True)
        segment._temporary = temporary
        return segment

    def publish(self, replace: bool) -> bool:
        """Give the segment its name, all at once. False if the name is taken and not to be replaced."""
        while True:
            try:
                if self._temporary is None:  # a directory descriptor makes it linkat, which follows the link
                    os.link(f"/proc/self/fd/{self.fd}", self.path, src_dir_fd=self.fd, follow_symlinks=True)
                else:
                    self.path.hardlink_to(self._temporary)
            except FileExistsError:
                if not replace:
                    return False
                self.path.unlink(missing_ok=True)
            else:
                self._forget_temporary()
                return True

    @classmethod
    def attach(cls, name: str, magic: int, writable: bool = False) -> "Segment":
        """Map an existing segment. Raises SegmentMissing, or SegmentError if it is not what it should be."""
        try:
            fd = os.open(SHM_DIR / name, os.O_RDWR if writable else os.O_RDONLY)
        except FileNotFoundError:
            raise SegmentMissing(f"no shared memory segment {name!r}") from None
        except OSError as fault:
            raise SegmentError(f"shared memory segment {name!r}: {fault.strerror}") from None
        if os.fstat(fd).st_size < mmap.PAGESIZE:
            os.close(fd)
            raise SegmentError(_foreign(name, "it is smaller than a header"))
        segment = cls(name, fd, writable)
        found = (segment.words[MAGIC], segment.words[VERSION])
        if found != (magic, LAYOUT_VERSION):
            segment.close()
            raise SegmentError(
                _foreign(
                    name,
                    f"its layout is {found[0]:#x} version {found[1]}, not {magic:#x} version {LAYOUT_VERSION}",
                )
            )
        return segment

    def remap_writable(self) -> None:
        """Turn a read-only mapping into a writable one of the same segment."""
        fd = os.open(_fd_path(self.fd, self.path), os.O_RDWR)
        self._unmap()
        os.close(self.fd)
        self.fd, self.writable = fd, True
        self._map()

    # ------------------------------------------------------------------------------------------ header

    def write_header(self, magic: int, capacity: int, run_id: str, generation: int, state: int) -> None:
        """Fill the common header of a new segment."""
        self.words[VERSION] = LAYOUT_VERSION
        self.words[CAPACITY] = capacity
        self.words[OWNER_PID] = os.getpid()
        self.words[GENERATION] = generation
        self.words[STATE] = state
        text = run_id.encode()[:RUN_ID_BYTES]
        self.bytes[RUN_ID_OFFSET : RUN_ID_OFFSET + len(text)] = text
        self.words[MAGIC] = magic

    @property
    def run_id(self) -> str:
        """The run the segment belongs to."""
        return bytes(self.bytes[RUN_ID_OFFSET : RUN_ID_OFFSET + RUN_ID_BYTES]).rstrip(b"\0").decode()

    @property
    def capacity(self) -> int:
        """Records or slots."""
        return int(self.words[CAPACITY])

    @property
    def generation(self) -> int:
        """How often the segment was adopted, plus one."""
        return int(self.words[GENERATION])

    @property
    def closed(self) -> bool:
        """Whether the owner has stopped or replaced the segment, or somebody removed its name."""
        return bool(self.words[STATE] == STATE_CLOSED) or not self.named

    @property
    def named(self) -> bool:
        """Whether it still has a name by which others find it."""
        return os.fstat(self.fd).st_nlink > 0

    # ------------------------------------------------------------------------------------------- locks

    def lock(self) -> "SegmentLock":
        """The segment's exclusive lock, between any processes and threads; the kernel frees a killed holder's."""
        return self._lock

    def acquire(self) -> None:
        """Wait for the lock and hold it."""
        if self._pid != os.getpid():
            self._reopen_after_fork()
        self._thread_lock.acquire()
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        self._thread_lock.release()

    def read_fence(self) -> None:
        """Loads before it are done before loads after it. Outside x86-64 by way of the kernel: take the lock."""
        if not TOTAL_STORE_ORDER:
            with self._lock:
                pass

    def _reopen_after_fork(self) -> None:
        """A forked child shares its parent's lock: give it a descriptor, and so a lock, of its own."""
        inherited = self.fd
        self.fd = os.open(_fd_path(inherited, self.path), os.O_RDWR if self.writable else os.O_RDONLY)
        os.close(inherited)
        self._pid = os.getpid()
        self._thread_lock = threading.Lock()

    def claim(self, byte: int = 0) -> bool:
        """Hold `byte` of the file until this descriptor closes (or its process dies); False if it is held."""
        if not hasattr(fcntl, "F_OFD_SETLK"):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError:
                return False
            return True
        request = struct.pack(_FLOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, request)
        except OSError as fault:
            if fault.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def claimed(self, byte: int, count: int = 1) -> bool:
        """Whether another descriptor holds any of `count` bytes from `byte` on."""
        if not hasattr(fcntl, "F_OFD_GETLK"):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, count, byte)
            except OSError:
                return True
            fcntl.lockf(self.fd, fcntl.LOCK_UN, count, byte)
            return False
        request = struct.pack(_FLOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, byte, count, 0)
        answer = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, request)
        return bool(struct.unpack(_FLOCK_FORMAT, answer)[0] != fcntl.F_UNLCK)

    # --------------------------------------------------------------------------------------------- end

    def close(self) -> None:
        """Unmap and close; also what `claim` held is free again."""
        if self.fd >= 0:
            self._forget_temporary()
            self._unmap()
            os.close(self.fd)
            self.fd = -1

    def _forget_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def _unmap(self) -> None:
        self.words.release()
        self.bytes.release()
        self.map.close()

    def unlink(self) -> None:
        """Remove the segment's name, if it is still this segment's."""
        with contextlib.suppress(FileNotFoundError):
            named, mine = self.path.stat(), os.fstat(self.fd)
            if (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
                self.path.unlink()


def _foreign(name: str, why: str) -> str:
    return (
        f"{SHM_DIR / name} is not a segment of this version ({why}): "
        "remove the file if nothing uses it, or change OrderBook.shared_memory_name"
    )


def _nameless_file(name: str) -> tuple[int, Path | None]:
    """A new file that vanishes with a killed maker; where there is no such thing, one with a temporary name."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # not every file system can
            return os.open(SHM_DIR, os.O_TMPFILE | os.O_RDWR, 0o600), None
    fd, path = tempfile.mkstemp(prefix=f".{name}.", dir=SHM_DIR)
    return fd, Path(path)


def _fd_path(fd: int, path: Path) -> str:
    """A path that opens the same file anew, also when its name has gone."""
    return f"/proc/self/fd/{fd}" if sys.platform == "linux" else str(path)


def unlink_stale(name: str, magic: int) -> bool:
    """Remove a segment that no live process owns. True if it is gone now, False if its owner lives."""
    try:
        segment = Segment.attach(name, magic, writable=True)
    except SegmentMissing:
        return True
    except SegmentError:
        return False
    try:
        if not segment.claim():
            return False
        segment.words[STATE] = STATE_CLOSED
        segment.unlink()
        return True
    finally:
        segment.close()
