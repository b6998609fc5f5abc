"""Money in the whole system: host and ledger agree, operators reach both, kills cost nothing."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.run_folder import read_token
from runtime.status_socket import connect
from testing.harness import Process, running, system_config, wait_for_part, wait_until, write_config

EVERY_KIND = {"id": "kinds", "path": "testing/strategies/every_kind.py"}
FAST_WALK = {"provider": "random_walk", "pace": {"ticks_per_s": 4000}, "schedule": {"dt_fixed_ms": 5}}


class System:
    """A running system, asked by its status socket."""

    def __init__(self, process: Process, folder: Path, tree: dict[str, Any]) -> None:
        self.process = process
        self.tree = tree
        self._folder = folder

    @property
    def run_folder(self) -> Path:
        (found,) = self._folder.glob("runs/*")
        return found

    def status(self) -> dict[str, Any]:
        with connect(self.run_folder / "status.sock") as link, link.makefile() as lines:
            parts: dict[str, Any] = json.loads(lines.readline())["parts"]
            return parts

    def lane(self, strategy: str) -> dict[str, Any]:
        lanes = self.status()["order_manager"].get("lanes", [])
        found: dict[str, Any] = next((lane for lane in lanes if lane["strategy_id"] == strategy), {})
        return found

    def outcomes(self) -> dict[str, int]:
        found: dict[str, int] = self.status()["order_manager"].get("outcomes", {})
        return found

    def act(self, **action: Any) -> dict[str, Any]:
        """One action through the control port."""
        address = ("127.0.0.1", self.tree["OrderBook"]["control_port"])
        with socket.create_connection(address) as control, control.makefile("rw") as lines:
            print(json.dumps({"token": read_token(self.run_folder)}), file=lines, flush=True)
            print(json.dumps(action), file=lines, flush=True)
            answer: dict[str, Any] = json.loads(lines.readline())
            return answer

    def part(self, name: str) -> psutil.Process:
        return wait_for_part(self.process, name)


@contextlib.contextmanager
def system(folder: Path, **changes: Any) -> Iterator[System]:
    tree = system_config(folder, **changes)
    with running(["main.py", str(write_config(folder, tree))], folder) as process:
        wait_until(lambda: list(folder.glob("runs/*/status.sock")), "the status socket")
        yield System(process, folder, tree)


def trading(folder: Path, **changes: Any) -> contextlib.AbstractContextManager[System]:
    """A system whose strategy sends orders of every kind, thousands of ticks a second."""
    settings = {"Gateway": FAST_WALK, "Strategy": {"strategies": [EVERY_KIND]}, **changes}
    return system(folder, **settings)


def agreed(running_system: System) -> None:
    """The host compares every report with its own; one difference stops it."""
    strategy = running_system.status()["strategy"]
    assert strategy["stopped"] == ""
    assert strategy["errors"] == 0


def filled(running_system: System, more_than: int) -> bool:
    return running_system.outcomes().get("Filled", 0) > more_than


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"OrderManager": {"execution": {"partial_fills": 0.3, "latency_jitter_ms": 30, "fill": "next"}}},
        {"Gateway": {"provider": "csv", "pace": {"ticks_per_s": 8000}}},  # an epoch every two seconds
    ],
    ids=["prevailing", "next, partial, jitter", "epochs"],
)
def test_host_and_ledger_agree_on_every_report(tmp_path: Path, changes: dict[str, Any]) -> None:
    with trading(tmp_path, **changes) as live:
        wait_until(lambda: filled(live, 200), "200 fills")
        if "Gateway" in changes:
            wait_until(lambda: live.lane("kinds").get("epoch", 0) > 2, "two epochs to end")
        agreed(live)
        assert live.process.stop(signal.SIGINT) == 0
        assert "DIVERGED" not in live.process.output


def test_a_kill_switch_stops_one_strategy_and_flattens_it_until_trading_is_allowed_again(
    tmp_path: Path,
) -> None:
    with trading(tmp_path) as live:
        wait_until(lambda: filled(live, 20) and live.lane("kinds")["positions"], "a position")
        answer = live.act(action="kill_switch", strategy="kinds", flatten=True)
        assert answer["ok"]
        wait_until(lambda: live.lane("kinds")["killed"], "the kill switch in the ledger")
        wait_until(lambda: live.status()["order_manager"]["denials"].get("kill switch"), "denials")
        lane = live.lane("kinds")
        assert (lane["positions"], lane["open_orders"]) == ({}, 0)
        agreed(live)
        assert live.act(action="allow_trading", strategy="kinds")["ok"]
        wait_until(lambda: live.lane("kinds")["positions"], "a position again")
        agreed(live)
        assert live.process.stop(signal.SIGINT) == 0


def test_costs_and_latency_change_while_it_runs_in_host_and_ledger_alike(tmp_path: Path) -> None:
    with trading(tmp_path) as live:
        wait_until(lambda: filled(live, 20), "fills")
        assert live.act(action="costs", commission_bps=20, slippage_bps=0, latency_ms=5)["ok"]
        before = live.lane("kinds")["commission"]
        wait_until(
            lambda: filled(live, 100) and live.lane("kinds")["commission"] > 3 * before, "dearer fills"
        )
        agreed(live)


PATIENT = """
def init(ctx):
    ctx.asked = False

def on_tick(ctx, tick):
    if not ctx.asked:
        ctx.asked = True
        ctx.log(ctx.place_limit_order("BUY", 1, tick.price / 2, tif="GTC"))
"""


def test_an_operator_cancels_an_order(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(PATIENT)
    strategy = {"id": "patient", "path": str(tmp_path / "patient.py")}
    with trading(tmp_path, Strategy={"strategies": [strategy]}) as live:
        wait_until(lambda: live.lane("patient").get("open_orders") == 1, "an open order")
        (order_id,) = (
            line.rpartition(" ")[2]
            for line in (tmp_path / "logs" / "strategy.log").read_text().splitlines()
            if " patient: " in line
        )
        assert live.act(action="cancel", strategy="patient", client_order_id=order_id)["ok"]
        wait_until(lambda: live.lane("patient")["open_orders"] == 0, "it to be cancelled")
        assert live.outcomes() == {"New": 1, "Canceled": 1}
        agreed(live)


def test_a_strategy_that_was_killed_comes_back_with_its_position(tmp_path: Path) -> None:
    with trading(tmp_path) as live:
        wait_until(lambda: filled(live, 50) and live.lane("kinds")["positions"], "a position")
        live.part("Strategy").kill()
        wait_until(lambda: live.status()["strategy"]["restarts"] == 1, "a restart")
        wait_until(lambda: live.status()["strategy"].get("fills", 0) > 20, "fills of the new one")
        agreed(live)
        live.part("OrderManager")
        assert live.process.stop(signal.SIGINT) == 0


def test_an_order_manager_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with trading(tmp_path) as live:
        wait_until(lambda: filled(live, 50), "fills")
        live.part("OrderManager").kill()
        live.process.wait_for("recovered")
        wait_until(lambda: live.status()["order_manager"]["restarts"] == 1, "its restart to be counted")
        before = live.outcomes().get("Filled", 0)
        wait_until(lambda: filled(live, before), "fills after it")
        agreed(live)
        assert live.lane("kinds")["commission"] > 0
        assert live.process.stop(signal.SIGINT) == 0


def test_a_plain_order_is_filled_for_the_strategy_manual(tmp_path: Path) -> None:
    with system(tmp_path) as live:
        wait_until(lambda: live.status()["orderbook"].get("prices", {}).get("AAPL"), "a price")
        price = live.status()["orderbook"]["prices"]["AAPL"]
        with socket.create_connection(("127.0.0.1", live.tree["OrderManager"]["port"])) as client:
            client.sendall(f"1234567890.123,BUY,100,AAPL,{price}*".encode())
            wait_until(
                lambda: live.lane("manual").get("positions") or live.outcomes().get("Rejected"), "an end"
            )
        agreed(live)


def test_a_listener_that_never_reads_costs_nobody_anything(tmp_path: Path) -> None:
    with trading(tmp_path, Strategy={"strategies": [{**EVERY_KIND, "params": {"rate": 0.5}}]}) as live:
        wait_until(lambda: filled(live, 1), "a fill")
        address = ("127.0.0.1", live.tree["OrderManager"]["events_port"])
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with deaf:
            deaf.connect(address)
            wait_until(
                lambda: live.status()["order_manager"]["event_counters"].get("disconnected: does not read"),
                "the listener to be given up",
            )
        agreed(live)
        assert live.process.stop(signal.SIGINT) == 0
