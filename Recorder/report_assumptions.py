"""What a run's numbers rest on, in words, from its manifest, and what an operator made of it while it ran.

Nothing a killed run left out breaks it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Recorder.report_actions import (
    CHANGED,
    Asked,
    but,
    cost_changes,
    listed,
    market_changed,
    seed_changes,
)
from Recorder.report_text import NS_PER_S, count, duration, escape, exact, number, percent, plural
from Recorder.run_files import Run

RARE: Final = 10  # a symbol whose ticks are this many latencies apart is filled at the signal's own price
NAMED: Final = 6  # symbols or reasons listed before "and n more"
UNKNOWN: Final = "not recorded"

FILL_RULES: Final = {
    "prevailing": "A market order fills at the price prevailing when it arrives: the last tick stamped at or "
    "before signal time + latency. It is final when a later record is on the tape.",
    "next": "A market order fills at the first tick stamped after it arrives (signal time + latency).",
}
LIMIT_RULES: Final = {
    "through": "A resting limit order fills at its limit, on the first tick beyond it.",
    "touch": "A resting limit order fills at its limit, on the first tick that touches it.",
}


class Fact(NamedTuple):
    """A line of the block; `text` is HTML. `warns`: a reader should think twice."""

    name: str
    text: str
    warns: bool = False


def assumptions(run: Run, currency: str, actions: Sequence[Asked] = ()) -> list[Fact]:
    """The block, line by line; `actions` are the operator's."""
    execution = run.settings("OrderManager", "execution")
    return [
        comparable(run.manifest),
        *ended(run),
        *([Fact(CHANGED, listed(actions), warns=True)] if actions else []),
        *_filling(run, execution, actions),
        *_costs(execution, currency, actions),
        *_data(run, actions),
        *_lost(run.manifest),
        _versions(run),
    ]


def comparable(manifest: Mapping[str, Any]) -> Fact:
    """Whether an evaluation over the same records gives the same files."""
    known = manifest.get("comparable")
    why = manifest.get("why_not") or []
    if known is True:
        text = (
            "Yes: an evaluation of the same records gives the same trades.csv and equity.csv, byte for byte."
        )
        return Fact("Comparable", text)
    if known is False:
        return Fact("Comparable", f"No: {_listed(why) or 'the manifest does not say why'}.", warns=True)
    return Fact("Comparable", "Not recorded: the run never said. Take it as not comparable.", warns=True)


def ended(run: Run) -> list[Fact]:
    """What is missing of a run that was killed."""
    facts = []
    if not run.manifest.get("ended"):
        text = "The run recorded no end: it was killed, or is still going on. The files are read as far as they go."
        facts.append(Fact("Not finished", text, warns=True))
    if run.notes:
        facts.append(Fact("Files", f"{_listed(run.notes, most=20)}.", warns=True))
    return facts


def signal_priced(run: Run) -> list[str]:
    """Symbols whose ticks are so rare that an order meets the very price that caused it."""
    latency = run.settings("OrderManager", "execution").get("latency_ms")
    gaps = run.manifest.get("median_gap_ns")
    if latency is None or not isinstance(gaps, dict):
        return []
    return sorted(symbol for symbol, gap in gaps.items() if gap is not None and gap > RARE * latency * 1e6)


def _filling(run: Run, execution: Mapping[str, Any], actions: Sequence[Asked]) -> list[Fact]:
    if not execution:
        return [
            Fact("Fills and costs", f"{UNKNOWN}: the run left no configuration.", warns=True),
            *_size(run),
        ]
    latency = exact(execution.get("latency_ms"), "ms")
    if jitter := execution.get("latency_jitter_ms"):
        latency += f", and up to {exact(jitter, 'ms')} more, drawn per order from the seed"
    facts = [Fact("Fills", FILL_RULES.get(str(execution.get("fill")), UNKNOWN))]
    if "limit_fill" in execution:
        facts.append(Fact("Limit orders", LIMIT_RULES.get(str(execution["limit_fill"]), UNKNOWN)))
    changes = cost_changes(actions, "latency_ms", "ms")
    text = f"{latency}, event time, from the record that caused an order to its arrival."
    facts.append(_configured("Latency", text, changes))
    if partial := execution.get("partial_fills"):
        facts.append(
            Fact("Partial fills", f"{percent(partial, 0)} of fills are partial, drawn from the seed.")
        )
    rare = signal_priced(run)
    if rare:
        gap = max(run.manifest["median_gap_ns"][symbol] for symbol in rare) / NS_PER_S
        text = (
            f"{_listed(rare)}: filled at the signal's own price. Ticks are up to {duration(gap)} apart (median), "
            f"over {RARE} × latency, so the last tick at arrival is the one that caused the order."
        )
        if changes:
            text += " By the latency as configured; changed while it ran, see Latency."
        facts.append(Fact("Rare ticks", text, warns=True))
    return facts + _size(run)


def _size(run: Run) -> list[Fact]:
    sized = run.manifest.get("size_series")
    if sized:
        text = f"Fills against one tick sum to at most its size: {_listed(sized)}. Others unlimited."
    else:
        text = "Unlimited: no .SIZE series is recorded, so no order moves or exhausts the market."
    return [Fact("Size", text)]


def _configured(name: str, text: str, changes: Sequence[str]) -> Fact:
    """What the configuration says, and what has become of it."""
    return Fact(name, text + but(changes), warns=bool(changes))


def _costs(execution: Mapping[str, Any], currency: str, actions: Sequence[Asked]) -> list[Fact]:
    if not execution:
        return []
    rate = exact(execution.get("commission_bps"), "bps")
    fixed = execution.get("commission_fixed")
    first = f", and {exact(fixed, currency)} with an order's first fill" if fixed else ""
    slippage = f"{exact(execution.get('slippage_bps'), 'bps')}, always to the worse side."
    paid = [
        *cost_changes(actions, "commission_bps", "bps"),
        *(
            f"with an order's first fill {each}"
            for each in cost_changes(actions, "commission_fixed", currency)
        ),
    ]
    return [
        _configured("Slippage", slippage, cost_changes(actions, "slippage_bps", "bps")),
        _configured("Commission", f"{rate} of the notional filled{first}.", paid),
        Fact(
            "Initial cash",
            f"{number(execution.get('initial_cash'), 2, currency)} for each strategy. No interest.",
        ),
    ]


def _data(run: Run, actions: Sequence[Asked]) -> list[Fact]:
    gateway = run.settings("Gateway")
    provider = gateway.get("provider")
    source = f"provider {escape(provider)}" if provider else "source not recorded"
    if provider == "csv":
        looped = (
            ", from its beginning again at its end (each pass is an epoch)" if gateway.get("loop") else ""
        )
        source += f", {escape(gateway.get('data_path', 'file not recorded'))}{looped}"
    seen = run.manifest
    counts = [
        count(seen[key]) + " news" if key == "news" else plural(seen[key], key.removesuffix("s"))
        for key in ("records", "ticks", "news", "epochs")
        if isinstance(seen.get(key), int)
    ]
    text = f"{source[0].upper()}{source[1:]}. {', '.join(counts) or 'Records not counted'}."
    if changed := market_changed(actions):
        text += f" As configured; changed while it ran, see {CHANGED}."
    facts = [Fact("Data", text, warns=changed)]
    tape = seen.get("tape")
    if tape and tape != "complete":
        facts.append(Fact("Tape", f"{escape(tape)}.", warns=True))
    elif tape:
        facts.append(Fact("Tape", "Complete: the run can be replayed."))
    seeds = seen.get("seeds")
    if not isinstance(seeds, dict):
        seeds = {"run": run.settings("run").get("seed", UNKNOWN)}
    text = ", ".join(f"{escape(name)} {escape(seed)}" for name, seed in seeds.items()) + "."
    facts.append(_configured("Seeds", text, seed_changes(actions)))
    return facts


def _lost(manifest: Mapping[str, Any]) -> list[Fact]:
    facts = []
    gaps, missed = manifest.get("gaps"), manifest.get("missed")
    if gaps is None and missed is None:
        facts.append(Fact("Gaps", f"{UNKNOWN}.", warns=True))
    else:
        text = f"{plural(gaps or 0, 'gap')} in the data, {plural(missed or 0, 'record')} missed."
        facts.append(Fact("Gaps", text, warns=bool(gaps or missed)))
    dropped = manifest.get("dropped")
    if isinstance(dropped, dict):
        found = [f"{escape(what)} {count(n)}" for what, n in dropped.items() if n]
        facts.append(Fact("Dropped", ", ".join(found) + "." if found else "Nothing.", warns=bool(found)))
    else:
        facts.append(Fact("Dropped", f"{UNKNOWN}.", warns=True))
    waiting = manifest.get("waiting_at_end")
    if waiting:
        text = f"{plural(waiting, 'order')} still waiting when the data ended, counted in no number here."
        facts.append(Fact("Open orders", text, warns=True))
    elif waiting == 0:
        facts.append(Fact("Open orders", "No order waited when the data ended."))
    else:
        facts.append(Fact("Open orders", f"{UNKNOWN}.", warns=True))
    return facts


def _versions(run: Run) -> Fact:
    versions = run.manifest.get("versions")
    text = (
        ", ".join(f"{escape(k)} {escape(v)}" for k, v in versions.items())
        if isinstance(versions, dict)
        else ""
    )
    commit = run.manifest.get("git_commit")
    return Fact(
        "Made with", f"{text or 'versions not recorded'}; git {escape(commit) if commit else UNKNOWN}."
    )


def _listed(names: Iterable[object], most: int = NAMED) -> str:
    texts = [escape(name) for name in names]
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
