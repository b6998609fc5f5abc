"""RESULTS.md: the tables, the topologies they belong to, and the machine they come from."""

from collections.abc import Iterable, Sequence
from typing import Final

from benchmarks import recording, slow_clients
from benchmarks.pipeline import (
    COMPILED,
    DUE_TO_SENT,
    FLAT_OUT,
    PIPELINES,
    PURE,
    PYZMQ,
    PYZMQ_BARE,
    RUNG,
    STAGES,
    TUNED,
    Case,
    of,
)
from benchmarks.results import Results, targets

QUIET_LOAD: Final = 0.3  # above this load average before the start, the machine was not quiet
COLUMNS: Final = ("p50", "p90", "p99", "p99.9", "max", "n")
NAMES: Final = {
    COMPILED: "algosim",
    RUNG: "algosim, `Strategy.wake_early_us` 0",
    TUNED: "algosim, `run.pin` and `run.keep_awake`",
    PURE: "algosim, plain Python",
    PYZMQ: "pyzmq, the same work",
    PYZMQ_BARE: "pyzmq, messages only",
}
MET: Final = {True: "yes", False: "**no**", None: "not measured"}

PIPELINE_TOPOLOGY: Final = """\
```
                 due→sent
 Gateway ───────── TCP ─────────▶ OrderBook ──── tape ────▶ Strategy ───────── TCP ─────────▶ OrderManager
   │ due                            │ booked                  │ decided                          │ received
   └────────── tick→book ───────────┘                         │                                  │
                                    └───── book→decision ─────┘                                  │
                                                              └───────── decision→order ─────────┘
   └──────────────────────────────────────── tick→order ─────────────────────────────────────────┘

 pyzmq:  gateway ── PUB tcp ──▶ book ─┬─ PUB ipc ──▶ strategy ── PUSH tcp ──▶ order manager
                                      │                 ▲                       │     ▲
                                      │                 └───── PUSH tcp (*) ────┘     │
                                      └────────────────── PUB ipc (*) ────────────────┘
 (*) the same work only: acknowledgements and reports; the prices that the order manager needs
```"""
BLAST_TOPOLOGY: Final = """\
```
 this benchmark ── pre-encoded session frames, TCP ──▶ OrderBook ──▶ tape + price book
```"""
PROVIDER_TOPOLOGY: Final = """\
```
 provider ──▶ Gateway (flat out, waits) ── TCP ──▶ OrderBook ──▶ tape + price book
```"""
SLOW_TOPOLOGY: Final = """\
```
 Gateway ── session ──▶ OrderBook ──▶ Strategy ──▶ OrderManager       (measured)
    ├───── plain ─────▶ a client that never reads
    └───── plain ─────▶ a client that takes 1 byte/s
```"""


def render(found: Results) -> str:
    """The whole page."""
    sections = [
        _head(found),
        _targets(found),
        _failures(found),
        _latency(found),
        _costs(found),
        _throughput(found),
        _strategy(found),
        _memory(found),
        _slow(found),
        _lifecycle(found),
        _recording(found),
        _journal(found),
        _orders(found),
        _dashboard(found),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned right."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(found: Results) -> str:
    machine = found.machine
    quiet = "" if found.load_before[0] <= QUIET_LOAD else " **The machine was not quiet: read with care.**"
    rows = [
        ("command", f"`{found.command}`"),
        ("date", f"{found.date}, took {found.took_s:.0f} s"),
        ("machine", f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}"),
        (
            "versions",
            f"Python {machine['python']}, NumPy {machine['numpy']}, Numba {machine['numba']}, "
            f"pyzmq {machine['pyzmq']}, msgspec {machine['msgspec']}",
        ),
        ("load average before", _loads(found.load_before)),
        ("load average after", _loads(found.load_after)),
    ]
    return (
        "# Results\n\n"
        "Written by `benchmarks/latency.py`; do not edit. "
        f"The same numbers for programs: `results.json`.{quiet}\n\n" + table(("", ""), rows)
    )


def _loads(loads: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in loads)


def _targets(found: Results) -> str:
    rows = [(row.what, row.at_least, row.measured, MET[row.met]) for row in targets(found)]
    return "## Targets\n\n" + table(("what", "target", "measured", "met"), rows)


def _failures(found: Results) -> str:
    if not found.failures:
        return ""
    rows = [(name, " ".join(why.replace("|", "/").split())) for name, why in found.failures.items()]
    return "## Failed\n\n" + table(("measurement", "why"), rows)


def _latency(found: Results) -> str:
    if not found.cases:
        return ""
    settings = found.settings
    text = [
        "## Tick to order",
        PIPELINE_TOPOLOGY,
        "Open loop, bursts of one millisecond, all ticks of a burst due at its instant; latency counts from then. "
        "Every tick goes through the strategy's Python `on_tick` with a moving average; the last tick of a burst "
        f"sends one order. {settings.rounds} interleaved rounds of {settings.seconds:g} s after "
        f"{settings.warm_s:g} s of warming up; each figure is the median of its rounds, `max` over all of them. µs.",
        "The bursts come at even distances. Our strategy learns that, and is awake shortly before the next; with "
        "`Strategy.wake_early_us` 0 it sleeps until it is rung, as behind a source at uneven distances. "
        "*pyzmq, the same work* runs our engine, lanes, journal (an fdatasync before each acknowledgement, one for "
        "all orders that are there), reports, accounts and log behind pyzmq's sockets. Its book is plain Python, "
        "every tick a message, and it has no sandbox, status lines or event stream: `benchmarks/zmq_pipeline.py` "
        "lists what differs. *pyzmq, messages only* has a moving average, counts its orders and forgets them. The "
        "targets compare with the same work.",
        "![percentiles of tick to order](latency.png)",
        _shares(found),
    ]
    for rate in (*found.rates(COMPILED), FLAT_OUT):
        rows = [
            (NAMES[pipeline], stage, *(_us(found.summary(pipeline, rate, stage)[key]) for key in COLUMNS))
            for pipeline in PIPELINES
            if of(found.cases, pipeline, rate)
            for stage in (DUE_TO_SENT, *STAGES)
            if found.summary(pipeline, rate, stage)["n"]
        ]
        if rows:
            title = f"### {rate:,} ticks/s" if rate else "### Flat out"
            text += [title, _flat_out(of(found.cases, COMPILED, rate)) if not rate else ""]
            text += [table(("pipeline", "stage", *COLUMNS), rows)]
    trouble = [
        f"- {NAMES[case.pipeline]} at {case.rate:,}/s, round {case.round}: "
        + ", ".join(f"{name} {count:,}" for name, count in case.problems.items())
        for case in found.cases
        if case.problems and case.rate
    ]
    if trouble:
        text += ["What was lost, late or given up:", "\n".join(trouble)]
    return "\n\n".join(part for part in text if part)


def _shares(found: Results) -> str:
    """Each of ours against both of pyzmq's."""
    rates = found.rates(COMPILED)
    rows = []
    for ours in (COMPILED, RUNG, TUNED):
        for theirs in (PYZMQ, PYZMQ_BARE):
            pairs = [[found.summary(one, rate)["p50"] for one in (ours, theirs)] for rate in rates]
            cells = [f"{a / b:.2f}" if a and b else "–" for a, b in pairs]
            rows.append((NAMES[ours], NAMES[theirs], *cells))
    return table(("p50 of", "as a share of that of", *(f"{rate:,}/s" for rate in rates)), rows)


def _flat_out(cases: list[Case]) -> str:
    last = cases[-1]
    return (
        f"As fast as the OrderBook takes them, {last.ticks_per_s:,.0f} ticks/s: more than Python can look at, so the "
        f"strategy saw {last.seen:,} of {last.ticks:,} ticks and was told how many it missed. The latency is the "
        "length of the queue."
    )


def _us(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}"


def _costs(found: Results) -> str:
    rows = []
    for rate in (*found.rates(COMPILED), FLAT_OUT):
        for pipeline in PIPELINES:
            cases = of(found.cases, pipeline, rate)
            if cases:
                last = cases[-1]
                cells = [f"{cpu:.0f} % / {last.rss_mb[name]:.0f}" for name, cpu in last.cpu_percent.items()]
                rows.append((f"{rate:,}" if rate else "flat out", NAMES[pipeline], *_in_order(last, cells)))
    if not rows:
        return ""
    heading = ("ticks/s", "pipeline", "gateway", "order book", "strategy", "order manager")
    return (
        "## CPU of one core / resident MB, per part\n\n"
        "Of the last round, a part's own process and those it has started; resident memory counts the shared pages "
        "that each of them has touched.\n\n"
    ) + table(heading, rows)


def _in_order(case: Case, cells: list[str]) -> list[str]:
    by_name = dict(zip(case.cpu_percent, cells, strict=True))
    book = "book" if "book" in by_name else "orderbook"
    return [by_name[name] for name in ("gateway", book, "strategy", "order_manager")]


def _throughput(found: Results) -> str:
    text = []
    compiled, pure = found.blast_rate(COMPILED), found.blast_rate(PURE)
    if compiled and pure:
        rows = [
            (name, f"{rate:,.0f}", f"{sum(blast.ticks for blast in found.blasts[path]):,}", "none")
            for path, name, rate in ((COMPILED, "compiled", compiled), (PURE, "plain Python", pure))
        ]
        text += [
            "## Throughput into the OrderBook",
            BLAST_TOPOLOGY,
            "First byte sent to last record on the tape, every tick accounted for; the median of the rounds.",
            table(("path", "ticks/s", "ticks sent", "lost"), rows),
            f"Ratio {compiled / pure:.1f}.",
        ]
    if found.flows:
        rows = [
            (flow.provider, f"{flow.ticks_per_s:,.0f}", f"{flow.ticks:,}", "none") for flow in found.flows
        ]
        text += [
            "## Throughput of the providers",
            PROVIDER_TOPOLOGY,
            table(("provider", "ticks/s", "ticks sent", "lost"), rows),
        ]
    return "\n\n".join(text)


def _strategy(found: Results) -> str:
    if not found.steps:
        return ""
    rows = [
        (
            f"{step.rate:,}",
            f"{step.ticks:,}",
            f"{step.seen:,}",
            f"{step.lag:,}",
            "yes" if step.kept_up else "no",
        )
        for step in found.steps
    ]
    return (
        "## What a strategy keeps up with\n\n"
        "All four processes, a moving average in Python on every tick, an order a millisecond; up to the first "
        "rate that is too much.\n\n" + table(("ticks/s", "ticks", "seen", "behind by", "kept up"), rows)
    )


def _memory(found: Results) -> str:
    memory = found.memory
    if memory is None:
        return ""
    rows = [
        ("`read(symbol)`", f"{memory.read_ns:.0f} ns"),
        (f"`snapshot()` of {memory.symbols:,} symbols", f"{memory.snapshot_us:.1f} µs"),
        (f"price book of {memory.symbols:,} symbols", f"{memory.book_bytes:,} bytes"),
        ("tape of the default capacity", f"{memory.tape_bytes:,} bytes"),
    ]
    return "## Shared memory\n\n" + table(("what", "measured"), rows)


def _slow(found: Results) -> str:
    if not found.slow:
        return ""
    rows = [
        (
            str(number),
            _us(one.without["p99"]),
            _us(one.with_them["p99"]),
            f"{one.ratio:.2f}",
            f"{one.dropped:,}",
        )
        for number, one in enumerate(found.slow, 1)
    ]
    heading = ("round", "p99 without, µs", "p99 with, µs", "ratio", "frames dropped for them")
    return (
        f"## Slow clients\n\n{SLOW_TOPOLOGY}\n\n"
        f"{slow_clients.RATE:,} ticks/s, tick → order. Median ratio {slow_clients.ratio(found.slow):.2f}.\n\n"
        + table(heading, rows)
    )


def _lifecycle(found: Results) -> str:
    rows = []
    if found.first_order_s:
        rows.append(("`python main.py` to the first order, s", _list(found.first_order_s, 2)))
    if found.recovery_ms:
        rows.append(
            ("Gateway killed (SIGKILL) to the next tick on the tape, ms", _list(found.recovery_ms, 0))
        )
    if found.idle:
        parts = ", ".join(f"{name} {cpu:.1f}" for name, cpu in found.idle.cpu_percent.items())
        rows.append(("idle, % of one core", f"{found.idle.total_percent:.1f} ({parts})"))
    return "## main.py\n\n" + table(("what", "measured"), rows) if rows else ""


def _recording(found: Results) -> str:
    if not found.recorder:
        return ""
    rows = [
        (
            str(number),
            _us(one.without["p99"]),
            _us(one.with_it["p99"]),
            f"{one.ratio:.2f}",
            f"{one.recorded:,}",
            f"{one.missed:,}",
        )
        for number, one in enumerate(found.recorder, 1)
    ]
    heading = ("round", "p99 without, µs", "p99 with, µs", "ratio", "records", "missed")
    return (
        f"## The Recorder at {recording.RATE:,} ticks/s\n\nEverything recorded, ticks in `events.jsonl` too; "
        f"tick → order. Median ratio {recording.ratio(found.recorder):.2f}.\n\n" + table(heading, rows)
    )


def _journal(found: Results) -> str:
    journal = found.journal
    if journal is None:
        return ""
    rows = [
        (f"{rate.per_commit:,}", f"{rate.journal_per_s:,.0f}", f"{rate.plain_per_s:,.0f}")
        for rate in journal.rates
    ]
    return (
        "## The journal alone\n\n"
        f"Records of {journal.payload_bytes} bytes, encoding included, beside a JSON line, `write`, `flush` and "
        f"fdatasync. An fdatasync takes {journal.sync_us:.0f} µs, one record encoded and committed "
        f"{journal.commit_us:.0f} µs (p50); {journal.recovery_records:,} records are read again in "
        f"{journal.recovery_s:.2f} s.\n\n"
        + table(("records to a commit", "journal, records/s", "plain file, records/s"), rows)
    )


def _orders(found: Results) -> str:
    orders, recovery = found.orders, found.ledger_recovery
    rows = []
    if orders is not None:
        rows += [
            ("acknowledged, at least 1,024 outstanding, one client", f"{orders.acknowledged_per_s:,.0f}/s"),
            ("filled and reported meanwhile", f"{orders.filled_per_s:,.0f}/s"),
            ("one order alone, to its acknowledgement, p50", f"{orders.alone_us:,.0f} µs"),
            ("an fdatasync after the same pause, p50", f"{orders.sync_us:,.0f} µs"),
        ]
    if recovery is not None:
        rows.append(
            (
                f"a ledger opened again after {recovery.orders:,} orders ({recovery.records:,} records, "
                f"{recovery.replayed:,} behind the last checkpoint)",
                f"{recovery.seconds:.2f} s",
            )
        )
    return "## Orders through the whole lane\n\n" + table(("what", "measured"), rows) if rows else ""


def _list(values: Iterable[float], decimals: int) -> str:
    return ", ".join(f"{value:,.{decimals}f}" for value in values)


def _dashboard(found: Results) -> str:
    figures = found.dashboard
    if figures is None:
        return ""
    text = "## The dashboard\n\n1,000 symbols at 100,000 ticks/s.\n\n"
    if (seen := figures.painted) is not None:
        rows = [
            ("tick in the book → painted, p50", f"{seen.p50:.0f} ms of {len(seen.ms)} changes of a cell"),
            ("table, chart", f"{seen.table_per_s:g}/s, {seen.chart_per_s:g}/s"),
            ("while scrolling", f"{seen.scroll_fps:g} frames/s"),
            ("the dashboard's CPU meanwhile", f"{seen.cpu_percent:g} % of a core"),
            ("load average, with the browser", _loads(seen.load)),
        ]
        text += table(("one visible headless Chromium", "measured"), rows) + "\n\n"
    costs = [
        (
            str(one.listeners),
            f"{one.cpu_percent:g}",
            f"{one.rss_mb:g}",
            f"{one.messages_per_s:,.0f}",
            f"{one.oldest_ms:,.0f}",
        )
        for one in figures.costs
    ]
    heading = ("listeners of /stream", "% of a core", "MB", "messages/s", "oldest frame on arrival, ms")
    text += table(heading, costs) + "\n\nOf the 100 one reads nothing.\n\n"
    effects = [
        (str(number), _us(one.without), _us(one.with_it), f"{one.ratio:.2f}")
        for number, one in enumerate(figures.effects, 1)
    ]
    return text + table(("round, 10,000 ticks/s", "p99 without, µs", "p99 with, µs", "ratio"), effects)
