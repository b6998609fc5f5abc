"""A lane's state as plain values: whole, for checkpoints and for a host that joins; and by its reports.

    state = take_state(lane)            # everything
    restore(lane, state)                # ... into a fresh lane

A journal holds requests, reports and heads instead: `submit` each request again before the first report
with a `seq` not below its cause, `replay` each report, `set_head` each head, and the lane stands where it
stood, without having seen a tape record. Last prices are the caller's to find: `set_prices`. Reports and
rows that a head does not cover are made again when the lane reads the tape on, the same ones.
"""

import heapq
from collections.abc import Mapping

import msgspec

from trading_lib.broker import NEVER, QUOTES, TRIGGERED, Terms, Working
from trading_lib.lane import BY_REQUEST, NO_MARKET_RECORD, Lane, Request
from trading_lib.models import CancelRequest, Order, OrderStatus, OrderType, Report
from trading_lib.money import QTY_SCALE, scaled
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


class Due(msgspec.Struct, frozen=True):
    """A request on its way, and when it arrives."""

    at: int
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
    latencies: list[tuple[int, int]]
    fresh: list[str]  # client order ids
    taking: list[str]
    left: dict[str, str]
    marks: dict[str, float]  # of what is held without a last price
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
    parked: list[Order | CancelRequest]
    portfolio: PortfolioState


def take_head(lane: Lane) -> LaneHead:
    """Where `lane` stands."""
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
        list(lane.latencies),
        [working.id for working in lane.open.values() if working.fresh],
        [working.id for working in lane.open.values() if working.taking],
        {symbol: str(qty) for symbol, qty in lane.broker.left.items()},
        _marks_without_prices(lane),
        lane.blind,
    )


def _marks_without_prices(lane: Lane) -> dict[str, float]:
    return {
        symbol: mark
        for symbol in lane.portfolio.positions
        if symbol not in lane.prices and (mark := lane.portfolio.last_price(symbol)) is not None
    }


def set_head(lane: Lane, head: LaneHead) -> None:
    """Put `lane`, whose requests and reports are in place, where the head says. Prices are the caller's."""
    _enter_epoch(lane, head.epoch)
    lane.epoch_seq = head.epoch_seq
    lane.seq, lane.next_seq, lane.ts = head.seq, head.next_seq, head.ts
    lane.blind_below, lane.blind = head.blind_below, head.blind
    lane.next_day, lane.risk.day_equity = head.next_day, head.day_equity
    if NEVER not in (lane.next_account, head.next_account):  # each lane has rows, or not, as it was made
        lane.next_account = head.next_account
    lane.risk.killed = head.killed
    lane.broker.terms = head.terms
    fresh, taking = set(head.fresh), set(head.taking)
    for working in lane.open.values():
        working.fresh, working.taking = working.id in fresh, working.id in taking
    lane.broker.clear()
    lane.broker.set_left({symbol: int(qty) for symbol, qty in head.left.items()})
    for symbol, mark in head.marks.items():
        lane.portfolio.mark(symbol, mark, lane.portfolio.ts)
    if head.latencies != lane.latencies:
        lane.set_latencies(head.latencies)
    lane.release(head.seq + 1)
    lane.set_wake()


def set_prices(lane: Lane, prices: Mapping[str, float], times: Mapping[str, int]) -> None:
    """Give `lane` the last prices, and of quotes their times too, as they were where its head says.

    Not those from before its epoch began, nor from before records it has missed.
    """
    lane.prices.update(prices)
    for symbol, price in prices.items():
        lane.broker.watch_series(symbol)
        if symbol.endswith(QUOTES):
            lane.broker.quotes[symbol] = (price, times[symbol])


def _enter_epoch(lane: Lane, epoch: int) -> None:
    if epoch != lane.epoch:
        lane.epoch = epoch
        lane.risk.arrivals.clear()


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
            WorkingState(w.order, w.order_id, w.arrived, str(w.leaves), str(w.cum), str(w.paid), w.triggered)
            for w in lane.open.values()
        ],
        [Due(at, request) for at, _, _, request in sorted(lane.due, key=lambda due: due[:3])],
        list(lane.parked),
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
        lane.push_due(due.at, due.request)
    lane.parked.extend(state.parked)
    travelling = [due.request for due in state.due] + state.parked
    lane.travelling = len(travelling)
    for request in travelling:
        if isinstance(request, Order):
            lane.count_unfilled(request, scaled(request.quantity, QTY_SCALE))
    lane.epoch = state.head.epoch
    lane.risk.arrivals.extend(state.arrivals)
    set_head(lane, state.head)
    set_prices(lane, state.prices, {symbol: ts for symbol, (_, ts) in state.quotes.items()})


def _open(lane: Lane, working: Working) -> None:
    lane.open[working.id] = working
    lane.broker.rest(working)
    lane.plan_expiry(working)


def replay(lane: Lane, report: Report) -> None:
    """Give `lane` the state it had after making this report.

    A request that is late again has made its report again: it is not kept twice.
    """
    while lane.reports and lane.reports[0].exec_id <= report.exec_id:
        del lane.reports[0]
    _enter_epoch(lane, report.epoch)
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
        lane.risk.count(report.ts)
    if not report.status.final:
        _open(lane, working)
    return working


def _take_due(lane: Lane, request_id: str) -> Request | None:
    """Take a travelling request off its way; mostly it is the first to arrive."""
    request: Request
    if lane.due and lane.due[0][3].client_order_id == request_id:
        request = heapq.heappop(lane.due)[3]
    elif lane.parked and lane.parked[0].client_order_id == request_id:
        request = lane.parked.popleft()
    else:
        places = (i for i, due in enumerate(lane.due) if due[3].client_order_id == request_id)
        if (place := next(places, None)) is not None:
            request = lane.due[place][3]
            lane.due[place] = lane.due[-1]
            lane.due.pop()
            heapq.heapify(lane.due)
        else:
            parked = next((r for r in lane.parked if r.client_order_id == request_id), None)
            if parked is None:
                return None
            request = parked
            lane.parked.remove(request)
    lane.travelling -= 1
    lane.set_wake()
    return request


def _replay_fill(lane: Lane, working: Working, report: Report) -> None:
    qty = scaled(report.last_qty, QTY_SCALE)
    lane.broker.filled(working, qty, report.last_px)
    if working.order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        working.triggered = True
    lane.count_unfilled(working.order, -qty)
    fill = report.fill
    assert fill is not None
    lane.portfolio.apply(fill)
