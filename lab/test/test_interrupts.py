"""Ctrl-C while a strategy runs in the command line's own process, and a strategy that does not come back there."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.interrupts import Patience
from testing.harness import ROOT, wait_until
from trading_lib.strategy_file import TakenBack


@pytest.mark.parametrize("presses", [1, 2])
def test_an_evaluation_ends_at_once_or_when_the_strategy_never_returns_at_the_second_press(
    tmp_path: Path, presses: int
) -> None:
    path = tmp_path / "strategy.py"
    body = "while True: pass" if presses == 2 else "time.sleep(0.001)"
    mark = f"open({str(tmp_path / 'runs')!r}, 'w').close()"
    path.write_text(f"import time\ndef on_tick(ctx, tick):\n    {mark}\n    {body}\n")
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "cli.py", "eval", "--strategy", str(path), "--data", "data/market_data-1.csv"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    wait_until(lambda: (tmp_path / "runs").exists())
    process.send_signal(signal.SIGINT)
    wait_until(lambda: f"at {path} line 4" in said.read_text() or presses == 1)
    if presses == 2:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) in (-signal.SIGINT, 1, 130)
    assert "interrupted" in said.read_text()


def test_who_comes_no_further_is_taken_back_each_time_and_who_does_is_not() -> None:
    patience = Patience(0.05)
    before = signal.getsignal(signal.SIGUSR2)
    with patience.watching():
        for _ in range(2):
            with pytest.raises(TakenBack), patience.until(lambda: 7):
                while True:
                    pass
        end = time.monotonic() + 0.3
        with patience.until(time.monotonic_ns):
            while time.monotonic() < end:
                pass
        end = time.monotonic() + 0.3
        while time.monotonic() < end:  # many that are short, and each as far as the one before
            with patience.until(lambda: 7):
                pass
    assert signal.getsignal(signal.SIGUSR2) is before
