"""The lab under load: how long a saved strategy takes to run, and thirty strategies on one tape.

    python -m benchmarks.classroom [--reloads 20] [--strategies 30] [--seconds 15]

Both on the real system, `python main.py`. A reload is timed from the moment the file has its new content to the
first tick that the new version sees, by the worker's own clock.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.lifecycle import PATIENCE_S, all_ready, main_py, pids_below, status_of
from benchmarks.machine import load
from benchmarks.system import Failed, cpu_percent, random_walk, usage
from testing.harness import wait_until

RATE: Final = 1000  # ticks/s
SHIPPED: Final = ("sma_news", "sma_crossover", "mean_reversion", "momentum", "buy_and_hold")
SETTLE_S: Final = 3.0
STAMPED: Final = """import time
VERSION = {version}
def init(ctx):
    ctx.first = True
def on_tick(ctx, tick):
    if ctx.first:
        ctx.first = False
        ctx.log(f"version {{VERSION}} at {{time.time_ns()}} from {{tick.seq}}")
"""


class Reloads(msgspec.Struct, frozen=True):
    """ms from a saved file to the first tick on the new version; records that nobody saw."""

    ms: list[float]
    lost: int

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.ms)


class Classroom(msgspec.Struct, frozen=True):
    """So many strategies at RATE ticks/s: percent of one core over all processes, records missed and behind."""

    strategies: int
    seconds: float
    ticks: int
    cpu_percent: float
    missed: int
    lag: int
    orders: int


def reloads(count: int) -> Reloads:
    """Save a strategy again and again while it trades."""
    with tempfile.TemporaryDirectory(prefix="algosim-reload-") as name:
        path = Path(name) / "strategy.py"
        path.write_text(STAMPED.format(version=0))
        settings = random_walk(RATE, 1)
        settings["Strategy"] = {"strategies": [{"id": "stamped", "path": str(path)}]}
        with main_py(settings) as (_, folder, _):
            log = folder / "logs" / "strategy.log"

            def first_tick(version: int) -> int | None:
                found = re.search(
                    rf"version {version} at (\d+) from", log.read_text() if log.exists() else ""
                )
                return int(found[1]) if found else None

            wait_until(lambda: first_tick(0), "the first version", PATIENCE_S)
            ms = []
            for version in range(1, count + 1):
                draft = path.with_suffix(".tmp")
                draft.write_text(STAMPED.format(version=version))
                saved = time.time_ns()
                draft.replace(path)
                seen: int = wait_until(lambda v=version: first_tick(v), f"version {version}", PATIENCE_S)  # type: ignore[misc]
                ms.append((seen - saved) / 1e6)
            status = status_of(folder)["parts"]
            return Reloads(ms, int(status["strategy"]["missed"]))


def classroom(strategies: int, seconds: float) -> Classroom:
    """The shipped strategies, over and over."""
    entries = [
        {"id": f"{name}-{number}", "path": f"strategies/{name}/strategy.py"}
        for number, name in ((number, SHIPPED[number % len(SHIPPED)]) for number in range(strategies))
    ]
    settings = random_walk(RATE, 1)
    settings["Strategy"] = {"strategies": entries}
    with main_py(settings) as (process, folder, _):
        status = wait_until(lambda: all_ready(folder), "every part to be ready", PATIENCE_S)
        parts = {name: part["pid"] for name, part in status["parts"].items()}
        pids = [process.pid, *parts.values(), *pids_below(process.pid, parts.values()).values()]
        time.sleep(SETTLE_S)
        begun, before = time.monotonic(), [usage(pid) for pid in pids]
        ticks = status_of(folder)["parts"]["orderbook"]["ticks"]
        time.sleep(seconds)
        elapsed, after = time.monotonic() - begun, [usage(pid) for pid in pids]
        found = status_of(folder)["parts"]
        strategy = found["strategy"]
        if strategy["stopped"]:
            raise Failed(strategy["stopped"])
        return Classroom(
            strategies,
            elapsed,
            found["orderbook"]["ticks"] - ticks,
            round(sum(cpu_percent(*pair, elapsed) for pair in zip(before, after, strict=True)), 1),
            strategy["missed"],
            strategy["lag"],
            found["order_manager"]["orders"],
        )


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--strategies", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=15.0)
    wanted = parser.parse_args()
    print(f"load before: {load()}")
    reloaded = reloads(wanted.reloads)
    print(
        f"hot reload, saved to first tick: p50 {reloaded.p50:.0f} ms, slowest {max(reloaded.ms):.0f} ms of "
        f"{len(reloaded.ms)}; records lost: {reloaded.lost}"
    )
    room = classroom(wanted.strategies, wanted.seconds)
    print(
        f"{room.strategies} strategies, {room.ticks / room.seconds:,.0f} ticks/s for {room.seconds:.0f} s: "
        f"{room.cpu_percent} % of one core in all, {room.missed} records missed, {room.lag} behind, "
        f"{room.orders:,} orders"
    )
    print(f"load after: {load()}")


if __name__ == "__main__":
    main()
