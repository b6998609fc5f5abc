"""What was found, the figures made of it, and the targets beside them. Nothing here measures anything."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from benchmarks import recording, slow_clients, throughput
from benchmarks.classroom import Classroom, Reloads
from benchmarks.dashboard import DashboardFigures
from benchmarks.journal import TARGET_PER_COMMIT, JournalFigures
from benchmarks.lifecycle import Idle
from benchmarks.memory import Memory
from benchmarks.orders import OrderFigures, RecoveryFigures
from benchmarks.pipeline import (
    COMPILED,
    DUE_TO_SENT,
    FLAT_OUT,
    PIPELINES,
    PURE,
    PYZMQ,
    PYZMQ_BARE,
    RATES,
    RUNG,
    STAGES,
    TUNED,
    Case,
    median_summary,
    of,
)

TOTAL: Final = "tick→order"
P50_TO_PYZMQ: Final = 0.6
TARGET_US: Final = {1_000: (80, 200), 10_000: (80, 200), 100_000: (120, 250)}  # p50, p99
LATENCY_KEYS: Final = {
    COMPILED: "tick_to_order_us",
    RUNG: "rung_tick_to_order_us",
    TUNED: "tuned_tick_to_order_us",
    PURE: "pure_python_tick_to_order_us",
    PYZMQ: "pyzmq_tick_to_order_us",
    PYZMQ_BARE: "pyzmq_messages_only_tick_to_order_us",
}


class Settings(msgspec.Struct, frozen=True):
    """At which rates, how long and how often: ticks/s, seconds, and counts."""

    rates: tuple[int, ...]  # 0: flat out
    rounds: int
    seconds: float
    warm_s: float
    throughput_s: float
    slow_rounds: int
    slow_s: float
    starts: int
    kills: int
    idle_s: float
    orders_s: float
    orders_rounds: int
    recovery_orders: int


class Results(msgspec.Struct):
    """Filled measurement by measurement; what stays empty was not asked for, or is in `failures`."""

    settings: Settings
    command: str
    date: str
    machine: dict[str, Any]
    load_before: list[float]
    load_after: list[float] = []
    took_s: float = 0.0
    failures: dict[str, str] = {}
    cases: list[Case] = []
    memory: Memory | None = None
    blasts: dict[str, list[throughput.Blast]] = {}
    flows: list[throughput.Flow] = []
    steps: list[throughput.Step] = []
    slow: list[slow_clients.Round] = []
    first_order_s: list[float] = []
    recovery_ms: list[float] = []
    idle: Idle | None = None
    recorder: list[recording.Round] = []
    journal: JournalFigures | None = None
    orders: OrderFigures | None = None
    ledger_recovery: RecoveryFigures | None = None
    reloads: Reloads | None = None
    classroom: Classroom | None = None
    dashboard: DashboardFigures | None = None

    def summary(self, pipeline: str, rate: int, stage: str = TOTAL) -> dict[str, float | None]:
        """µs of one stage, medians over the rounds; None where nothing was measured."""
        return median_summary(of(self.cases, pipeline, rate), stage)

    def rates(self, pipeline: str) -> list[int]:
        """The rates this pipeline was measured at, flat out left out."""
        return [rate for rate in RATES if of(self.cases, pipeline, rate)]

    def blast_rate(self, path: str) -> float | None:
        """Ticks/s into tape and book by one path."""
        return throughput.rate_of(self.blasts[path]) if self.blasts.get(path) else None

    @property
    def provider_rate(self) -> float | None:
        """Ticks/s through the Gateway, of the slower provider."""
        return min((flow.ticks_per_s for flow in self.flows), default=None)

    @property
    def strategy_rate(self) -> int | None:
        """The highest rate the strategy kept up with."""
        return max((step.rate for step in self.steps if step.kept_up), default=None)


class Target(msgspec.Struct, frozen=True):
    """One row of the issue's table. `met` None: not measured."""

    what: str
    at_least: str
    measured: str
    met: bool | None


def targets(found: Results) -> list[Target]:
    """Every target with what was measured."""
    rows = [*_latency_targets(found)]
    compiled, pure = found.blast_rate(COMPILED), found.blast_rate(PURE)
    rows.append(_row("TCP → book and tape, none lost", "≥ 10 M ticks/s", _m(compiled), compiled, above=10e6))
    ratio = compiled / pure if compiled and pure else None
    rows.append(_row("… against plain Python", "≥ 8 ×", _times(ratio), ratio, above=8))
    rate = found.provider_rate
    rows.append(_row("CSV and random walk through the Gateway", "≥ 2 M ticks/s", _m(rate), rate, above=2e6))
    first = found.steps[0] if found.steps else None
    share = first.seen / first.ticks if first and first.ticks else None
    shown = "–" if share is None else f"{share:.4%}"
    rows.append(_row("a strategy at 100k ticks/s sees", "100 %", shown, share, above=1.0))
    memory = found.memory
    read, snapshot = (memory.read_ns / 1000, memory.snapshot_us) if memory else (None, None)
    rows.append(_row("`read(symbol)`", "≤ 0.5 µs", _unit(read, "µs"), read, below=0.5))
    rows.append(_row("snapshot of 10,000 symbols", "≤ 10 µs", _unit(snapshot, "µs"), snapshot, below=10))
    slow = slow_clients.ratio(found.slow) if found.slow else None
    rows.append(_row("slow clients: p99 with / without", "≤ 1.2", _times(slow), slow, below=1.2))
    idle = found.idle.total_percent if found.idle else None
    rows.append(_row("idle system, all processes", "< 2 % of a core", _unit(idle, "%"), idle, under=2))
    first_s = max(found.first_order_s, default=None)
    rows.append(_row("start to first order, warm", "≤ 5 s", _unit(first_s, "s"), first_s, below=5))
    return [*rows, *_money_targets(found), *_lab_targets(found), *_dashboard_targets(found)]


def _dashboard_targets(found: Results) -> Iterable[Target]:
    figures = found.dashboard
    seen = figures.painted if figures else None
    ms, fps = (seen.p50, seen.scroll_fps) if seen else (None, None)
    yield _row("tick in the book → painted in a browser, p50", "≤ 150 ms", _unit(ms, "ms"), ms, below=150)
    table, chart = (seen.table_per_s, seen.chart_per_s) if seen else (None, None)
    yield _row("… updates of the table", "≥ 8/s", _unit(table, "/s"), table, above=8)
    yield _row("… updates of the chart", "≥ 4/s", _unit(chart, "/s"), chart, above=4)
    yield _row("… frames while scrolling", "≥ 30/s", _unit(fps, "/s"), fps, above=30)
    browser = seen.cpu_percent if seen else None
    yield _row("Dashboard, one browser", "≤ 5 % of a core", _unit(browser, "%"), browser, below=5)
    ten = figures.cpu_percent(10) if figures else None
    yield _row("Dashboard, 10 listeners", "≤ 25 % of a core", _unit(ten, "%"), ten, below=25)
    effect = figures.effect if figures else None
    yield _row("Dashboard: p99 with / without", "≤ 1.2", _times(effect), effect, below=1.2)


def _lab_targets(found: Results) -> Iterable[Target]:
    reloads, room = found.reloads, found.classroom
    ms = reloads.p50 if reloads else None
    yield _row("hot reload, saved to first tick", "≤ 500 ms", _unit(ms, "ms"), ms, below=500)
    lost = reloads.lost if reloads else None
    yield _row("… records lost", "0", "–" if lost is None else f"{lost:,}", lost, below=0)
    missed = room.missed if room else None
    shown = "–" if room is None else f"{room.missed:,}, {room.cpu_percent:g} % of a core"
    yield _row("30 strategies at 1,000 ticks/s: records missed", "0", shown, missed, below=0)


def _money_targets(found: Results) -> Iterable[Target]:
    orders, recovery = found.orders, found.ledger_recovery
    rate = orders.acknowledged_per_s if orders else None
    ratio = recording.ratio(found.recorder) if found.recorder else None
    yield _row("Recorder at 100k ticks/s: p99 with / without", "≤ 1.2", _times(ratio), ratio, below=1.2)
    missed = sum(one.missed for one in found.recorder) if found.recorder else None
    shown = "–" if missed is None else f"{missed:,}"
    yield _row("… records it missed", "0, or counted", shown, missed, above=0)
    yield _row("orders durable and acknowledged", "≥ 25,000/s", _per_s(rate), rate, above=25_000)
    rate = found.journal.per_s(TARGET_PER_COMMIT) if found.journal else None
    yield _row("the journal alone", "≥ 50,000/s", _per_s(rate), rate, above=50_000)
    over = orders.over_sync_us if orders else None
    yield _row("an order alone, over an fdatasync", "≤ 300 µs", _unit(over, "µs"), over, below=300)
    seconds = recovery.seconds if recovery and recovery.orders >= 1_000_000 else None
    yield _row("recovery after 1 M orders", "≤ 10 s", _unit(seconds, "s"), seconds, below=10)


def _latency_targets(found: Results) -> Iterable[Target]:
    """Against pyzmq as the system comes: what `run.pin` and `run.keep_awake` do, they would do for pyzmq, too."""
    for rate in RATES:
        ours, theirs = found.summary(COMPILED, rate)["p50"], found.summary(PYZMQ, rate)["p50"]
        ratio = ours / theirs if ours and theirs else None
        what = f"tick → order p50 against the same work over pyzmq, {rate:,}/s"
        yield _row(what, f"≤ {P50_TO_PYZMQ} ×", _times(ratio), ratio, below=P50_TO_PYZMQ)
    for rate, limits in TARGET_US.items():
        summary = found.summary(COMPILED, rate)
        for key, limit in zip(("p50", "p99"), limits, strict=True):
            value = summary[key]
            yield _row(
                f"tick → order {key}, {rate:,}/s", f"≤ {limit} µs", _unit(value, "µs"), value, below=limit
            )


def _row(
    what: str,
    at_least: str,
    measured: str,
    value: float | None,
    *,
    above: float | None = None,
    below: float | None = None,
    under: float | None = None,
) -> Target:
    """`above`, `below`: the bound itself will do; `under`: it will not."""
    if value is None:
        return Target(what, at_least, "–", None)
    met = (
        (above is None or value >= above)
        and (below is None or value <= below)
        and (under is None or value < under)
    )
    return Target(what, at_least, measured, met)


def _m(value: float | None) -> str:
    return "–" if value is None else f"{value / 1e6:.2f} M/s"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ×"


def _per_s(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}/s"


def _unit(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,.2f} {unit}"


def to_json(found: Results) -> dict[str, Any]:
    """Everything but the histograms, as plain values. Rates are keys, as text."""
    plain: dict[str, Any] = {
        LATENCY_KEYS[pipeline]: {str(rate): found.summary(pipeline, rate) for rate in found.rates(pipeline)}
        for pipeline in PIPELINES
    }
    stages = (*STAGES, DUE_TO_SENT)
    per_case = {
        pipeline: {str(rate): of(found.cases, pipeline, rate)[-1] for rate in found.rates(pipeline)}
        for pipeline in PIPELINES
    }
    plain |= {
        "stages_us": {
            pipeline: {
                str(rate): {stage: found.summary(pipeline, rate, stage) for stage in stages}
                for rate in found.rates(pipeline)
            }
            for pipeline in PIPELINES
        },
        "flat_out": _flat_out(found),
        "sustained_ticks_per_s": found.blast_rate(COMPILED),
        "pure_python_ticks_per_s": found.blast_rate(PURE),
        "provider_ticks_per_s": found.provider_rate,
        "ticks_per_s_by_provider": {flow.provider: flow.ticks_per_s for flow in found.flows},
        "strategy_ticks_per_s": found.strategy_rate,
        "strategy_steps": msgspec.to_builtins(found.steps),
        "memory": msgspec.to_builtins(found.memory),
        "slow_client_p99_ratio": slow_clients.ratio(found.slow) if found.slow else None,
        "slow_client_rounds": msgspec.to_builtins(found.slow),
        "recovery_ms": found.recovery_ms,
        "first_order_s": found.first_order_s,
        "idle": None
        if found.idle is None
        else {"total_percent": found.idle.total_percent, **msgspec.to_builtins(found.idle)},
        "recorder": msgspec.to_builtins(found.recorder),
        "journal": msgspec.to_builtins(found.journal),
        "orders": msgspec.to_builtins(found.orders),
        "ledger_recovery": msgspec.to_builtins(found.ledger_recovery),
        "dashboard": msgspec.to_builtins(found.dashboard),
        "cpu_percent": {p: {rate: case.cpu_percent for rate, case in c.items()} for p, c in per_case.items()},
        "rss_mb": {p: {rate: case.rss_mb for rate, case in c.items()} for p, c in per_case.items()},
        "problems": [
            {"pipeline": case.pipeline, "rate": case.rate, "round": case.round, **case.problems}
            for case in found.cases
            if case.problems
        ],
        "targets": [msgspec.to_builtins(row) for row in targets(found)],
        "failures": found.failures,
        "load": {"before": found.load_before, "after": found.load_after},
        "machine": found.machine,
        "settings": msgspec.to_builtins(found.settings),
        "command": found.command,
        "date": found.date,
        "took_s": round(found.took_s, 1),
    }
    return plain


def _flat_out(found: Results) -> dict[str, Any] | None:
    cases = of(found.cases, COMPILED, FLAT_OUT)
    if not cases:
        return None
    last = cases[-1]
    return {
        "tick_to_order_us": found.summary(COMPILED, FLAT_OUT),
        "ticks_per_s": round(last.ticks_per_s),
        "ticks": last.ticks,
        "seen_by_the_strategy": last.seen,
        "cpu_percent": last.cpu_percent,
        "rss_mb": last.rss_mb,
    }
