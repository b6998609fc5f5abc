"""Positions, cash and profit: the only such arithmetic in the repository.

    portfolio = Portfolio(100_000.0)
    portfolio.apply(fill)
    portfolio.mark("AAPL", 173.10, ts)
    portfolio.equity

Realized and unrealized profit are gross, at average cost; commission is a column of its own, so

    equity = initial + realized + unrealized − commission = cash + Σ position × multiplier × mark

holds to the last digit: inside there are only ints (`trading_lib.money`), and a partial close takes
round(cost · closed / held) from the cost of the position and puts the very same amount into `realized`.
Floats are made on the way out, each the nearest to its exact value. Trades are matched first in, first
out (`trading_lib.fifo`). Event time only; no clock, no symbol is known beforehand.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final, NamedTuple, Self

import msgspec

from trading_lib.fifo import Fifo, FifoState, RoundTrip, Trade
from trading_lib.models import Fill, Side
from trading_lib.money import (
    MONEY_SCALE,
    MULTIPLIER_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
    scaled,
    share,
)

_SELL: Final = Side.SELL

__all__ = ["Portfolio", "Summary", "Holding", "PortfolioState", "LineState", "Trade", "RoundTrip"]


class LineState(msgspec.Struct, frozen=True):
    """What is known of a symbol. Ints without a bound are decimal strings: msgpack has 64 bits."""

    symbol: str
    qty: str
    cost: str
    price: float
    marked: bool
    realized: str = "0"


class PortfolioState(msgspec.Struct, frozen=True):
    """Everything a `Portfolio` knows, for a checkpoint; any msgspec encoder takes it and gives it back."""

    ts: int
    initial: str
    cash: str
    realized: str
    commission: str
    multipliers: dict[str, float]
    lines: list[LineState]
    fifo: FifoState | None


class Summary(NamedTuple):
    """The money columns: see `Portfolio`."""

    cash: float
    unrealized: float
    realized: float
    commission: float
    equity: float


class Holding(NamedTuple):
    """An open position: signed quantity, average cost of a unit, gross profit at the latest mark."""

    qty: float
    average_price: float
    unrealized: float


class _Line:
    """A symbol: signed quantity, signed cost of it (quantity × price), and the price it is valued at."""

    __slots__ = ("cost", "marked", "multiplier", "price", "qty", "realized")

    def __init__(self, multiplier: int) -> None:
        self.multiplier = multiplier
        self.qty = 0
        self.cost = 0
        self.realized = 0
        self.price = 0.0
        self.marked = False  # by a tick; else the price is that of the last fill


class Portfolio:
    """One strategy's positions, cash and profit, from its fills and marks.

    `cash` is the initial money, `multipliers` the money per unit of price by symbol (1 where missing).
    Without `keep_trades` nothing is matched: `trades` and `round_trips` stay empty, and memory depends
    on the number of symbols alone. With it, lists grow until they are taken (`take_trades`,
    `take_round_trips`), and an open position keeps a lot for each entry.
    Raises ValueError for a multiplier that is not a positive number.
    """

    def __init__(
        self, cash: float, multipliers: Mapping[str, float] | None = None, *, keep_trades: bool = True
    ) -> None:
        self.ts = 0  # event time of the newest fill or mark
        self._initial = self._cash = scaled(cash, MONEY_SCALE)
        self._realized = 0
        self._commission = 0
        self._multipliers = dict(multipliers or {})
        for symbol, multiplier in self._multipliers.items():
            if scaled(multiplier, MULTIPLIER_SCALE) <= 0:
                raise ValueError(f"the multiplier of {symbol} must be positive, not {multiplier}")
        self._lines: dict[str, _Line] = {}
        self._open: dict[str, _Line] = {}  # those of `_lines` that are not flat
        self._fifo = Fifo() if keep_trades else None

    def apply(self, fill: Fill) -> None:
        """Take a fill. Raises ValueError, and changes nothing, when an amount is no number or qty ≤ 0."""
        qty = scaled(fill.qty, QTY_SCALE)
        if qty <= 0:
            raise ValueError(f"the quantity of a fill must be positive, not {fill.qty}")
        if fill.side is _SELL:
            qty = -qty
        line = self._book(fill.symbol, qty, fill.price, fill.commission, fill.ts)
        if self._fifo is not None:
            self._fifo.apply(fill, qty, line.multiplier, scaled(fill.commission, MONEY_SCALE))

    def book(self, symbol: str, qty: int, price: float, commission: float, ts: int) -> None:
        """A fill of signed `qty`, in 1/QTY_SCALE and not 0, where no trades are kept."""
        assert self._fifo is None
        self._book(symbol, qty, price, commission, ts)

    def _book(self, symbol: str, qty: int, price: float, commission: float, ts: int) -> _Line:
        paid, cost = scaled(price, PRICE_SCALE), scaled(commission, MONEY_SCALE)
        line = self._lines.get(symbol) or self._new_line(symbol)
        self._cash -= qty * paid * line.multiplier + cost
        self._commission += cost
        gain = self._rebook(line, qty, paid) * line.multiplier
        self._realized += gain
        line.realized += gain
        if not line.marked:
            line.price = price
        if line.qty:
            self._open[symbol] = line
        else:
            self._open.pop(symbol, None)
        self.ts = ts
        return line

    @staticmethod
    def _rebook(line: _Line, qty: int, price: int) -> int:
        """Move a line's quantity and cost; what that realizes, as quantity × price.

        What a fill closes leaves at average cost; what it opens, beyond zero too, comes in at its price.
        """
        held = line.qty
        line.qty = held + qty
        if not held or (held > 0) == (qty > 0):
            line.cost += qty * price
            return 0
        closed = held if abs(qty) >= abs(held) else -qty
        freed = share(line.cost, closed, held)
        line.cost += (qty + closed) * price - freed
        return closed * price - freed

    def mark(self, symbol: str, price: float, ts: int) -> None:
        """Value `symbol` at `price` from `ts` on, held or not. Raises ValueError if not finite."""
        if not isfinite(price):
            raise ValueError(f"not a finite price of {symbol}: {price}")
        line = self._lines.get(symbol) or self._new_line(symbol)
        line.price = price
        line.marked = True
        self.ts = ts

    def mark_held(self, prices: Mapping[str, float], ts: int) -> None:
        """Value whatever is held at its price, where there is one, from `ts` on. Raises as `mark` does."""
        for symbol, line in self._open.items():
            price = prices.get(symbol)
            if price is not None:
                if not isfinite(price):
                    raise ValueError(f"not a finite price of {symbol}: {price}")
                line.price = price
                line.marked = True
                self.ts = ts

    def forget_marks(self) -> None:
        """At an epoch: what is still held is valued at its last price, until a mark or a fill brings one."""
        for line in self._lines.values():
            line.marked = False

    def _new_line(self, symbol: str) -> _Line:
        multiplier = scaled(self._multipliers.get(symbol, 1.0), MULTIPLIER_SCALE)
        line = self._lines[symbol] = _Line(multiplier)
        return line

    @property
    def initial(self) -> float:
        """The money it began with."""
        return self._initial / MONEY_SCALE

    @property
    def cash(self) -> float:
        """Initial money, less what was bought, plus what was sold, less commission."""
        return self._cash / MONEY_SCALE

    @property
    def realized(self) -> float:
        """Gross profit of what was closed, at average cost."""
        return self._realized / MONEY_SCALE

    @property
    def unrealized(self) -> float:
        """Gross profit of what is open, at average cost and the latest marks."""
        value, cost = self._value_and_cost()
        return (value - cost) / MONEY_SCALE

    @property
    def commission(self) -> float:
        """The sum of all commissions, positive."""
        return self._commission / MONEY_SCALE

    @property
    def equity(self) -> float:
        """cash + Σ position × multiplier × mark."""
        return (self._cash + self._value_and_cost()[0]) / MONEY_SCALE

    def _value_and_cost(self) -> tuple[int, int]:
        """What is open, at its marks and at its cost."""
        value = cost = 0
        for line in self._open.values():
            value += line.qty * scaled(line.price, PRICE_SCALE) * line.multiplier
            cost += line.cost * line.multiplier
        return value, cost

    def summary(self) -> Summary:
        """All money columns at once."""
        value, cost = self._value_and_cost()
        return Summary(
            self._cash / MONEY_SCALE,
            (value - cost) / MONEY_SCALE,
            self._realized / MONEY_SCALE,
            self._commission / MONEY_SCALE,
            (self._cash + value) / MONEY_SCALE,
        )

    def position(self, symbol: str) -> float:
        """Signed quantity; 0.0 of a symbol never seen."""
        line = self._open.get(symbol)
        return line.qty / QTY_SCALE if line else 0.0

    @property
    def positions(self) -> dict[str, float]:
        """Signed quantity by symbol, of those that are not flat, in alphabetical order."""
        return {symbol: self._open[symbol].qty / QTY_SCALE for symbol in sorted(self._open)}

    def holdings(self) -> dict[str, Holding]:
        """What is not flat, in alphabetical order."""
        return {symbol: self._holding(self._open[symbol]) for symbol in sorted(self._open)}

    @staticmethod
    def _holding(line: _Line) -> Holding:
        gain = (line.qty * scaled(line.price, PRICE_SCALE) - line.cost) * line.multiplier
        return Holding(line.qty / QTY_SCALE, line.cost / (line.qty * PRICE_SCALE), gain / MONEY_SCALE)

    def realized_by_symbol(self) -> dict[str, float]:
        """Gross profit of what was closed, where it is not zero, in alphabetical order."""
        lines = sorted((symbol, line.realized) for symbol, line in self._lines.items() if line.realized)
        return {symbol: realized / MONEY_SCALE for symbol, realized in lines}

    def average_price(self, symbol: str) -> float | None:
        """The average cost of the open position, without commission; None when flat."""
        line = self._open.get(symbol)
        return line.cost / (line.qty * PRICE_SCALE) if line else None

    def last_price(self, symbol: str) -> float | None:
        """What a unit is valued at: the latest mark, before one the last fill's price; None if neither."""
        line = self._lines.get(symbol)
        return line.price if line else None

    @property
    def trades(self) -> Sequence[Trade]:
        """The FIFO matches not taken yet, in order of their exits. The list itself: it grows."""
        return self._fifo.trades if self._fifo else ()

    @property
    def round_trips(self) -> Sequence[RoundTrip]:
        """The round trips not taken yet, in order of their exits. The list itself: it grows."""
        return self._fifo.round_trips if self._fifo else ()

    @property
    def net_of_trades(self) -> float | None:
        """The sum of `net` over all trades ever matched, exact: realized − commission when all is flat.

        None without `keep_trades`.
        """
        return self._fifo.net / MONEY_SCALE if self._fifo else None

    def take_trades(self) -> list[Trade]:
        """The trades since the last call; they are the caller's now."""
        return self._fifo.take_trades() if self._fifo else []

    def take_round_trips(self) -> list[RoundTrip]:
        """The round trips since the last call; they are the caller's now."""
        return self._fifo.take_round_trips() if self._fifo else []

    def state(self) -> PortfolioState:
        """Everything, for a checkpoint; small when trades and round trips are taken first."""
        return PortfolioState(
            self.ts,
            str(self._initial),
            str(self._cash),
            str(self._realized),
            str(self._commission),
            self._multipliers.copy(),
            [
                LineState(symbol, str(line.qty), str(line.cost), line.price, line.marked, str(line.realized))
                for symbol, line in self._lines.items()
            ],
            self._fifo.state() if self._fifo else None,
        )

    @classmethod
    def from_state(cls, state: PortfolioState) -> Self:
        """The inverse of `state`: from here on both do the same."""
        portfolio = cls(0.0, state.multipliers, keep_trades=False)
        portfolio.ts = state.ts
        portfolio._initial, portfolio._cash = int(state.initial), int(state.cash)
        portfolio._realized, portfolio._commission = int(state.realized), int(state.commission)
        for saved in state.lines:
            line = portfolio._new_line(saved.symbol)
            line.qty, line.cost, line.realized = int(saved.qty), int(saved.cost), int(saved.realized)
            line.price, line.marked = saved.price, saved.marked
            if line.qty:
                portfolio._open[saved.symbol] = line
        portfolio._fifo = Fifo.from_state(state.fifo) if state.fifo else None
        return portfolio
