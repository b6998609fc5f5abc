"""The rules of fills, risk and money once more: slow, from whole histories, in fractions.

An independent reference for `trading_lib.lane`: it keeps every tick and every fill of an epoch and looks
what it needs up by walking through them. What it shares with the lane are the types and `draw`.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from trading_lib.broker import Terms, draw
from trading_lib.control import Action, Cancel, Costs, KillSwitch
from trading_lib.models import CancelRequest, Kind, Order, OrderStatus, OrderType, Report, Side, TimeInForce
from trading_lib.risk import Limits

DAY: Final = 86_400 * 10**9
UNITS: Final = 10**12


class Event(NamedTuple):
    """A tape record by its symbol's name; `kind` None: the records before this number were missed."""

    seq: int
    ts: int
    kind: Kind | None
    symbol: str = ""
    value: float = 0.0


class Taken(NamedTuple):
    """A fill, the tick (its number) whose liquidity it took, and how much history there was then."""

    symbol: str
    signed: Fraction
    price: Fraction
    tick: int
    after: int


class Live:
    """An order at the market."""

    def __init__(self, order: Order, number: int, at: int) -> None:
        self.order, self.number, self.arrived = order, number, at
        self.state = "unseen"  # then waiting (a stop), any price, taking or resting (limits)
        self.fills: list[tuple[Fraction, Fraction]] = []  # quantity, price

    @property
    def cum(self) -> Fraction:
        return sum((qty for qty, _ in self.fills), Fraction(0))

    @property
    def leaves(self) -> Fraction:
        return of(self.order.quantity) - self.cum


def of(x: float) -> Fraction:
    """What a float stands for."""
    return Fraction(repr(x))


class NaiveLane:
    """`feed` events and `submit` each request after its cause; read `reports`, `equity`, `cash`."""

    def __init__(
        self,
        strategy_id: str,
        terms: Terms,
        limits: Limits,
        cash: float,
        multipliers: Mapping[str, float],
        day_ends: Mapping[str, Callable[[int], int]],
        actions: Mapping[int, Action],
    ) -> None:
        self.strategy_id, self.terms, self.limits = strategy_id, terms, limits
        self.multipliers, self.day_ends, self.actions = multipliers, day_ends, actions
        self.initial = of(cash)
        self.reports: list[Report] = []
        self.pending: list[Order | CancelRequest] = []
        self.live: list[Live] = []
        self.history: list[Event] = []  # ticks of this epoch since the last hole
        self.takes: list[Taken] = []  # of the whole run
        self.commissions: list[Fraction] = []
        self.last_known: dict[str, Fraction] = {}
        self.counted: list[int] = []  # times of arrivals in this epoch
        self.latencies = [(-1, terms.latency_ns)]
        self.numbers = 0
        self.epoch, self.seq, self.ts = 0, -1, 0
        self.day: int | None = None
        self.day_equity = Fraction(0)
        self.killed = self.hole = False

    # ------------------------------------------------------------------------------------------- inputs

    def submit(self, request: Order | CancelRequest) -> None:
        self.pending.append(request)

    def feed(self, event: Event) -> None:
        if event.kind is None:
            self.hole = True
            self.history.clear()
            return
        self.seq = event.seq
        if event.kind is Kind.EPOCH:
            self.end_of_epoch()
            return
        if self.hole and event.ts < self.ts:
            self.end_of_epoch()
        self.settle(event.ts)
        self.ts = event.ts
        if event.kind is Kind.TICK:
            self.history.append(event)
            self.last_known[event.symbol] = of(event.value)
            for live in [live for live in self.live if live.order.symbol == event.symbol]:
                self.see(live, event)
        elif event.kind is Kind.CONTROL:
            self.control(self.actions[int(event.value)])

    def settle(self, before: int) -> None:
        """Days, arrivals and ends of orders' days before a time, each at its place."""
        while True:
            happenings: list[tuple[int, int, tuple[int, int], object]] = []
            for request in self.pending:
                happenings.append((self.arrival(request), 1, (request.cause_seq, request.index), request))
            for live in self.live:
                if live.order.tif is TimeInForce.ROD:
                    happenings.append((self.end_of_day(live), 2, (0, live.number), live))
            midnight = 0 if self.day is None else (self.day + 1) * DAY
            happenings.append((midnight - 1, 3, (0, 0), None))
            at, _, _, what = min(happenings, key=lambda happening: happening[:3])
            if at >= before:
                break
            if isinstance(what, Order | CancelRequest):
                self.pending.remove(what)
                self.arrive(what, at)
            elif isinstance(what, Live):
                self.end(what, OrderStatus.EXPIRED, at, "its day has ended")
            else:
                first = min([before, *(happening[0] for happening in happenings if happening[3])])
                self.day = first // DAY
                self.day_equity = self.equity
        self.hole = False

    # ------------------------------------------------------------------------------------- what is known

    def last_tick(self, symbol: str) -> Event | None:
        return next((event for event in reversed(self.history) if event.symbol == symbol), None)

    def reference(self, symbol: str, side: Side, at: int) -> Fraction | None:
        quote = self.last_tick(symbol + (".ASK" if side is Side.BUY else ".BID"))
        if quote is not None and at - quote.ts <= 5 * 10**9:
            return of(quote.value)
        tick = self.last_tick(symbol)
        return None if tick is None else of(tick.value)

    def left_of_last_tick(self, symbol: str) -> Fraction | None:
        """None: there is no bound."""
        tick = self.last_tick(symbol)
        sizes = [event for event in self.history if event.symbol == symbol + ".SIZE"]
        if tick is None or not sizes:
            return None
        before = [event for event in sizes if event.seq < tick.seq]
        size = before[-1] if before else sizes[0]
        since = self.history.index(size) + 1
        taken = [take for take in self.takes if take.tick == tick.seq and take.after >= since]
        return of(size.value) - sum(abs(take.signed) for take in taken)

    def position(self, symbol: str) -> Fraction:
        return sum((take.signed for take in self.takes if take.symbol == symbol), Fraction(0))

    @property
    def held(self) -> list[str]:
        return [s for s in sorted({take.symbol for take in self.takes}) if self.position(s)]

    @property
    def cash(self) -> Fraction:
        spent = sum(take.signed * take.price * self.multiplier(take.symbol) for take in self.takes)
        return self.initial - spent - sum(self.commissions)

    @property
    def equity(self) -> Fraction:
        return self.cash + sum(self.position(s) * self.last_known[s] * self.multiplier(s) for s in self.held)

    def multiplier(self, symbol: str) -> Fraction:
        return of(self.multipliers.get(symbol, 1.0))

    def arrival(self, request: Order | CancelRequest) -> int:
        assert request.timestamp is not None
        latency = [ns for seq, ns in self.latencies if seq <= request.cause_seq][-1]
        key = (self.strategy_id, f"{request.cause_seq}.{request.index}", "latency")
        return request.timestamp + latency + int(draw(self.terms.seed, *key) * self.terms.latency_jitter_ns)

    def end_of_day(self, live: Live) -> int:
        end = self.day_ends.get(live.order.symbol)
        return end(live.arrived) if end else (live.arrived // DAY + 1) * DAY

    # --------------------------------------------------------------------------------------- what happens

    def arrive(self, request: Order | CancelRequest, at: int) -> None:
        if self.hole:
            self.turn_away(request, OrderStatus.CANCELED, at, "no market record")
        elif isinstance(request, CancelRequest):
            found = [live for live in self.live if live.order.client_order_id == request.target]
            if found:
                reason = f"by request {request.client_order_id}"
                self.end(found[0], OrderStatus.CANCELED, at, reason)
            else:
                self.turn_away(request, OrderStatus.REJECTED, at, "not open")
        else:
            tick = self.last_tick(request.symbol)
            denial = self.denial(request, at, tick)
            if denial or tick is None:
                self.turn_away(request, OrderStatus.REJECTED, at, denial)
                return
            self.numbers += 1
            live = Live(request, self.numbers, at)
            self.live.append(live)
            self.report(live, OrderStatus.NEW, at)
            if self.terms.fill == "prevailing":
                reference = self.reference(request.symbol, request.side, at)
                assert reference is not None
                self.first_look(live, reference, of(tick.value), tick, at)

    def denial(self, order: Order, at: int, tick: Event | None) -> str:
        """The name of the rule that speaks against an order, or nothing."""
        if of(order.quantity) * UNITS < 1:
            return "quantity"
        if tick is None:
            return "no market record"
        limits = self.limits
        self.counted.append(at)
        if self.killed:
            return "kill switch"
        if of(order.quantity) > of(limits.max_order_qty):
            return "max_order_qty"
        if sum(at - 10**9 < time <= at for time in self.counted) > limits.max_orders_per_s:
            return "max_orders_per_s"
        if abs(of(order.price) - of(tick.value)) > of(limits.collar) * of(tick.value):
            return "collar"
        same = [x for x in self.live if (x.order.symbol, x.order.side) == (order.symbol, order.side)]
        more = sum(live.leaves for live in same) + of(order.quantity)
        after = order.side.sign * self.position(order.symbol) + more
        if after <= 0:
            return ""
        if after > of(limits.max_position):
            return "max_position"
        if self.day_equity - self.equity > of(limits.max_daily_loss) * max(self.day_equity, Fraction(0)):
            return "max_daily_loss"
        return ""

    def first_look(self, live: Live, reference: Fraction, last: Fraction, tick: Event, at: int) -> None:
        kind = live.order.type
        if kind is OrderType.MARKET:
            live.state = "any price"
            self.take(live, reference, tick, at)
        elif kind is OrderType.LIMIT:
            self.first_look_at_limit(live, reference, tick, at)
        elif live.order.side.sign * (last - of(live.order.stop_price)) >= 0:
            self.trigger(live, reference, last, tick, at)
        else:
            live.state = "waiting"
            self.unless_immediate(live, at)

    def first_look_at_limit(self, live: Live, reference: Fraction, tick: Event, at: int) -> None:
        if self.within(live, reference):
            live.state = "taking"
            self.take(live, reference, tick, at)
        else:
            live.state = "resting"
            self.unless_immediate(live, at)

    def trigger(self, live: Live, reference: Fraction, last: Fraction, tick: Event, at: int) -> None:
        self.report(live, OrderStatus.NEW, at, reference=float(last), reason="triggered")
        if live.order.type is OrderType.STOP:
            live.state = "any price"
            self.take(live, reference, tick, at)
        else:
            self.first_look_at_limit(live, reference, tick, at)

    def see(self, live: Live, tick: Event) -> None:
        """A tick of a live order's symbol."""
        price = of(tick.value)
        sign = live.order.side.sign
        if live.state == "unseen":
            self.first_look(live, price, price, tick, tick.ts)
        elif live.state == "waiting":
            if sign * (price - of(live.order.stop_price)) >= 0:
                self.trigger(live, price, price, tick, tick.ts)
        elif live.state == "any price" or (live.state == "taking" and self.within(live, price)):
            self.take(live, price, tick, tick.ts)
        else:
            live.state = "resting"
            limit = of(live.order.limit_price)
            touched = self.terms.limit_fill == "touch" and price == limit
            if touched or sign * (limit - price) > 0:
                self.take(live, price, tick, tick.ts, at_limit=True)

    @staticmethod
    def within(live: Live, price: Fraction) -> bool:
        return live.order.side.sign * (of(live.order.limit_price) - price) >= 0

    def take(self, live: Live, reference: Fraction, tick: Event, at: int, at_limit: bool = False) -> None:
        order, sign = live.order, live.order.side.sign
        left = self.left_of_last_tick(order.symbol)
        qty = live.leaves if left is None else min(live.leaves, left)
        if order.tif is TimeInForce.FOK:
            qty = qty if qty == live.leaves else Fraction(0)
        elif qty >= 2 and self.terms.partial_fills:
            key = (self.strategy_id, order.client_order_id, "partial", at, int(live.cum * UNITS))
            if draw(self.terms.seed, *key) < self.terms.partial_fills:
                qty = Fraction(1 + int(draw(self.terms.seed, *key, "part") * (int(qty) - 1)))
        if qty > 0:
            price = reference * (1 + sign * of(self.terms.slippage_bps) / 10_000)
            if live.state in ("taking", "resting"):
                limit = of(order.limit_price)
                price = limit if at_limit or sign * (price - limit) > 0 else price
            self.fill(live, qty, float(price), float(reference), tick.seq, at)
        if live.leaves:
            self.unless_immediate(live, at)

    def fill(self, live: Live, qty: Fraction, price: float, reference: float, tick: int, at: int) -> None:
        order = live.order
        free = order.tag == "epoch-close"
        fixed = Fraction(0) if live.fills else of(self.terms.commission_fixed)
        notional = of(price) * qty * self.multiplier(order.symbol)
        cost = 0.0 if free else float(notional * of(self.terms.commission_bps) / 10_000 + fixed)
        live.fills.append((qty, of(price)))
        self.takes.append(Taken(order.symbol, order.side.sign * qty, of(price), tick, len(self.history)))
        self.commissions.append(of(cost))
        status = OrderStatus.PARTIALLY_FILLED if live.leaves else OrderStatus.FILLED
        if not live.leaves and live in self.live:
            self.live.remove(live)
        self.report(live, status, at, float(qty), price, cost, reference)

    def unless_immediate(self, live: Live, at: int) -> None:
        if live.order.tif in (TimeInForce.IOC, TimeInForce.FOK):
            self.end(live, OrderStatus.CANCELED, at, live.order.tif)

    def end(self, live: Live, status: OrderStatus, at: int, reason: str) -> None:
        self.live.remove(live)
        self.report(live, status, at, reason=reason)

    def turn_away(self, request: Order | CancelRequest, status: OrderStatus, at: int, reason: str) -> None:
        self.numbers += 1
        if isinstance(request, CancelRequest):
            status, reason = OrderStatus.REJECTED, "cancel"
            nothing = ("", 0.0, 0.0, Side.BUY)
            order = Order(*nothing, request.timestamp, request.cause_seq, request.index, tag="cancel")
        else:
            order = request
        self.report(Live(order, self.numbers, at), status, at, reason=reason)

    def control(self, action: Action) -> None:
        if action.strategy not in (None, self.strategy_id):
            return
        if isinstance(action, Cancel):
            for live in [x for x in self.live if x.order.client_order_id == action.client_order_id]:
                self.end(live, OrderStatus.CANCELED, self.ts, "by the operator")
            for request in [r for r in self.pending if r.client_order_id == action.client_order_id]:
                if isinstance(request, Order):
                    self.pending.remove(request)
                    self.turn_away(request, OrderStatus.CANCELED, self.ts, "by the operator")
        elif isinstance(action, Costs):
            self.change(action)
        elif isinstance(action, KillSwitch):
            self.killed = True
            self.abandon(OrderStatus.CANCELED, "kill switch")
            if self.limits.kill_switch_flatten if action.flatten is None else action.flatten:
                self.close_positions("kill-switch")

    def change(self, costs: Costs) -> None:
        old = self.terms
        if costs.latency_ms is not None:
            self.latencies.append((self.seq, round(costs.latency_ms * 10**6)))
        self.terms = Terms(
            latency_ns=old.latency_ns,
            latency_jitter_ns=old.latency_jitter_ns,
            slippage_bps=old.slippage_bps if costs.slippage_bps is None else costs.slippage_bps,
            commission_bps=old.commission_bps if costs.commission_bps is None else costs.commission_bps,
            commission_fixed=(
                old.commission_fixed if costs.commission_fixed is None else costs.commission_fixed
            ),
            fill=old.fill,
            limit_fill=old.limit_fill,
            partial_fills=old.partial_fills,
            seed=old.seed,
        )

    def abandon(self, status: OrderStatus, reason: str) -> None:
        for live in list(self.live):
            self.end(live, status, self.ts, reason)
        pending = sorted(self.pending, key=lambda r: (self.arrival(r), r.cause_seq, r.index))
        self.pending.clear()
        for request in pending:
            assert request.timestamp is not None
            self.turn_away(request, status, max(self.ts, request.timestamp), reason)

    def close_positions(self, tag: str) -> None:
        for number, symbol in enumerate(self.held, 1):
            position = self.position(symbol)
            side = Side.SELL if position > 0 else Side.BUY
            tick = self.last_tick(symbol)
            price = self.last_known[symbol] if tick is None else of(tick.value)
            paid = price
            if tag == "kill-switch":
                price = self.reference(symbol, side, self.ts) or price
                paid = price * (1 + side.sign * of(self.terms.slippage_bps) / 10_000)
            quantity = float(abs(position))
            order = Order(symbol, quantity, float(price), side, self.ts, self.seq, -number, tag=tag)
            self.numbers += 1
            live = Live(order, self.numbers, self.ts)
            self.fill(live, abs(position), float(paid), float(price), -1, self.ts)

    def end_of_epoch(self) -> None:
        self.abandon(OrderStatus.EXPIRED, "its epoch has ended")
        self.close_positions("epoch-close")
        self.epoch += 1
        self.ts, self.day, self.hole = 0, None, False
        self.history.clear()
        self.counted.clear()

    def report(
        self,
        live: Live,
        status: OrderStatus,
        at: int,
        qty: float = 0.0,
        price: float = 0.0,
        cost: float = 0.0,
        reference: float = 0.0,
        reason: str = "",
    ) -> None:
        order, cum = live.order, live.cum
        assert order.timestamp is not None
        average = sum(q * p for q, p in live.fills) / cum if cum else Fraction(0)
        if reason == "triggered" and cum:
            status = OrderStatus.PARTIALLY_FILLED
        leaves = 0.0 if status.final else float(live.leaves)
        self.reports.append(
            Report(
                strategy_id=self.strategy_id,
                client_order_id=order.client_order_id or "",
                order_id=live.number,
                exec_id=len(self.reports) + 1,
                status=status,
                symbol=order.symbol,
                side=order.side,
                qty=order.quantity,
                epoch=self.epoch,
                seq=self.seq,
                ts=at,
                last_qty=qty,
                last_px=price,
                cum_qty=float(cum),
                leaves_qty=leaves,
                avg_px=float(average),
                commission=cost,
                reference=reference,
                latency_ns=live.arrived - order.timestamp,
                reason=reason,
                tag=order.tag,
            )
        )


def in_short(report: Report) -> Sequence[object]:
    """A report without the numbers that explain a denial."""
    return [
        *(getattr(report, name) for name in report.__struct_fields__[:-2]),
        report.reason.partition(":")[0],
    ]
