"""A ledger's life without a process: real lanes over a made-up tape, each at its own pace, and what it says."""

import random
from collections.abc import Iterator

from OrderManager import records
from trading_lib.broker import Terms
from trading_lib.lane import Lane, Record, Request
from trading_lib.lane_state import take_head
from trading_lib.models import CancelRequest, Kind, Order, OrderType, Side
from trading_lib.risk import Limits

MS = 1_000_000
NAMES = ("AAA", "BBB")
STRATEGIES = ("alpha", "beta", "manual")


def make_tape(rng: random.Random, count: int) -> list[Record]:
    """An epoch, ticks with ties in time, now and then another epoch, and END."""
    tape: list[Record] = [(0, 1000 * MS, 0.0, 0, 0, 0, Kind.EPOCH)]
    ts = 1000 * MS
    for seq in range(1, count):
        ts += rng.choice((0, 0, 10, 30, 60)) * MS
        if rng.random() < 0.01:
            ts = 1000 * MS
            tape.append((seq, ts, 0.0, 0, 0, 0, Kind.EPOCH))
        else:
            price = round(100 + rng.uniform(-1, 1), 2)
            tape.append((seq, ts, price, 0, 0, rng.randrange(len(NAMES)), Kind.TICK))
    tape.append((count, ts, 0.0, 0, 0, 0, Kind.END))
    return tape


def make_requests(rng: random.Random, tape: list[Record], every: int) -> list[Request]:
    """Orders of several kinds and cancels, one at about every `every`-th tick."""
    found: list[Request] = []
    for seq, ts, price, _, _, slot, kind in tape:
        if kind != Kind.TICK or rng.random() > 1 / every:
            continue
        if found and rng.random() < 0.2:
            found.append(CancelRequest(found[-1].client_order_id or "", ts, seq, 0))
            continue
        side = rng.choice((Side.BUY, Side.SELL))
        limit = round(price + rng.uniform(-0.5, 0.5), 2)
        type = rng.choice((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT))
        limit_price = limit if type is OrderType.LIMIT else 0.0
        qty = rng.randrange(1, 9)
        found.append(Order(NAMES[slot], qty, price, side, ts, seq, 0, 0, type, limit_price=limit_price))
    return found


def make_lane(strategy_id: str, **terms: float) -> Lane:
    """A fresh lane with rows of its account."""
    chosen = Terms(**{"partial_fills": 0.3, **terms})  # type: ignore[arg-type]
    limits = Limits(
        max_position=1e6,
        max_order_qty=1e6,
        max_orders_per_s=100_000,
        max_daily_loss=1.0,
        collar=1.0,
        kill_switch_flatten=False,
    )
    return Lane(strategy_id, chosen, limits, account_every=20)


def life(rng: random.Random, tape: list[Record], every: int = 4) -> Iterator[records.JournalRecord]:
    """What the ledger of some strategies journals, horizons among it."""
    lanes = {strategy_id: make_lane(strategy_id) for strategy_id in STRATEGIES}
    queues = {strategy_id: make_requests(rng, tape, every) for strategy_id in STRATEGIES}
    number = 0
    while any(lane.next_seq < len(tape) for lane in lanes.values()):
        strategy_id = rng.choice(STRATEGIES)
        lane, queue = lanes[strategy_id], queues[strategy_id]
        until = min(len(tape), lane.next_seq + rng.randrange(1, 40))
        while queue and queue[0].cause_seq < until:
            request = queue.pop(0)
            number += 1
            yield records.Taken(strategy_id, number, 0, request)
            lane.advance(tape[lane.next_seq : request.cause_seq + 1], NAMES)
            lane.submit(request)
        lane.advance(tape[lane.next_seq : until], NAMES)
        yield from lane.reports
        yield from lane.accounts
        yield take_head(lane)
        lane.reports.clear()
        lane.accounts.clear()
        if rng.random() < 0.3:
            yield records.Horizon(min(lane.next_seq for lane in lanes.values()))
    yield records.Horizon(len(tape))
