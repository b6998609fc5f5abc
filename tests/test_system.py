"""The whole system: real processes, real sockets, real signals, killed at bad moments."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.status_socket import ask, connect
from shared_memory.segment import SHM_DIR
from testing.harness import (
    ROOT,
    Process,
    free_port,
    part_of,
    read_available,
    running,
    segments,
    system_config,
    wait_until,
    write_config,
)

PARTS = ("orderbook", "order_manager", "strategy", "gateway")
EAGER_STRATEGY = """
def init(ctx):
    ctx.seen = 0

def on_tick(ctx, tick):
    ctx.seen += 1
    if ctx.seen % 10 == 0:
        ctx.place_market_order("BUY" if ctx.seen % 20 else "SELL", 1)
"""


class System:
    """A running main.py and what it says of itself."""

    def __init__(self, process: Process, tree: dict[str, Any], folder: Path) -> None:
        self.process = process
        self.tree = tree
        self.folder = folder
        self.name: str = tree["OrderBook"]["shared_memory_name"]
        self.process.wait_for("starting, logs in")
        found = re.search(r"run (\S+): starting", process.output)
        assert found is not None
        self.run_dir = folder / "runs" / found[1]
        self._socket = connect(self.run_dir / "status.sock")
        self._lines = self._socket.makefile("rb")

    def next_status(self) -> dict[str, Any]:
        """The next line of the status socket."""
        line = self._lines.readline()
        if not line:
            raise EOFError(f"the run has ended:\n{self.process.output}")
        status: dict[str, Any] = json.loads(line)
        return status

    def part(self, name: str) -> dict[str, Any]:
        """What the next status says of one part."""
        part: dict[str, Any] = self.next_status()["parts"][name]
        return part

    def wait_for(self, name: str, key: str, least: int) -> dict[str, Any]:
        """Until a part's count has reached a number."""
        part: dict[str, Any] = wait_until(
            lambda: (found := self.part(name)).get(key, 0) >= least and found, f"{name}.{key} >= {least}"
        )
        return part

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def system(folder: Path, eager: bool = True, **changes: Any) -> Iterator[System]:
    """main.py on free ports; at its end nothing of it may be left."""
    tree = system_config(folder, **changes)
    if eager:
        path = folder / "eager.py"
        path.write_text(EAGER_STRATEGY)
        tree["Strategy"]["strategies"] = [{"id": "eager", "path": str(path)}]
    config = write_config(folder, tree)
    with running(["main.py", str(config)], folder) as process:
        running_system = System(process, tree, folder)
        try:
            yield running_system
        finally:
            running_system.close()
            children = psutil.Process(process.pid).children(recursive=True) if process.alive else []
            process.stop(signal.SIGINT)
            _, alive = psutil.wait_procs(children, timeout=10)
            for child in alive:
                child.kill()
    assert alive == [], f"processes left: {alive}"
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []


def test_main_trades_real_prices_and_stops_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    with system(tmp_path, eager=False) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        children = psutil.Process(running_system.process.pid).children()
        assert len(children) == 4
        assert running_system.process.stop(signal.SIGINT) == 0
        assert not any(child.is_running() for child in children)
        assert segments(running_system.name) == []
        for port in (running_system.tree["Gateway"]["md_port"], running_system.tree["OrderManager"]["port"]):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0
    log = (tmp_path / "logs" / "order_manager.log").read_text()
    assert re.search(r"Received Order 1: (BUY|SELL) 10 (AAPL|GOOG|IBM|MSFT) @ \d+\.\d\d", log)
    for name in ("gateway", "orderbook", "strategy", "order_manager", "main"):
        assert (tmp_path / "logs" / f"{name}.log").stat().st_size > 0


def test_sigterm_stops_like_ctrl_c(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        assert running_system.process.stop(signal.SIGTERM) == 0


def test_a_second_ctrl_c_kills_everything_at_once(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        gateway = running_system.part("gateway")["pid"]
        os.kill(gateway, signal.SIGSTOP)  # it will not hear the polite request
        running_system.process.popen.send_signal(signal.SIGINT)
        time.sleep(0.25)  # the same press may arrive twice within 0.2 s: this one is another
        assert running_system.process.stop(signal.SIGINT) == 1
        assert "killing everything" in running_system.process.output


def test_a_part_that_hangs_is_killed_when_stopping(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        os.kill(running_system.part("strategy")["pid"], signal.SIGSTOP)
        assert running_system.process.stop(signal.SIGINT) == 0
        assert "strategy did not stop" in running_system.process.output


def test_each_part_when_killed_is_restarted_and_orders_go_on(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 3)
        killed: set[str] = set()
        for victim in PARTS:
            os.kill(running_system.part(victim)["pid"], signal.SIGKILL)
            killed.add(victim)
            wait_until(
                lambda victim=victim: (  # type: ignore[misc]
                    (part := running_system.part(victim))["restarts"] == 1 and part["state"] == "ready"
                ),
                f"{victim} restarted",
            )
            assert f"{victim} died (signal SIGKILL); restart 1" in running_system.process.output
            if victim == "orderbook":
                assert running_system.wait_for("orderbook", "gaps", 1)["generation"] == 2
            before = running_system.wait_for("order_manager", "orders", 1)["orders"]
            running_system.wait_for("order_manager", "orders", before + 2)
            status = running_system.next_status()["parts"]
            assert {name for name in PARTS if status[name]["restarts"]} == killed
            assert status["strategy"]["missed"] == 0
        assert running_system.process.stop(signal.SIGINT) == 0


def test_a_part_killed_by_sim_control_comes_back_and_orders_go_on(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        before = running_system.wait_for("order_manager", "orders", 3)["orders"]

        def control(*words: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "cli.py", "control", *words, "--run", str(running_system.run_dir)]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

        done = control("kill-part", "strategy")
        said = f"run {running_system.run_dir.name}: strategy: kill asked for\n"
        assert (done.returncode, done.stdout) == (0, said), done.stderr
        wait_until(
            lambda: (part := running_system.part("strategy"))["restarts"] == 1 and part["state"] == "ready",
            "the strategy's restart",
        )
        running_system.wait_for("order_manager", "orders", before + 3)
        assert running_system.part("strategy")["asked_kills"] == 1
        assert "strategy: killed on request" in running_system.process.output
        assert "killed on request 1" in running_system.process.output
        refused = control("start-part", "strategy")
        assert (refused.returncode, refused.stderr) == (1, "sim: strategy is not down: it is ready\n")
        assert control("kill-part").returncode == 2
        assert running_system.process.stop(signal.SIGINT) == 0


def test_an_order_book_told_to_stop_alone_is_restarted_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 3)
        os.kill(running_system.part("orderbook")["pid"], signal.SIGTERM)
        back = wait_until(
            lambda: (part := running_system.part("orderbook"))["restarts"] == 1 and part.get("gaps") and part
        )
        assert back["generation"] == 2
        assert back["epochs"] == 0
        assert running_system.process.stop(signal.SIGINT) == 0


def test_names_removed_from_shared_memory_are_made_anew_and_orders_go_on(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        for name in segments(running_system.name):
            (SHM_DIR / name).unlink()
        wait_until(
            lambda: (part := running_system.part("orderbook"))["restarts"] == 1 and part["state"] == "ready"
        )
        before = running_system.part("order_manager")["orders"]
        running_system.wait_for("order_manager", "orders", before + 3)
        assert "somebody has removed" in running_system.process.output
        assert len(segments(running_system.name)) == 3
        assert running_system.process.stop(signal.SIGINT) == 0


def test_a_part_that_keeps_dying_ends_the_run_with_exit_code_1(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)

        def kill_again() -> bool:
            if not running_system.process.alive:
                return True
            if order_manager := part_of(running_system.process, "OrderManager"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    order_manager.kill()
            return False

        wait_until(kill_again, "main.py gives up")
        assert running_system.process.stop() == 1
        assert "order_manager keeps dying" in running_system.process.output


def test_when_main_is_killed_its_parts_stop_and_leave_nothing(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        children = psutil.Process(running_system.process.pid).children()
        running_system.process.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
        assert segments(running_system.name) == []


def test_what_a_run_killed_altogether_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    config = write_config(tmp_path, tree)
    with running(["main.py", str(config)], tmp_path) as process:
        first = System(process, tree, tmp_path)
        first.wait_for("orderbook", "ticks", 1)
        children = psutil.Process(process.pid).children()
        process.popen.send_signal(signal.SIGSTOP)  # so that it restarts nobody
        for child in children:
            child.kill()
        process.kill()
        first.close()
    assert segments(first.name) != []
    with running(["main.py", str(config)], tmp_path) as process:
        second = System(process, tree, tmp_path)
        assert second.wait_for("orderbook", "ticks", 1)["generation"] == 1
        second.close()
        assert process.stop(signal.SIGINT) == 0
    assert segments(first.name) == []


def test_a_second_system_on_the_same_ports_refuses_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        with running(["main.py", str(tmp_path / "config.json")], tmp_path) as second:
            assert second.popen.wait(30) == 78
            assert re.search(
                r"port \d+ on 127\.0\.0\.1 cannot be listened on|belongs to process", second.output
            )
        before = running_system.part("orderbook")["ticks"]
        running_system.wait_for("orderbook", "ticks", before + 100)
        log = (tmp_path / "logs" / "strategy.log").read_text()
        assert log.count(f"of run {running_system.run_dir.name}") == 1, (
            "another run's strategy followed this tape"
        )
        assert running_system.part("orderbook")["restarts"] == 0


def test_a_dashboard_whose_port_is_taken_is_said_and_starts_on_request_when_it_is_free(
    tmp_path: Path,
) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        running_system = stack.enter_context(system(tmp_path, Dashboard={"enabled": True, "port": port}))
        running_system.process.wait_for(
            "dashboard cannot start (exit code 78): the run goes on WITHOUT IT", patience=60
        )
        said = f"dashboard: port {port} on 127.0.0.1 cannot be listened on (Address already in use): change "
        assert f"{said}Dashboard.port, or stop what holds it" in running_system.process.output
        running_system.wait_for("order_manager", "orders", 1)
        taken.close()
        ask(running_system.run_dir / "status.sock", {"start": "dashboard"})
        running_system.process.wait_for(f"dashboard: http://127.0.0.1:{port}", patience=60)
        wait_until(lambda: running_system.part("dashboard")["state"] == "ready")
        assert running_system.process.stop(signal.SIGINT) == 0


def test_a_run_with_a_duration_ends_by_itself_having_lost_nothing(tmp_path: Path) -> None:
    pace = {"ticks_per_s": 2000}
    with system(
        tmp_path,
        run={"duration_s": 2.0},
        Gateway={"provider": "random_walk", "pace": pace, "news": {"every_ticks": 50}},
    ) as running_system:
        assert running_system.process.popen.wait(30) == 0
        last = running_system.process.output.strip().splitlines()[-1]
        assert "ticks 4,000" in last
        assert "orders 400" in last
        for trouble in ("gaps", "missed", "overrun", "dropped", "rejected", "restarts"):
            assert trouble not in last


def test_a_flat_out_source_waits_for_the_order_book_and_loses_nothing(tmp_path: Path) -> None:
    with system(
        tmp_path,
        eager=False,
        Gateway={"loop": False, "pace": {"ticks_per_s": 0}, "news": {"every_ticks": 100}},
    ) as running_system:
        assert running_system.process.popen.wait(30) == 0
        rows = len(Path("data/market_data-1.csv").read_text().splitlines()) - 1
        last = running_system.process.output.strip().splitlines()[-1]
        assert f"ticks {rows:,}" in last
        assert "gaps" not in last and "overrun" not in last


def test_bad_input_on_every_port_is_counted_and_hurts_nobody(tmp_path: Path) -> None:
    garbage = [b"\x00\xff*" * 50, b"x" * 100_000, b"*" * 1000, b"half a fra", b"!HELLO,9,nonsense*", b"!*,*"]
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        tree = running_system.tree
        ports = (tree["Gateway"]["md_port"], tree["Gateway"]["news_port"], tree["OrderManager"]["port"])
        for port in ports:
            for piece in (*garbage, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port)) as client, contextlib.suppress(OSError):
                    client.sendall(piece)
        rejected = wait_until(
            lambda: len(found := running_system.part("order_manager")["rejected"]) >= 4 and found,
            "rejections",
        )
        assert {"HTTP request", "frame too long", "half a frame at the end"} <= set(rejected)
        before = running_system.part("order_manager")["orders"]
        running_system.wait_for("order_manager", "orders", before + 5)
        assert all(running_system.part(name)["restarts"] == 0 for name in PARTS)


def test_a_plain_client_gets_exact_frames_and_its_order_is_served(tmp_path: Path) -> None:
    with system(tmp_path, eager=False) as running_system:
        running_system.wait_for("orderbook", "ticks", 1)
        tree = running_system.tree
        with socket.create_connection(("127.0.0.1", tree["Gateway"]["md_port"])) as client:
            data = read_available(client, lambda data: data.count(b"*") >= 20)
        assert re.fullmatch(rb"((AAPL|GOOG|IBM|MSFT),\d+\.\d{1,4}\*)+", data[: data.rindex(b"*") + 1])
        with socket.create_connection(("127.0.0.1", tree["OrderManager"]["port"])) as client:
            client.sendall(b"1234567890.123,BUY,100,AAPL,172.53*")
        log = tmp_path / "logs" / "order_manager.log"
        wait_until(lambda: re.search(r"Received Order \d+: BUY 100 AAPL @ 172\.53\n", log.read_text()))


def test_an_idle_system_uses_next_to_no_processor(tmp_path: Path) -> None:
    with system(tmp_path, Gateway={"pace": {"ticks_per_s": 0.001}}) as running_system:
        wait_until(lambda: running_system.part("gateway")["state"] == "ready")
        children = psutil.Process(running_system.process.pid).children()

        def used() -> float:
            return sum(sum(child.cpu_times()[:2]) for child in children)

        before, began = used(), time.monotonic()
        for _ in range(4):
            running_system.next_status()
        share = (used() - before) / (time.monotonic() - began)
        print(f"idle: {share:.2%} of one core over the four processes")
        assert (
            share < 0.10
        )  # the bar is 2 % on a quiet machine, printed by the benchmark; a busy loop is 100 %


@pytest.mark.parametrize("key", ["log_dir", "export_dir"])
def test_a_folder_that_cannot_be_made_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, system_config(tmp_path, run={key: str(tmp_path / "file" / "below")}))
    with running(["main.py", str(config)], tmp_path) as process:
        assert process.popen.wait(30) == 78
        assert f"run.{key}" in process.output


def test_a_run_folder_that_cannot_be_made_is_named_with_its_key(tmp_path: Path) -> None:
    config = write_config(tmp_path, system_config(tmp_path, run={"export_dir": "/proc"}))  # not even by root
    with running(["main.py", str(config)], tmp_path) as process:
        assert process.popen.wait(30) == 78
        assert "run.export_dir = '/proc': " in process.output
        assert "Traceback" not in process.output


def test_a_full_disk_under_the_logs_is_said_and_stops_nobody(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "order_manager.log").symlink_to("/dev/full")
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 20)
        assert running_system.process.stop(signal.SIGINT) == 0
        assert running_system.process.output.count("order_manager.log cannot be written") == 1


def test_a_supervisor_that_is_suspended_does_not_hold_the_parts_up(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        orders = running_system.wait_for("order_manager", "orders", 1)["orders"]
        log = tmp_path / "logs" / "order_manager.log"
        running_system.process.popen.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: log.read_text().count("Received Order") > orders + 50, "orders meanwhile")
        finally:
            running_system.process.popen.send_signal(signal.SIGCONT)


def test_a_reader_of_the_output_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    config = write_config(tmp_path, tree)
    command = f"{sys.executable} main.py {config} | head -2"
    subprocess.run(
        ["sh", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60
    )
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []


def test_an_output_that_nobody_reads_does_not_stop_the_supervision(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    config = write_config(tmp_path, tree)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    main = subprocess.Popen([sys.executable, "main.py", str(config)], cwd=ROOT, stdout=writing)
    try:
        path = wait_until(lambda: next((tmp_path / "runs").glob("*/status.sock"), None), "the run")
        with connect(path) as status, status.makefile() as lines:

            def part(name: str) -> Any:
                return json.loads(lines.readline())["parts"][name]

            wait_until(lambda: part("gateway").get("ticks", 0) > 0, "ticks")
            os.kill(part("strategy")["pid"], signal.SIGKILL)
            wait_until(lambda: (found := part("strategy"))["restarts"] == 1 and found["state"] == "ready")
    finally:
        main.send_signal(signal.SIGINT)
        try:
            exit_code = main.wait(30)
        finally:
            main.kill()
            main.wait()
        os.close(reading)
        os.close(writing)
    assert exit_code == 0
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []


def test_a_closed_terminal_stops_the_system_in_order(tmp_path: Path) -> None:
    with system(tmp_path) as running_system:
        running_system.wait_for("order_manager", "orders", 1)
        assert running_system.process.stop(signal.SIGHUP) == 0


def test_a_strategy_that_never_returns_is_killed_and_said_and_hurts_nobody(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text("def on_tick(ctx, tick):\n    while True:\n        pass\n")
    calm = {"id": "calm", "path": "strategies/sma_news/strategy.py"}
    strategies = [{"id": "stuck", "path": str(stuck)}, calm]
    tree = system_config(tmp_path, Strategy={"strategies": strategies, "hang_s": 0.2})
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        running_system = System(process, tree, tmp_path)
        wait_until(lambda: "stuck STOPPED until it is saved again" in process.output, "it is left alone")
        assert "at stuck.py line 2 in on_tick: killed" in process.output
        ticks = running_system.wait_for("strategy", "ticks", 1)["strategies"][1]["ticks"]
        wait_until(lambda: running_system.part("strategy")["strategies"][1]["ticks"] > ticks)
        assert running_system.part("strategy")["state"] == "ready"
        running_system.close()
        assert process.stop(signal.SIGINT) == 0


def test_a_main_that_is_killed_takes_every_process_with_it(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text("def on_tick(ctx, tick):\n    while True:\n        pass\n")
    strategies = {"strategies": [{"id": "stuck", "path": str(stuck)}], "hang_s": 60}
    tree = system_config(tmp_path, Strategy=strategies)
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        running_system = System(process, tree, tmp_path)
        running_system.wait_for("gateway", "ticks", 1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("zygote" in " ".join(child.cmdline()) for child in children)
        running_system.close()
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
        assert segments(running_system.name) == []
