"""The comparison with other engines runs, and says what it could not measure; its figures are nobody's business."""

import subprocess
import sys

from testing.harness import ROOT


def test_the_comparison_measures_ours_and_says_which_peers_are_missing() -> None:
    command = [sys.executable, "benchmarks/engines.py", "--ticks", "3000", "--rounds", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("3,000 ticks of one symbol; ")
    assert sum(line.startswith("  algosim ") and " ticks/s " in line for line in lines) == 2
    for peer in ("nautilus_trader", "backtesting.py"):
        (first, _) = [line for line in lines if line.startswith(f"  {peer} ")]
        assert " ticks/s " in first or first.endswith("is not installed (--peers)")
    assert lines[-1].startswith("load before ")
