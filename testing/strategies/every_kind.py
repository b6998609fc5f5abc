"""Orders of every kind, cancels, and orders from `on_fill`: drawn from the tick's number, so every run is alike."""

import random
from typing import Any

from trading_lib.models import Fill, OrderType, Side, Tick, TimeInForce

PARAMS = {"rate": 0.05}


def on_tick(ctx: Any, tick: Tick) -> None:
    draw = random.Random(tick.seq)
    if draw.random() >= ctx.get_param("rate", PARAMS["rate"]):
        return
    side, quantity = draw.choice(list(Side)), draw.randint(1, 50)
    kind, tif = draw.choice(list(OrderType)), draw.choice(list(TimeInForce))
    near = round(tick.price * (1 + draw.uniform(-0.002, 0.002)), 4)
    if kind is OrderType.MARKET:
        ctx.place_market_order(side, quantity, tag="market")
    elif kind is OrderType.LIMIT:
        ctx.place_limit_order(side, quantity, near, tif=tif)
    elif kind is OrderType.STOP:
        ctx.place_stop_order(side, quantity, near, tif=tif)
    else:
        ctx.place_stop_limit_order(side, quantity, near, near, tif=tif)
    open_orders = ctx.open_orders(tick.symbol)
    if open_orders and draw.random() < 0.5:
        ctx.cancel(draw.choice(open_orders).client_order_id)


def on_fill(ctx: Any, fill: Fill) -> None:
    if fill.qty < 5 and abs(ctx.position()) < 100:
        ctx.place_market_order(Side.SELL if fill.side is Side.BUY else Side.BUY, fill.qty, tag="back")
