"""seccomp: a process keeps only the system calls on a list; any other fails with EPERM, counted by name.

What is not on the list is handed to the trusted parent, which answers it (`DenialCounter`): so it can be
counted, and who makes such calls without end waits for the parent, never the other way round.
"""

import contextlib
import errno
import fcntl
import os
import select
import struct
from collections import Counter
from typing import Any, Final

ALLOWED: Final = (
    "read readv pread64 write writev pwrite64 lseek close close_range dup dup2 dup3 "
    "stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat "
    "getdents64 getcwd statfs fstatfs "
    "munmap mprotect madvise brk membarrier "
    "set_robust_list set_tid_address rseq sched_yield sched_getaffinity "
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage "
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall "
    "poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "recvfrom recvmsg shutdown getsockname getpeername getsockopt "
    "getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid "
    "uname sysinfo getrandom getcpu exit exit_group"
)
_WHOLE, _INT = (1 << 64) - 1, (1 << 32) - 1
_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # a terminal? its size; bytes; flags
_FCNTLS: Final = (
    0,
    1,
    2,
    3,
    4,
    1030,
)  # copies and flags: no locks and no leases, which others would wait for
_PRCTLS: Final = (15, 16)  # set and get a thread's name
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x100
_CLONE_THREAD, _CLONE_NEW_ANYTHING = 0x10000, 0x7E020000
_FUTEX_PRIVATE, _FUTEX_REALTIME, _FUTEX_OPERATIONS = 128, 256, (0, 1, 9, 10)  # wait, wake, and with a bitset
_MSG_FASTOPEN: Final = 0x20000000  # connects

Condition = tuple[int, int, int]  # argument, mask, value: allowed when argument & mask == value
CONDITIONAL: Final[tuple[tuple[str, *tuple[Condition, ...]], ...]] = (
    ("open", (1, _WRITING, 0)),
    ("openat", (2, _WRITING, 0)),
    # memory that its limit does not count: shared without a file, and stacks
    ("mmap", (3, _MAP_SHARED | _MAP_GROWSDOWN, 0)),
    ("mmap", (3, _MAP_ANONYMOUS | _MAP_GROWSDOWN, 0)),
    ("clone", (0, _CLONE_THREAD | _CLONE_NEW_ANYTHING, _CLONE_THREAD)),
    # on shared pages no requeueing: it would carry off others who sleep there
    ("futex", (1, _FUTEX_PRIVATE, _FUTEX_PRIVATE)),
    *(("futex", (1, _INT & ~_FUTEX_REALTIME, operation)) for operation in _FUTEX_OPERATIONS),
    ("sendto", (3, _MSG_FASTOPEN, 0), (4, _WHOLE, 0)),
    ("sendmsg", (2, _MSG_FASTOPEN, 0)),
    ("prlimit64", (0, _INT, 0), (2, _WHOLE, 0)),
    *(("ioctl", (1, _INT, request)) for request in _IOCTLS),
    *(("fcntl", (1, _INT, command)) for command in _FCNTLS),
    *(("prctl", (0, _INT, option)) for option in _PRCTLS),
)
WITHOUT: Final = {"clone3": errno.ENOSYS, "mremap": errno.ENOMEM, "mbind": errno.ENOSYS}
"""Libraries do without these, uncounted: the flags of clone3 cannot be looked at, and mremap makes more of a
file writable than the page that was given. LLVM asks for mbind with each kernel."""
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, address, arguments
_ANSWER: Final = struct.Struct("=QqiI")  # id, value, error, flags
_RECEIVE: Final = 0xC0000000 | _NOTIFICATION.size << 16 | ord("!") << 8
_SEND: Final = 0xC0000000 | _ANSWER.size << 16 | ord("!") << 8 | 1
AT_ONCE: Final = 64  # calls answered in a turn


def library() -> Any:
    """The module that makes filters; None where there is no libseccomp."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):
        return None
    return pyseccomp


def restrict(seccomp: Any) -> int | None:
    """Keep only the calls on the list, with `seccomp` from `library()`. Raises OSError.

    Returns the descriptor on which others are noticed; None where the kernel cannot: they fail uncounted then.
    """
    try:
        chosen = _make(seccomp, seccomp.NOTIFY)
        chosen.load()
    except OSError:
        _make(seccomp, seccomp.ERRNO(errno.EPERM)).load()
        return None
    found = int(seccomp._libseccomp.seccomp_notify_fd(chosen._filter))  # its own class has no way to give it
    return found if found >= 0 else None


def _make(seccomp: Any, otherwise: int) -> Any:
    made = seccomp.SyscallFilter(otherwise)
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ERRNO(errno.ENOSYS))  # 32-bit and x32 calls: never a kill

    def add(action: int, name: str, *conditions: Condition) -> None:
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0:  # not every architecture has all of them
            arguments = [seccomp.Arg(n, seccomp.MASKED_EQ, mask, value) for n, mask, value in conditions]
            made.add_rule(action, name, *arguments)

    for name in ALLOWED.split():
        add(seccomp.ALLOW, name)
    for name, *conditions in CONDITIONAL:
        add(seccomp.ALLOW, name, *conditions)
    add(seccomp.ALLOW, "tgkill", (0, _INT, os.getpid()))
    for name, error in WITHOUT.items():
        add(seccomp.ERRNO(error), name)
    return made


class DenialCounter:
    """The parent's side: answers with EPERM what a worker may not call. Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._names: dict[int, str] = {}
        self._seccomp = library()
        self.counts: Counter[str] = Counter()
        self.ended = False  # nobody is left who could call

    def fileno(self) -> int:
        """What is readable when a call waits for its answer."""
        return self._fd

    def turn(self, most: int = AT_ONCE) -> int:
        """Answer those that wait, at most so many; how many there were."""
        for answered in range(most):
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLIN:
                self.ended = bool(ready)
                return answered
            self._answer_one()
        return most

    def _answer_one(self) -> None:
        received = bytearray(_NOTIFICATION.size)
        with contextlib.suppress(
            FileNotFoundError, InterruptedError
        ):  # it was killed, or called away, meanwhile
            fcntl.ioctl(self._fd, _RECEIVE, received)
            identity, _, _, number, *_ = _NOTIFICATION.unpack(received)
            self.counts[self._name(number)] += 1
            fcntl.ioctl(self._fd, _SEND, _ANSWER.pack(identity, 0, -errno.EPERM, 0))

    def _name(self, number: int) -> str:
        if number not in self._names:
            try:
                name = self._seccomp.resolve_syscall(self._seccomp.Arch.NATIVE, number).decode()
            except ValueError:
                return "no system call"  # one name for all: a worker can make up any number of numbers
            self._names[number] = name
        return self._names[number]

    def close(self) -> None:
        """Let go of the descriptor: whoever calls then gets ENOSYS."""
        os.close(self._fd)
