"""The baseline of a sweep: enters at random, long or short, as often and as large as it is told."""

from random import Random
from typing import Any

from trading_lib.models import Tick

PARAMS = {"every": 100.0, "quantity": 10, "seed": 0}  # a decision every so many ticks, on average


def init(ctx: Any) -> None:
    ctx.random = Random(f"random entry {ctx.get_param('seed', 0)}")
    ctx.chance = 1 / ctx.get_param("every", 100.0)
    ctx.quantity = ctx.get_param("quantity", 10)


def on_tick(ctx: Any, _: Tick) -> None:
    if ctx.random.random() >= ctx.chance:
        ctx.no_trade("no decision")
        return
    wanted = ctx.quantity if ctx.random.random() < 0.5 else -ctx.quantity
    change = wanted - ctx.position()
    if change == 0:
        ctx.no_trade("already in position")
        return
    ctx.place_market_order("BUY" if change > 0 else "SELL", abs(change))
