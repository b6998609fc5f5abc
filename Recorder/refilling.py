"""What reality cost, for the report: a run's orders filled again at other latencies and costs."""

from pathlib import Path
from typing import Any, Final

import msgspec

from config import Config
from OrderManager.journal import JournalError
from OrderManager.records import Taken
from Recorder import manifest
from Recorder.journal_feed import JournalFeed
from Recorder.tape_file import TapeCursor
from runtime.lanes import make_lane
from trading_lib.control import Action, Costs, PlaceOrder
from trading_lib.lane import Lane, Request
from trading_lib.models import Account
from trading_lib.refill import Curve, Refill, Variant, terms_under, variants

LATENCIES_MS: Final = (0.0, 50.0, 250.0)
COST_FACTORS: Final = (0.0, 1.0, 2.0)
MAX_WORK: Final = 2_000_000  # tape records × strategies; each is processed nine times, some 1.5 µs in all
POINTS: Final = 600  # of each curve, about


class NotRefilled(Exception):
    """The orders cannot be filled again; the message says why."""


def refilled(folder: Path, config: Config) -> dict[str, Any]:
    """The curves as the report takes them. Raises NotRefilled."""
    known = manifest.read(folder)
    records = known.get("records", 0)
    if known.get("tape") != "complete":
        raise NotRefilled(f"the tape is {known.get('tape', 'missing')}")
    requests, idle = _requests(folder / "journal.bin")
    if not requests:
        raise NotRefilled("there are none")
    idle_cash = idle * config.OrderManager.execution.initial_cash
    if records * len(requests) > MAX_WORK:
        raise NotRefilled(f"{records:,} records are too many (at most {MAX_WORK // len(requests):,})")
    own = config.OrderManager.execution.latency_ms
    tried = variants((*LATENCIES_MS, own), COST_FACTORS)
    names: list[str] = known["symbols"]
    fans = [
        Refill(
            variant,
            {name: _lane(name, variant, config, folder.name, names) for name in requests},
            requests,
            idle_cash,
        )
        for variant in tried
    ]
    tape = TapeCursor(folder)
    every = max(1, records // POINTS)
    try:
        while len(chunk := tape.take(every)):
            rows = chunk.tolist()
            for fan in fans:
                fan.advance(rows, names)
    finally:
        tape.close()
    return {
        "latency_ms": sorted({variant.latency_ms for variant in tried}),
        "cost_factor": list(COST_FACTORS),
        "curves": [_plain(fan.curve) for fan in fans],
    }


def _plain(curve: Curve) -> dict[str, Any]:
    return msgspec.structs.asdict(curve)


def _requests(path: Path) -> tuple[dict[str, list[Request]], int]:
    """Every request that was accepted, by strategy, in order; and how many strategies sent none."""
    strategies: set[str] = set()
    found: dict[str, list[Request]] = {}
    try:
        feed = JournalFeed(path)
    except JournalError as fault:
        raise NotRefilled(str(fault)) from None
    try:
        while (facts := feed.take()) is not None:
            for fact in facts:
                if isinstance(fact.record, Account):
                    strategies.add(fact.record.strategy_id)
                elif isinstance(fact.record, Taken):
                    found.setdefault(fact.record.strategy_id, []).append(fact.record.request)
    except JournalError as fault:
        raise NotRefilled(str(fault)) from None
    finally:
        feed.close()
    for (
        requests
    ) in found.values():  # an operator's order is taken when its record is met, perhaps after others
        requests.sort(key=lambda request: (request.cause_seq, request.index))
    return found, len(strategies - found.keys())


def _lane(strategy_id: str, variant: Variant, config: Config, run_id: str, names: list[str]) -> Lane:
    """A fresh lane under other terms. An operator's changes of costs do not reach it, nor, again, his orders.

    They are among the requests; everything else he did counts.
    """
    lane = make_lane(strategy_id, config, run_id)
    lane.broker.terms = terms_under(lane.broker.terms, variant)
    lane.set_latencies([(-1, lane.broker.terms.latency_ns)])
    known = lane.action

    def action(number: int) -> Action | None:
        found = known(number)
        return None if isinstance(found, Costs | PlaceOrder) else found

    lane.action = action
    for name in names:
        lane.broker.watch_series(name)
    return lane
