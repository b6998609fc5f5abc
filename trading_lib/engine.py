"""The engine: one strategy, every record of the tape in order, its lane, and the orders that come of it.

Live, evaluation and replay run this same loop body; none of them can be told from here. Records in, requests
out: no clock, no socket, no process. What the live process adds is waking, sockets and reload.

Everything user code sees is event time; its prices come from the tape as consumed, never from the price
book. Fills, positions and denials come from the strategy's own lane, the machine that the ledger runs over
the same tape, too.
"""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final

from trading_lib import order_wire, wire
from trading_lib.broker import Terms
from trading_lib.context import NO_DATA, RISK_DENIED, Context
from trading_lib.lane import CLOSING_TAG, WITH_LIMIT, WITH_STOP, Lane, Record, Request
from trading_lib.models import (
    CancelRequest,
    Fill,
    Kind,
    News,
    OpenOrder,
    Order,
    OrderStatus,
    OrderType,
    Report,
    Side,
    Tick,
    TimeInForce,
)
from trading_lib.money import QTY_SCALE
from trading_lib.risk import Limits
from trading_lib.strategy_file import USER_FAULTS, StrategyError, TakenBack, blame

_TICK: Final = int(Kind.TICK)
_NEWS: Final = int(Kind.NEWS)
_EPOCH: Final = int(Kind.EPOCH)
_GAP: Final = int(Kind.GAP)
_REJECTED: Final = OrderStatus.REJECTED
ERRORS_SHOWN: Final = 5  # of a strategy's exceptions per burst of records; every one is counted


def declared_params(strategy: ModuleType) -> dict[str, Any]:
    """What a strategy file calls its parameters, with their defaults."""
    params = getattr(strategy, "PARAMS", None)
    return params if isinstance(params, dict) else {}


def _no_clock() -> int:
    return 0


class Engine:
    """Runs one strategy with its lane. O(1) per record.

    `symbol_of(slot)` names a record's slot. `wanted`: the symbols the strategy is called for; empty: all but
    the series beside another one, as `X.MODEL` is beside `X`, which are no prices to trade at.
    `wall` stamps orders for measuring latency, nothing else. `warn` hears of the strategy's exceptions.
    `reasons` is where `ctx.no_trade` counts.
    Raises StrategyError when `init` fails; so does `consume`, at an epoch.
    """

    def __init__(
        self,
        strategy_id: str,
        strategy: ModuleType,
        params: dict[str, Any],
        symbol_of: Callable[[int], str],
        warn: Callable[[str], None],
        *,
        wanted: Iterable[str] = (),
        lane: Lane | None = None,
        wall: Callable[[], int] = _no_clock,
        reasons: dict[str, int] | None = None,
    ) -> None:
        self.strategy_id = strategy_id
        self.params = {**declared_params(strategy), **params}
        self.lane = lane or Lane(strategy_id, Terms(), Limits())
        self.symbol = ""
        self.ticks = self.news = self.epochs = self.gaps = self.errors = self.placed = 0
        self.fills = self.denied = 0
        self.last_error = ""
        self.requests: list[Request] = []  # what `consume` adds, for the caller to send …
        self.reports: list[Report] = []  # … and what the ledger is to say to them …
        self.lines: list[str] = []  # … and then to log
        self._strategy = strategy
        self._path = str(getattr(strategy, "__file__", ""))
        self._on_tick: Callable[[Context, Tick], object] = strategy.on_tick
        self._on_news: Callable[[Context, News], object] | None = getattr(strategy, "on_news", None)
        self._on_fill: Callable[[Context, Fill], object] | None = getattr(strategy, "on_fill", None)
        self._on_reject: Callable[[Context, Report], object] | None = getattr(strategy, "on_reject", None)
        self._symbol_of = symbol_of
        self._warn = warn
        self._wall = wall
        self._reasons = {} if reasons is None else reasons
        self._wanted = frozenset(wanted or getattr(strategy, "SYMBOLS", ()))
        self._names: list[str] = []
        self._skipped: set[str] = set()  # symbols the strategy is not called for
        self._seq = self._ts = -1
        self._errors_in_burst = 0
        self._init()

    def _init(self) -> None:
        """Fresh state: at the start, and at every epoch."""
        self._context = Context(self, self._reasons)
        init = getattr(self._strategy, "init", None)
        if init is not None:
            try:
                init(self._context)
            except USER_FAULTS as fault:
                raise StrategyError(f"init: {blame(fault, self._path)}") from fault

    def consume(self, records: Iterable[Record]) -> None:
        """Process tape records, in order: `(seq, ts, value, due, booked, slot, kind)`."""
        self._errors_in_burst = 0
        lane = self.lane
        names, prices, watched, skipped = self._names, lane.prices, lane.watched, self._skipped
        context, on_tick = self._context, self._on_tick
        next_account = lane.next_account
        seq, ticks = lane.seq, 0
        for seq, ts, value, _, _, slot, kind in records:
            if kind == _TICK:
                try:
                    symbol = names[slot]
                except IndexError:
                    symbol = self._learn(slot)
                    skipped = self._skipped
                if ts > lane.wake_ts or seq >= next_account or symbol in watched:
                    self._tick_in_lane(seq, ts, symbol, value)
                    next_account = lane.next_account
                else:
                    prices[symbol] = value
                ticks += 1
                if symbol in skipped:
                    self._ts = ts
                    continue
                self._seq, self._ts, self.symbol = seq, ts, symbol
                try:
                    on_tick(context, Tick(symbol, value, ts, seq))
                except USER_FAULTS as fault:
                    self._count_error(fault)
            else:
                self._consume_other(seq, ts, value, slot, kind)
                context = self._context
        self.ticks += ticks
        lane.seq, lane.ts, lane.next_seq = seq, max(lane.ts, self._ts), seq + 1

    def stop(self) -> None:
        """Call the strategy's `on_stop`: it will see no more records."""
        on_stop = getattr(self._strategy, "on_stop", None)
        if on_stop is not None:
            try:
                on_stop(self._context)
            except USER_FAULTS as fault:
                self._count_error(fault)

    def missed(self, next_seq: int) -> None:
        """Records before `next_seq` were lost."""
        self.lane.missed(next_seq)

    def _tick_in_lane(self, seq: int, ts: int, symbol: str, value: float) -> None:
        """A tick that something waits for: an order, the end of a day, a row of the account."""
        lane = self.lane
        lane.ts = max(lane.ts, self._ts)  # of the record before
        self._seq, self._ts = seq, ts
        lane.tick(seq, ts, symbol, value)
        if seq >= lane.next_account:
            lane.account_row(symbol)
        if lane.reports:
            self._take_reports()

    def _consume_other(self, seq: int, ts: int, value: float, slot: int, kind: int) -> None:
        lane = self.lane
        lane.ts = max(lane.ts, self._ts)
        self._seq, self._ts = seq, ts
        lane.mark(seq, ts, kind, value)
        if kind == _EPOCH:
            self._ts = 0  # time starts anew
            self._take_reports()
            self.epochs += 1
            self._init()
            return
        if lane.reports:
            self._take_reports()
        if kind == _NEWS:
            self._consume_news(seq, ts, value, slot)
        elif kind == _GAP:
            self.gaps += 1

    def _consume_news(self, seq: int, ts: int, value: float, slot: int) -> None:
        self.news += 1
        symbol = self._names[slot] if slot < len(self._names) else self._learn(slot)
        if self._on_news is None or symbol in self._skipped:
            return
        self.symbol = symbol
        try:
            self._on_news(self._context, News(symbol, int(value), ts, seq))
        except USER_FAULTS as fault:
            self._count_error(fault)

    def _take_reports(self) -> None:
        """What the lane has reported while processing this record: to the strategy, before its `on_tick`."""
        reports = self.lane.reports.copy()
        self.lane.reports.clear()
        self.reports += reports
        for report in reports:
            if report.last_qty:
                self.fills += 1
                if self._on_fill is not None and report.tag != CLOSING_TAG:  # that epoch's strategy has ended
                    self._call(self._on_fill, report.fill, report.symbol)
            elif report.status is _REJECTED:
                self.denied += 1
                if self._on_reject is not None:
                    self._call(self._on_reject, report, report.symbol)

    def _call(self, function: Callable[[Context, Any], object], fact: object, symbol: str) -> None:
        self.symbol = symbol
        try:
            function(self._context, fact)
        except USER_FAULTS as fault:
            self._count_error(fault)

    def _learn(self, slot: int) -> str:
        """The symbol of a slot that comes by for the first time."""
        for symbol in map(self._symbol_of, range(len(self._names), slot + 1)):
            self._names.append(symbol)
            self.lane.broker.watch_series(symbol)
        if self._wanted:
            self._skipped = {symbol for symbol in self._names if symbol not in self._wanted}
        else:
            known = set(self._names)
            self._skipped = {symbol for symbol in known if symbol.rpartition(".")[0] in known}
        return self._names[slot]

    @property
    def at(self) -> int:
        """The record the strategy was last called for."""
        return self._seq

    def _count_error(self, fault: BaseException) -> None:
        if isinstance(fault, TakenBack):
            raise fault
        self.errors += 1
        self._errors_in_burst += 1
        self.last_error = blame(fault, self._path)
        if self._errors_in_burst <= ERRORS_SHOWN:
            self._warn(f"{self.strategy_id}: at record {self._seq}: {self.last_error}")

    # ------------------------------------------------------------------------------------------ requests

    def place(
        self,
        side: Side,
        quantity: float,
        symbol: str | None,
        tag: str | None,
        kind: OrderType = OrderType.MARKET,
        tif: TimeInForce = TimeInForce.ROD,
        limit_price: float = 0.0,
        stop_price: float = 0.0,
    ) -> str:
        """See Context. Raises ValueError for a quantity or a price that cannot be, a tag that cannot be
        written, or a symbol that has no price yet."""
        symbol = symbol or self.symbol
        price = self.lane.prices.get(symbol)
        if price is None:
            raise ValueError(f"no price of {symbol!r} yet")
        order = Order(
            symbol,
            _positive("quantity", quantity),
            price,
            side,
            self._ts,
            self._seq,
            self._next_index(),
            self._wall(),
            kind,
            tif,
            _positive("limit price", limit_price) if kind in WITH_LIMIT else 0.0,
            _positive("stop price", stop_price) if kind in WITH_STOP else 0.0,
            wire.parse_tag(tag) if tag else "",
        )
        self._submit(order)
        self.placed += 1
        return f"{order.cause_seq}.{order.index}"

    def cancel(self, client_order_id: str) -> str:
        """See Context. Raises ValueError for what is no client order id."""
        wire.parse_order_id(client_order_id)
        request = CancelRequest(client_order_id, self._ts, self._seq, self._next_index())
        self._submit(request)
        return request.client_order_id

    def _next_index(self) -> int:
        last_seq, last_index = self.lane.last_id
        return last_index + 1 if last_seq == self._seq else 0

    def _submit(self, request: Request) -> None:
        lane = self.lane
        lane.seq, lane.ts = self._seq, max(lane.ts, self._ts)
        lane.submit(request)
        self.requests.append(request)

    def open_orders(self) -> list[OpenOrder]:
        """What works, then what is on its way, each in the order of their ids."""
        working = [_open_order(w.order, w.leaves / QTY_SCALE, True) for w in self.lane.open.values()]
        travelling = sorted(
            (request for *_, request in self.lane.due if isinstance(request, Order)),
            key=lambda order: (order.cause_seq, order.index),
        )
        return working + [_open_order(order, order.quantity, False) for order in travelling]

    # --------------------------------------------------------------------------------------------- views

    def why_no_trade(self) -> dict[str, int]:
        """Ticks without an order, by reason as the strategy gave them; denials; `no data` before any tick."""
        reasons = dict(self._reasons)
        if self.denied:
            reasons[RISK_DENIED] = reasons.get(RISK_DENIED, 0) + self.denied
        if not self.ticks:
            reasons[NO_DATA] = 1
        return reasons

    @property
    def indicators(self) -> dict[str, Any]:
        """What `ctx.indicator` has made, by what it is shown as."""
        return self._context.indicator.made

    def indicator_values(self) -> dict[str, Any]:
        """What `ctx.indicator` has made, each with its latest value."""
        return self._context.indicator.values()

    def take_lines(self) -> list[str]:
        """What the strategy logged since the last call."""
        lines, self.lines = self.lines, []
        return lines

    def take_requests(self) -> list[Request]:
        """The requests made since the last call."""
        requests, self.requests = self.requests, []
        return requests

    def take_reports(self) -> list[Report]:
        """The lane's reports since the last call."""
        reports, self.reports = self.reports, []
        return reports

    def take_frames(self) -> bytes:
        """The same, as the ledger is to send them."""
        return b"".join(map(order_wire.encode_report, self.take_reports()))


def _positive(what: str, value: float) -> float:
    """A Decimal or a NumPy number is one, too."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{what} must be positive and finite, not {number!r}")
    return number


def _open_order(order: Order, leaves: float, arrived: bool) -> OpenOrder:
    return OpenOrder(
        order.client_order_id or "",
        order.symbol,
        order.side,
        order.quantity,
        leaves,
        order.type,
        order.tif,
        order.limit_price,
        order.stop_price,
        order.tag,
        arrived,
    )
