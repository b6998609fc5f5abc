"""Random markets and orders for tests of the lane: everything a tape and a strategy can do, in a few records."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trading_lib.broker import Terms
from trading_lib.control import Action, Cancel, Costs, KillSwitch
from trading_lib.lane import Lane, Record, Request
from trading_lib.lane_books import Instrument
from trading_lib.models import NS_PER_S, CancelRequest, Kind, Order, OrderType, Side, TimeInForce
from trading_lib.risk import Limits
from trading_lib.test.naive_lane import Event

MS: Final = 1_000_000
START: Final = 1_735_862_390 * NS_PER_S  # 2025-01-02 23:59:50 UTC: midnight is near
SYMBOLS: Final = ("A", "B", "A.BID", "A.ASK", "A.SIZE", "B.SIZE")
INSTRUMENTS: Final = {"A": Instrument(multiplier=2.5), "B": Instrument(session="09:30-23:59 UTC")}
STEPS_MS: Final = (0, 0, 1, 10, 50, 50, 100, 100, 1000, 6000)
CASH: Final = 10_000.0


class Scenario(NamedTuple):
    """A tape and what a strategy does on it; each request was caused by the event with its `cause_seq`."""

    terms: Terms
    limits: Limits
    events: list[Event]
    requests: list[Request]
    actions: dict[int, Action]
    names: Sequence[str] = SYMBOLS

    def lane(self, strategy_id: str = "s", account_every: int = 0) -> Lane:
        """A fresh lane for it."""
        lane = Lane(
            strategy_id,
            self.terms,
            self.limits,
            cash=CASH,
            instruments=INSTRUMENTS,
            account_every=account_every,
            action=self.actions.get,
        )
        for name in self.names:
            lane.broker.watch_series(name)
        return lane

    def caused(self, seq: int) -> list[Request]:
        """The requests that follow a record."""
        return [request for request in self.requests if request.cause_seq == seq]


def order(cause: Event, side: Side = Side.BUY, quantity: float = 1.0, **changes: Any) -> Order:
    """A market order for A caused by an event; `changes` are fields of `Order`."""
    plain = Order("A", quantity, 100.0, side, cause.ts, cause.seq)
    return msgspec.structs.replace(plain, **changes)


def record_of(event: Event, names: Sequence[str] = SYMBOLS) -> Record:
    """An event as the tape has it."""
    assert event.kind is not None
    slot = names.index(event.symbol) if event.symbol else 0
    return (event.seq, event.ts, event.value, 0, 0, slot, int(event.kind))


def feed(lane: Lane, event: Event, names: Sequence[str] = SYMBOLS) -> None:
    """One event."""
    if event.kind is None:
        lane.missed(event.seq)
    else:
        lane.advance([record_of(event, names)], names)


def play(lane: Lane, scenario: Scenario) -> Lane:
    """All of it, request by request after its cause."""
    for event in scenario.events:
        feed(lane, event)
        if event.kind is not None:
            for request in scenario.caused(event.seq):
                lane.submit(request)
    return lane


def scenario(
    seed: int, length: int, *, sizes: bool = True, missed: bool = True, quiet: bool = False
) -> Scenario:
    """A random one, by `seed` alone. `quiet`: no operator and one epoch."""
    rng = random.Random(seed)
    series = [s for s in SYMBOLS if (sizes and rng.random() < 0.7) or not s.endswith(".SIZE")]
    terms = Terms(
        latency_ns=rng.choice((0, 50, 100, 1000)) * MS,
        latency_jitter_ns=rng.choice((0, 0, 30)) * MS,
        slippage_bps=rng.choice((0.0, 1.0, 25.0)),
        commission_bps=rng.choice((0.0, 0.5)),
        commission_fixed=rng.choice((0.0, 1.5)),
        fill=rng.choice(("prevailing", "next")),
        limit_fill=rng.choice(("through", "touch")),
        partial_fills=rng.choice((0.0, 0.6)),
        seed=seed,
    )
    limits = Limits(
        max_position=30.0,
        max_order_qty=15.0,
        max_orders_per_s=rng.choice((3, 100)),
        max_daily_loss=rng.choice((0.002, 0.1)),
        collar=rng.choice((0.01, 0.05)),
        kill_switch_flatten=rng.random() < 0.5,
    )
    made = Scenario(terms, limits, [], [], {})
    made.events.extend(_events(rng, length, series, missed, quiet, made.actions))
    ids: list[str] = []
    for event in made.events:
        if event.kind is not None:
            for index in range(rng.choice((0, 0, 0, 1, 1, 2))):
                request = _request(rng, event, index, ids)
                ids.append(f"{event.seq}.{index}")
                made.requests.append(request)
    return made


def _events(
    rng: random.Random, length: int, series: list[str], missed: bool, quiet: bool, actions: dict[int, Action]
) -> Iterator[Event]:
    seq, ts = rng.choice((0, 0, 70)), START
    if rng.random() < 0.8:
        yield Event(seq, ts, Kind.EPOCH)
        seq += 1
    for _ in range(length):
        ts += rng.choice(STEPS_MS) * MS if rng.random() < 0.98 else 5 * 3600 * NS_PER_S
        chance = rng.random()
        if chance < 0.02 and missed:
            seq += rng.randrange(1, 9)
            ts = rng.choice((START, ts, ts))  # perhaps an epoch began meanwhile
            yield Event(seq, 0, None)
        elif chance < 0.04 and not quiet:
            ts = rng.choice((START, ts))
            yield Event(seq, ts, Kind.EPOCH)
            seq += 1
        elif chance < 0.08 and not quiet:
            actions[seq] = _action(rng, seq)
            yield Event(seq, ts, Kind.CONTROL, "", float(seq))
            seq += 1
        elif chance < 0.14:
            yield Event(seq, ts, rng.choice((Kind.NEWS, Kind.TIME, Kind.GAP)), "A", 50.0)
            seq += 1
        else:
            symbol = rng.choice(series)
            value = float(rng.randrange(1, 12)) if symbol.endswith(".SIZE") else rng.randrange(396, 405) / 4
            yield Event(seq, ts, Kind.TICK, symbol, value)
            seq += 1
    yield Event(seq, ts, Kind.END)


def _action(rng: random.Random, seq: int) -> Action:
    strategy = rng.choice((None, "s", "other"))
    chance = rng.random()
    if chance < 0.15:
        return KillSwitch(strategy=strategy, flatten=rng.choice((None, True, False)))
    if chance < 0.5:
        return Cancel(strategy="s", client_order_id=f"{rng.randrange(seq + 1)}.0")
    return Costs(
        strategy=strategy,
        slippage_bps=rng.choice((None, 5.0)),
        commission_fixed=rng.choice((None, 0.25)),
        latency_ms=rng.choice((None, 10.0, 400.0)),
    )


def _request(rng: random.Random, event: Event, index: int, ids: list[str]) -> Request:
    if ids and rng.random() < 0.2:
        return CancelRequest(rng.choice(ids[-4:]), event.ts, event.seq, index)
    kind = rng.choice(list(OrderType))
    return Order(
        rng.choice(("A", "A", "A", "B", "B", "Z")),
        rng.choice((1.0, 2.0, 5.0, 7.5, 0.1, 20.0)),
        rng.choice((100.0, 100.0, 100.0, 101.0, 150.0)),
        rng.choice((Side.BUY, Side.SELL)),
        event.ts,
        event.seq,
        index,
        type=kind,
        tif=rng.choice(list(TimeInForce)),
        limit_price=rng.randrange(396, 405) / 4 if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else 0.0,
        stop_price=rng.randrange(396, 405) / 4 if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else 0.0,
        tag=rng.choice(("", "t")),
    )
