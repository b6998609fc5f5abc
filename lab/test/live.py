"""Whole systems that record a run, as a person would start them."""

import json
import shutil
from pathlib import Path
from typing import Any

from testing.harness import deep_update, running, system_config, write_config

KINDS = {"id": "kinds", "path": "testing/strategies/every_kind.py"}
CROSSOVER = {"id": "crossover", "path": "strategies/sma_crossover/strategy.py"}
NEWS = {"id": "news", "path": "strategies/sma_news/strategy.py", "params": {"quantity": 20}}
PATIENCE_S = 60.0
SAME = ("trades.csv", "equity.csv", "matched_trades.csv", "prices.csv")  # byte for byte


def market(seed: int, **changes: Any) -> dict[str, Any]:
    """A minute of event time of a random walk, at sixty times its pace; orders are denied now and then."""
    tree: dict[str, Any] = {
        "run": {"seed": seed, "duration_s": 60},
        "Gateway": {
            "provider": "random_walk",
            "loop": False,
            "pace": {"mode": "event"},
            "schedule": {"speed": 60, "dt_fixed_ms": 50},
            "news": {"every_ticks": 20},
        },
        "OrderManager": {"risk": {"max_position": 100}, "account_every": 100},
        "Recorder": {"enabled": True, "report": False},
        "Strategy": {"strategies": [KINDS, CROSSOVER, NEWS]},
    }
    return deep_update(tree, changes)


def recorded(folder: Path, **settings: Any) -> Path:
    """`python main.py` until its source has ended; returns the run's folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with running(
        ["main.py", str(write_config(folder, system_config(folder, **settings)))], folder
    ) as process:
        assert process.popen.wait(PATIENCE_S) == 0, process.output
    (run,) = folder.glob("runs/*")
    return run


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return found


def differing(run: Path, evaluation: Path) -> list[str]:
    return [name for name in SAME if (run / name).read_bytes() != (evaluation / name).read_bytes()]
