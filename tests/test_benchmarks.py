"""The benchmarks run, and say what they promise to say; their figures are nobody's business here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from config import ROOT

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("zmq", "matplotlib")),
    reason="the benchmarks' own packages are not installed",
)

PERCENTILES = {"p50", "p90", "p99", "p99.9", "max", "n"}
RATE = "10000"


def run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python benchmarks/latency.py --quick …`, writing to `out`."""
    command = [sys.executable, "benchmarks/latency.py", "--quick", "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_a_quick_run_writes_the_promised_figures(tmp_path: Path) -> None:
    parts = ("memory", "pipeline", "throughput")
    done = run(tmp_path, "--rate", RATE, "--seconds", "1", *(f"--only={part}" for part in parts))
    assert done.returncode == 0, done.stdout + done.stderr

    found = json.loads((tmp_path / "results.json").read_text())
    for key in (
        "tick_to_order_us",
        "rung_tick_to_order_us",
        "tuned_tick_to_order_us",
        "pyzmq_tick_to_order_us",
        "pyzmq_messages_only_tick_to_order_us",
        "pure_python_tick_to_order_us",
    ):
        assert found[key].keys() == {RATE}
        assert found[key][RATE].keys() == PERCENTILES
        assert found[key][RATE]["n"] > 0
        assert 0 < found[key][RATE]["p50"] <= found[key][RATE]["p99"] <= found[key][RATE]["max"]
    for pipeline in ("compiled", "rung", "tuned", "pure_python", "pyzmq", "pyzmq_bare"):
        stages = found["stages_us"][pipeline][RATE]
        assert stages.keys() == {"due→sent", "tick→book", "book→decision", "decision→order", "tick→order"}
        assert len(found["cpu_percent"][pipeline][RATE]) == len(found["rss_mb"][pipeline][RATE]) == 4
    assert found["sustained_ticks_per_s"] > 0
    assert found["pure_python_ticks_per_s"] > 0
    assert found["provider_ticks_per_s"] is None  # not asked for
    assert found["memory"]["read_ns"] > 0
    assert found["machine"]["cores"] > 0
    assert len(found["load"]["before"]) == len(found["load"]["after"]) == 3
    assert found["failures"] == {}
    assert {row["met"] for row in found["targets"]} <= {True, False, None}

    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("not measured") == sum(row["met"] is None for row in found["targets"])
    assert str(ROOT) not in page.replace(str(tmp_path), "")
    assert (tmp_path / "latency.png").stat().st_size > 10_000


def test_a_measurement_that_fails_is_reported_and_the_others_still_run(tmp_path: Path) -> None:
    from benchmarks import latency
    from benchmarks.machine import describe_machine
    from benchmarks.results import Results, to_json

    def broken(found: Results, say: latency.Say) -> None:
        raise RuntimeError("planted")

    found = Results(
        latency.QUICK, "python benchmarks/latency.py", "today", describe_machine(), [0.0, 0.0, 0.0]
    )
    latency.measure_all(found, {"broken": broken, "memory": latency.measure_memory}, lambda _: None)
    found.load_after = found.load_before
    latency.write(found, tmp_path)

    assert found.failures == {"broken": "RuntimeError: planted"}
    assert found.memory is not None
    assert to_json(found)["failures"] == found.failures
    assert "| broken | RuntimeError: planted |" in (tmp_path / "RESULTS.md").read_text()
