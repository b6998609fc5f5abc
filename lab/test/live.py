"""Whole systems that record a run, as a person would start them."""

import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from runtime.run_folder import read_token
from runtime.scheduling import like_everybody
from runtime.status_socket import connect
from testing.harness import (
    Process,
    deep_update,
    running,
    system_config,
    wait_for_part,
    wait_until,
    write_config,
)

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


class Live:
    """A system that runs, and what can be done to it."""

    def __init__(self, process: Process, folder: Path, tree: dict[str, Any]) -> None:
        self.process = process
        self.tree = tree
        self._folder = folder

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
        address = ("127.0.0.1", self.tree["OrderBook"]["control_port"])
        with socket.create_connection(address) as control, control.makefile("rw") as lines:
            print(json.dumps({"token": read_token(self.run)}), file=lines, flush=True)
            print(json.dumps(action), file=lines, flush=True)
            assert json.loads(lines.readline())["ok"]

    def part(self, name: str) -> psutil.Process:
        return wait_for_part(self.process, name)

    def let_everybody_catch_up(self) -> None:
        """Nobody has longer than a second or two for what is left when it is told to stop.

        The Recorder runs where nobody else wants to, and that may be never.
        """
        gateway, recorder = self.part("Gateway"), self.part("Recorder")
        like_everybody(recorder.pid)
        gateway.suspend()
        try:
            wait_until(self._nobody_is_behind, "all records to be taken by everybody", PATIENCE_S)
        finally:
            gateway.resume()

    def _nobody_is_behind(self) -> bool:
        parts = self.parts()
        tail = parts["orderbook"]["tail"]
        settled = [lane["tape_seq"] for lane in parts["order_manager"].get("lanes", [])]
        return bool(parts["recorder"].get("tape_seq") == tail == min(settled, default=0))

    def strategy(self, name: str) -> dict[str, Any]:
        rows = self.parts()["strategy"].get("strategies", [])
        found: dict[str, Any] = next((row for row in rows if row["strategy"] == name), {})
        return found


@contextlib.contextmanager
def living(folder: Path, **settings: Any) -> Iterator[Live]:
    """`python main.py` as long as the block takes."""
    tree = system_config(folder, **settings)
    with running(["main.py", str(write_config(folder, tree))], folder) as process:
        wait_until(lambda: list(folder.glob("runs/*/status.sock")), "the status socket")
        yield Live(process, folder, tree)
