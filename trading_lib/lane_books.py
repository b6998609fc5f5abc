"""A lane's books: what it reports of its orders, and what that does to its money."""

from collections.abc import Mapping
from typing import Final

import msgspec

from trading_lib.broker import TRIGGERED, Broker, Outcome, Working
from trading_lib.models import MANUAL, Account, Order, OrderStatus, Report, Side
from trading_lib.money import PRICE_SCALE, QTY_SCALE, commission, scaled
from trading_lib.portfolio import Portfolio

_BUY: Final = Side.BUY
_PARTIALLY_FILLED: Final = OrderStatus.PARTIALLY_FILLED
_FILLED: Final = OrderStatus.FILLED


class Instrument(msgspec.Struct, frozen=True):
    """What a lane needs to know of a symbol."""

    multiplier: float = 1.0
    session: str | None = None


class LaneBooks:
    """Reports, account rows and the portfolio; the lane above says what happens when."""

    def __init__(
        self, broker: Broker, cash: float, instruments: Mapping[str, Instrument], keeps_accounts: bool
    ) -> None:
        self.strategy_id = broker.strategy_id
        self.broker = broker
        self.multipliers = {symbol: i.multiplier for symbol, i in instruments.items()}
        self.portfolio = Portfolio(cash, self.multipliers, keep_trades=False)
        self.prices = broker.prices
        self.reports: list[Report] = []
        self.accounts: list[Account] = []
        self.open: dict[str, Working] = {}
        self.unfilled: dict[str, int] = {}  # signed, of market orders on their way or working, by symbol
        self.ts = 0  # event time of the last record
        self.seq = -1  # its place on the tape
        self.epoch = 0
        self.orders = 0
        self.executions = 0
        self._keeps_accounts = keeps_accounts

    @property
    def has_result(self) -> bool:
        """Whether its money is somebody's result: that of `manual` only once something was filled there."""
        return self.strategy_id != MANUAL or self.portfolio.ts > 0

    def position(self, symbol: str) -> float:
        """Filled and unfilled: what the position will be when every market order is done."""
        filled = self.portfolio.position(symbol)
        unfilled = self.unfilled.get(symbol)
        return (scaled(filled, QTY_SCALE) + unfilled) / QTY_SCALE if unfilled else filled

    def equity(self) -> float:
        """The account's worth at the last prices."""
        self._mark()
        return self.portfolio.equity

    def _mark(self) -> None:
        self.portfolio.mark_held(self.prices, self.ts)

    def _report(self, outcome: Outcome, at: int) -> None:
        """What the broker decided, as reports and as money."""
        working = outcome.working
        if outcome.qty:
            self._fill_report(working, outcome.qty, outcome.price, outcome.reference, at)
        elif outcome.reason == TRIGGERED:
            status = _PARTIALLY_FILLED if working.cum else OrderStatus.NEW
            self._emit(working, status, at, outcome.reference, reason=TRIGGERED)
        else:
            self._finish(working, OrderStatus.CANCELED, at, outcome.reason)

    def _fill_report(
        self, working: Working, qty: int, price: float, reference: float, at: int, free: bool = False
    ) -> None:
        order, terms = working.order, self.broker.terms
        filled = qty / QTY_SCALE
        cost = 0.0
        if not free:
            fixed = terms.commission_fixed if working.cum == qty else 0.0  # with an order's first fill
            multiplier = self.multipliers.get(order.symbol, 1.0)
            cost = commission(price, filled, terms.commission_bps, fixed, multiplier)
        if working.id in self.open:
            self.count_unfilled(order, -qty)
        if not working.leaves:
            self.open.pop(working.id, None)
        status = _PARTIALLY_FILLED if working.leaves else _FILLED
        self._emit(working, status, at, reference, price, filled, cost)
        self.portfolio.book(order.symbol, qty if order.side is _BUY else -qty, price, cost, at)
        if self._keeps_accounts:
            self._account("fill", order.symbol, at)

    def _finish(self, working: Working, status: OrderStatus, at: int, reason: str) -> None:
        """An order is done without being filled, or not wholly."""
        self.open.pop(working.id, None)
        self.count_unfilled(working.order, -working.leaves)
        self._emit(working, status, at, reason=reason)

    def _emit(
        self,
        working: Working,
        status: OrderStatus,
        at: int,
        reference: float = 0.0,
        price: float = 0.0,
        qty: float = 0.0,
        cost: float = 0.0,
        reason: str = "",
    ) -> None:
        order, cum = working.order, working.cum
        self.executions += 1
        assert order.timestamp is not None
        report = Report(
            self.strategy_id,
            working.id,
            working.order_id,
            self.executions,
            status,
            order.symbol,
            order.side,
            order.quantity,
            self.epoch,
            self.seq,
            at,
            qty,
            price,
            cum / QTY_SCALE,
            0.0 if status.final else working.leaves / QTY_SCALE,
            working.paid / (cum * PRICE_SCALE) if cum else 0.0,
            cost,
            reference,
            working.arrived - order.timestamp,
            reason,
            order.tag,
        )
        self.reports.append(report)

    def count_unfilled(self, order: Order, qty: int) -> None:
        """Add to what market orders on their way will buy (or, the other way round, sell)."""
        if order.is_market:
            left = self.unfilled.get(order.symbol, 0) + (qty if order.side is _BUY else -qty)
            if left:
                self.unfilled[order.symbol] = left
            else:
                self.unfilled.pop(order.symbol, None)

    def _account(self, cause: str, symbol: str, ts: int) -> None:
        if not self.has_result:
            return
        self._mark()
        self.accounts.append(
            Account(
                self.strategy_id,
                self.epoch,
                self.seq,
                ts,
                cause,
                symbol,
                self.prices.get(symbol, 0.0),
                self.portfolio.positions,
                *self.portfolio.summary(),
            )
        )
