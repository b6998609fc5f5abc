"""First in, first out: which entry an exit closed, for the statistics of trades.

A part of `trading_lib.portfolio`, which owns and feeds one where trades are kept. A *trade* is one match
of a lot's slice with an exit fill; a *round trip* is all of a symbol's trades from flat to flat (a flip
through zero ends one and begins the next). Amounts are ints in the scales of `trading_lib.money`.
"""

from collections import deque
from typing import Final, Self

import msgspec

from trading_lib.models import Fill, Side
from trading_lib.money import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, scaled, share

_BUY: Final = Side.BUY
_SELL: Final = Side.SELL


class Trade(msgspec.Struct, frozen=True, gc=False):
    """`qty` (positive) entered on `side` and closed: one FIFO match. Times are ns UTC, amounts money.

    `net` is `gross` less the entry's and the exit's commission, each by its share of that fill.
    """

    symbol: str
    side: Side
    qty: float
    entry_ts: int
    exit_ts: int
    entry_price: float
    exit_price: float
    gross: float
    net: float


class RoundTrip(msgspec.Struct, frozen=True, gc=False):
    """From flat to flat: entered on `side` at `entry_ts`, at most `peak_qty` held. Amounts as in `Trade`."""

    symbol: str
    side: Side
    peak_qty: float
    entry_ts: int
    exit_ts: int
    gross: float
    net: float


class LotState(msgspec.Struct, frozen=True):
    """What is left of an entry. Ints without a bound are decimal strings: msgpack has 64 bits."""

    qty: str
    price: float
    ts: int
    commission: str


class OpenState(msgspec.Struct, frozen=True):
    """A symbol's open lots, oldest first, and its round trip so far."""

    symbol: str
    lots: list[LotState]
    entry_ts: int
    peak: str
    gross: str
    net: str


class FifoState(msgspec.Struct, frozen=True):
    """Everything a `Fifo` knows; trades and round trips that were not taken included."""

    open: list[OpenState]
    net: str
    trades: list[Trade]
    round_trips: list[RoundTrip]


class _Lot:
    """What is left of an entry: signed quantity, and the commission not yet charged to a trade."""

    __slots__ = ("commission", "price", "qty", "shown", "ts")

    def __init__(self, qty: int, price: float, ts: int, commission: int) -> None:
        self.qty = qty
        self.shown = price
        self.price = scaled(price, PRICE_SCALE)
        self.ts = ts
        self.commission = commission


class _Open:
    """A symbol that is not flat: its lots, and sums over the trades of its round trip."""

    __slots__ = ("entry_ts", "gross", "held", "lots", "net", "peak")

    def __init__(self, entry_ts: int) -> None:
        self.entry_ts = entry_ts
        self.lots: deque[_Lot] = deque()
        self.held = 0  # signed, the sum over the lots
        self.peak = 0
        self.gross = 0
        self.net = 0


class Fifo:
    """The open lots of every symbol, and the trades and round trips that nobody has taken yet.

    `net` is the sum over all trades ever made, in 1/MONEY_SCALE. Without `keep_round_trips` there are none.
    """

    def __init__(self, *, keep_round_trips: bool = True) -> None:
        self._keep_round_trips = keep_round_trips
        self.trades: list[Trade] = []
        self.round_trips: list[RoundTrip] = []
        self.net = 0
        self._open: dict[str, _Open] = {}

    def apply(self, fill: Fill, qty: int, multiplier: int, commission: int) -> None:
        """Take a fill of signed `qty`."""
        symbol = fill.symbol
        current = self._open.get(symbol)
        if current is not None and (current.lots[0].qty > 0) != (qty > 0):
            matched, charged = self._close(current, fill, qty, multiplier, commission)
            qty += matched
            current.held -= matched
            commission -= charged
            if not current.lots:
                self._end_round_trip(current, fill)
                current = None
        if not qty:
            return
        if current is None:
            current = self._open[symbol] = _Open(fill.ts)
        current.lots.append(_Lot(qty, fill.price, fill.ts, commission))
        current.held += qty
        current.peak = max(current.peak, abs(current.held))

    def _close(
        self, current: _Open, fill: Fill, qty: int, multiplier: int, commission: int
    ) -> tuple[int, int]:
        """Match lots of the other sign, oldest first; what was matched (signed as the lots) and charged.

        Each side's commission is shared out of what is left of it, so that the last slice takes the rest
        and no unit is lost.
        """
        lots, price = current.lots, scaled(fill.price, PRICE_SCALE)
        left, left_commission = qty, commission
        while left and lots:
            lot = lots[0]
            slice_ = lot.qty if abs(lot.qty) <= abs(left) else -left
            entry_share = share(lot.commission, slice_, lot.qty)
            exit_share = share(left_commission, slice_, -left)
            gross = slice_ * (price - lot.price) * multiplier
            net = gross - entry_share - exit_share
            self._note(current, fill, lot, slice_, gross, net)
            lot.qty -= slice_
            lot.commission -= entry_share
            if not lot.qty:
                lots.popleft()
            left += slice_
            left_commission -= exit_share
        return left - qty, commission - left_commission

    def _note(self, current: _Open, fill: Fill, lot: _Lot, slice_: int, gross: int, net: int) -> None:
        self.net += net
        current.gross += gross
        current.net += net
        self.trades.append(
            Trade(
                fill.symbol,
                _BUY if slice_ > 0 else _SELL,
                abs(slice_) / QTY_SCALE,
                lot.ts,
                fill.ts,
                lot.shown,
                fill.price,
                gross / MONEY_SCALE,
                net / MONEY_SCALE,
            )
        )

    def _end_round_trip(self, current: _Open, fill: Fill) -> None:
        del self._open[fill.symbol]
        if not self._keep_round_trips:
            return
        self.round_trips.append(
            RoundTrip(
                fill.symbol,
                _SELL if fill.side is _BUY else _BUY,
                current.peak / QTY_SCALE,
                current.entry_ts,
                fill.ts,
                current.gross / MONEY_SCALE,
                current.net / MONEY_SCALE,
            )
        )

    def take_trades(self) -> list[Trade]:
        """The trades since the last call."""
        taken, self.trades = self.trades, []
        return taken

    def take_round_trips(self) -> list[RoundTrip]:
        """The round trips since the last call."""
        taken, self.round_trips = self.round_trips, []
        return taken

    def state(self) -> FifoState:
        """Everything, for a checkpoint."""
        return FifoState(
            [
                OpenState(
                    symbol,
                    [LotState(str(lot.qty), lot.shown, lot.ts, str(lot.commission)) for lot in current.lots],
                    current.entry_ts,
                    str(current.peak),
                    str(current.gross),
                    str(current.net),
                )
                for symbol, current in self._open.items()
            ],
            str(self.net),
            self.trades.copy(),
            self.round_trips.copy(),
        )

    @classmethod
    def from_state(cls, state: FifoState, *, keep_round_trips: bool = True) -> Self:
        """The inverse of `state`."""
        fifo = cls(keep_round_trips=keep_round_trips)
        fifo.net = int(state.net)
        fifo.trades = state.trades.copy()
        fifo.round_trips = state.round_trips.copy()
        for saved in state.open:
            current = fifo._open[saved.symbol] = _Open(saved.entry_ts)
            current.lots.extend(
                _Lot(int(lot.qty), lot.price, lot.ts, int(lot.commission)) for lot in saved.lots
            )
            current.held = sum(lot.qty for lot in current.lots)
            current.peak, current.gross, current.net = int(saved.peak), int(saved.gross), int(saved.net)
        return fifo
