"""The domain types, once.

Times are int ns UTC (event time). Prices are floats already quantised to the instrument's tick
size. Quantities are positive; the side carries the sign.
"""

import enum
import time
from typing import Final

import msgspec

from trading_lib import wire

NS_PER_S: Final = 1_000_000_000
MANUAL: Final = "manual"  # the strategy that plain clients' orders belong to


class Kind(enum.IntEnum):
    """What a tape record is. Values are stored in shared memory: never renumber."""

    TICK = 1
    NEWS = 2
    TIME = 3  # nothing earlier than this follows
    EPOCH = 4  # a source starts anew: loop, reset, other file, restart
    GAP = 5  # value = records missed, -1 when nobody can know
    CONTROL = 6  # value = id of an operator's action
    END = 7  # the source has no more


class Side(enum.StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is _BUY else -1


_BUY: Final = Side.BUY  # looking a member up by its class costs more than what is done with it


class Action(enum.StrEnum):
    """What a signal asks for."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


class _Record(msgspec.Struct, frozen=True, gc=False):
    """A tape record as user code sees it: attributes, and `record["symbol"]` for those who prefer keys."""

    symbol: str

    @property
    def asset_id(self) -> str:
        """The symbol, under the name some users know."""
        return self.symbol

    def __getitem__(self, field: str) -> object:
        if field == "asset_id" or field in self.__struct_fields__:
            return getattr(self, field)
        raise KeyError(field)


class Tick(_Record, frozen=True, gc=False):
    """One price of one symbol. `ts` is event time in ns UTC, `seq` its place on the tape."""

    price: float
    ts: int
    seq: int


class News(_Record, frozen=True, gc=False):
    """One news item about one symbol. `sentiment` is an integer, 0 bearish to 100 bullish, 50 neutral."""

    sentiment: int
    ts: int
    seq: int


class OrderType(enum.StrEnum):
    """How an order may be filled."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


_MARKET: Final = OrderType.MARKET


class TimeInForce(enum.StrEnum):
    """How long an order works: to its session's end, until cancelled, or decided at once."""

    ROD = "ROD"  # rest of day
    GTC = "GTC"  # good till cancelled
    IOC = "IOC"  # immediate or cancel
    FOK = "FOK"  # fill or kill


class OrderStatus(enum.StrEnum):
    """An order's state, named as FIX names it."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    CANCELED = "Canceled"
    REJECTED = "Rejected"
    EXPIRED = "Expired"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self is not _NEW and self is not _PARTIALLY_FILLED


_NEW: Final = OrderStatus.NEW
_PARTIALLY_FILLED: Final = OrderStatus.PARTIALLY_FILLED


class Order(msgspec.Struct, frozen=True, gc=False, tag="order", tag_field="request", array_like=True):
    """An order as its sender states it.

    `price` is what the sender saw; it is not what the order will be filled at. `timestamp` is int ns UTC, None at
    construction means now. `cause_seq` and `index` are the client order id `<tape seq>.<k>` of a
    session order (-1: a plain order has none); `sent_wall` is the sender's wall clock, ns. `limit_price`
    and `stop_price` are 0 where the type has none.
    """

    symbol: str
    quantity: float
    price: float
    side: Side
    timestamp: int | None = None
    cause_seq: int = -1
    index: int = 0
    sent_wall: int = 0
    type: OrderType = OrderType.MARKET
    tif: TimeInForce = TimeInForce.ROD
    limit_price: float = 0.0
    stop_price: float = 0.0
    tag: str = ""

    def __post_init__(self) -> None:
        if self.timestamp is None:
            msgspec.structs.force_setattr(self, "timestamp", time.time_ns())

    @property
    def client_order_id(self) -> str | None:
        """`<tape seq>.<k>`, or None for an order sent by a plain client."""
        return None if self.cause_seq < 0 else f"{self.cause_seq}.{self.index}"

    @property
    def is_market(self) -> bool:
        """Whether it fills at any price, without waiting for one."""
        return self.type is _MARKET

    def to_bytes(self) -> bytes:
        """The plain five-field frame, `TIMESTAMP,SIDE,QUANTITY,SYMBOL,PRICE*`."""
        assert self.timestamp is not None
        return wire.encode_plain_order(self.timestamp, self.side, self.quantity, self.symbol, self.price)

    @classmethod
    def from_bytes(cls, frame: bytes) -> "Order":
        """Read one plain frame, with or without its `*`. Raises `wire.Rejected` with the reason."""
        ts, side, quantity, symbol, price = wire.parse_plain_order(frame.removesuffix(b"*"))
        return cls(symbol, quantity, price, Side(side), ts)


class OpenOrder(msgspec.Struct, frozen=True, gc=False):
    """An order that is not done, as its strategy sees it. `arrived` is False while it is on its way."""

    client_order_id: str
    symbol: str
    side: Side
    qty: float
    leaves: float
    type: OrderType
    tif: TimeInForce
    limit_price: float
    stop_price: float
    tag: str
    arrived: bool


class CancelRequest(
    msgspec.Struct, frozen=True, gc=False, tag="cancel", tag_field="request", array_like=True
):
    """A request to cancel the order `target` (a client order id); `timestamp` is its cause's event time.

    It has an id of its own in the same series as orders: `<cause_seq>.<index>`.
    """

    target: str
    timestamp: int
    cause_seq: int
    index: int

    @property
    def client_order_id(self) -> str:
        """The request's own id."""
        return f"{self.cause_seq}.{self.index}"


class Fill(msgspec.Struct, frozen=True, gc=False):
    """Part of an order that was executed: `qty` (positive) of `symbol` at `price`, event time `ts`.

    `commission` is money, positive. `reference` is the tick's price before slippage (0: unknown).
    """

    symbol: str
    side: Side
    qty: float
    price: float
    commission: float
    ts: int
    reference: float = 0.0
    strategy_id: str = ""
    client_order_id: str = ""
    tag: str = ""

    @property
    def signed_qty(self) -> float:
        """Positive for BUY, negative for SELL."""
        return self.qty if self.side is _BUY else -self.qty


class Report(msgspec.Struct, frozen=True, gc=False, tag="report", array_like=True):
    """What became of an order: a FIX execution report. A fill is a report with `last_qty` > 0.

    `order_id` counts a lane's arrivals and `exec_id` its reports, from 1. `ts` is the event time of the
    fact, `seq` the tape record during whose processing it became final. `commission` is this fill's.
    `reference` is the price of the tick filled against, before slippage; `reason` says why an order was
    rejected, cancelled or expired.
    """

    strategy_id: str
    client_order_id: str
    order_id: int
    exec_id: int
    status: OrderStatus
    symbol: str
    side: Side
    qty: float
    epoch: int
    seq: int
    ts: int
    last_qty: float = 0.0
    last_px: float = 0.0
    cum_qty: float = 0.0
    leaves_qty: float = 0.0
    avg_px: float = 0.0
    commission: float = 0.0
    reference: float = 0.0
    latency_ns: int = 0
    reason: str = ""
    tag: str = ""

    @property
    def fill(self) -> Fill | None:
        """The fill this reports, or None."""
        if not self.last_qty:
            return None
        return Fill(
            self.symbol,
            self.side,
            self.last_qty,
            self.last_px,
            self.commission,
            self.ts,
            self.reference,
            self.strategy_id,
            self.client_order_id,
            self.tag,
        )


class Account(msgspec.Struct, frozen=True, gc=False, tag="account", array_like=True):
    """A lane's money at one instant: after a fill, every so many ticks, and at an epoch's end.

    `symbol` and `last_price` are of the tick or fill that made the row; `cause` is `fill`, `interval`,
    `epoch` or `end`. `equity = initial + realized + unrealized - commission`, gross P&L at average cost.
    """

    strategy_id: str
    epoch: int
    seq: int
    ts: int
    cause: str
    symbol: str
    last_price: float
    positions: dict[str, float]
    cash: float
    unrealized: float
    realized: float
    commission: float
    equity: float
