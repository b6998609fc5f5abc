"""What a process asks of the kernel's scheduler. Where it has no such thing, everything works, later."""

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any, Final

NICENESS: Final = 10  # where the system knows no idle class
TURNS_NS: Final = {"orderbook": 100_000, "order_manager": 100_000, "gateway": 200_000, "worker": 500_000}
"""The less a part has to do at once, and the more wait for it, the shorter. 0.1 ms is the shortest there is."""
_PR_SET_TIMERSLACK: Final = 29
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
_SCHEDSTAT: Final = Path("/proc/self/schedstat")  # of the first thread: ns it ran, ns it waited, turns
_SCHED_ATTR: Final = struct.Struct(
    "=IIQiIQQQ"
)  # size, policy, flags, nice, priority, runtime, deadline, period


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def precise_timers() -> None:
    """Let this process's sleeps end within microseconds: Linux adds 50 µs of slack to each by default."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def short_turns(part: str) -> bool:
    """Ask for turns as TURNS_NS says; whether that was granted.

    Since 6.12 Linux lets who wakes up take the processor from who has longer turns (3 ms, as a rule, for every
    process on the machine); over time each gets as much as before. Without it a part that is handed something
    waits, now and then, until the one that handed it over goes to sleep, or until some browser does.
    """
    if sys.platform != "linux" or _SCHED_SETATTR is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, TURNS_NS[part], 0, 0)
    return bool(_libc().syscall(_SCHED_SETATTR, 0, wanted, 0) == 0)


def in_nobodys_way() -> None:
    """Run only where a processor has nothing else to do: whoever wakes up takes it from us at once."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def like_everybody(pid: int = 0) -> bool:
    """Have a process, or this one, leave the idle class; False where that takes privileges that we lack.

    Raises ProcessLookupError.
    """
    if hasattr(os, "SCHED_IDLE"):
        try:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        except PermissionError:
            return False
    return True


def waited_for_processor() -> float:
    """Seconds since this process began in which it could have run and others did; 0 where nobody tells."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
