"""Follows the trend: long after a rise over the last ticks, short after a fall, in between as it was."""

from collections import defaultdict
from typing import Any

from trading_lib.models import Report, Tick

NAME = "momentum"
PARAMS = {"window": 50, "threshold_bps": 10, "quantity": 10}


def init(ctx: Any) -> None:
    window, threshold_bps, ctx.quantity = (ctx.get_param(name, default) for name, default in PARAMS.items())
    ctx.threshold = threshold_bps / 10_000
    ctx.changes = defaultdict(lambda: ctx.indicator.ROC(window))  # by symbol, as a fraction
    ctx.denied = {}  # the side that was denied, by symbol, until the trend is another


def on_tick(ctx: Any, tick: Tick) -> None:
    change, position = ctx.changes[tick.symbol].update(tick.price), ctx.position()
    if change is None:
        ctx.no_trade("warming up")
    elif abs(change) <= ctx.threshold:
        ctx.denied[tick.symbol] = None
        ctx.no_trade("no trend")
    else:
        side, missing = ("BUY", ctx.quantity - position) if change > 0 else ("SELL", ctx.quantity + position)
        if missing <= 0:
            ctx.no_trade("already in position")
        elif side == ctx.denied.get(tick.symbol):
            ctx.no_trade("risk denied")
        else:
            ctx.denied[tick.symbol] = None
            ctx.place_market_order(side, missing, tag=f"{10_000 * change:+.0f} bps")


def on_reject(ctx: Any, report: Report) -> None:
    ctx.denied[report.symbol] = report.side
