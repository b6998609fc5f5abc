"""A run with everything that happens to one: reloads, kills, an operator. It replays, or says where it differs."""

import json
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import evaluate
from lab.replay import Replay, replay
from lab.test.live import CROSSOVER, KINDS, PATIENCE_S, market
from Recorder.run_files import NotARun
from Recorder.tape_file import HEADER_BYTES, RECORD_BYTES
from runtime.run_folder import read_token
from runtime.status_socket import connect
from testing.harness import ROOT, Process, running, system_config, wait_until, write_config


class Live:
    """A system that runs, and what can be done to it."""

    def __init__(self, process: Process, folder: Path, tree: dict[str, Any]) -> None:
        self.process = process
        self._folder = folder
        self._tree = tree

    @property
    def run(self) -> Path:
        (found,) = self._folder.glob("runs/*")
        return found

    def parts(self) -> dict[str, Any]:
        assert self.process.alive, self.process.output
        with connect(self.run / "status.sock") as link, link.makefile() as lines:
            found: dict[str, Any] = json.loads(lines.readline())["parts"]
            return found

    def filled(self) -> int:
        return int(self.parts().get("order_manager", {}).get("outcomes", {}).get("Filled", 0))

    def trades_on(self) -> None:
        """Some more fills than there are now."""
        before = self.filled()
        wait_until(lambda: self.filled() not in range(before + 20), "more fills", PATIENCE_S)

    def act(self, **action: Any) -> None:
        address = ("127.0.0.1", self._tree["OrderBook"]["control_port"])
        with socket.create_connection(address) as control, control.makefile("rw") as lines:
            print(json.dumps({"token": read_token(self.run)}), file=lines, flush=True)
            print(json.dumps(action), file=lines, flush=True)
            assert json.loads(lines.readline())["ok"]

    def child(self, script: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if script in " ".join(child.cmdline()))

    def let_the_recorder_catch_up(self) -> None:
        """It runs where nobody else wants to; what it has not copied when the tape goes is lost."""
        gateway = self.child("Gateway/run.py")
        gateway.suspend()
        try:
            wait_until(self._recorded_all, "the Recorder", PATIENCE_S)
        finally:
            gateway.resume()

    def _recorded_all(self) -> bool:
        parts = self.parts()
        return bool(parts["recorder"]["records"] == parts["orderbook"]["tail"])

    def strategy(self, name: str) -> dict[str, Any]:
        rows = self.parts()["strategy"].get("strategies", [])
        found: dict[str, Any] = next((row for row in rows if row["strategy"] == name), {})
        return found


def hard_life(folder: Path, live_through: Callable[[Live, Path], None]) -> Path:
    """A run without an end of its own, in which things happen; its folder."""
    file = folder / "mine" / "strategy.py"
    file.parent.mkdir()
    file.write_text((ROOT / KINDS["path"]).read_text())
    settings = market(
        4,
        run={"duration_s": 0},
        Gateway={"schedule": {"speed": 20}},
        Strategy={"strategies": [{**KINDS, "path": str(file)}, CROSSOVER]},
    )
    tree = system_config(folder, **settings)
    with running(["main.py", str(write_config(folder, tree))], folder) as process:
        wait_until(lambda: list(folder.glob("runs/*/status.sock")), "the status socket")
        live = Live(process, folder, tree)
        live.trades_on()
        live_through(live, file)
        live.trades_on()
        live.let_the_recorder_catch_up()
        assert process.stop(signal.SIGINT, PATIENCE_S) == 0, process.output
        return live.run


def everything(live: Live, file: Path) -> None:
    file.write_text(file.read_text().replace("randint(1, 50)", "randint(1, 40)"))
    wait_until(lambda: live.strategy("kinds").get("reloads") == 1, "a reload")
    live.trades_on()
    live.act(action="costs", strategy="kinds", slippage_bps=5, latency_ms=20)
    live.trades_on()
    live.child("OrderManager/run.py").kill()
    wait_until(lambda: live.parts()["order_manager"]["restarts"] == 1, "the OrderManager again")
    live.trades_on()
    psutil.Process(live.strategy("kinds")["pid"]).kill()
    wait_until(lambda: live.strategy("kinds").get("restarts") == 1, "the worker again")
    live.trades_on()


def and_the_whole_strategy(live: Live, file: Path) -> None:
    everything(live, file)
    live.child("Strategy/run.py").kill()
    wait_until(lambda: live.parts()["strategy"]["restarts"] == 1, "the Strategy again")


@pytest.fixture(scope="module")
def hard_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hard_life(tmp_path_factory.mktemp("hard"), everything)


def test_a_run_with_a_reload_kills_and_an_operator_replays_to_the_same_orders(hard_run: Path) -> None:
    whats = {json.loads(line)["what"] for line in (hard_run / "inputs.jsonl").read_text().splitlines()}
    assert {"started", "reload", "restart"} <= whats
    result = replay(hard_run)
    assert result.same, str(result)
    assert result.orders["kinds"] > 100


@pytest.mark.chaos
def test_so_does_one_whose_strategy_process_was_killed(tmp_path: Path) -> None:
    result = replay(hard_life(tmp_path, and_the_whole_strategy))
    assert result.same, str(result)


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("*.sock")))


def test_the_first_request_that_differs_is_named(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    for path in (copy / "strategies").glob("*.py"):
        text = path.read_text()
        if "randint(1, 50)" in text:
            path.write_text(text.replace("randint(1, 50)", "randint(1, 51)"))
    result = replay(copy)
    difference = result.difference
    assert difference is not None
    assert difference.strategy_id == "kinds"
    assert difference.recorded is not None
    assert difference.made is not None
    assert difference.recorded.client_order_id == difference.made.client_order_id
    assert (
        str(result).splitlines()[-1].startswith(f"the first difference: kinds at record {difference.seq}: ")
    )


def test_steps_come_in_the_order_of_the_tape_up_to_the_first_difference(live_run: Path) -> None:
    steps = list(Replay(live_run))
    assert [step.seq for step in steps] == sorted(step.seq for step in steps)
    assert {step.strategy_id for step in steps} == {"kinds", "crossover", "news"}
    assert len(steps) == sum(replay(live_run).orders.values())


def test_a_torn_tape_is_replayed_as_far_as_it_goes_and_says_so(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    with (copy / "tape.bin").open("r+b") as tape:
        tape.truncate(HEADER_BYTES + 3000 * RECORD_BYTES + 7)
    result = replay(copy)
    assert result.difference is None
    assert result.not_replayable.startswith("not replayable: from seq 3000 ")
    assert 0 < sum(result.orders.values()) < sum(replay(live_run).orders.values())


def test_a_tape_that_begins_late_is_not_replayable_from_the_first_record(
    live_run: Path, tmp_path: Path
) -> None:
    copy = copied(live_run, tmp_path)
    tape = (copy / "tape.bin").read_bytes()
    (copy / "tape.bin").write_bytes(tape[:HEADER_BYTES] + tape[HEADER_BYTES + RECORD_BYTES :])
    assert replay(copy).not_replayable.startswith("not replayable: from seq 0 ")


def test_an_evaluation_is_not_replayed(tmp_path: Path) -> None:
    evaluate(CROSSOVER["path"], "data/market_data-1.csv", out=tmp_path / "out", report=False)
    with pytest.raises(NotARun, match="no journal"):
        replay(tmp_path / "out")
