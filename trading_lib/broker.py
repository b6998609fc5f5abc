"""The paper broker: what an order is filled at, by a stated rule, against real ticks only.

It knows prices and orders, no clock, no money and no risk. What it decides comes out as `Outcome`s, in
order; the lane turns them into reports.

A market order is filled at the *reference price* (the last tick; `.ASK` for BUY and `.BID` for SELL where
those series exist and are fresh) plus slippage to the worse side. A limit order that is marketable when
it arrives is filled like a market order, never beyond its limit, for as long as ticks leave it marketable;
one that rests is filled at its limit by the first tick through it. A stop is triggered by the first tick at
or beyond it and filled at that tick. Where a `.SIZE` series exists a tick gives what it said when the tick
came, once, to those who came first.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from trading_lib.models import NS_PER_S, Order, OrderType, Side, TimeInForce
from trading_lib.money import PRICE_SCALE, QTY_SCALE, scaled, slipped

NEVER: Final = 1 << 62
QUOTE_FRESH_NS: Final = 5 * NS_PER_S
QUOTES: Final = (".BID", ".ASK")
SIZE: Final = ".SIZE"

_BUY: Final = Side.BUY
_MARKET: Final = OrderType.MARKET
_LIMIT: Final = OrderType.LIMIT
_STOP: Final = OrderType.STOP
_STOP_LIMIT: Final = OrderType.STOP_LIMIT
_IOC: Final = TimeInForce.IOC
_FOK: Final = TimeInForce.FOK


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution costs and how long an order travels. Times are ns of event time."""

    latency_ns: int = 50_000_000
    latency_jitter_ns: int = 0  # added: uniform on [0, jitter), drawn per order
    slippage_bps: float = 1.0
    commission_bps: float = 0.5
    commission_fixed: float = 0.0  # with an order's first fill
    fill: Literal["prevailing", "next"] = "prevailing"
    limit_fill: Literal["through", "touch"] = "through"
    partial_fills: float = 0.0  # probability that a fill is partial
    seed: int = 42


def draw(seed: int, *key: object) -> float:
    """Uniform on [0, 1), a function of its arguments alone: no stream that an earlier draw could shift."""
    text = "|".join(map(str, (seed, *key))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64


class Working:
    """An order that has arrived and is not done. Quantities are in units of 1 / `QTY_SCALE`."""

    __slots__ = (
        *("arrived", "cum", "ends", "fresh", "id", "leaves", "order", "order_id", "paid", "taking"),
        "triggered",
    )

    def __init__(self, order: Order, order_id: int, arrived: int) -> None:
        self.order = order
        self.id = order.client_order_id or ""
        self.order_id = order_id
        self.arrived = arrived  # event time
        self.ends = NEVER  # event time of its day's end
        self.leaves = scaled(order.quantity, QTY_SCALE)
        self.cum = 0
        self.paid = 0  # Σ price × quantity of its fills, in units of both, for the average price
        self.triggered = False  # a stop that has been reached
        self.fresh = False  # not looked at yet: the next tick is its first
        self.taking = False  # a limit order that has been marketable ever since it was looked at

    @property
    def is_market(self) -> bool:
        """Whether what is left fills at any price."""
        kind = self.order.type
        return kind is _MARKET or (kind is _STOP and self.triggered)

    @property
    def is_limit(self) -> bool:
        """Whether what is left fills at its limit or better."""
        return self.order.type is _LIMIT or (self.order.type is _STOP_LIMIT and self.triggered)


class Outcome(NamedTuple):
    """A fill of `qty` at `price` against a tick at `reference`; without a quantity why the rest is cancelled.

    `reason` TRIGGERED says that a stop has been reached.
    """

    working: Working
    qty: int = 0
    price: float = 0.0
    reference: float = 0.0
    reason: str = ""


TRIGGERED: Final = "triggered"


class Broker:
    """Last prices, resting orders, and what one tick still has to give."""

    def __init__(self, strategy_id: str, terms: Terms) -> None:
        self.strategy_id = strategy_id
        self.terms = terms
        self.prices: dict[str, float] = {}
        self.quotes: dict[str, tuple[float, int]] = {}  # of `.BID` and `.ASK` series: price, time
        self.resting: dict[str, dict[int, Working]] = {}  # by symbol and order id, in order of arrival
        self.buying: dict[str, int] = {}  # what resting orders may still buy, in sum …
        self.selling: dict[str, int] = {}  # … and sell
        self.watched: set[str] = set()  # series whose every tick must come to `tick`
        self.left: dict[str, int] = {}  # of a symbol's last tick, where it is not what `.SIZE` says now

    def watch_series(self, symbol: str) -> None:
        """Say that a series exists: quotes and sizes are needed with their time, at every tick."""
        if symbol.endswith((*QUOTES, SIZE)):
            self.watched.add(symbol)

    def reference(self, symbol: str, side: Side, ts: int) -> float | None:
        """The price a market order is filled against, before slippage."""
        if self.quotes:
            quote = self.quotes.get(symbol + (".ASK" if side is _BUY else ".BID"))
            if quote is not None and ts - quote[1] <= QUOTE_FRESH_NS:
                return quote[0]
        return self.prices.get(symbol)

    def arrive(self, working: Working, ts: int) -> Iterable[Outcome]:
        """An order arrives. Its symbol has a price. Outcomes are to be taken one by one, all of them."""
        if self.terms.fill == "next":
            working.fresh = True
            self.rest(working)
            return ()
        order = working.order
        reference = self.reference(order.symbol, order.side, ts)
        assert reference is not None
        return self._first_look(working, reference, self.prices[order.symbol], ts)

    def tick(self, symbol: str, price: float, ts: int) -> Iterator[Outcome]:
        """A new tick of a watched series. Outcomes are to be taken one by one, all of them."""
        if self.left.pop(symbol, None) is not None:
            self._watch_if_needed(symbol)
        if symbol.endswith(QUOTES):
            self.quotes[symbol] = (price, ts)
        elif symbol.endswith(SIZE) and symbol in self.prices:
            self._keep_left(symbol.removesuffix(SIZE))
        self.prices[symbol] = price
        for working in tuple(self.resting[symbol].values()) if symbol in self.resting else ():
            if working.fresh:
                self.remove(working)
                working.fresh = False
                yield from self._first_look(working, price, price, ts)
            elif working.is_market:
                yield from self._fill(working, price, ts)
            elif working.is_limit:
                yield from self._limit_at_a_tick(working, price, ts)
            elif _reached(working.order, price):
                yield from self._trigger(working, price, price, ts)

    def remove(self, working: Working) -> None:
        """Forget a resting order; one that does not rest is none of our business."""
        symbol = working.order.symbol
        resting = self.resting.get(symbol)
        if resting is None or resting.pop(working.order_id, None) is None:
            return
        self._wanted(working.order)[symbol] -= working.leaves
        if not resting:
            del self.resting[symbol]
            self._watch_if_needed(symbol)

    def rest(self, working: Working) -> None:
        """Keep an order for the ticks to come."""
        symbol = working.order.symbol
        resting = self.resting.setdefault(symbol, {})
        if working.order_id not in resting:
            resting[working.order_id] = working
            wanted = self._wanted(working.order)
            wanted[symbol] = wanted.get(symbol, 0) + working.leaves
        self.watched.add(symbol)

    def _wanted(self, order: Order) -> dict[str, int]:
        return self.buying if order.side is _BUY else self.selling

    def filled(self, working: Working, qty: int, price: float) -> None:
        """Book a part of an order, resting or not, as done."""
        working.leaves -= qty
        working.cum += qty
        working.paid += qty * scaled(price, PRICE_SCALE)
        symbol = working.order.symbol
        if symbol in self.resting and working.order_id in self.resting[symbol]:
            self._wanted(working.order)[symbol] -= qty

    def clear(self) -> None:
        """Forget the market; orders stay."""
        self.prices.clear()
        self.quotes.clear()
        for symbol in tuple(self.left):
            del self.left[symbol]
            self._watch_if_needed(symbol)

    def set_left(self, left: Mapping[str, int]) -> None:
        """Say what is left of last ticks, as a broker's `left` said it."""
        self.left.update(left)
        self.watched.update(left)

    def _watch_if_needed(self, symbol: str) -> None:
        if symbol not in self.resting and symbol not in self.left:
            self.watched.discard(symbol)
            self.watch_series(symbol)

    def _keep_left(self, symbol: str) -> None:
        """What the last tick has left stands from now on for itself: a new size is for the next one."""
        if symbol in self.prices and symbol not in self.left:
            self.set_left({symbol: scaled(self.prices[symbol + SIZE], QTY_SCALE)})

    def _first_look(self, working: Working, reference: float, last: float, ts: int) -> Iterable[Outcome]:
        """An order meets the market for the first time: `reference` to fill against, `last` for stops."""
        order = working.order
        if order.type is _MARKET:
            return self._fill(working, reference, ts)
        if order.type is _LIMIT:
            return self._limit_at_first(working, reference, ts)
        if _reached(order, last):
            return self._trigger(working, reference, last, ts)
        return self._rest_or_cancel(working)

    def _trigger(self, working: Working, reference: float, last: float, ts: int) -> Iterator[Outcome]:
        working.triggered = True
        yield Outcome(working, reference=last, reason=TRIGGERED)
        if working.order.type is _STOP:
            yield from self._fill(working, reference, ts)
        else:
            yield from self._limit_at_first(working, reference, ts)

    def _limit_at_first(self, working: Working, reference: float, ts: int) -> Iterable[Outcome]:
        """A limit order's first chance: at once, at the reference price plus slippage, not beyond its limit."""
        if _is_marketable(working.order, reference):
            working.taking = True
            return self._fill(working, reference, ts)
        return self._rest_or_cancel(working)

    def _limit_at_a_tick(self, working: Working, price: float, ts: int) -> Iterable[Outcome]:
        """A limit order that nothing was left for is still marketable, or rests from this tick on."""
        working.taking = working.taking and _is_marketable(working.order, price)
        if working.taking:
            return self._fill(working, price, ts)
        if self._through(working.order, price):
            return self._fill(working, price, ts, at_limit=True)
        return ()

    def _through(self, order: Order, price: float) -> bool:
        """Whether a tick fills a resting limit order."""
        if price == order.limit_price:
            return self.terms.limit_fill == "touch"
        return price < order.limit_price if order.side is _BUY else price > order.limit_price

    def _fill(
        self, working: Working, reference: float, ts: int, *, at_limit: bool = False
    ) -> Iterable[Outcome]:
        """As much as the tick has to give; then the rest works on, or is cancelled."""
        outcomes: tuple[Outcome, ...] = ()
        order = working.order
        qty = self._available(working)
        if order.tif is not _FOK:
            qty = self._partial(working, qty, ts)
        elif qty < working.leaves:
            qty = 0
        if qty:
            price = order.limit_price if at_limit else self._slipped(working, reference)
            self._use(order.symbol, qty)
            self.filled(working, qty, price)
            outcomes = (Outcome(working, qty, price, reference),)
        if working.leaves:
            return (*outcomes, *self._rest_or_cancel(working))
        self.remove(working)
        return outcomes

    def _rest_or_cancel(self, working: Working) -> Iterable[Outcome]:
        if working.order.tif in (_IOC, _FOK):
            self.remove(working)
            return (Outcome(working, reason=f"{working.order.tif}: no more to be had at once"),)
        self.rest(working)
        return ()

    def _slipped(self, working: Working, reference: float) -> float:
        order = working.order
        price = slipped(reference, self.terms.slippage_bps, 1 if order.side is _BUY else -1)
        if order.type is not _MARKET and working.is_limit:
            limit = order.limit_price
            return min(price, limit) if order.side is _BUY else max(price, limit)
        return price

    def _available(self, working: Working) -> int:
        """What the last tick of a symbol with sizes has left; without sizes there is no bound."""
        symbol = working.order.symbol
        size = self.prices.get(symbol + SIZE)
        if size is None:
            return working.leaves
        left = self.left.get(symbol)
        return min(working.leaves, scaled(size, QTY_SCALE) if left is None else left)

    def _use(self, symbol: str, qty: int) -> None:
        """Take `qty` of what the last tick has left."""
        if symbol + SIZE in self.prices:
            self._keep_left(symbol)
            self.left[symbol] -= qty

    def _partial(self, working: Working, qty: int, ts: int) -> int:
        """By chance only a part, in whole units; a function of the order and the instant."""
        terms = self.terms
        if not terms.partial_fills or qty < 2 * QTY_SCALE:
            return qty
        key = (self.strategy_id, working.id, "partial", ts, working.cum)
        if draw(terms.seed, *key) >= terms.partial_fills:
            return qty
        part = 1 + int(draw(terms.seed, *key, "part") * (qty // QTY_SCALE - 1))
        return part * QTY_SCALE


def _is_marketable(order: Order, reference: float) -> bool:
    """Whether a limit order can be filled at once at `reference`."""
    return reference <= order.limit_price if order.side is _BUY else reference >= order.limit_price


def _reached(order: Order, price: float) -> bool:
    """Whether a stop is reached by `price`."""
    return price >= order.stop_price if order.side is _BUY else price <= order.stop_price
