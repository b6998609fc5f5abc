"""How much of an evaluation is done, and that nothing is drawn where no terminal is."""

import os
import pty
import subprocess
import sys

import pytest

from config import ROOT, Config, check_config
from lab.evaluation import Progress
from lab.progress import counting_bar, evaluation_bar, fraction


def config(duration_s: float = 10.0, **gateway: object) -> Config:
    return check_config({"symbols": ["A"], "run": {"duration_s": duration_s}, "Gateway": gateway})


def test_a_market_paced_in_ticks_is_done_by_ticks() -> None:
    found = config(pace={"mode": "ticks_per_s", "ticks_per_s": 100})
    assert fraction(found, Progress(600, 500, 0)) == 0.5
    assert fraction(found, Progress(2000, 1500, 0)) == 1.0


def test_a_market_paced_by_event_time_is_done_by_that() -> None:
    found = config(provider="random_walk", pace={"mode": "event"})
    assert fraction(found, Progress(1, 1, found.run.start_ns + 2_500_000_000)) == 0.25


def test_an_end_that_nobody_knows_is_no_share() -> None:
    assert fraction(config(0.0), Progress(1, 1, 1)) is None
    assert fraction(config(provider="csv", pace={"mode": "event"}), Progress(1, 1, 1)) is None


def test_without_a_terminal_nothing_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    with evaluation_bar(config()) as evaluated, counting_bar("x") as counted:
        assert (evaluated, counted) == (None, None)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_bar_is_on_the_standard_error_and_the_result_alone_on_the_other() -> None:
    arguments = ("eval", "--strategy", "strategies/momentum", "--data", "data/market_data-1.csv")
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "cli.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        drawn = os.read(ours, 1 << 16).decode(errors="replace")
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert "ticks" in drawn
    assert done.stdout.startswith("Strategy") and "\x1b" not in done.stdout
