"""A lane as the status and the event stream's snapshot show it: money, positions, standing, open orders."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

from OrderManager.lane_desk import LaneDesk
from trading_lib.broker import Terms, Working
from trading_lib.lane import WITH_LIMIT, WITH_STOP
from trading_lib.models import Order
from trading_lib.money import QTY_SCALE

ORDERS_OF_A_LANE: Final = 200
ORDERS_IN_A_SNAPSHOT: Final = 5000  # some 1.2 MB, of the 4 MB that a listener may have outstanding
ORDERS_IN_A_STATUS: Final = 500  # some 120 kB: about what the pipe to the supervisor takes at once


def orders_of_each(lanes: int, in_all: int) -> int:
    """How many orders of each lane are shown, so that they are no more `in_all`."""
    return min(ORDERS_OF_A_LANE, in_all // max(lanes, 1))


def lane_view(desk: LaneDesk, orders: int) -> dict[str, Any]:
    """Plain values; at most so many orders, those that work first."""
    lane = desk.lane
    equity, portfolio = lane.equity(), lane.portfolio
    holdings = portfolio.holdings()
    return {
        "strategy_id": lane.strategy_id,
        "epoch": lane.epoch,
        "tape_seq": lane.next_seq,
        "ts": str(lane.ts),
        "initial": portfolio.initial,
        "equity": equity,
        "cash": portfolio.cash,
        "realized": portfolio.realized,
        "unrealized": portfolio.unrealized,
        "commission": portfolio.commission,
        "positions": {symbol: holding.qty for symbol, holding in holdings.items()},
        "average_prices": {symbol: holding.average_price for symbol, holding in holdings.items()},
        "unrealized_by_symbol": {symbol: holding.unrealized for symbol, holding in holdings.items()},
        "realized_by_symbol": portfolio.realized_by_symbol(),
        "open_orders": len(lane.open),
        "travelling": lane.travelling + len(desk.queue),
        "orders": list(islice(_orders(desk), orders)),
        "killed": lane.risk.killed,
        "costs": _costs(lane.broker.terms),
        **desk.standing.now()._asdict(),
        **desk.tally.now(lane.epoch)._asdict(),
    }


def _costs(terms: Terms) -> dict[str, float]:
    """What executions cost now, as the `costs` action names it."""
    return {
        "slippage_bps": terms.slippage_bps,
        "commission_bps": terms.commission_bps,
        "commission_fixed": terms.commission_fixed,
        "latency_ms": terms.latency_ns / 1e6,
    }


def _orders(desk: LaneDesk) -> Iterator[dict[str, Any]]:
    """Orders that are not done: those that work as they arrived, those that travel in no order."""
    lane = desk.lane
    for working in lane.open.values():
        yield _order(working.order, working)
    for request in chain((due[3] for due in lane.due), lane.parked, desk.queue):
        if isinstance(request, Order):
            yield _order(request, None)


def _order(order: Order, working: Working | None) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "order_id": working.order_id if working else None,
        "symbol": order.symbol,
        "side": order.side,
        "qty": order.quantity,
        "leaves_qty": working.leaves / QTY_SCALE if working else order.quantity,
        "type": order.type,
        "limit_price": order.limit_price if order.type in WITH_LIMIT else None,
        "stop_price": order.stop_price if order.type in WITH_STOP else None,
        "status": "working" if working else "travelling",
        "tag": order.tag,
    }
