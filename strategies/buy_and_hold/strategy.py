"""Buys once of every symbol and keeps it: what every other strategy has to beat."""

from typing import Any

from trading_lib.models import Report, Tick

NAME = "buy_and_hold"
PARAMS = {"quantity": 10}


def init(ctx: Any) -> None:
    ctx.done = {}  # why there is nothing more to do, by symbol


def on_tick(ctx: Any, tick: Tick) -> None:
    reason = ctx.done.get(tick.symbol)
    if reason is not None:
        ctx.no_trade(reason)
        return
    ctx.done[tick.symbol] = "already in position"
    missing = ctx.get_param("quantity", PARAMS["quantity"]) - ctx.position()
    if missing > 0:
        ctx.place_market_order("BUY", missing)


def on_reject(ctx: Any, report: Report) -> None:
    ctx.done[report.symbol] = "risk denied"
