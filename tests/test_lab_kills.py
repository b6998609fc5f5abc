"""The lab under those who mean it ill: kills at random instants, lost connections, impossible strategies.

Whatever happens, host and ledger agree, the run replays to the same orders, and nothing is left behind.
"""

import contextlib
import json
import random
import re
import signal
import socket
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import evaluate
from lab.replay import replay
from lab.test.live import KINDS, PATIENCE_S, Live, living, manifest, market
from runtime.part import EXIT_OK
from Strategy.test.stage import BUY_ALL, stage
from testing.harness import ROOT, deep_update, free_port, segments, wait_until, write_config

EVERY_KIND = (ROOT / KINDS["path"]).read_text()


class Cable:
    """A connection between two ports that can be cut: whatever is sent to `port` goes on to `target`."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.connections = 0
        self._target = target
        self._ends: list[socket.socket] = []
        self._carries = threading.Event()
        self._carries.set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                self.connections += 1
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while data := source.recv(1 << 16):
                self._carries.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Take what is said, and keep it."""
        self._carries.clear()

    def lose(self) -> None:
        """Cut, forget what was kept, and carry whatever comes next."""
        self.cut()
        self._carries.set()

    def cut(self) -> None:
        """Hang up on everybody, in the middle of whatever they say."""
        while self._ends:
            end = self._ends.pop()
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Cut, and no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


class Ordeal:
    """A live system whose strategy `kinds` sends orders of every kind, and everything that can happen to it."""

    def __init__(self, live: Live, file: Path, cable: Cable) -> None:
        self.live = live
        self.cable = cable
        self._file = file
        self._version = 50

    def events(self) -> dict[str, Callable[[], None]]:
        return {
            "reload": self.reload,
            "reload, and lose the last orders": self.reload_whose_last_orders_are_lost,
            "kill a worker": self.kill_a_worker,
            "kill the zygote": self.kill_the_zygote,
            "kill the OrderManager": self.kill_the_order_manager,
            "cut the order link": self.cut_the_order_link,
            "pause": self.pause,
            "costs": lambda: self.live.act(action="costs", slippage_bps=3, latency_ms=25),
            "drop the feed": lambda: self.live.act(action="drop_feed"),
        }

    def count(self, key: str) -> int:
        return int(self.live.strategy("kinds").get(key, 0))

    def more(self, key: str, event: Callable[[], object]) -> None:
        """After `event` the strategy's counter `key` has grown."""
        before = self.count(key)
        event()
        wait_until(lambda: self.count(key) > before, key, PATIENCE_S)

    def reload(self) -> None:
        self.more("reloads", self._save)

    def _save(self) -> None:
        self._version -= 1
        self._file.write_text(EVERY_KIND.replace("randint(1, 50)", f"randint(1, {self._version})"))

    def reload_whose_last_orders_are_lost(self) -> None:
        self.cable.hold()
        wait_until(lambda: self.count("kept"), "orders that nobody acknowledges", PATIENCE_S)
        self.more("reloads", self._save_and_lose)

    def _save_and_lose(self) -> None:
        self._save()
        wait_until(lambda: self.live.strategy("kinds")["pid"] is None, "the old version's end", PATIENCE_S)
        self.cable.lose()

    def kill_a_worker(self) -> None:
        self.more("restarts", psutil.Process(self.live.strategy("kinds")["pid"]).kill)

    def kill_the_zygote(self) -> None:
        (zygote,) = self.live.part("Strategy").children()
        self.more("restarts", zygote.kill)

    def kill_the_order_manager(self) -> None:
        before = self.live.parts()["order_manager"]["restarts"]
        self.live.part("OrderManager").kill()
        wait_until(
            lambda: self.live.parts()["order_manager"]["restarts"] > before, "the OrderManager", PATIENCE_S
        )

    def kill_the_strategy(self) -> None:
        before = self.live.strategy("kinds")["pid"]
        self.live.part("Strategy").kill()

        def runs_again() -> bool:
            found = self.live.strategy("kinds")
            return found.get("state") == "running" and found["pid"] != before

        wait_until(runs_again, "the Strategy", PATIENCE_S)

    def cut_the_order_link(self) -> None:
        before = self.cable.connections
        self.cable.cut()
        wait_until(lambda: self.cable.connections > before, "another connection", PATIENCE_S)

    def pause(self) -> None:
        self.live.act(action="pause")
        self.live.act(action="speed", speed=30)
        self.live.act(action="resume")


@contextlib.contextmanager
def ordeal(folder: Path) -> Iterator[Ordeal]:
    """Nobody has diverged at its end, and nothing of the system is left."""
    file = folder / "mine" / "strategy.py"
    file.parent.mkdir()
    file.write_text(EVERY_KIND)
    order_port = free_port()
    with contextlib.closing(Cable(order_port)) as cable:
        settings = market(
            4,
            run={"duration_s": 0},
            Gateway={"schedule": {"speed": 20}},
            OrderManager={"port": order_port},
            Strategy={
                "order_manager_host": "localhost",  # not the OrderManager's own 127.0.0.1: the cable is between
                "order_manager_port": cable.port,
                "strategies": [{**KINDS, "path": str(file)}, {**KINDS, "id": "twin", "path": str(file)}],
            },
        )
        with living(folder, **settings) as live:
            live.trades_on()
            yield Ordeal(live, file, cable)
            live.trades_on()
            assert live.parts()["strategy"]["stopped"] == ""
            live.let_everybody_catch_up()
            family = psutil.Process(live.process.pid).children(recursive=True)
            assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
            assert "diverged" not in (live.run / "inputs.jsonl").read_text()
            wait_until(lambda: not any(process.is_running() for process in family), "their end")
            assert segments(live.tree["OrderBook"]["shared_memory_name"]) == []
            for part, key in (
                ("Gateway", "md_port"),
                ("OrderManager", "port"),
                ("OrderBook", "control_port"),
            ):
                socket.create_server(("127.0.0.1", live.tree[part][key])).close()


def replays(run: Path) -> None:
    result = replay(run)
    assert result.same, str(result)
    assert result.orders["kinds"] > 100


def test_a_run_reloaded_cut_off_steered_and_dropped_replays_to_the_same_orders(tmp_path: Path) -> None:
    with ordeal(tmp_path) as life:
        life.reload()
        life.cut_the_order_link()
        life.pause()
        life.reload()
        life.live.act(action="drop_feed")
        life.kill_the_zygote()
        life.live.act(action="kill_switch", strategy="twin", flatten=True)
    replays(life.live.run)


def test_a_run_in_which_a_version_left_unheard_replays_to_the_same_orders(tmp_path: Path) -> None:
    with ordeal(tmp_path) as life:
        life.reload_whose_last_orders_are_lost()
    replays(life.live.run)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(8))
def test_so_does_one_in_which_anything_happens_at_any_time(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with ordeal(tmp_path) as life:
        events = life.events()
        if seed % 2:
            events["kill the Strategy"] = life.kill_the_strategy
        for name in chance.choices(sorted(events), k=10):
            print(f"seed {seed}: {name}")
            events[name]()
            if chance.random() < 0.5:
                life.live.trades_on()
    replays(life.live.run)


# ------------------------------------------------------------------------------------- impossible strategies

ROOM = {
    "raises": "def on_tick(ctx, tick): raise ValueError(tick.seq)",
    "floods": """
        def on_tick(ctx, tick):
            for _ in range(100): ctx.place_market_order("BUY" if tick.seq % 2 else "SELL", 1)
    """,
    "logs": """
        def on_tick(ctx, tick):
            if tick.seq % 1000 < 2:
                for i in range(100_000): ctx.log(i)
    """,
    "prints": """
        import os
        def on_tick(ctx, tick): os.write(1, os.urandom(1000) + b"\\x1b]0;owned\\x07\\n")
    """,
    "forgets": """
        import sys
        def on_tick(ctx, tick):
            globals().clear()
            sys.modules.clear()
    """,
    "eats": """
        kept = []
        def on_tick(ctx, tick):
            while True: kept.append(bytes(100_000_000))
    """,
    "forges": """
        import os
        def on_tick(ctx, tick):
            for fd in range(3, 64):
                try: os.write(fd, os.urandom(500))
                except OSError: pass
    """,
    "sleeps": """
        import time
        def on_tick(ctx, tick): time.sleep(0.02)
    """,
}


def test_nobody_in_the_room_hurts_who_trades_beside_them(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [KINDS]
    for name, source in ROOM.items():
        path = tmp_path / name / "strategy.py"
        path.parent.mkdir()
        path.write_text(textwrap.dedent(source))
        entries.append({"id": name, "path": str(path)})
    settings = market(
        6,
        run={"duration_s": 0},
        Gateway={"schedule": {"speed": 10}},  # 800 ticks a second
        Strategy={"strategies": entries, "memory_mb": 512},
    )
    with living(tmp_path, **settings) as live:
        wait_until(lambda: live.strategy("sleeps").get("lag", 0) > 500, "one to fall behind", PATIENCE_S)
        assert [name for name in ROOM if not live.strategy(name)["version"]] == [], "one was never loaded"
        assert live.strategy("sleeps")["lag_ms"] > 0
        wait_until(lambda: live.strategy("forges")["restarts"], "a forger to be found out", PATIENCE_S)
        live.trades_on()
        calm = live.strategy("kinds")
        assert (calm["state"], calm["errors"], calm["missed"], calm["restarts"]) == ("running", 0, 0, 0)
        assert calm["lag_ms"] < live.strategy("sleeps")["lag_ms"]
        assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
        assert "\x1b" not in live.process.output + (tmp_path / "logs" / "strategy.log").read_text()
        assert segments(live.tree["OrderBook"]["shared_memory_name"]) == []
    known = manifest(live.run)
    assert not known["comparable"]
    assert any("not taken at the end" in why or "was killed at the end" in why for why in known["why_not"])
    assert "diverged" not in (live.run / "inputs.jsonl").read_text()
    alone = json.loads((live.run / "config.json").read_bytes())
    deep_update(alone, {"run": {"duration_s": 600}, "Strategy": {"strategies": [KINDS]}})
    evaluate(config=write_config(tmp_path, alone), out=tmp_path / "alone", report=False)
    traded = [line for line in (live.run / "trades.csv").read_text().splitlines() if ",kinds," in line]
    assert len(traded) > 20
    assert traded == (tmp_path / "alone" / "trades.csv").read_text().splitlines()[1 : 1 + len(traded)]


def test_whatever_is_saved_the_last_version_that_runs_goes_on(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:

        def goes_on(quantity: float) -> None:
            sent = len(s.received)
            m.put(1.0)
            s.until(lambda: len(s.received) > sent)
            assert s.quantities[-1] == quantity

        s.until_ready()
        s.path.write_bytes(bytes(range(256)))  # which may be seen half written first
        s.until(lambda: re.search("the old one goes on.*null bytes", s.log))
        goes_on(1)
        s.save("")
        s.until(lambda: "a strategy has a function on_tick" in s.log.rpartition("null bytes")[2])
        goes_on(1)
        s.path.unlink()
        goes_on(1)
        s.save(BUY_ALL.replace("tick.price", "2"))
        s.until(lambda: s.log.count("mine: version") == 1)
        goes_on(2)
        for number in range(3, 53):
            s.save(BUY_ALL.replace("tick.price", str(number)))
        while s.quantities[-1] != 52:
            sent = len(s.received)
            m.put(1.0)
            s.until(lambda sent=sent: len(s.received) > sent)  # type: ignore[misc]
        assert s.stop() == EXIT_OK
