"""Measure everything and write it down: `python benchmarks/latency.py [--quick] [--seconds N] [--rounds N]`.

Writes RESULTS.md, results.json and latency.png beside this file. `--quick` (a smoke test of 40 seconds,
whose figures mean little) and a run of some parts (`--only`) write to runs/benchmarks instead, unless `--out`
says where. A measurement that fails is reported as failed, and the exit code is 1.
"""

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from benchmarks import (
    classroom,
    dashboard,
    journal,
    lifecycle,
    memory,
    orders,
    pipeline,
    recording,
    slow_clients,
    throughput,
)
from benchmarks.machine import describe_machine, load
from benchmarks.results import Results, Settings, targets, to_json
from config import ROOT

HERE: Final = Path(__file__).resolve().parent
ASIDE: Final = ROOT / "runs" / "benchmarks"
FULL: Final = Settings(
    rates=(*pipeline.RATES, pipeline.FLAT_OUT),
    rounds=3,
    seconds=3.0,
    warm_s=1.0,
    throughput_s=1.5,
    slow_rounds=7,
    slow_s=2.0,
    starts=3,
    kills=3,
    idle_s=5.0,
    orders_s=2.0,
    orders_rounds=5,
    recovery_orders=1_000_000,
)
QUICK: Final = Settings(
    rates=pipeline.RATES,
    rounds=1,
    seconds=0.5,
    warm_s=0.0,
    throughput_s=0.3,
    slow_rounds=1,
    slow_s=0.7,
    starts=1,
    kills=1,
    idle_s=1.0,
    orders_s=0.2,
    orders_rounds=1,
    recovery_orders=5_000,
)
QUICK_LADDER: Final = throughput.LADDER[:1]
Say = Callable[[str], None]


def measure_memory(found: Results, say: Say) -> None:
    """The price book."""
    found.memory = memory.measure()
    say(f"read {found.memory.read_ns:.0f} ns, snapshot {found.memory.snapshot_us:.1f} µs")


def measure_pipeline(found: Results, say: Say) -> None:
    """Tick to order, three pipelines in turn."""
    settings = found.settings
    for number in range(1, settings.rounds + 1):
        for rate, name in pipeline.one_round(settings.rates):
            try:
                case = pipeline.measure(name, rate, number, settings.seconds, settings.warm_s)
            except Exception as fault:  # noqa: BLE001  the other cases are worth having
                found.failures[f"pipeline: {name} at {rate:,}/s, round {number}"] = _reason(fault)
                say(f"FAILED: {name} at {rate:,}/s: {_reason(fault)}")
                continue
            say(pipeline.describe(case))
            found.cases.append(case)


def measure_throughput(found: Results, say: Say) -> None:
    """Into the OrderBook."""
    found.blasts = throughput.blasts(found.settings.rounds, found.settings.throughput_s, say)


def measure_providers(found: Results, say: Say) -> None:
    """Through the Gateway."""
    for provider in ("csv", "random_walk"):
        flow = throughput.provider_flow(provider, found.settings.throughput_s)
        say(f"{provider} through the Gateway: {flow.ticks_per_s:,.0f} ticks/s, none lost")
        found.flows.append(flow)


def measure_strategy(found: Results, say: Say) -> None:
    """What a strategy keeps up with."""
    ladder = throughput.LADDER if found.settings.warm_s else QUICK_LADDER
    found.steps = throughput.climb(found.settings.throughput_s, say, ladder)


def measure_slow_clients(found: Results, say: Say) -> None:
    """Whether slow clients matter."""
    settings = found.settings
    found.slow = slow_clients.rounds(settings.slow_rounds, settings.slow_s, settings.warm_s, say)


def measure_first_order(found: Results, say: Say) -> None:
    """From the start of main.py."""
    found.first_order_s = [lifecycle.first_order() for _ in range(found.settings.starts)]
    say(f"first order after {', '.join(f'{s:.2f}' for s in found.first_order_s)} s")


def measure_recovery(found: Results, say: Say) -> None:
    """After the Gateway is killed."""
    found.recovery_ms = lifecycle.recoveries(found.settings.kills)
    say(f"ticks again {', '.join(f'{ms:.0f}' for ms in found.recovery_ms)} ms after the Gateway was killed")


def measure_idle(found: Results, say: Say) -> None:
    """With no ticks."""
    found.idle = lifecycle.idle(found.settings.idle_s)
    say(f"idle: {found.idle.total_percent} % of one core")


def measure_recording(found: Results, say: Say) -> None:
    """With a Recorder and without."""
    settings = found.settings
    seconds = 1.0 if settings.slow_rounds == 1 else 6.0  # a p99 takes many orders
    found.recorder = recording.rounds(settings.slow_rounds, seconds, settings.warm_s, say)


def measure_journal(found: Results, say: Say) -> None:
    """The journal alone, on this disk."""
    quick = found.settings.orders_rounds == 1
    found.journal = journal.measure(0.05, 1, 50_000, say) if quick else journal.measure(say=say)


def measure_orders(found: Results, say: Say) -> None:
    """Orders through the whole lane, and a ledger opened again."""
    settings = found.settings
    found.orders = orders.measure(settings.orders_s, settings.orders_rounds, say)
    found.ledger_recovery = orders.recovery(settings.recovery_orders, say)


def measure_lab(found: Results, say: Say) -> None:
    """Hot reload, and a classroom."""
    quick = found.settings.orders_rounds == 1
    found.reloads = classroom.reloads(2 if quick else 20)
    say(f"hot reload: {', '.join(f'{ms:.0f}' for ms in found.reloads.ms)} ms")
    found.classroom = classroom.classroom(3 if quick else 30, 1.0 if quick else 15.0)
    say(f"{found.classroom.strategies} strategies: {found.classroom.cpu_percent} % of one core")


def measure_dashboard(found: Results, say: Say) -> None:
    """What a browser sees, and what that costs."""
    settings = found.settings
    quick = settings.orders_rounds == 1
    found.dashboard = dashboard.measure(
        1.0 if quick else 6.0, settings.slow_rounds, settings.warm_s, say, thorough=not quick
    )


PARTS: Final[dict[str, Callable[[Results, Say], None]]] = {
    "memory": measure_memory,
    "pipeline": measure_pipeline,
    "throughput": measure_throughput,
    "providers": measure_providers,
    "strategy": measure_strategy,
    "slow_clients": measure_slow_clients,
    "first_order": measure_first_order,
    "recovery": measure_recovery,
    "idle": measure_idle,
    "recorder": measure_recording,
    "journal": measure_journal,
    "orders": measure_orders,
    "lab": measure_lab,
    "dashboard": measure_dashboard,
}


def measure_all(found: Results, parts: Mapping[str, Callable[[Results, Say], None]], say: Say) -> None:
    """Run the parts. One that fails is noted in `failures`, and the next one has its turn."""
    for name, measure in parts.items():
        try:
            measure(found, say)
        except Exception as fault:  # noqa: BLE001  one failure must not hide the other results
            found.failures[name] = _reason(fault)
            say(f"FAILED: {name}: {_reason(fault)}")


def _reason(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"


def write(found: Results, out: Path) -> None:
    """The three files."""
    from benchmarks import picture, report  # only now: drawing takes memory and time

    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(to_json(found), indent=2, ensure_ascii=False) + "\n")
    (out / "RESULTS.md").write_text(report.render(found))
    picture.draw(found, out / "latency.png")


def main(argv: list[str] | None = None) -> int:
    """Measure, write, and print the targets; 1 if a measurement failed."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that processes are stopped
    asked = sys.argv[1:] if argv is None else argv
    found = Results(
        _settings(arguments),
        shlex.join(["python", "benchmarks/latency.py", *asked]),
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        describe_machine(),
        load(),
    )
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    measure_all(found, {name: PARTS[name] for name in arguments.only or PARTS}, say)
    found.took_s = time.monotonic() - begun
    found.load_after = load()
    out = arguments.out or (ASIDE if arguments.quick or arguments.only or arguments.rate else HERE)
    write(found, out)
    for row in targets(found):
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[row.met]
        print(f"{row.what:<44} {row.at_least:>16} {row.measured:>16}  {verdict}")
    print(f"written: RESULTS.md, results.json, latency.png in {out}")
    return 1 if found.failures else 0


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = QUICK if arguments.quick else FULL
    changes: dict[str, Any] = {
        name: value for name in ("seconds", "rounds") if (value := getattr(arguments, name)) is not None
    }
    if arguments.rate:
        changes["rates"] = tuple(arguments.rate)
    return msgspec.structs.replace(settings, **changes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/latency.py", description="Measure everything, write it down."
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: every part, as short as can be")
    parser.add_argument(
        "--seconds", type=float, help=f"of each pipeline at each rate (default {FULL.seconds:g})"
    )
    parser.add_argument("--rounds", type=int, help=f"of the pipelines in turn (default {FULL.rounds})")
    parser.add_argument(
        "--rate",
        action="append",
        type=int,
        choices=FULL.rates,
        help="this rate, 0: flat out; may be repeated",
    )
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part; may be repeated")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: everything is stopped, nothing was written", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
