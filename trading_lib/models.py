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
        return 1 if self is Side.BUY else -1


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


class Order(msgspec.Struct, frozen=True, gc=False):
    """A market order as its sender states it.

    `price` is what the sender saw; it is not what the order will be filled at. `timestamp` is int ns UTC, None at
    construction means now. `cause_seq` and `index` are the client order id `<tape seq>.<k>` of a
    session order (-1: a plain order has none); `sent_wall` is the sender's wall clock, ns.
    """

    symbol: str
    quantity: float
    price: float
    side: Side
    timestamp: int | None = None
    cause_seq: int = -1
    index: int = 0
    sent_wall: int = 0

    def __post_init__(self) -> None:
        if self.timestamp is None:
            msgspec.structs.force_setattr(self, "timestamp", time.time_ns())

    @property
    def client_order_id(self) -> str | None:
        """`<tape seq>.<k>`, or None for an order sent by a plain client."""
        return None if self.cause_seq < 0 else f"{self.cause_seq}.{self.index}"

    def to_bytes(self) -> bytes:
        """The plain five-field frame, `TIMESTAMP,SIDE,QUANTITY,SYMBOL,PRICE*`."""
        assert self.timestamp is not None
        return wire.encode_plain_order(self.timestamp, self.side, self.quantity, self.symbol, self.price)

    @classmethod
    def from_bytes(cls, frame: bytes) -> "Order":
        """Read one plain frame, with or without its `*`. Raises `wire.Rejected` with the reason."""
        ts, side, quantity, symbol, price = wire.parse_plain_order(frame.removesuffix(b"*"))
        return cls(symbol, quantity, price, Side(side), ts)
