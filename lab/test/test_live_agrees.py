"""A live run and its evaluation: the same files, byte for byte."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab import evaluate
from lab.replay import replay
from lab.test.live import differing, manifest, market, recorded


def agrees(run: Path, folder: Path) -> None:
    known = manifest(run)
    assert (known["comparable"], known["why_not"]) == (True, [])
    evaluate(config=run / "config.json", out=folder, report=False)
    assert differing(run, folder) == []


def test_a_live_run_and_its_evaluation_are_the_same_bytes(live_run: Path, tmp_path: Path) -> None:
    agrees(live_run, tmp_path / "evaluation")


def test_the_agreement_is_about_something(live_run: Path) -> None:
    trades = (live_run / "trades.csv").read_text()
    assert all(f",{name}," in trades for name in ("kinds", "crossover", "news"))
    kinds = set()
    denied = backs = 0
    for line in (live_run / "events.jsonl").read_bytes().splitlines():
        event = msgspec.json.decode(line)
        if event["type"] == "order":
            kinds.add(event["order_type"])
            backs += event["tag"] == "back"
        denied += event["type"] == "report" and event["status"] == "Rejected"
    assert kinds == {"MARKET", "LIMIT", "STOP", "STOP_LIMIT"}
    assert denied > 10
    assert backs > 10


def test_a_recorded_run_replays_to_the_same_orders(live_run: Path) -> None:
    result = replay(live_run)
    assert result.same, str(result)
    assert sum(result.orders.values()) > 1000


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 120))
def test_twenty_seeds_agree(tmp_path: Path, seed: int) -> None:
    run = recorded(tmp_path / "live", **market(seed))
    agrees(run, tmp_path / "evaluation")
    assert replay(run).same


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "changes",
    [
        {"Gateway": {"provider": "csv", "loop": True, "pace": {"mode": "ticks_per_s", "ticks_per_s": 4000}}},
        {"OrderManager": {"execution": {"partial_fills": 0.3, "latency_jitter_ms": 30, "fill": "next"}}},
        {"OrderManager": {"account_every": 1, "execution": {"limit_fill": "touch", "commission_fixed": 1.5}}},
    ],
    ids=["epochs of a file", "partial fills and jitter", "an account row a tick"],
)
def test_other_markets_and_terms_agree(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = market(5, **changes)
    if settings["Gateway"]["provider"] == "csv":
        settings["run"]["duration_s"] = 7.5  # 30,000 ticks, two and a half passes
    agrees(recorded(tmp_path / "live", **settings), tmp_path / "evaluation")
