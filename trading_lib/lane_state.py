"""A lane's state as plain values: whole, for checkpoints and for a host that joins; and by its reports.

    state = take_state(lane)            # everything
    restore(lane, state)                # ... into a fresh lane

A journal holds requests, reports and heads instead: `submit` each request again before the first report
with a `seq` not below its cause, `replay` each report, `set_head` each head, and the lane stands where it
stood, without having seen a tape record. Last prices are the caller's to find.
"""

import heapq

import msgspec

from trading_lib.broker import TRIGGERED, Terms, Working
from trading_lib.lane import ARRIVAL, BY_REQUEST, NO_MARKET_RECORD, Lane
from trading_lib.models import CancelRequest, Order, OrderStatus, OrderType, Report
from trading_lib.money import PRICE_SCALE, QTY_SCALE, scaled
from trading_lib.portfolio import Portfolio, PortfolioState


class WorkingState(msgspec.Struct, frozen=True):
    """An open order. Ints without a bound are decimal strings."""

    order: Order
    order_id: int
    arrived: int
    leaves: str
    cum: str
    paid: str
    triggered: bool
    fresh: bool


class Due(msgspec.Struct, frozen=True):
    """Something to settle: an order or a cancel request on its way, or a day's end (`kind` 1)."""

    at: int
    kind: int
    request: Order | CancelRequest


class LaneHead(msgspec.Struct, frozen=True, tag="head", array_like=True):
    """Where a lane stands on the tape, and what cannot be told from its requests and reports."""

    strategy_id: str
    seq: int
    next_seq: int
    ts: int
    epoch: int
    epoch_seq: int
    blind_below: int
    next_day: int
    day_equity: float
    next_account: int
    killed: str
    terms: Terms
    fresh: list[str]
    used: dict[str, str]
    blind: bool


class LaneState(msgspec.Struct, frozen=True):
    """Everything a lane knows."""

    head: LaneHead
    orders: int
    executions: int
    last_id: tuple[int, int]
    arrivals: list[int]
    prices: dict[str, float]
    quotes: dict[str, tuple[float, int]]
    open: list[WorkingState]
    due: list[Due]
    portfolio: PortfolioState


def take_head(lane: Lane) -> LaneHead:
    """Where `lane` stands."""
    fresh = [working.id for working in lane.open.values() if working.fresh]
    used = {symbol: str(qty) for symbol, qty in lane.broker.used.items()}
    return LaneHead(
        lane.strategy_id,
        lane.seq,
        lane.next_seq,
        lane.ts,
        lane.epoch,
        lane.epoch_seq,
        lane.blind_below,
        lane.next_day,
        lane.risk.day_equity,
        lane.next_account,
        lane.risk.killed,
        lane.broker.terms,
        fresh,
        used,
        lane.blind,
    )


def set_head(lane: Lane, head: LaneHead) -> None:
    """Put `lane`, whose requests and reports are in place, where the head says. Prices are the caller's."""
    if head.epoch != lane.epoch:
        lane.risk.arrivals.clear()
    lane.epoch, lane.epoch_seq = head.epoch, head.epoch_seq
    lane.seq, lane.next_seq, lane.ts = head.seq, head.next_seq, head.ts
    lane.blind_below, lane.blind = head.blind_below, head.blind
    lane.next_day, lane.risk.day_equity = head.next_day, head.day_equity
    lane.next_account = head.next_account
    lane.risk.killed = head.killed
    lane.broker.terms = head.terms
    fresh = set(head.fresh)
    for working in lane.open.values():
        working.fresh = working.id in fresh
    lane.broker.used = {symbol: int(qty) for symbol, qty in head.used.items()}
    lane.set_wake()


def take_state(lane: Lane) -> LaneState:
    """Everything about `lane`; `restore` makes an equal one of it."""
    return LaneState(
        take_head(lane),
        lane.orders,
        lane.executions,
        lane.last_id,
        list(lane.risk.arrivals),
        dict(lane.prices),
        dict(lane.broker.quotes),
        [
            WorkingState(
                w.order, w.order_id, w.arrived, str(w.leaves), str(w.cum), str(w.paid), w.triggered, w.fresh
            )
            for w in lane.open.values()
        ],
        [Due(at, kind, request) for at, kind, _, _, request in sorted(lane.due, key=lambda due: due[:4])],
        lane.portfolio.state(),
    )


def restore(lane: Lane, state: LaneState) -> None:
    """Make a fresh lane stand where `state` was taken."""
    lane.portfolio = Portfolio.from_state(state.portfolio)
    lane.orders, lane.executions, lane.last_id = state.orders, state.executions, state.last_id
    for saved in state.open:
        working = Working(saved.order, saved.order_id, saved.arrived)
        working.leaves, working.cum, working.paid = int(saved.leaves), int(saved.cum), int(saved.paid)
        working.triggered = saved.triggered
        _open(lane, working)
        lane.count_unfilled(working.order, working.leaves)
    for due in state.due:
        lane.push_due(due.at, due.kind, due.request)
        if due.kind == ARRIVAL:
            lane.travelling += 1
            if isinstance(due.request, Order):
                lane.count_unfilled(due.request, scaled(due.request.quantity, QTY_SCALE))
    set_head(lane, state.head)
    lane.risk.arrivals.extend(state.arrivals)
    lane.prices.update(state.prices)
    for symbol in state.prices:
        lane.broker.watch_series(symbol)
    lane.broker.quotes.update(state.quotes)


def _open(lane: Lane, working: Working) -> None:
    lane.open[working.id] = working
    lane.broker.rest(working)


def replay(lane: Lane, report: Report) -> None:
    """Give `lane` the state it had after making this report."""
    if report.epoch != lane.epoch:
        lane.epoch = report.epoch
        lane.risk.arrivals.clear()
    lane.seq = report.seq
    lane.orders = max(lane.orders, report.order_id)
    lane.executions = report.exec_id
    working = lane.open.get(report.client_order_id)
    if working is None:
        working = _arrived(lane, report)
    if working is None:  # a cancel request's refusal, or the closing of a position
        if report.fill is not None:
            lane.portfolio.apply(report.fill)
        return
    if report.last_qty:
        _replay_fill(lane, working, report)
    elif report.reason == TRIGGERED:
        working.triggered = True
    if report.status.final:
        lane.open.pop(working.id, None)
        lane.broker.remove(working)
        lane.count_unfilled(working.order, -working.leaves)
        if report.status is OrderStatus.CANCELED and report.reason.startswith(BY_REQUEST):
            _take_due(lane, report.reason.removeprefix(BY_REQUEST).strip())


def _arrived(lane: Lane, report: Report) -> Working | None:
    """The order that travelled until this report, its first; None if the report is not about one."""
    order = _take_due(lane, report.client_order_id)
    if not isinstance(order, Order):
        return None
    working = Working(order, report.order_id, report.ts)
    if not report.reason.startswith((NO_MARKET_RECORD, "late")) and report.status in (
        OrderStatus.NEW,
        OrderStatus.REJECTED,
    ):
        lane.risk.arrivals.append(report.ts)
    if not report.status.final:
        _open(lane, working)
        lane.plan_expiry(working)
    return working


def _take_due(lane: Lane, request_id: str) -> Order | CancelRequest | None:
    """Take a travelling request off its way; mostly it is the first to arrive."""
    if lane.due and lane.due[0][1] == ARRIVAL and lane.due[0][4].client_order_id == request_id:
        lane.travelling -= 1
        request = heapq.heappop(lane.due)[4]
        lane.set_wake()
        return request
    for place, (_, kind, _, _, request) in enumerate(lane.due):
        if kind == ARRIVAL and request.client_order_id == request_id:
            lane.due[place] = lane.due[-1]
            lane.due.pop()
            heapq.heapify(lane.due)
            lane.travelling -= 1
            lane.set_wake()
            return request
    return None


def _replay_fill(lane: Lane, working: Working, report: Report) -> None:
    qty = scaled(report.last_qty, QTY_SCALE)
    working.leaves -= qty
    working.cum += qty
    working.paid += qty * scaled(report.last_px, PRICE_SCALE)
    if working.order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        working.triggered = True
    lane.count_unfilled(working.order, -qty)
    fill = report.fill
    assert fill is not None
    lane.portfolio.apply(fill)
