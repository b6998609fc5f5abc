"""Buys below the lower Bollinger band, sells above the upper one, is out again at the average between."""

from collections import defaultdict
from typing import Any

from trading_lib.models import Report, Tick

NAME = "mean_reversion"
PARAMS = {"window": 50, "width": 2.0, "quantity": 10}


def init(ctx: Any) -> None:
    window, width, ctx.quantity = (ctx.get_param(name, default) for name, default in PARAMS.items())
    ctx.bands = defaultdict(lambda: ctx.indicator.Bollinger(window, width))  # by symbol
    ctx.denied = set()  # symbols whose order was denied, until there is nothing to order


def on_tick(ctx: Any, tick: Tick) -> None:
    bands, held = ctx.bands[tick.symbol].update(tick.price), ctx.position()
    if bands is None:
        ctx.no_trade("warming up")
        return
    if tick.price < bands.lower:
        aim, why = max(held, ctx.quantity), "below the lower band"
    elif tick.price > bands.upper:
        aim, why = min(held, -ctx.quantity), "above the upper band"
    else:
        aim, why = 0 if held * (tick.price - bands.middle) >= 0 else held, "over the middle"
    if aim == held:
        ctx.denied.discard(tick.symbol)
        ctx.no_trade("already in position" if held else "inside the bands")
    elif tick.symbol in ctx.denied or ctx.open_orders(tick.symbol):
        ctx.no_trade("risk denied" if tick.symbol in ctx.denied else "order on its way")
    else:  # immediately, at this price or better, or not at all (IOC)
        ctx.place_limit_order("BUY" if aim > held else "SELL", abs(aim - held), tick.price, why, tif="IOC")


def on_reject(ctx: Any, report: Report) -> None:
    ctx.denied.add(report.symbol)
