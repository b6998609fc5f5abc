"""Measure everything and write it down: `python benchmarks/latency.py [--quick] [--seconds N] [--rounds N]`.

Writes RESULTS.md, results.json and latency.png beside this file; `--quick` (a smoke test of some 40 seconds
whose figures mean little) writes to runs/benchmarks instead, and so does a run of a part (`--only`).
A measurement that fails is reported as failed, and the exit code is 1.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from benchmarks import lifecycle, memory, pipeline, slow_clients, throughput
from benchmarks.machine import describe_machine
from benchmarks.results import Results, Settings, to_json
from config import ROOT

HERE: Final = Path(__file__).resolve().parent
ASIDE: Final = ROOT / "runs" / "benchmarks"
FULL: Final = Settings(
    rounds=3, seconds=3.0, warm_s=1.0, throughput_s=1.5, slow_rounds=7, slow_s=2.0, starts=3, kills=3, idle_s=5.0
)
QUICK: Final = Settings(
    rounds=1, seconds=0.8, warm_s=0.0, throughput_s=0.3, slow_rounds=1, slow_s=0.7, starts=1, kills=1, idle_s=1.0
)


def measure_all(settings: Settings, wanted: list[str], say: Callable[[str], None]) -> tuple[Results, dict[str, str]]:
    """Run what is wanted; what fails is in the second answer, by name, with the reason."""
    found = Results()
    failures: dict[str, str] = {}
    parts: dict[str, Callable[[], None]] = {
        "memory": lambda: _memory(found, settings),
        "pipeline": lambda: _pipeline(found, settings, failures, say),
        "throughput": lambda: _blasts(found, settings, say),
        "providers": lambda: _providers(found, settings, say),
        "strategy": lambda: _strategy(found, settings, say),
        "slow_clients": lambda: _slow_clients(found, settings, say),
        "first_order": lambda: _first_order(found, settings, say),
        "recovery": lambda: _recovery(found, settings, say),
        "idle": lambda: _idle(found, settings, say),
    }
