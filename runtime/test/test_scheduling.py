"""What a process asks of the scheduler, as the kernel tells it, in processes of their own."""

import os
import subprocess
import sys

import pytest

from testing.harness import ROOT

LINUX = sys.platform == "linux"
LOOK = """
import ctypes, os, struct
from runtime.scheduling import _SCHED_ATTR, _SCHED_SETATTR, short_turns
{before}
granted = short_turns("gateway")
found = ctypes.create_string_buffer(_SCHED_ATTR.size)
getattr_ = _SCHED_SETATTR + 1
assert ctypes.CDLL(None).syscall(getattr_, 0, found, _SCHED_ATTR.size, 0) == 0
_, policy, _, nice, _, turn, _, _ = _SCHED_ATTR.unpack(found.raw)
print(granted, policy, nice, turn)
"""


def told(before: str = "") -> list[str]:
    """Granted or not, and then the kernel's word for policy, niceness and turn in ns."""
    command = [sys.executable, "-c", LOOK.format(before=before)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(not LINUX, reason="the kernel of Linux is asked")
def test_a_short_turn_is_asked_for_and_nothing_else_changed() -> None:
    granted, policy, nice, turn = told("os.nice(3)")
    assert (granted, policy, nice) == (
        "True",
        str(os.SCHED_OTHER),
        str(os.getpriority(os.PRIO_PROCESS, 0) + 3),
    )
    if turn == "0":
        pytest.skip("this kernel has no turns of a length that can be asked for (before 6.12)")
    assert turn == "200000"


@pytest.mark.skipif(not LINUX, reason="the kernel of Linux is asked")
def test_who_runs_only_when_nobody_else_does_asks_for_no_turns() -> None:
    granted, policy, *_ = told("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))")
    assert (granted, policy) == ("False", str(os.SCHED_IDLE))
