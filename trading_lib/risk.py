"""Risk: what a strategy may not do. Every limit is evaluated when the order arrives, in event time.

A denial names the rule and the numbers, for the person who has to understand it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from trading_lib.models import NS_PER_S, Order, Side
from trading_lib.money import PRICE_SCALE, QTY_SCALE, exact, scaled

_BUY: Final = Side.BUY


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one strategy."""

    max_position: float = 1000.0
    max_order_qty: float = 1_000_000.0
    max_orders_per_s: int = 100
    max_daily_loss: float = 0.1  # of the equity the day (UTC) began with
    collar: float = 0.05  # how far the order's stated price may be from the market's
    kill_switch_flatten: bool = False


class Exposure(NamedTuple):
    """A symbol's position, and what open orders may still buy and sell of it (both positive)."""

    position: float
    buying: float
    selling: float


class Risk:
    """The state the limits need: recent arrivals, the day's first equity, the kill switch."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.killed = ""  # why nothing is accepted any more
        self.arrivals: deque[int] = deque()  # times of the last second's, for the order rate
        self.day_equity = 0.0

    def check(
        self, order: Order, at: int, price: float, exposure: Exposure, equity: Callable[[], float]
    ) -> str | None:
        """Why the order is denied at event time `at`, or None. Counts the arrival. O(1) amortised."""
        limits = self.limits
        arrivals = self.count(at)
        if self.killed:
            return f"kill switch: {self.killed}"
        if order.quantity > limits.max_order_qty:
            return f"max_order_qty: {order.quantity:.15g} is above {limits.max_order_qty:.15g}"
        if arrivals > limits.max_orders_per_s:
            return f"max_orders_per_s: {arrivals} within a second, {limits.max_orders_per_s} allowed"
        if _beyond(order.price, price, limits.collar):
            away = (order.price / price - 1) * 100
            return (
                f"collar: {order.price!r} is {away:+.2f} % from the market's {price!r}, "
                f"{limits.collar * 100:.15g} % allowed"
            )
        buys = order.side is _BUY
        if buys:
            after = _sum(exposure.position, exposure.buying, order.quantity)
            reduces = after <= 0
        else:
            after = _sum(exposure.position, -exposure.selling, -order.quantity)
            reduces = after >= 0
        if reduces:
            return None
        if abs(after) > limits.max_position:
            return (
                f"max_position: {exposure.position:.15g} held and "
                f"{exposure.buying if buys else exposure.selling:.15g} on order, "
                f"with {order.side} {order.quantity:.15g} more {after:.15g}: beyond {limits.max_position:.15g}"
            )
        now, day = equity(), self.day_equity
        if day - now > limits.max_daily_loss * max(day, 0.0):
            return (
                f"max_daily_loss: equity {now:.2f} is {day - now:.2f} below the day's first, {day:.2f}; "
                f"{limits.max_daily_loss * 100:.15g} % of it allowed"
            )
        return None

    def count(self, at: int) -> int:
        """An order arrives at event time `at`; how many did within the second until then."""
        arrivals = self.arrivals
        while arrivals and arrivals[0] <= at - NS_PER_S:
            arrivals.popleft()
        arrivals.append(at)
        return len(arrivals)


def _sum(held: float, waiting: float, ordered: float) -> float:
    """Of decimals: 0.1 and 0.2 on a limit of 0.3 are allowed."""
    return (scaled(held, QTY_SCALE) + scaled(waiting, QTY_SCALE) + scaled(ordered, QTY_SCALE)) / QTY_SCALE


def _beyond(stated: float, market: float, collar: float) -> bool:
    """Whether a stated price is further than `collar` × the market's from it; exactly at it is not."""
    numerator, denominator = exact(collar)
    price = scaled(market, PRICE_SCALE)
    return abs(scaled(stated, PRICE_SCALE) - price) * denominator > numerator * price
