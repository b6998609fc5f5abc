"""The benchmarks' strategy: a moving average on every tick, an order on every n-th.

With n the ticks of a burst, the last tick of each burst sends exactly one order.
"""

from typing import Any

from trading_lib.models import Tick

NAME = "every_nth_tick"
PARAMS = {"every": 1, "window": 20}


def init(ctx: Any) -> None:
    ctx.every = ctx.get_param("every", PARAMS["every"])
    ctx.window = ctx.get_param("window", PARAMS["window"])
    ctx.averages = {}
    ctx.count = 0


def on_tick(ctx: Any, tick: Tick) -> None:
    average = ctx.averages.get(tick.symbol)
    if average is None:
        average = ctx.averages[tick.symbol] = ctx.indicator.SMA(ctx.window)
    average.update(tick.price)
    ctx.count += 1
    if ctx.count == ctx.every:
        ctx.count = 0
        side = "SELL" if ctx.position() > 0 else "BUY"  # no position grows: none is denied
        ctx.place_market_order(side, 1)
