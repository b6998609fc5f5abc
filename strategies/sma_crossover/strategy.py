"""Long while the fast average is above the slow one, short while it is below: flips at every crossing."""

from collections import defaultdict
from typing import Any

from trading_lib.models import Tick

NAME = "sma_crossover"
PARAMS = {"fast": 10, "slow": 50, "quantity": 10}


class Averages:
    """What is known of one symbol; equal averages are on the side they were on before, at first on none."""

    def __init__(self, fast: Any, slow: Any) -> None:
        self.fast, self.slow, self.side = fast, slow, ""


def init(ctx: Any) -> None:
    fast, slow, ctx.quantity = (ctx.get_param(name, default) for name, default in PARAMS.items())
    if fast >= slow:
        raise ValueError(f"fast ({fast}) must be below slow ({slow})")
    ctx.averages = defaultdict(lambda: Averages(ctx.indicator.SMA(fast), ctx.indicator.SMA(slow)))


def on_tick(ctx: Any, tick: Tick) -> None:
    averages = ctx.averages[tick.symbol]
    fast, slow = averages.fast.update(tick.price), averages.slow.update(tick.price)
    if fast is None or slow is None:
        ctx.no_trade("warming up")
        return
    side = "BUY" if fast > slow else "SELL" if fast < slow else averages.side
    if side != averages.side:
        averages.side = side
        missing = ctx.quantity - ctx.position() if side == "BUY" else ctx.quantity + ctx.position()
        if missing > 0:
            ctx.place_market_order(side, missing, tag=f"fast {'above' if side == 'BUY' else 'below'} slow")
        else:
            ctx.no_trade("already in position")
