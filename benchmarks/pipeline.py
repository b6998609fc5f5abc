"""How long from when a tick was due until its order was received: ours as it comes, with a strategy that is woken
only when it is rung, with `run.pin` and `run.keep_awake`, in plain Python, and two of pyzmq: one that does the same
work, one that passes messages on.

Open loop: bursts are due at their instants whatever becomes of the ones before, and a late burst counts from
when it was due. Every tick goes through the strategy's Python `on_tick`; the last of each burst sends an order.
"""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from benchmarks import zmq_pipeline
from benchmarks.system import System, Usage, cpu_percent, random_walk
from runtime.supervisor import SCRIPTS
from trading_lib.histogram import Histogram

COMPILED: Final = "compiled"
RUNG: Final = "rung"  # compiled, with Strategy.wake_early_us 0: as from a source at uneven distances
TUNED: Final = "tuned"  # compiled, with run.pin and run.keep_awake
PURE: Final = "pure_python"
PYZMQ: Final = "pyzmq"  # the same work, other messages
PYZMQ_BARE: Final = "pyzmq_bare"  # messages only: no host, no lane, no journal, no log
PIPELINES: Final = (COMPILED, RUNG, TUNED, PURE, PYZMQ, PYZMQ_BARE)
RATES: Final = (1_000, 10_000, 100_000)
FLAT_OUT: Final = 0
FLAT_OUT_EVERY: Final = 4096  # ticks to an order when there are no bursts: the Gateway's batch
STAGES: Final = ("tick→book", "book→decision", "decision→order", "tick→order")
DUE_TO_SENT: Final = "due→sent"
PERCENTS: Final = (50.0, 90.0, 99.0, 99.9)


class Case(msgspec.Struct, frozen=True):
    """One pipeline at one rate, once. `ticks` as far as the order book counted them, `seen` by the strategy.

    `summaries`: µs by stage; `histograms`: the same, whole, ns. `problems`: what was lost, late or given up.
    """

    pipeline: str
    rate: int
    round: int
    histograms: dict[str, Histogram]
    summaries: dict[str, dict[str, float | None]]
    cpu_percent: dict[str, float]
    rss_mb: dict[str, float]
    ticks: int
    seen: int
    ticks_per_s: float
    problems: dict[str, int]


def one_round(rates: Iterable[int]) -> Iterator[tuple[int, str]]:
    """(rate, pipeline) in the order of one round: the pipelines take turns at each rate; flat out only ours."""
    for rate in rates:
        for pipeline in PIPELINES if rate else (COMPILED,):
            yield rate, pipeline


def measure(pipeline: str, rate: int, number: int, seconds: float, warm_s: float) -> Case:
    """One case. Raises Failed."""
    if pipeline in (PYZMQ, PYZMQ_BARE):
        return _measure_pyzmq(pipeline, rate, number, seconds, warm_s)
    return _measure_ours(pipeline, rate, number, seconds, warm_s)


def _measure_ours(pipeline: str, rate: int, number: int, seconds: float, warm_s: float) -> Case:
    every = max(1, rate // 1000) if rate else FLAT_OUT_EVERY
    settings, parts = random_walk(rate, every), tuple(SCRIPTS)
    if pipeline == RUNG:
        settings["Strategy"]["wake_early_us"] = 0
    if pipeline == TUNED:
        settings["run"], parts = {"pin": True, "keep_awake": True}, (*parts, "keep_awake")
    with System(settings, pure=pipeline == PURE, parts=parts) as system:
        system.start()
        system.processes()  # found before the window: looking for them costs milliseconds
        before = system.next_status("order_manager", time.monotonic() + warm_s)
        with system.tape() as tape:
            begun, first, used_before = time.monotonic(), tape.tail, system.usage()
            system.sleep(seconds)
            ended, last, used_after = time.monotonic(), tape.tail, system.usage()
        final = system.stop()  # the Gateway first: what is stopping is not measured
    after = final["order_manager"]
    stages = stages_between(before, after)
    gateway = final["gateway"]
    summaries = {name: stages[name].summary_us(PERCENTS) for name in STAGES}
    summaries[DUE_TO_SENT] = gateway["latency_us"][DUE_TO_SENT]
    return Case(
        pipeline,
        rate,
        number,
        stages,
        summaries,
        *_used(used_before, used_after, ended - begun),
        ticks=final["orderbook"]["ticks"],
        seen=final["strategy"]["ticks"],
        ticks_per_s=(last - first) / (ended - begun),
        problems=problems(final),
    )


def _measure_pyzmq(pipeline: str, rate: int, number: int, seconds: float, warm_s: float) -> Case:
    run = zmq_pipeline.run(rate, seconds, warm_s, work=pipeline == PYZMQ)
    orders = run.stages["tick→order"].total
    expected = round(seconds * 1000)
    return Case(
        pipeline,
        rate,
        number,
        {name: run.stages[name] for name in STAGES},
        {name: run.stages[name].summary_us(PERCENTS) for name in (*STAGES, DUE_TO_SENT)},
        *_used(run.before, run.after, run.seconds),
        ticks=rate * expected // 1000,
        seen=orders * (rate // 1000),
        ticks_per_s=float(rate),
        problems={"orders missing": expected - orders} if orders != expected else {},
    )


def _used(
    before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """CPU and memory of who the ticks pass through: what keeps processors awake takes all they have left."""
    stream = {name: used for name, used in after.items() if name != "keep_awake"}
    cpu = {name: cpu_percent(before[name], used, seconds) for name, used in stream.items()}
    return cpu, {name: round(used.rss / 1e6, 1) for name, used in stream.items()}


def stages_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Histogram]:
    """What the OrderManager counted between two of its statuses, by stage."""
    found = {}
    for name in STAGES:
        earlier, later = (Histogram.from_dict(status["histograms"][name]) for status in (before, after))
        found[name] = difference(later, earlier)
    return found


def difference(later: Histogram, earlier: Histogram) -> Histogram:
    """What was recorded in between. The maximum is known to a bucket unless it is the later one's."""
    found = Histogram()
    found.counts.update(later.counts)
    found.counts.subtract(earlier.counts)
    found.counts = +found.counts
    found.total = found.counts.total()
    edges = found.buckets()
    found.max = min(edges[-1][0], later.max) if edges else 0
    return found


def problems(final: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Everything lost, late, refused or given up, by name; empty when nothing was."""
    book, gateway = final["orderbook"], final.get("gateway", {})
    strategy, orders = final.get("strategy", {}), final.get("order_manager", {})
    counted = {
        "feed gaps": book["gaps"],
        "records missed": book["missed"],
        "late": book["late"],
        "frames rejected": sum(book["rejected"].values()),
        "dropped by the Gateway": gateway.get("dropped", 0),
        "schedule given up": gateway.get("resyncs", 0),
        "overrun in the strategy": strategy.get("missed", 0),
        "not seen by the strategy": book["ticks"] - strategy["ticks"] - strategy["missed"] if strategy else 0,
        "strategy errors": strategy.get("errors", 0),
        "orders rejected": sum(orders.get("rejected", {}).values()),
    }
    return {name: count for name, count in counted.items() if count}


# ---------------------------------------------------------------------------------------------- over rounds


def of(cases: Iterable[Case], pipeline: str, rate: int) -> list[Case]:
    """The rounds of one pipeline at one rate."""
    return [case for case in cases if case.pipeline == pipeline and case.rate == rate]


def median_summary(cases: Sequence[Case], stage: str) -> dict[str, float | None]:
    """Each percentile's median over the rounds, µs; `max` and `n` over all of them."""
    found: dict[str, float | None] = {}
    for key in (f"p{percent:g}" for percent in PERCENTS):
        values = [value for case in cases if (value := case.summaries[stage][key]) is not None]
        found[key] = round(statistics.median(values), 1) if values else None
    found["max"] = max((case.summaries[stage]["max"] or 0.0 for case in cases), default=None)
    found["n"] = sum(case.summaries[stage]["n"] or 0 for case in cases)
    return found


def merged(cases: Iterable[Case], stage: str) -> Histogram:
    """All rounds in one histogram, for the picture."""
    found = Histogram()
    for case in cases:
        found.merge(case.histograms[stage])
    return found


def describe(case: Case) -> str:
    """One line while it runs."""
    total = case.summaries["tick→order"]
    rate = f"{case.rate:>7,}/s" if case.rate else " flat out"
    trouble = "  ".join(f"{name} {count:,}" for name, count in case.problems.items())
    return (
        f"round {case.round}  {rate}  {case.pipeline:<11}  tick→order p50 {_us(total['p50'])}"
        f"  p99 {_us(total['p99'])} µs  n {total['n']:,}  {trouble}"
    )


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
