"""`sim control`: an operator's words, and what becomes of a run that is going on."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.steer import NoLiveRun, UnknownAction, action_of, live_run, send
from OrderBook.control_client import ActionRefused
from testing.harness import ROOT, running, system_config, wait_until, write_config
from trading_lib.control import Cancel, Costs, DropFeed, KillSwitch, Model, Pause, Reset, Resume, Speed


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("pause", Pause()),
        ("resume", Resume()),
        ("speed 20", Speed(speed=20)),
        ("speed speed=0.5", Speed(speed=0.5)),
        ("reset", Reset()),
        ("reset 7", Reset(seed=7)),
        ("model sigma=0.5 theta=1", Model(changes={"sigma": 0.5, "theta": 1})),
        ("costs slippage_bps=3 strategy=mine", Costs(slippage_bps=3, strategy="mine")),
        ("cancel strategy=mine client_order_id=12.0", Cancel(strategy="mine", client_order_id="12.0")),
        ("kill-switch", KillSwitch()),
        ("kill-switch mine flatten=true", KillSwitch(strategy="mine", flatten=True)),
        ("drop-feed", DropFeed()),
    ],
)
def test_words_are_an_action(words: str, action: object) -> None:
    name, *rest = words.split()
    assert action_of(name, rest) == action


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("spede 5", "'spede': no such action, only"),
        ("speed", "missing required field `speed`"),
        ("speed 0", "speed"),
        ("speed fast", "speed"),
        ("pause 5", "'5': expected NAME=VALUE"),
        ("pause x=1", "pause knows no 'x', only itself"),
        ("costs slip=1", "costs knows no 'slip', only strategy, slippage_bps"),
        ("model", "model"),
        ("cancel strategy=mine", "client_order_id"),
    ],
)
def test_words_that_are_no_action_are_refused_with_what_is(words: str, said: str) -> None:
    name, *rest = words.split()
    with pytest.raises(UnknownAction) as refused:
        action_of(name, rest)
    assert said in str(refused.value)


def test_without_a_run_that_goes_on_there_is_nothing_to_steer(tmp_path: Path) -> None:
    with pytest.raises(NoLiveRun, match="no run is going on"):
        live_run(tmp_path)
    with pytest.raises(NoLiveRun, match="no run's folder"):
        send(tmp_path, Pause())


def test_a_market_that_lives_is_held_hurried_and_changed(tmp_path: Path) -> None:
    market: dict[str, Any] = json.loads((ROOT / "configs" / "ou.json").read_bytes())
    tree = system_config(tmp_path, **{key: market[key] for key in ("symbols", "Gateway")})
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        wait_until(lambda: list((tmp_path / "runs").glob("*/status.sock")))
        run = live_run(tmp_path / "runs")

        def obeys() -> bool:
            try:
                return send(run, Speed(speed=50)).id > 0
            except (ActionRefused, OSError):
                return False  # the Gateway is not there yet

        wait_until(obeys)
        held = send(run, action_of("pause", []))
        changed = send(run, action_of("model", ["sigma=0.05"]))
        assert (changed.id, changed.seq) == (held.id + 1, held.seq + 1)  # nothing leaves in a pause
        with pytest.raises(ActionRefused, match="gamma"):
            send(run, action_of("model", ["gamma=1"]))
        assert send(run, action_of("resume", [])).seq == changed.seq + 1
        assert process.stop() == 0
