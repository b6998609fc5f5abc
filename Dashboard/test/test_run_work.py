"""The child process of work on runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab import evaluate
from testing.harness import ROOT


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        evaluate(
            "strategies/sma_crossover/strategy.py", "data/market_data-1.csv", out=folder / name, report=False
        )
    return folder


def done(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "Dashboard.run_work", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def rows(found: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert found.returncode == 0, found.stderr
    return {name: values for name, *values in json.loads(found.stdout)["rows"]}


def test_runs_are_compared_and_a_seed_that_is_hidden_is_not_among_it(runs: Path) -> None:
    found = rows(done("compare", runs / "one", runs / "two"))
    assert found["seed"] == ["42", "42"]
    assert found["Fills"][0] == found["Fills"][1]
    settings = runs / "two" / "config.json"
    config = json.loads(settings.read_bytes())
    config["run"]["hide_seed"] = True
    settings.write_text(json.dumps(config))
    assert "seed" not in rows(done("compare", runs / "one", runs / "two"))


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    for what in ("compare", "instants", "report"):
        found = done(what, tmp_path / "nobody")
        assert found.returncode != 0
        assert found.stderr == f"{tmp_path}/nobody: no such folder\n"


def test_nothing_else_is_done() -> None:
    assert "ValueError: nonsense: nothing of the kind is done here" in done("nonsense").stderr
