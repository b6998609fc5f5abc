"""A lane: one strategy's risk, broker and portfolio in event time. A pure state machine: no clock, no socket.

Inputs are tape records, and that strategy's requests, which arrive at `a = t + latency`, t being the time
of the record that caused them. Inputs are processed by event time; at equal times all tape records first,
then arrivals by client order id. So what happens to an order depends on the tape and the orders alone,
never on when a process was scheduled: evaluation, the Strategy host and the OrderManager run this same
machine over the same tape and get the same reports.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from trading_lib.broker import NEVER, Broker, Terms, Working, draw
from trading_lib.control import Action, AllowTrading, Cancel, Costs, PlaceOrder
from trading_lib.lane_books import Instrument, LaneBooks
from trading_lib.models import (
    CancelRequest,
    Kind,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from trading_lib.money import PRICE_SCALE, QTY_SCALE, scaled, slipped
from trading_lib.risk import Exposure, Limits, Risk
from trading_lib.sessions import SessionHours, utc_midnight_after

Record = tuple[int, int, float, int, int, int, int]  # seq, ts, value, due, booked, slot, kind

CLOSING_TAG: Final = "epoch-close"
FLATTEN_TAG: Final = "kill-switch"
OPERATOR_TAG: Final = "operator"
OPERATOR_INDEX: Final = -1
NO_MARKET_RECORD: Final = "no market record"
BY_REQUEST: Final = "by request"
BY_OPERATOR: Final = "by the operator"

WITH_LIMIT: Final = (OrderType.LIMIT, OrderType.STOP_LIMIT)
WITH_STOP: Final = (OrderType.STOP, OrderType.STOP_LIMIT)

_NEW: Final = OrderStatus.NEW
_TICK: Final = int(Kind.TICK)
_EPOCH: Final = int(Kind.EPOCH)
_END: Final = int(Kind.END)
_CONTROL: Final = int(Kind.CONTROL)
LATENCIES_KEPT: Final = 8  # more changes while one order travels count as the oldest of these

Request = Order | CancelRequest


class Lane(LaneBooks):
    """One strategy's orders and money. `reports`, `accounts` and `placed` collect what the caller takes away.

    `account_every`: an Account row at the first tick of every so many tape records; 0 for none.
    `action(id)` looks an operator's action up when its CONTROL record comes by.
    """

    def __init__(
        self,
        strategy_id: str,
        terms: Terms,
        limits: Limits,
        *,
        cash: float = 100_000.0,
        instruments: Mapping[str, Instrument] | None = None,
        account_every: int = 0,
        action: Callable[[int], Action | None] = lambda _: None,
    ) -> None:
        instruments = instruments or {}
        super().__init__(Broker(strategy_id, terms), cash, instruments, bool(account_every))
        self.risk = Risk(limits)
        self.watched = self.broker.watched
        self.next_seq = 0  # of the record to come
        self.epoch_seq = -1  # of the EPOCH record that began this one
        self.wake_ts = -1  # a record later than this has something to settle first
        self.last_id = (-1, -1)
        self.travelling = 0  # requests that have not arrived
        self.due: list[tuple[int, int, int, Request]] = []  # a heap of arrivals by time and client order id
        self.parked: deque[Request] = deque()  # whose cause is still to come; only a recovery has such
        self.placed: list[Order] = []  # an operator's, made and submitted at his records
        self.ends: list[int] = []  # a heap of the times when days of open orders end, each once
        self.latencies = [(-1, terms.latency_ns)]  # of requests caused by this record or a later one
        self.next_day = 0
        self.blind_below = -1  # seq of the first record after some that were missed
        self.next_account = 0 if account_every else NEVER
        self.action = action
        self.blind = False  # records were missed: who arrived meanwhile cannot be filled
        self._account_every = account_every
        self._sessions = {s: SessionHours(i.session) for s, i in instruments.items() if i.session}

    # ------------------------------------------------------------------------------------------- inputs

    def submit(self, request: Request) -> None:
        """A request leaves for the market, at its record's time. Its id must be above every earlier one.

        A request may come before its cause: then it waits for it.
        """
        self.last_id = request.cause_seq, request.index
        self.travelling += 1
        if isinstance(request, Order):
            self.count_unfilled(request, scaled(request.quantity, QTY_SCALE))
        if request.cause_seq > self.seq:
            self.parked.append(request)
            self.set_wake()
        else:
            self._leave(request)

    def _leave(self, request: Request) -> None:
        """The request's cause was processed: it is on its way, or too late."""
        at = self.arrival(request)
        if request.cause_seq >= self.epoch_seq and at >= self.ts:
            self.push_due(at, request)
            return
        self.travelling -= 1
        missed = request.cause_seq < self.blind_below
        reason = NO_MARKET_RECORD if missed else "late: its time had passed"
        self._refuse(request, self.ts, OrderStatus.REJECTED, reason)

    def push_due(self, at: int, request: Request) -> None:
        """Have a request arrive before the first record after `at`."""
        heapq.heappush(self.due, (at, request.cause_seq, request.index, request))
        self.wake_ts = min(self.wake_ts, at)

    def release(self, below: int) -> None:
        """Let requests leave that waited for a record before `below`."""
        while self.parked and self.parked[0].cause_seq < below:
            self._leave(self.parked.popleft())

    def advance(self, records: Iterable[Record], names: Sequence[str]) -> None:
        """Process tape records, in order; `names[slot]` is a record's symbol. Cheap while nothing is open."""
        prices, watched = self.prices, self.watched
        wake, next_account, last = self.wake_ts, self.next_account, self.ts
        seq = self.next_seq - 1
        for seq, ts, value, _, _, slot, kind in records:
            if kind == _TICK and ts <= wake and seq < next_account and (symbol := names[slot]) not in watched:
                prices[symbol] = value
                last = ts
                continue
            self.ts = last  # of the record before
            if kind == _TICK:
                self.tick(seq, ts, names[slot], value)
                if seq >= next_account:
                    self.account_row(names[slot])
            else:
                self.mark(seq, ts, kind, value)
            wake, next_account, last = self.wake_ts, self.next_account, self.ts
        self.ts = last
        if seq >= self.next_seq:
            self.seq, self.next_seq = seq, seq + 1

    def account_row(self, symbol: str) -> None:
        """The row that is due every so many records."""
        self.next_account = (self.seq // self._account_every + 1) * self._account_every
        self._account("interval", symbol, self.ts)

    def tick(self, seq: int, ts: int, symbol: str, price: float) -> None:
        """A tick, after what is due before it. To be called when `ts > wake_ts` or the symbol is watched."""
        self.seq = seq
        if ts > self.wake_ts:
            self._settle(ts)
        self.ts = ts
        if symbol in self.watched:
            for outcome in self.broker.tick(symbol, price, ts):
                self._report(outcome, ts)
        else:
            self.prices[symbol] = price

    def mark(self, seq: int, ts: int, kind: int, value: float) -> None:
        """Any record that is not a tick."""
        self.seq = seq
        if kind == _EPOCH:
            self._end_epoch(seq)
            return
        if ts > self.wake_ts:
            self._settle(ts)
        self.ts = ts
        if kind == _CONTROL:
            action = self.action(int(value))
            if action is not None:
                self._control(action, ts)
        elif kind == _END and self._account_every:
            self._account("end", "", self.ts)

    def missed(self, next_seq: int) -> None:
        """Records up to `next_seq` were lost: what was to arrive among them finds no market."""
        self.equity()  # marks what is held at the last prices there are
        self.blind = True
        self.blind_below = self.next_seq = next_seq
        self.broker.clear()
        self.set_wake()

    # -------------------------------------------------------------------------------------------- views

    @property
    def busy(self) -> bool:
        """Whether any order travels or works."""
        return bool(self.open) or self.travelling > 0

    # ------------------------------------------------------------------------------------------ settling

    def arrival(self, request: Request) -> int:
        """When a request arrives: its cause's time and the latency in force then, by chance some more."""
        assert request.timestamp is not None
        terms = self.broker.terms
        at = request.timestamp + self._latency(request.cause_seq)
        if terms.latency_jitter_ns:
            jitter = draw(terms.seed, self.strategy_id, request.client_order_id, "latency")
            at += int(jitter * terms.latency_jitter_ns)
        return at

    def _latency(self, cause: int) -> int:
        for seq, latency in reversed(self.latencies):
            if cause >= seq:
                return latency
        return self.latencies[0][1]

    def set_latencies(self, latencies: Sequence[tuple[int, int]]) -> None:
        """Say which latency is in force from which record on; who travels arrives accordingly."""
        self.latencies = list(latencies[-LATENCIES_KEPT:])
        self.due = [(self.arrival(request), cause, index, request) for _, cause, index, request in self.due]
        heapq.heapify(self.due)
        self.set_wake()

    def set_wake(self) -> None:
        """After anything that changed what is due."""
        self.wake_ts = -1 if self.blind or self.parked else self._first_due()

    def _first_due(self) -> int:
        """A record later than this has an arrival, the end of an order's day or a new day before it."""
        due = self.due[0][0] if self.due else NEVER
        end = self.ends[0] if self.ends else NEVER
        return min(due, end, self.next_day - 1)

    def _settle(self, ts: int) -> None:
        """Whatever is due strictly before `ts`, in order of time; the prices are those prevailing then.

        At equal times a day begins first, orders arrive then, and days of orders end last.
        """
        if self.blind and ts < self.ts:  # among what was missed an epoch began
            self._end_epoch(self.seq)
        if self.parked:
            self.release(self.seq)
        while True:
            due = self.due[0][0] if self.due else NEVER
            end = self.ends[0] if self.ends else NEVER
            first = due if due <= end else end
            if ts <= first and ts < self.next_day:
                break
            if first >= self.next_day:
                self.risk.day_equity = self.equity()
                self.next_day = utc_midnight_after(min(ts, due, end))
            elif due <= end:
                at, _, _, request = heapq.heappop(self.due)
                self.travelling -= 1
                self._arrive(request, at)
            else:
                self._expire(heapq.heappop(self.ends))
        self.blind = False
        self.wake_ts = -1 if self.parked else min(first, self.next_day - 1)

    def _arrive(self, request: Request, at: int) -> None:
        if self.blind:
            self._refuse(request, at, OrderStatus.CANCELED, NO_MARKET_RECORD)
        elif isinstance(request, CancelRequest):
            self._cancel(request, at)
        else:
            self._arrive_order(request, at)

    def _arrive_order(self, order: Order, at: int) -> None:
        self.orders += 1
        working = Working(order, self.orders, at)
        price = self.prices.get(order.symbol)
        reason = _malformed(order, working)
        if reason is None and price is None:
            reason = f"{NO_MARKET_RECORD}: no price of {order.symbol}"
        if reason is None and price is not None:
            reason = self.risk.check(order, at, price, self._exposure(order.symbol), self.equity)
        if reason is not None:
            self._finish(working, OrderStatus.REJECTED, at, reason)
            return
        self.open[working.id] = working
        self._emit(working, _NEW, at)
        for outcome in self.broker.arrive(working, at):
            self._report(outcome, at)
        if working.id in self.open:
            self.plan_expiry(working)

    def plan_expiry(self, working: Working) -> None:
        """Have a day order end with its day."""
        order, at = working.order, working.arrived
        if order.tif is TimeInForce.ROD:
            hours = self._sessions.get(order.symbol)
            end = working.ends = hours.end_after(at) if hours is not None else utc_midnight_after(at)
            if end not in self.ends:  # few: one for each of the instruments' different session ends
                heapq.heappush(self.ends, end)
                self.set_wake()

    def _exposure(self, symbol: str) -> Exposure:
        buying, selling = self.broker.buying.get(symbol, 0), self.broker.selling.get(symbol, 0)
        return Exposure(self.portfolio.position(symbol), buying / QTY_SCALE, selling / QTY_SCALE)

    def _refuse(self, request: Request, at: int, status: OrderStatus, reason: str) -> None:
        """A request that met no market: rejected at once, cancelled if it had been taken on its way."""
        if isinstance(request, CancelRequest):
            self._cancel_refused(request, at, reason)
            return
        self.orders += 1
        self._finish(Working(request, self.orders, at), status, at, reason)

    def _cancel(self, request: CancelRequest, at: int) -> None:
        working = self.open.get(request.target)
        if working is None:
            self._cancel_refused(request, at, f"order {request.target} is not open")
        else:
            self._close(working, OrderStatus.CANCELED, at, f"{BY_REQUEST} {request.client_order_id}")

    def _cancel_refused(self, request: CancelRequest, at: int, reason: str) -> None:
        """Reported under the request's own id: no symbol, no quantity."""
        self.orders += 1
        order = Order(
            "", 0.0, 0.0, Side.BUY, request.timestamp, request.cause_seq, request.index, tag="cancel"
        )
        self._emit(Working(order, self.orders, at), OrderStatus.REJECTED, at, reason=f"cancel: {reason}")

    def _expire(self, at: int) -> None:
        for working in [working for working in self.open.values() if working.ends == at]:
            self._close(working, OrderStatus.EXPIRED, at, "its day has ended")

    def _close(self, working: Working, status: OrderStatus, at: int, reason: str) -> None:
        self.broker.remove(working)
        self._finish(working, status, at, reason)

    def _abandon(self, status: OrderStatus, reason: str) -> None:
        """End every order, working or on its way, now."""
        for working in tuple(self.open.values()):
            self._close(working, status, self.ts, reason)
        travelling = [due[3] for due in sorted(self.due, key=lambda due: due[:3])]
        self.due.clear()
        self.ends.clear()
        self.travelling = len(self.parked)
        for request in travelling:
            assert request.timestamp is not None
            self._refuse(request, max(self.ts, request.timestamp), status, reason)
        self.set_wake()

    def _end_epoch(self, seq: int) -> None:
        """The source starts anew: nothing of the old epoch's market carries over but money."""
        self.release(seq)
        self._abandon(OrderStatus.EXPIRED, "its epoch has ended")
        if self.ts or self.epoch:  # what was resumed from another run is not of an epoch that ends here
            self._close_positions(CLOSING_TAG, cost=False)
        if self.ts and self._account_every:  # there was something before
            self._account("epoch", "", self.ts)
        self.epoch += 1
        self.begin_epoch(seq)

    def begin_epoch(self, seq: int) -> None:
        """Time and prices start anew."""
        self.epoch_seq = seq
        self.ts = 0
        self.next_day = 0
        self.blind = False
        self.broker.clear()
        self.risk.arrivals.clear()
        self.set_wake()

    def _close_positions(self, tag: str, *, cost: bool) -> None:
        """Sell what is held and buy back what is owed, at the last prices, wherever they are known from.

        The orders' ids count down from -1: what the strategy orders because of this record counts up from 0.
        """
        terms = self.broker.terms
        for index, (symbol, position) in enumerate(self.portfolio.positions.items(), 1):
            side = Side.SELL if position > 0 else Side.BUY
            price = self.broker.reference(symbol, side, self.ts) if cost else self.prices.get(symbol)
            if price is None:
                price = self.portfolio.last_price(symbol)
                assert price is not None  # a position has had a fill
            order = Order(symbol, abs(position), price, side, self.ts, self.seq, -index, tag=tag)
            self.orders += 1
            working = Working(order, self.orders, self.ts)
            qty = working.leaves
            paid = slipped(price, terms.slippage_bps, side.sign) if cost else price
            working.leaves, working.cum, working.paid = 0, qty, qty * scaled(paid, PRICE_SCALE)
            self._fill_report(working, qty, paid, price, self.ts, free=not cost)

    def _control(self, action: Action, ts: int) -> None:
        """Apply an operator's action at its place on the tape."""
        if action.strategy is not None and action.strategy != self.strategy_id:
            return
        if isinstance(action, Cancel):
            self._cancel_by_operator(action.client_order_id, ts)
        elif isinstance(action, PlaceOrder):
            self._place(action, ts)
        elif isinstance(action, Costs):
            self.broker.terms = _changed(self.broker.terms, action)
            if action.latency_ms is not None:
                self.set_latencies([*self.latencies, (self.seq, self.broker.terms.latency_ns)])
        elif isinstance(action, AllowTrading):
            self.risk.killed = ""
        else:
            self.risk.killed = BY_OPERATOR
            self._abandon(OrderStatus.CANCELED, "kill switch")
            flatten = self.risk.limits.kill_switch_flatten if action.flatten is None else action.flatten
            if flatten:
                self._close_positions(FLATTEN_TAG, cost=True)

    def _cancel_by_operator(self, order_id: str, ts: int) -> None:
        """End an order at once, where it works or on its way: in a market that is paused it may be long."""
        working = self.open.get(order_id)
        if working is not None:
            self._close(working, OrderStatus.CANCELED, ts, BY_OPERATOR)
            return
        for place, (_, _, _, request) in enumerate(self.due):
            if request.client_order_id == order_id and isinstance(request, Order):
                del self.due[place]
                heapq.heapify(self.due)
                self.travelling -= 1
                self._refuse(request, ts, OrderStatus.CANCELED, BY_OPERATOR)
                self.set_wake()
                return

    def _place(self, wanted: PlaceOrder, ts: int) -> None:
        """Make and submit an operator's order. Its index is below those that clients count from 0."""
        seen = self.prices.get(wanted.symbol, 0.0)
        if wanted.type == "limit":
            assert wanted.price is not None
            kind, limit, stated = OrderType.LIMIT, wanted.price, seen or wanted.price
        else:
            kind, limit, stated = OrderType.MARKET, 0.0, seen if wanted.price is None else wanted.price
        order = Order(
            *(wanted.symbol, wanted.qty, stated, wanted.side, ts, self.seq, OPERATOR_INDEX),
            type=kind,
            tif=TimeInForce.GTC if wanted.tif == "gtc" else TimeInForce.ROD,
            limit_price=limit,
            tag=OPERATOR_TAG,
        )
        self.placed.append(order)
        self.submit(order)


def _malformed(order: Order, working: Working) -> str | None:
    """Why an order makes no sense, whatever the market; the doors refuse such, too."""
    if working.leaves <= 0:
        return f"quantity: {order.quantity!r} is below the smallest, {1 / QTY_SCALE:g}"
    if order.is_market:
        return None
    if order.type in WITH_LIMIT and not order.limit_price > 0:
        return f"limit_price: {order.limit_price!r} is not a price"
    if order.type in WITH_STOP and not order.stop_price > 0:
        return f"stop_price: {order.stop_price!r} is not a price"
    return None


def _changed(terms: Terms, costs: Costs) -> Terms:
    """Terms with an operator's changes."""
    changes: dict[str, float] = {
        name: value
        for name in ("slippage_bps", "commission_bps", "commission_fixed")
        if (value := getattr(costs, name)) is not None
    }
    if costs.latency_ms is not None:
        changes["latency_ns"] = round(costs.latency_ms * 1_000_000)
    return msgspec.structs.replace(terms, **changes)
