"""What a worker gives up before it imports a strategy: every right but reading some folders and computing.

    sandbox.prepare()                           # in the zygote, once
    report = sandbox.lock_down(limits, keep)    # in the forked worker; there is no way back

Enforced by the kernel: Landlock for files, TCP and signals, seccomp for system calls, resource limits for
memory. Where a kernel has one of them not, the report says what is missing. docs/SANDBOX.md says the rest.
"""

import ctypes
import os
import resource
import site
import struct
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from Strategy import landlock, seccomp
from Strategy.seccomp import DenialCounter

__all__ = ["DenialCounter", "Limits", "Report", "lock_down", "prepare"]

KEPT_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
PROJECT: Final = Path(__file__).resolve().parents[1]
OWN_LIBRARY: Final = PROJECT / "trading_lib"  # strategies may import more of it
SYSTEM_FOLDERS: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/ld.so.cache",
)
THREADS_AT_ONCE: Final = 1024  # beyond all that run here now; the kernel counts those of a user, not root's
STACK_BYTES: Final = 64 << 20  # a main thread's, at most, where the system sets no limit
EMPTY_SPACE: Final = 16 << 30  # addresses beyond its memory; no limit counts their page tables: 1/512 of it
_PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 38, 4
_CAPABILITIES_V3, _CAP_DAC_READ_SEARCH = 0x20080522, 1 << 2
_MB: Final = 1 << 20


class Limits(msgspec.Struct, frozen=True):
    """What a strategy may still do: read these folders, have so much memory of its own, so many open files."""

    readable: tuple[str, ...]
    memory_mb: int
    files: int


class Report(msgspec.Struct, frozen=True):
    """What this kernel could not enforce, for a person; on which descriptor denied calls are noticed."""

    missing: tuple[str, ...]
    notify_fd: int | None


class _Prepared:
    """What must be known before the rights to look are gone."""

    def __init__(self) -> None:
        self.seccomp: Any = seccomp.library()
        paths = sysconfig.get_paths()
        libraries = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
        prefixes = f"{sys.prefix}/lib", f"{sys.base_prefix}/lib"  # not all below them: projects may lie there
        self.readable = [*libraries, *site.getsitepackages(), *prefixes]
        self.readable += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
        self.readable += [str(OWN_LIBRARY), *SYSTEM_FOLDERS]


_prepared: _Prepared | None = None


def prepare() -> None:
    """Look up what `lock_down` needs, before any fork: it imports nothing."""
    global _prepared
    _prepared = _Prepared()


def lock_down(limits: Limits, keep: Sequence[int]) -> Report:
    """Give up every right that is not needed; only the descriptors in `keep` stay open.

    Only the calling thread and those it starts are locked in: call it while there is no other. The caller
    passes `notify_fd` to its parent, and closes it, before anything of the user's runs. Raises OSError: then
    nothing of the user's may run.
    """
    prepared = _prepared or _Prepared()
    sys.dont_write_bytecode = True
    _forget_environment()
    _close_all_but(keep)
    _limit(limits)
    missing = [
        f"a strategy can read this whole project, its runs too: its file lies in {folder}"
        for folder in limits.readable
        if PROJECT.is_relative_to(Path(folder).resolve())
    ]
    if sys.platform != "linux":
        return Report(("strategies are not locked in: this system has neither Landlock nor seccomp",), None)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _drop_capabilities(libc)
    if not landlock.restrict([*prepared.readable, *limits.readable]):
        missing.append("a strategy can read every file that you can: this kernel has no Landlock")
    if prepared.seccomp is None:
        missing.append("a strategy can make any system call: there is no libseccomp (Debian: libseccomp2)")
        return Report(tuple(missing), None)
    notify_fd = seccomp.restrict(prepared.seccomp)
    if notify_fd is None:
        missing.append("denied system calls are not counted: this kernel cannot say who made them")
    return Report(tuple(missing), notify_fd)


def _forget_environment() -> None:
    for name in tuple(os.environ):
        if name not in KEPT_ENVIRONMENT:
            del os.environ[name]


def _close_all_but(keep: Sequence[int]) -> None:
    wanted = sorted({*keep})
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the soft limit may have been higher once
    end = highest if 0 < highest < _MB else _MB  # the kernel's own default for what a process can have
    for low, high in zip([-1, *wanted], [*wanted, end], strict=True):
        if high > low + 1:
            os.closerange(low + 1, high)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """As root keep only the right to read what belongs to others: where Landlock allows it."""
    header = struct.pack("=Ii", _CAPABILITIES_V3, 0)
    words = ctypes.create_string_buffer(24)  # two times effective, permitted, inheritable
    _check(libc.capget(header, words))
    effective, permitted, *_ = struct.unpack("=6I", words)
    kept = permitted & _CAP_DAC_READ_SEARCH
    _check(libc.capset(header, struct.pack("=6I", effective & kept, kept, 0, 0, 0, 0)))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")


def _limit(limits: Limits) -> None:
    """Memory counts from what the worker has now; what it shares with the zygote is not its own."""
    memory = limits.memory_mb * _MB
    wanted = [
        (resource.RLIMIT_DATA, _has_bytes("VmData") + memory),
        (resource.RLIMIT_AS, _has_bytes("VmSize") + memory + EMPTY_SPACE),
        (resource.RLIMIT_STACK, STACK_BYTES),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CORE, 0),
    ]
    if sys.platform == "linux":
        wanted.append((resource.RLIMIT_NPROC, _tasks() + THREADS_AT_ONCE))
    for what, limit in wanted:
        lowest = min(
            (now for now in resource.getrlimit(what) if now != resource.RLIM_INFINITY), default=limit
        )
        resource.setrlimit(what, (min(limit, lowest),) * 2)


def _tasks() -> int:
    """Threads of the whole system: the fourth field of /proc/loadavg is `running/all`."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def _has_bytes(field: str) -> int:
    """Of this process: private writable memory (`VmData`, what RLIMIT_DATA counts), or addresses (`VmSize`)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
    except FileNotFoundError:
        pass  # only Linux has it
    return 0
