"""The dashboard beside a busy market: how late it paints, what it costs, and whether orders feel it.

    python -m benchmarks.dashboard [--rounds 7] [--seconds 10] [--brief]

- Painted: 100,000 ticks/s over 1,000 symbols, a headless Chromium that shows Live and its market table. Each
  change of one cell is timed after the frame that painted it, and its price looked for on the tape: the newest
  tick of that price and symbol before then was booked so much earlier.
- Cost: the dashboard's CPU with that browser, with 10 listeners that ask for what the page asks for, and with 100
  of which one reads nothing.
- Effect: tick→order p99 with a dashboard and a listener, over p99 without, in turns.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.machine import load
from benchmarks.pipeline import PERCENTS, stages_between
from benchmarks.system import Failed, System, Usage, cpu_percent, random_walk, usage
from runtime.supervisor import SCRIPTS
from shared_memory_utils import RECORD_DTYPE
from testing.harness import free_port
from trading_lib.models import Kind

RATE: Final = 100_000
SYMBOLS: Final = tuple(f"S{number:04d}" for number in range(1000))
WATCHED: Final = SYMBOLS[0]
EFFECT_RATE: Final = 10_000
COUNTS: Final = (0, 1, 10, 100)  # of listeners
CHROMIUM: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
)
QUIET: Final = ("--disable-background-networking", "--disable-component-update")
WITH: Final = (*SCRIPTS, "dashboard")
WINDOWS: Final = 3  # of the dashboard's CPU with a browser, whose median counts

WATCH_CELL: Final = """(symbol) => {
  const seen = [], state = { frames: 0 };
  window.benchmark = { seen, state };
  const after = new MessageChannel();
  let last = "", text = "";
  const now = () => performance.timeOrigin + performance.now();
  after.port1.onmessage = () => seen.push([now(), Number(text.replace(/,/g, ""))]);
  const frame = () => {
    state.frames += 1;
    const cell = document.querySelector(`#market-drawer .ag-row[row-id="${symbol}"] .ag-cell[col-id="last"]`);
    if (cell && cell.textContent !== last) {
      last = text = cell.textContent;
      after.port2.postMessage(0);
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


class Painted(msgspec.Struct, frozen=True):
    """ms from a tick in the book to its price painted, and what a second brings to the eye."""

    ms: list[float]
    table_per_s: float
    chart_per_s: float
    scroll_fps: float
    cpu_percent: float
    load: list[float]

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.ms)


class Cost(msgspec.Struct, frozen=True):
    """The dashboard's CPU, percent of one core, with so many listeners; the oldest frame that arrived."""

    listeners: int
    cpu_percent: float
    rss_mb: float
    messages_per_s: float
    oldest_ms: float


class Effect(msgspec.Struct, frozen=True):
    """tick→order p99 in µs, without a dashboard and with one."""

    without: float
    with_it: float

    @property
    def ratio(self) -> float:
        """With over without."""
        return self.with_it / self.without


class DashboardFigures(msgspec.Struct, frozen=True):
    """All of it; `painted` None where there is no browser."""

    painted: Painted | None
    costs: list[Cost]
    effects: list[Effect]

    @property
    def effect(self) -> float | None:
        """tick→order p99 with a dashboard over without, the median of the rounds."""
        return statistics.median(one.ratio for one in self.effects) if self.effects else None

    def cpu_percent(self, listeners: int) -> float | None:
        """With so many listeners."""
        return next((one.cpu_percent for one in self.costs if one.listeners == listeners), None)


def market(rate: float) -> dict[str, Any]:
    """Settings: a simulated market of 1,000 symbols whose prices have four digits behind the point."""
    settings = random_walk(rate, int(rate) // 200)
    settings["symbols"] = list(SYMBOLS)
    settings["Gateway"] |= {
        "provider": "simulated",
        "model": {"type": "ou", "kappa": 0.5, "sigma": 0.05, "P0": 5.0},
        "news": {"every_ticks": 1000},
    }
    settings["Dashboard"] = {"enabled": True, "port": free_port()}
    return settings


def _url(system: System) -> str:
    return f"http://127.0.0.1:{system.config['Dashboard']['port']}"


def _usage(system: System) -> Usage:
    pid = system.children["dashboard"].pid
    assert pid is not None
    return usage(pid)


def _cpu_percent(system: System, seconds: float) -> float:
    """The dashboard's over so many seconds from now."""
    before, began = _usage(system), time.monotonic()
    system.sleep(seconds)
    return cpu_percent(before, _usage(system), time.monotonic() - began)


# ------------------------------------------------------------------------------------------------ painted


class TickLog:
    """What the tape says of one symbol, kept by a thread of its own: (booked ns, price)."""

    def __init__(self, system: System) -> None:
        self.ticks: list[tuple[int, float]] = []
        self._done = threading.Event()
        self._system = system
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with self._system.tape() as reader:
            while not self._done.wait(0.02):
                while packed := reader.take(1 << 16):
                    records = np.frombuffer(packed, RECORD_DTYPE)
                    own = records[(records["kind"] == Kind.TICK) & (records["slot"] == 0)]
                    self.ticks += zip(own["booked"].tolist(), own["value"].tolist(), strict=True)

    def stop(self) -> None:
        """No more."""
        self._done.set()
        self._thread.join()


def ages(seen: list[tuple[float, float]], ticks: list[tuple[int, float]]) -> list[float]:
    """For each painted price the ms since the newest tick of that price was booked."""
    found = []
    by_price: dict[float, list[int]] = {}
    for booked, price in ticks:
        by_price.setdefault(price, []).append(booked)
    for painted_ms, price in seen:
        before = [booked for booked in by_price.get(price, ()) if booked / 1e6 <= painted_ms]
        if before:
            found.append(painted_ms - before[-1] / 1e6)
    return found


def painted(seconds: float, say: Callable[[str], None]) -> Painted:
    """One visible browser, for WINDOWS times so many seconds. Raises Failed without one."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise Failed("no chromium on this machine")
    with System(market(RATE), parts=WITH) as system, sync_playwright() as playwright:
        system.start()
        browser = playwright.chromium.launch(executable_path=program, args=[*CHROMIUM, *QUIET])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"{_url(system)}/?symbol={WATCHED}&drawer=market")
        page.wait_for_function("window.algosimLive && algosimLive.market.painted > 20", timeout=60_000)
        page.evaluate(WATCH_CELL, WATCHED)
        ticks = TickLog(system)
        counts, began = _counts(page), time.monotonic()
        cpu = [_cpu_percent(system, seconds) for _ in range(WINDOWS)]
        elapsed = time.monotonic() - began
        later, seen = _counts(page), page.evaluate("benchmark.seen")
        ticks.stop()
        fps = _scroll(page)
        browser.close()
        found = Painted(
            [round(age, 1) for age in ages(seen, ticks.ticks)],
            round((later[0] - counts[0]) / elapsed, 1),
            round((later[1] - counts[1]) / elapsed, 1),
            round(fps, 1),
            statistics.median(cpu),
            load(),
        )
    say(
        f"painted: p50 {found.p50:.0f} ms after the book over {len(found.ms)} changes; table {found.table_per_s}/s, "
        f"chart {found.chart_per_s}/s, scrolling {found.scroll_fps} fps, dashboard {found.cpu_percent} % of a core "
        f"(median of {cpu}), "
        f"load {found.load}"
    )
    return found


def _counts(page: Any) -> tuple[int, int]:
    table, chart = page.evaluate("[algosimLive.market.painted, algosimLive.charts.price.paints]")
    return int(table), int(chart)


def _scroll(page: Any, seconds: float = 3.0) -> float:
    """Frames a second while the table is scrolled."""
    page.mouse.move(1000, 400)
    before, began = page.evaluate("benchmark.state.frames"), time.monotonic()
    while time.monotonic() - began < seconds:
        page.mouse.wheel(0, 120)
    return float(page.evaluate("benchmark.state.frames") - before) / (time.monotonic() - began)


# --------------------------------------------------------------------------------------------------- cost


@contextlib.contextmanager
def listeners(url: str, count: int, seconds: float, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """So many listeners in a process beside us."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.listeners", url, str(count), str(seconds), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def costs(seconds: float, say: Callable[[str], None], counts: Sequence[int] = COUNTS) -> list[Cost]:
    """With so many listeners; of 100 the last reads nothing."""
    found = []
    with System(market(RATE), parts=WITH) as system:
        system.start()
        url = _url(system).replace("http", "ws") + "/stream"
        for count in counts:
            options = ("--stuck",) if count == 100 else ()
            with listeners(url, count, seconds + 3, *options) as process:
                system.sleep(2)
                cpu, rss = _cpu_percent(system, seconds), _usage(system).rss
                told = json.loads(process.communicate()[0])
            one = Cost(
                count,
                cpu,
                round(rss / 1e6, 1),
                round(told["messages"] / (seconds + 3), 1),
                round(told["oldest_ms"], 1),
            )
            say(
                f"{count} listeners: {one.cpu_percent} % of a core, {one.rss_mb} MB, oldest {one.oldest_ms} ms"
            )
            found.append(one)
    return found


# ------------------------------------------------------------------------------------------------- effect


def effects(count: int, seconds: float, warm_s: float, say: Callable[[str], None]) -> list[Effect]:
    """Interleaved: without first and with first in turns."""
    found = []
    for number in range(count):
        halves = {own: _half(own, seconds, warm_s) for own in (number % 2 == 1, number % 2 == 0)}
        one = Effect(halves[False], halves[True])
        say(
            f"effect, round {number + 1}: p99 {one.without} µs without, {one.with_it} µs with: {one.ratio:.2f}"
        )
        found.append(one)
    return found


def _half(own: bool, seconds: float, warm_s: float) -> float:
    settings = random_walk(EFFECT_RATE, EFFECT_RATE // 1000)
    settings["Dashboard"] = {"enabled": own, "port": free_port()}
    with System(settings, parts=WITH if own else tuple(SCRIPTS)) as system:
        system.start()
        with contextlib.ExitStack() as stack:
            if own:
                url = _url(system).replace("http", "ws") + "/stream"
                symbol = str(system.config["symbols"][0])
                stack.enter_context(listeners(url, 1, seconds + warm_s + 30, "--symbol", symbol))
            before = system.next_status("order_manager", time.monotonic() + warm_s)
            system.sleep(seconds - 0.3)
            after = system.next_status("order_manager")
        system.stop()
    p99 = stages_between(before, after)["tick→order"].summary_us(PERCENTS)["p99"]
    if not p99:
        raise Failed("no orders")
    return float(p99)


def measure(
    seconds: float, rounds: int, warm_s: float, say: Callable[[str], None], *, thorough: bool = True
) -> DashboardFigures:
    """All of it; `thorough`: with a browser, if there is one, and with each number of listeners."""
    seen = painted(seconds, say) if thorough and shutil.which("chromium") else None
    counts = COUNTS if thorough else COUNTS[1:2]
    return DashboardFigures(seen, costs(seconds, say, counts), effects(rounds, seconds, warm_s, say))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--brief", action="store_true")
    given = parser.parse_args()
    print(f"load before: {load()}")
    figures = measure(given.seconds, given.rounds, 3.0, print, thorough=not given.brief)
    print(f"tick→order p99 with a dashboard over without, median: {figures.effect:.2f}")
