"""The acceptance of the lab: a simulated market, a strategy that trades on it, its files, and all of it again."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lab import evaluate
from lab.replay import replay
from lab.test.live import PATIENCE_S, differing, manifest, recorded
from runtime.status_socket import connect
from testing.harness import ROOT, deep_update, running, system_config, wait_until, write_config

QUICKLY: dict[str, Any] = {
    "run": {"duration_s": 300},
    "Gateway": {"schedule": {"speed": 100}},
    "Recorder": {"enabled": True, "report": False},
}
OU: dict[str, Any] = json.loads((ROOT / "configs" / "ou.json").read_bytes())
CROSSOVER = "strategies/sma_crossover"


def simulated_market(folder: Path) -> Path:
    """`configs/ou.json` on free ports."""
    return write_config(folder, deep_update(system_config(folder, Recorder={"enabled": True}), OU))


def parts(folder: Path) -> dict[str, Any]:
    """What the running system says of itself."""
    (run,) = folder.glob("runs/*")
    with connect(run / "status.sock") as link, link.makefile() as lines:
        found: dict[str, Any] = json.loads(lines.readline())["parts"]
        return found


def sim(folder: Path, *arguments: object, **env: str) -> str:
    """What a `sim` command prints, in a process of its own; it succeeds."""
    with running(["cli.py", *map(str, arguments)], folder, env) as process:
        assert process.popen.wait(PATIENCE_S) == 0, process.output
        return process.output


def test_a_simulated_market_is_traded_live_and_an_evaluation_makes_the_same_trades(tmp_path: Path) -> None:
    config = simulated_market(tmp_path)
    options = ("--headless", "--duration", "60s", "--speed", "15", "--strategies", CROSSOVER)
    with running(["cli.py", "run", "--config", str(config), *options], tmp_path) as live:
        wait_until(lambda: not live.alive or list(tmp_path.glob("runs/*/status.sock")), "the status socket")

        def profit() -> float:
            assert live.alive, live.output
            lanes = parts(tmp_path).get("order_manager", {}).get("lanes", [])
            own = [lane for lane in lanes if lane["strategy_id"] == "sma_crossover" and lane["commission"]]
            return float(sum(lane["equity"] - lane["initial"] for lane in own))

        assert wait_until(profit, "a trade, and what it has brought")
        assert live.popen.wait(PATIENCE_S) == 0, live.output
    (run,) = tmp_path.glob("runs/*")
    fills = list(csv.DictReader((run / "trades.csv").read_text().splitlines()))
    assert len(fills) > 5
    assert {fill["symbol"] for fill in fills} == {"OU"}
    assert {fill["side"] for fill in fills} == {"BUY", "SELL"}
    assert "sma_crossover" in (run / "report.html").read_text()
    known = manifest(run)
    assert (known["comparable"], known["why_not"]) == (True, [])
    assert (known["symbols"], known["ticks"]) == (["OU", "OU.MODEL"], 600)

    sim(tmp_path, "eval", "--config", run / "config.json", "--out", tmp_path / "same", PYTHONHASHSEED="1")
    sim(tmp_path, "eval", "--like", run, "--out", tmp_path / "like", PYTHONHASHSEED="2")

    for evaluation in (tmp_path / "same", tmp_path / "like"):
        for name in ("trades.csv", "equity.csv"):
            assert (evaluation / name).read_bytes() == (run / name).read_bytes(), evaluation / name
        assert (evaluation / "report.html").stat().st_size > 10_000
    assert "requests are the same" in sim(tmp_path, "replay", run)
    assert sim(tmp_path, "diff", run, tmp_path / "like") == "the same: every record, every order, every row\n"


@pytest.mark.chaos
@pytest.mark.parametrize("model", ["correlated", "gbm", "heston", "jump", "ou", "regime"])
def test_every_shipped_market_is_evaluated_and_replayed_as_it_was_traded(tmp_path: Path, model: str) -> None:
    shipped = json.loads((ROOT / "configs" / f"{model}.json").read_bytes())
    run = recorded(tmp_path / "live", **deep_update(shipped, QUICKLY))
    known = manifest(run)
    assert (known["comparable"], known["why_not"]) == (True, [])
    assert known["fills"] > 0
    evaluate(config=run / "config.json", out=tmp_path / "evaluation", report=False)
    assert differing(run, tmp_path / "evaluation") == []
    assert replay(run).same
