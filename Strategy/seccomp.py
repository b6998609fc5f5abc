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
    *(
        "read",
        "readv",
        "pread64",
        "write",
        "writev",
        "pwrite64",
        "lseek",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "fcntl",
    ),
    *(
        "open",
        "openat",
        "stat",
        "fstat",
        "lstat",
        "newfstatat",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "getdents64",
        "getcwd",
        "statfs",
        "fstatfs",
    ),
    *("mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "mlock", "munlock", "membarrier"),
    *(
        "futex",
        "futex_waitv",
        "futex_wait",
        "futex_wake",
        "set_robust_list",
        "set_tid_address",
        "rseq",
        "sched_yield",
        "sched_getaffinity",
    ),
    *(
        "nanosleep",
        "clock_nanosleep",
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "time",
        "times",
        "getrusage",
    ),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait"),
    *("sendto", "recvfrom", "sendmsg", "recvmsg", "shutdown", "getsockname", "getpeername", "getsockopt"),
    *(
        "getpid",
        "gettid",
        "getppid",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "uname",
        "sysinfo",
        "getrandom",
        "getcpu",
    ),
    *("exit", "exit_group"),
)
_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # a terminal? its size; bytes; flags
_PRCTLS: Final = (15, 16)  # set and get a thread's name
_CLONE_THREAD: Final = 0x10000
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
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


def restrict(seccomp: Any, *, files_restricted: bool) -> int | None:
    """Keep only the calls on the list. Returns the descriptor on which others are noticed; None where the
    kernel cannot: then they fail uncounted.

    `files_restricted`: Landlock decides about files; otherwise nothing can be opened for writing, at least.
    Raises OSError.
    """
    try:
        chosen = _make(seccomp, seccomp.NOTIFY, files_restricted=files_restricted)
        chosen.load()
    except OSError:
        _make(seccomp, seccomp.ERRNO(errno.EPERM), files_restricted=files_restricted).load()
        return None
    found = int(seccomp._libseccomp.seccomp_notify_fd(chosen._filter))  # its own class has no way to give it
    return found if found >= 0 else None


def _make(seccomp: Any, otherwise: int, *, files_restricted: bool) -> Any:
    made = seccomp.SyscallFilter(otherwise)
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ERRNO(errno.ENOSYS))  # 32-bit and x32 calls: never a kill
    arg, equal, masked = seccomp.Arg, seccomp.EQ, seccomp.MASKED_EQ

    def allow(name: str, *conditions: Any) -> None:
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0:  # not every architecture has all of them
            made.add_rule(seccomp.ALLOW, name, *conditions)

    for name in ALLOWED:
        if name in ("open", "openat") and not files_restricted:
            allow(name, arg(1 if name == "open" else 2, masked, _WRITING, 0))
        else:
            allow(name)
    for request in _IOCTLS:
        allow("ioctl", arg(1, equal, request))
    for option in _PRCTLS:
        allow("prctl", arg(0, equal, option))
    allow("clone", arg(0, masked, _CLONE_THREAD, _CLONE_THREAD))
    made.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags cannot be looked at: libraries use clone
    allow("tgkill", arg(0, equal, os.getpid()))
    allow("prlimit64", arg(0, equal, 0), arg(2, equal, 0))
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

    def turn(self) -> None:
        """Answer those that wait, at most AT_ONCE."""
        for _ in range(AT_ONCE):
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLIN:
                self.ended = bool(ready)
                return
            self._answer_one()

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
                name = f"system call {number}"
            self._names[number] = name
        return self._names[number]

    def close(self) -> None:
        """Let go of the descriptor: whoever calls then gets ENOSYS."""
        os.close(self._fd)
