"""Instants of a run that still goes on: a reload, an operator's change of costs, a plain client, all seen."""

import signal
import socket
from pathlib import Path

from lab.instants import Instants, StrategyAt, instants
from lab.run_list import list_runs
from lab.test.live import CROSSOVER, KINDS, PATIENCE_S, living, market
from Recorder.run_files import load_run
from testing.harness import ROOT, wait_until

COUNT = 200


def of(found: Instants, strategy: str) -> list[StrategyAt | None]:
    number = found.strategies.index(strategy)
    return [instant.strategies[number] for instant in found.instants]


def versions(found: Instants, strategy: str) -> list[str]:
    """One after the other."""
    return list(dict.fromkeys(seen.version for seen in of(found, strategy) if seen is not None))


def test_a_run_can_be_looked_at_while_it_goes_and_when_it_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "strategy.py"
    file.parent.mkdir()
    file.write_text((ROOT / KINDS["path"]).read_text())
    settings = market(
        4,
        run={"duration_s": 0},
        Gateway={"schedule": {"speed": 20}},
        Strategy={"strategies": [{**KINDS, "path": str(file)}, CROSSOVER]},
    )
    with living(tmp_path, **settings) as live:
        live.trades_on()
        with socket.create_connection(("127.0.0.1", live.tree["OrderManager"]["port"])) as client:
            client.sendall(f"0,BUY,7,{live.tree['symbols'][0]},100*".encode())
        file.write_text(file.read_text().replace("randint(1, 50)", "randint(1, 40)"))
        wait_until(lambda: live.strategy("kinds").get("reloads") == 1, "a reload")
        live.act(action="costs", strategy="kinds", slippage_bps=5)
        live.trades_on()
        live.let_everybody_catch_up()
        going_on = instants(live.run, COUNT)
        (listed,) = list_runs(live.run.parent)
        live.let_everybody_catch_up()
        assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
    assert (listed.state, listed.problem) == ("live", "")
    assert {"kinds", "crossover"} <= set(listed.strategies)
    assert len(versions(going_on, "kinds")) == 2
    assert len(versions(going_on, "crossover")) == 1

    found, run = instants(live.run, COUNT), load_run(live.run)
    assert found.strategies == ["crossover", "kinds", "manual"]
    assert "manual: as equity.csv has it" in found.note
    assert (found.note == "manual: as equity.csv has it") is (run.manifest["tape"] == "complete")
    for name in ("crossover", "kinds"):
        own = run.trades[run.trades["strategy_id"] == name]
        signed = own["qty"].where(own["side"] == "BUY", -own["qty"])
        for looked_at in (going_on, found):
            for instant, seen in zip(looked_at.instants, of(looked_at, name), strict=True):
                ts = int(instant.ts)
                assert seen is not None
                assert seen.exact
                if not (own["ts"] == ts).any():  # which of that time came first is not in the file
                    held = signed[own["ts"] < ts].groupby(own["symbol"]).sum()
                    assert seen.positions == {str(symbol): qty for symbol, qty in held.items() if qty}
    assert list_runs(live.run.parent)[0].state == "ended"
    manual = of(found, "manual")[-1]
    assert manual is not None
    assert not manual.exact
    assert manual.positions == {live.tree["symbols"][0]: 7.0}
