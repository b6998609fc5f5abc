"""What an operator changed while a run ran, in words: the lines of control.jsonl, and the records they stand at."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from Recorder.report_text import count, escape, exact
from Recorder.run_files import Run
from Recorder.tape_file import NotATape, TapeCursor
from trading_lib.control import (
    AllowTrading,
    Cancel,
    Costs,
    DropFeed,
    HotReload,
    KillSwitch,
    Model,
    OperatorAction,
    Params,
    Pause,
    PlaceOrder,
    Reset,
    Resume,
    Schedule,
    Speed,
    StrategyAction,
    parse_all_actions,
)
from trading_lib.models import Kind

FILE: Final = "control.jsonl"
CHANGED: Final = "Changed while it ran"
LISTED: Final = 20  # actions named before "and n more"
NAMED: Final = 6  # values named beside a configured one
LONGEST: Final = 200  # characters of one action: parameters may be 4 KiB
CHUNK: Final = 1 << 16  # records looked through at once


class Asked(NamedTuple):
    """An action, and the record at which it stands; None where that is not known. `done`: it took effect."""

    action: OperatorAction
    seq: int | None
    done: bool


def operator_actions(run: Run) -> list[Asked]:
    """A run's actions in their order; [] for a run that nobody steered. Raises OSError."""
    try:
        content = (run.path / FILE).read_bytes()
    except FileNotFoundError:
        return []
    actions = parse_all_actions(content)
    seqs = _marks(run, actions.keys())
    # An action has its line before its mark: one that was refused has no mark. The Strategy needs none.
    whole = bool(run.manifest.get("ended")) and run.manifest.get("tape") == "complete"
    return [
        Asked(action, seqs.get(number), number in seqs or not whole or isinstance(action, StrategyAction))
        for number, action in actions.items()
    ]


def done(asked: Iterable[Asked]) -> list[Asked]:
    """Those that took effect, or may have."""
    return [each for each in asked if each.done]


def costs_changed(asked: Iterable[Asked]) -> bool:
    """Whether fills had other terms than those configured."""
    return any(isinstance(each.action, Costs) for each in done(asked))


def listed(asked: Sequence[Asked]) -> str:
    """Every action in words, a line each, as HTML; those beyond LISTED are counted."""
    lines = [_said(each) for each in asked[:LISTED]]
    if len(asked) > LISTED:
        lines.append(f"and {count(len(asked) - LISTED)} more: see {FILE}.")
    return "<br>".join(lines)


def cost_changes(asked: Iterable[Asked], name: str, unit: str) -> list[str]:
    """What became of one of the costs: `5 bps from record 3,120 on (sma)`, as HTML."""
    return [
        f"{exact(value, unit)} {_since(each)} ({_whose(each.action.strategy)})"
        for each in done(asked)
        if isinstance(each.action, Costs) and (value := getattr(each.action, name)) is not None
    ]


def seed_changes(asked: Iterable[Asked]) -> list[str]:
    """Which seeds the market was reset to."""
    return [
        f"the market's {each.action.seed} {_since(each)}"
        for each in done(asked)
        if isinstance(each.action, Reset) and each.action.seed is not None
    ]


def market_changed(asked: Iterable[Asked]) -> bool:
    """Whether the market has not been the configured one throughout."""
    return any(isinstance(each.action, Model | Schedule) for each in done(asked))


def but(changes: Sequence[str]) -> str:
    """A sentence that takes back what is said of the configuration before it; "" when nothing was changed."""
    if not changes:
        return ""
    more = f" and {count(len(changes) - NAMED)} more" if len(changes) > NAMED else ""
    return f" As configured; changed while it ran: {', '.join(changes[:NAMED])}{more}."


def _marks(run: Run, wanted: Iterable[int]) -> dict[int, int]:
    """The records at which actions stand, by their ids, as far as the recorded tape has them."""
    missing = set(wanted)
    found: dict[int, int] = {}
    tape = TapeCursor(run.path)
    try:
        while missing and len(records := tape.take(CHUNK)):
            marks = records[records["kind"] == Kind.CONTROL]
            for number, seq in zip(marks["value"].tolist(), marks["seq"].tolist(), strict=True):
                found[int(number)] = seq
                missing.discard(int(number))
    except NotATape:
        return {}
    finally:
        tape.close()
    return found


def _since(each: Asked) -> str:
    return "from a record that is not known on" if each.seq is None else f"from record {count(each.seq)} on"


def _said(each: Asked) -> str:
    text = _WORDS[type(each.action)](each.action)
    text = escape(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")
    if not each.done:
        return f"never done, no record of it is on the tape: {text}"
    return f"{'record not known' if each.seq is None else f'record {count(each.seq)}'}: {text}"


def _whose(strategy: str | None) -> str:
    return "all strategies" if strategy is None else escape(strategy)


def _costs(action: Costs) -> str:
    values = {
        "slippage": exact(action.slippage_bps, "bps"),
        "commission": exact(action.commission_bps, "bps"),
        "commission of an order's first fill": exact(action.commission_fixed),
        "latency": exact(action.latency_ms, "ms"),
    }
    given = (action.slippage_bps, action.commission_bps, action.commission_fixed, action.latency_ms)
    told = [
        f"{name} {text}" for (name, text), one in zip(values.items(), given, strict=True) if one is not None
    ]
    return f"costs of {action.strategy or 'all strategies'}: {', '.join(told)}"


def _kill_switch(action: KillSwitch) -> str:
    flat = {None: "", True: ", positions closed", False: ", positions kept"}[action.flatten]
    return f"kill switch of {action.strategy or 'all strategies'}{flat}"


def _order(action: PlaceOrder) -> str:
    how = "at the market" if action.type == "market" else f"limit {exact(action.price)}"
    return f"order by hand: {action.side} {exact(action.qty)} {action.symbol}, {how}"


def _reset(action: Reset) -> str:
    return f"market reset, {'the seed it had' if action.seed is None else f'seed {action.seed}'}"


def _schedule(action: Schedule) -> str:
    gaps = "a tick every" if action.mode == "fixed" else "random gaps with a mean of"
    return f"market begun anew, {gaps} {exact(action.dt_ms, 'ms')}"


def _params(action: Params) -> str:
    told = (f"{name} = {msgspec.json.encode(value).decode()}" for name, value in action.params.items())
    return f"other parameters asked for, {action.strategy}: {', '.join(told)}"


def _model(action: Model) -> str:
    return "model: " + ", ".join(f"{name} = {exact(value)}" for name, value in action.changes.items())


_WORDS: Final[Mapping[type[Any], Callable[[Any], str]]] = {
    KillSwitch: _kill_switch,
    AllowTrading: lambda action: f"trading allowed again, {action.strategy or 'all strategies'}",
    Cancel: lambda action: f"order {action.client_order_id} of {action.strategy} cancelled",
    Costs: _costs,
    PlaceOrder: _order,
    Pause: lambda _: "market held",
    Resume: lambda _: "market let go on",
    Speed: lambda action: f"speed {exact(action.speed)}",
    Reset: _reset,
    Schedule: _schedule,
    Model: _model,
    Params: _params,
    HotReload: lambda action: f"hot reload {'on' if action.on else 'off'}",
    DropFeed: lambda _: "connection to the Gateway hung up",
}
