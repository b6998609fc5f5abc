"""A Recorder on a processor that somebody else never leaves."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from Recorder.courtesy import HOPELESS, Courtesy
from Recorder.test.test_recorder_process import market
from testing.harness import ROOT, running, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="no idle class in this scheduler")


SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print('spinning', flush=True)\nwhile True: pass"
LEAVE = """
import sys
from runtime.scheduling import in_nobodys_way, like_everybody
in_nobodys_way()
sys.exit(not like_everybody())
"""


@contextlib.contextmanager
def never_left(cpu: int, folder: Path) -> Iterator[None]:
    """A processor that somebody else is always at work on."""
    with running(["-c", SPIN, str(cpu)], folder) as spinner:
        spinner.wait_for("spinning")
        yield


def permitted() -> bool:
    """Whether a process may leave the idle class here."""
    return subprocess.run([sys.executable, "-c", LEAVE], cwd=ROOT, check=False).returncode == 0


def test_a_starved_recorder_leaves_the_idle_class_until_it_has_caught_up(tmp_path: Path) -> None:
    if not permitted():
        pytest.skip("leaving the idle class needs a privilege here")
    cpu = min(os.sched_getaffinity(0))
    with market(tmp_path, 1 << 16) as place, place.recorder() as process:
        recorder = psutil.Process(process.pid)
        recorder.cpu_affinity([cpu])
        place.write(100)
        place.wait_for_records(100)
        assert os.sched_getscheduler(recorder.pid) == os.SCHED_IDLE

        def left() -> bool:
            place.write(5)  # some 1,000 a second
            return os.sched_getscheduler(recorder.pid) == os.SCHED_OTHER

        with never_left(cpu, tmp_path):
            wait_until(left, "it leaves the idle class")
            place.wait_for_records(place.tape.tail)
        wait_until(
            lambda: os.sched_getscheduler(recorder.pid) == os.SCHED_IDLE, "it is in nobody's way again"
        )
        assert place.manifest()["missed"] == 0


def test_who_may_not_leave_says_so_once_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Recorder.courtesy.like_everybody", lambda: False)
    monkeypatch.setattr("Recorder.courtesy.WINDOW_S", 0.0)
    warnings: list[str] = []
    waited = iter(range(0, 10_000, 100))
    courtesy = Courtesy(warnings.append, lambda: float(next(waited)))
    for _ in range(3):
        courtesy.look(caught_up=False)
    assert courtesy.starved == 3
    assert warnings == [HOPELESS]


def test_who_waits_with_nothing_to_do_is_not_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Recorder.courtesy.WINDOW_S", 0.0)
    waited = iter(range(0, 10_000, 100))
    courtesy = Courtesy(lambda _: None, lambda: float(next(waited)))
    courtesy.look(caught_up=True)
    assert courtesy.starved == 0


def test_a_new_run_begins_in_nobodys_way_and_may_be_starved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Recorder.courtesy.like_everybody", lambda: True)
    monkeypatch.setattr("Recorder.courtesy.in_nobodys_way", lambda: None)
    monkeypatch.setattr("Recorder.courtesy.WINDOW_S", 0.0)
    waited = iter(range(0, 10_000, 100))
    courtesy = Courtesy(lambda _: None, lambda: float(next(waited)))
    for _ in range(2):
        courtesy.look(caught_up=False)
        courtesy.look(caught_up=False)  # it hurries already
        courtesy.give_way()
    assert courtesy.starved == 2
