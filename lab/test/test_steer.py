"""`sim control`: an operator's words, and what becomes of a run that is going on."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

import cli
from lab.steer import NoLiveRun, UnknownAction, action_of, live_run, send
from lab.test.live import PATIENCE_S, living
from OrderBook.control_client import ActionRefused
from runtime.status_socket import goes_on
from testing.harness import ROOT, deep_update, running, system_config, wait_until, write_config
from trading_lib.control import (
    AllowTrading,
    Cancel,
    Costs,
    DropFeed,
    HotReload,
    KillSwitch,
    Model,
    Params,
    Pause,
    PlaceOrder,
    Reset,
    Resume,
    Speed,
)
from trading_lib.models import Side


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
        ("allow-trading", AllowTrading()),
        ("allow-trading mine", AllowTrading(strategy="mine")),
        ("drop-feed", DropFeed()),
        (
            "params strategy=mine short_window=8 mode=slow levels=[1,2.5]",
            Params(strategy="mine", params={"short_window": 8, "mode": "slow", "levels": [1, 2.5]}),
        ),
        ("params mine n=1", Params(strategy="mine", params={"n": 1})),
        ("hot-reload false", HotReload(on=False)),
        (
            "order side=BUY qty=10 symbol=AAPL type=limit price=1.5",
            PlaceOrder(symbol="AAPL", side=Side.BUY, qty=10, type="limit", price=1.5),
        ),
        (
            "order side=SELL qty=0.5 symbol=2330 type=market",
            PlaceOrder(symbol="2330", side=Side.SELL, qty=0.5, type="market"),
        ),
    ],
)
def test_words_are_an_action(words: str, action: object) -> None:
    name, *rest = words.split()
    assert action_of(name, rest) == action


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("spede 5", "'spede': no such action, only"),
        ("speed", "speed: is missing"),
        ("speed 0", "speed"),
        ("speed fast", "speed"),
        ("pause 5", "'5': expected NAME=VALUE"),
        ("pause x=1", "pause knows no 'x', only itself"),
        ("costs slip=1", "costs knows no 'slip', only strategy, slippage_bps"),
        ("model", "model"),
        ("cancel strategy=mine", "client_order_id"),
        ("params mine", "params"),
        ("params n=1", "strategy"),
        ("hot-reload", "on"),
        ("order side=BUY qty=10 symbol=AAPL type=limit", "a limit order needs a price"),
        ("order side=BUY qty=-1 symbol=AAPL type=market", "qty"),
        ("order 10 AAPL", "'10': expected NAME=VALUE"),
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


@contextlib.contextmanager
def answering(run: Path) -> Iterator[Path]:
    """A run's folder whose status socket answers; its file stays, as that of a main.py that was killed."""
    run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "status.sock"))
        server.listen()
        yield run


def test_meant_is_the_run_that_began_last_of_those_that_answer(tmp_path: Path) -> None:
    begun = [tmp_path / f"20260102-{time}" for time in ("093000-9", "143000-4711", "143001-12", "160000-3")]
    with answering(begun[0]), answering(begun[1]):
        with answering(begun[2]):
            os.utime(begun[0])  # as a file in it that is replaced does
            assert live_run(tmp_path) == begun[2]
        begun[3].mkdir()
        assert live_run(tmp_path) == begun[1]
    assert (begun[1] / "status.sock").exists()
    with pytest.raises(NoLiveRun, match="no run is going on below"):
        live_run(tmp_path)


def sim_control(run: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.app, ["control", *words, "--run", str(run)])


def test_a_run_that_is_over_is_said_to_be_also_where_another_has_its_port(tmp_path: Path) -> None:
    with living(tmp_path) as live:
        run, process = live.run, live.process
        wait_until(lambda: sim_control(run, "speed", "50").exit_code == 0, "the Gateway")
        assert sim_control(run, "pause").output.startswith(f"run {run.name}: action 2, from record ")
        earlier = Path(shutil.copytree(run, tmp_path / "earlier", ignore=shutil.ignore_patterns("*.sock")))
        (earlier / "token").write_text("0" * 32)
        other = sim_control(earlier, "pause")
        said = f"sim: {earlier}: this run is not going on: its control port"
        assert (other.exit_code, other.output.startswith(said)) == (1, True), other.output
        assert other.output.endswith("is another run's now\n")
        assert sim_control(earlier, "kill-part", "strategy").output == (
            f"sim: {earlier}: this run is not going on: no main.py answers for it\n"
        )
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        psutil.wait_procs(children, PATIENCE_S)
        assert (run / "status.sock").exists() and not goes_on(run)
        for words in (("pause",), ("kill-part", "strategy")):
            killed = sim_control(run, *words)
            assert killed.exit_code == 1
            assert killed.output.startswith(f"sim: {run}: this run is not going on: ")
        with pytest.raises(NoLiveRun, match="no run is going on below"):
            live_run(run.parent)


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
        with pytest.raises(ActionRefused, match=r"no parameter 'gamma', only .*kappa"):
            send(run, action_of("model", ["gamma=1"]))
        assert send(run, action_of("resume", [])).seq == changed.seq + 1
        assert process.stop() == 0


def test_an_order_by_hand_is_worked_by_the_manual_lane_and_cancelled_like_a_strategys(tmp_path: Path) -> None:
    market: dict[str, Any] = json.loads((ROOT / "configs" / "ou.json").read_bytes())
    quick = {
        "Gateway": {"schedule": {"speed": 20}, "model": {"sigma": 0.01}},
        "Recorder": {"enabled": True, "report": False},
    }
    settings = {key: market[key] for key in ("symbols", "Gateway")}
    with living(tmp_path, **deep_update(settings, quick)) as live:
        wait_until(lambda: live.parts().get("orderbook", {}).get("ticks", 0) > 10, "a market")
        port = live.tree["OrderManager"]["events_port"]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as link, link.makefile() as lines:
            told = map(json.loads, lines)

            def becomes(kind: str, **fields: Any) -> dict[str, Any]:
                """The first event that is so."""
                wanted = {"type": kind, "strategy_id": "manual"} | fields
                return next(event for event in told if wanted.items() <= event.items())

            place = ["side=BUY", "qty=10", "symbol=OU"]
            limit = send(live.run, action_of("order", [*place, "type=limit", "price=1.5"]))
            bid = f"{limit.seq}.-1"
            number = becomes("order", client_order_id=bid, order_type="LIMIT", limit_price=1.5)["number"]
            taken = becomes("report", client_order_id=bid)
            assert taken["status"] == "New", taken["reason"]
            send(live.run, action_of("cancel", ["strategy=manual", f"client_order_id={bid}"]))
            assert becomes("report", client_order_id=bid)["reason"] == "by the operator"
            for stranger in (KillSwitch(strategy="sma"), Costs(strategy="sma", slippage_bps=1)):
                with pytest.raises(ActionRefused, match=r"no strategy 'sma', only .*manual"):
                    send(live.run, stranger)
            bought = send(live.run, action_of("order", [*place, "type=market"]))
            assert becomes("report", client_order_id=f"{bought.seq}.-1", status="Filled")["last_qty"] == 10
        log = tmp_path / "logs" / "order_manager.log"
        wait_until(lambda: f"Received Order {number}: BUY 10 OU @ " in log.read_text(), "its line")
        live.let_everybody_catch_up()
        assert live.process.stop() == 0
        trades = (live.run / "trades.csv").read_text().splitlines()
        assert [
            line
            for line in trades
            if f",manual,{bought.seq}.-1,OU,BUY,10" in line and line.endswith(",operator")
        ]
