"""The wire: the only module that knows bytes. No sockets inside.

    for message in FeedDecoder().feed(sock.recv(65536)):
        handle(message)

Text frames, UTF-8, fields split by `,`, each frame ended by `*`:

    tick    SYMBOL,PRICE*            or SYMBOL,PRICE,TIME*
    news    SYMBOL,SENTIMENT*        or SYMBOL,SENTIMENT,TIME*       (the news port)
    order   TIMESTAMP,SIDE,QUANTITY,SYMBOL,PRICE*                    (decimal seconds)

Frames that begin with `!` are ours; no symbol can. A client that says `!HELLO` first is answered
`!OK,session,next_seq*` and from then on speaks the extended protocol:

    feed    !S,SEQ,DUE*              the next frame has feed number SEQ; it and those after it were due at DUE
            SYMBOL,PRICE,NS*  !N,SYMBOL,SENTIMENT,NS*
            !T,NS*  !E,NS*  !C,ID,NS*  !G,COUNT,NS*  !X,NS*
                                           marks: TIME, EPOCH, CONTROL, GAP, END
            how the market is steered on this session is in `trading_lib.control_wire`
    orders  NS,SIDE,QUANTITY,SYMBOL,PRICE,CAUSE_SEQ,K,SENT_WALL[,TYPE,TIF,LIMIT,STOP,TAG]*
            the control frames of this session are in `trading_lib.order_wire`

Every frame of the feed but `!S` and `!REFUSED` takes the next feed number. What cannot be read is a
`Rejection` with a reason (never an exception out of `feed`): the connection lives on at the next `*`.
"""

import math
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

PROTOCOL_VERSION: Final = 1
MAX_FRAME: Final = 256  # the longest legal frame is under 130 bytes; more means a lost delimiter
MAX_SYMBOL: Final = 24  # bytes; what a price-book slot holds
MAX_TEXT_IN_REASON: Final = 40  # how much of a bad frame a log line shows

_SYMBOL = re.compile(r"[A-Za-z0-9._/=\-^:]{1,24}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DECIMAL = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NS = re.compile(r"\d{18,19}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9._/=\-^:+#() ]{0,32}")
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2} (?:[01]\d|2[0-3]):\d{2}:\d{2}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1)
_MAX_NS: Final = 2**63 - 1
ORDER_TYPES: Final = {  # and whether it has a limit and a stop price
    "MARKET": (False, False),
    "LIMIT": (True, False),
    "STOP": (False, True),
    "STOP_LIMIT": (True, True),
}
TIMES_IN_FORCE: Final = ("ROD", "GTC", "IOC", "FOK")
_HTTP_METHODS: Final = tuple(
    f"{method} ".encode()
    for method in ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI")
)


class Rejected(ValueError):
    """A frame that cannot be accepted. `reason` is one of a small set (it is what counters are keyed by)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TickMessage(NamedTuple):
    """A price of a symbol; `ts` is ns UTC, None when the frame carried no time."""

    symbol: str
    price: float
    ts: int | None


class NewsMessage(NamedTuple):
    """A sentiment, 0-100; `ts` as in TickMessage."""

    symbol: str
    sentiment: int
    ts: int | None


class Control(NamedTuple):
    """A frame that began with `!`: its name without the `!`, and the other fields."""

    name: str
    fields: tuple[str, ...]


class Rejection(NamedTuple):
    """A frame that was not accepted: the reason to count it by, and what it looked like."""

    reason: str
    detail: str


Message = TickMessage | NewsMessage | Control | Rejection


class PlainOrder(NamedTuple):
    """The five fields of a plain order; `ts` in ns."""

    ts: int
    side: str
    quantity: float
    symbol: str
    price: float


class SessionOrder(NamedTuple):
    """The fields of a session order; those after `sent_wall` are left out for a market order without a tag."""

    ts: int
    side: str
    quantity: float
    symbol: str
    price: float
    cause_seq: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody looks up in an order
    sent_wall: int
    type: str = "MARKET"
    tif: str = "ROD"
    limit_price: float = 0.0
    stop_price: float = 0.0
    tag: str = ""


# ---------------------------------------------------------------------------------------------- fields


@lru_cache(maxsize=4096)  # symbols repeat themselves; a refused one is not kept
def parse_symbol(text: str) -> str:
    """A legal symbol, or Rejected."""
    if _SYMBOL.fullmatch(text) is None:
        raise Rejected("bad symbol", _shown(text))
    return text


def parse_price(text: str) -> float:
    """A finite positive price, or Rejected."""
    if _NUMBER.fullmatch(text) is None:
        raise Rejected("bad price", _shown(text))
    price = float(text)
    if not math.isfinite(price) or price <= 0.0:
        raise Rejected("bad price", _shown(text))
    return price


def parse_sentiment(text: str) -> int:
    """An integer 0-100, or Rejected."""
    if _INTEGER.fullmatch(text) is None or not 0 <= int(text) <= 100:
        raise Rejected("bad sentiment", _shown(text))
    return int(text)


def parse_quantity(text: str) -> float:
    """A finite positive quantity, or Rejected."""
    if _NUMBER.fullmatch(text) is None:
        raise Rejected("bad quantity", _shown(text))
    quantity = float(text)
    if not math.isfinite(quantity) or quantity <= 0.0:
        raise Rejected("bad quantity", _shown(text))
    return quantity


def parse_seconds(text: str) -> int:
    """Decimal seconds as ns, exactly: the text never passes through a float. More than 9 decimals are cut."""
    if len(text) > MAX_FRAME or _DECIMAL.fullmatch(text) is None:
        raise Rejected("bad timestamp", _shown(text))
    whole, _, fraction = text.partition(".")
    ns = int(whole or "0") * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))
    if ns > _MAX_NS:
        raise Rejected("bad timestamp", _shown(text))
    return ns


def parse_time(text: str) -> int:
    """Event time in ns UTC from 18-19 digits (ns), seconds (at most 11 digits, or with a decimal point),
    or `YYYY-MM-DD HH:MM:SS` (UTC); anything else is Rejected."""
    if " " in text:
        ns = _datetime_ns(text) if _DATETIME.fullmatch(text) is not None else -1
        if 0 <= ns <= _MAX_NS:
            return ns
    elif _NS.fullmatch(text) is not None:
        ns = int(text)
        if ns <= _MAX_NS:
            return ns
    elif "." in text or len(text) <= 11:
        return parse_seconds(text)
    raise Rejected("bad timestamp", _shown(text))


@lru_cache(maxsize=1024)  # a source that stamps in whole seconds repeats itself
def _datetime_ns(text: str) -> int:
    """`YYYY-MM-DD HH:MM:SS` as ns UTC; negative before 1970 and for a date that does not exist."""
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except ValueError:
        return -1
    return (since.days * 86_400 + since.seconds) * 1_000_000_000


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_TEXT_IN_REASON else text[:MAX_TEXT_IN_REASON] + "…")


def _fields(frame: bytes) -> list[str]:
    if len(frame) > MAX_FRAME:
        raise Rejected("frame too long", f"{len(frame)} bytes")
    try:
        text = frame.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("not UTF-8", repr(frame[:MAX_TEXT_IN_REASON])) from None
    return [field.strip() for field in text.split(",")]


# ---------------------------------------------------------------------------------------------- frames


def parse_tick(frame: bytes) -> TickMessage:
    """`SYMBOL,PRICE` or `SYMBOL,PRICE,TIME`, or Rejected."""
    fields = _fields(frame)
    if not 2 <= len(fields) <= 3:
        raise Rejected("wrong number of fields", _shown(frame.decode("utf-8")))
    ts = parse_time(fields[2]) if len(fields) == 3 else None
    return TickMessage(parse_symbol(fields[0]), parse_price(fields[1]), ts)


def parse_news(frame: bytes) -> NewsMessage:
    """`SYMBOL,SENTIMENT` or `SYMBOL,SENTIMENT,TIME`, or Rejected."""
    fields = _fields(frame)
    if not 2 <= len(fields) <= 3:
        raise Rejected("wrong number of fields", _shown(frame.decode("utf-8")))
    ts = parse_time(fields[2]) if len(fields) == 3 else None
    return NewsMessage(parse_symbol(fields[0]), parse_sentiment(fields[1]), ts)


def parse_control(frame: bytes) -> Control:
    """A frame that begins with `!`, or Rejected."""
    name, *fields = _fields(frame)
    return Control(name.removeprefix("!"), tuple(fields))


def parse_number(text: str) -> int:
    """A non-negative integer below 2^63 in a control frame, or Rejected."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_NS):
        raise Rejected("bad control frame", _shown(text))
    return int(text)


def parse_plain_order(frame: bytes) -> PlainOrder:
    """`TIMESTAMP,SIDE,QUANTITY,SYMBOL,PRICE`, or Rejected."""
    fields = _fields(frame)
    if len(fields) != 5:
        raise Rejected("wrong number of fields", _shown(frame.decode("utf-8")))
    return PlainOrder(parse_seconds(fields[0]), *_order_terms(fields))


def parse_session_order(frame: bytes) -> SessionOrder:
    """`NS,SIDE,QUANTITY,SYMBOL,PRICE,CAUSE_SEQ,K,SENT_WALL[,TYPE,TIF,LIMIT,STOP,TAG]`, or Rejected."""
    fields = _fields(frame)
    if len(fields) not in (8, 13):
        raise Rejected("wrong number of fields", _shown(frame.decode("utf-8")))
    cause, index, sent = (parse_number(field) for field in fields[5:8])
    common = (parse_time(fields[0]), *_order_terms(fields), cause, index, sent)
    return SessionOrder(*common) if len(fields) == 8 else SessionOrder(*common, *_working_terms(fields))


def _working_terms(fields: list[str]) -> tuple[str, str, float, float, str]:
    kind, tif, limit, stop, tag = fields[8:]
    if kind not in ORDER_TYPES:
        raise Rejected("bad order type", _shown(kind))
    if tif not in TIMES_IN_FORCE:
        raise Rejected("bad time in force", _shown(tif))
    has_limit, has_stop = ORDER_TYPES[kind]
    return (
        kind,
        tif,
        parse_price(limit) if has_limit else 0.0,
        parse_price(stop) if has_stop else 0.0,
        parse_tag(tag),
    )


def parse_tag(text: str) -> str:
    """What a strategy calls an order: up to 32 characters of `A-Z a-z 0-9 . _ / = - ^ : + # ( )` and space."""
    if _TAG.fullmatch(text) is None:
        raise Rejected("bad tag", _shown(text))
    return text


def parse_order_id(text: str) -> tuple[int, int]:
    """A client order id, `<tape seq>.<k>`, or Rejected."""
    cause, _, index = text.partition(".")
    return parse_number(cause), parse_number(index)


def _order_terms(fields: list[str]) -> tuple[str, float, str, float]:
    side = fields[1].upper()
    if side not in ("BUY", "SELL") or not fields[1].isascii():  # "\u017fell".upper() is SELL
        raise Rejected("bad side", _shown(fields[1]))
    return side, parse_quantity(fields[2]), parse_symbol(fields[3]), parse_price(fields[4])


def looks_like_http(first_bytes: bytes) -> bool:
    """Whether a connection's first bytes are an HTTP method: a web page must not be able to post an order."""
    return first_bytes.startswith(_HTTP_METHODS)


# --------------------------------------------------------------------------------------------- decoders


class FrameSplitter:
    """Cuts a byte stream into frames; any split or coalescing of the bytes gives the same frames.

    A frame over `longest` bytes comes out as None, once, and everything up to the next `*` is passed
    over: the memory held is bounded by one frame whatever a peer sends.
    """

    def __init__(self, longest: int = MAX_FRAME) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The frames completed by `data`, without their `*`."""
        *whole, rest = (self._rest + data).split(b"*")
        frames: list[bytes | None] = list(whole)
        if whole and self._skipping:
            del frames[0]
            self._skipping = False
        for i, frame in enumerate(frames):
            if frame is not None and len(frame) > self._longest:
                frames[i] = None
        if self._skipping:
            rest = b""
        elif len(rest) > self._longest:
            frames.append(None)
            self._skipping = True
            rest = b""
        self._rest = rest
        return frames

    @property
    def pending(self) -> bytes:
        """The bytes of the frame that has begun and not ended."""
        return self._rest


OVERSIZE: Final = Rejection("frame too long", f"over {MAX_FRAME} bytes without a '*'")


class FeedDecoder:
    """Bytes of the tick port (plain or session), or with `news=True` of the plain news port, to messages."""

    def __init__(self, news: bool = False) -> None:
        self._splitter = FrameSplitter()
        self._parse_data = parse_news if news else parse_tick

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by `data`, in order."""
        return [OVERSIZE if f is None else self.decode(f) for f in self._splitter.feed(data)]

    def decode(self, frame: bytes) -> Message:
        """One frame, without its `*`, to its message."""
        try:
            if frame.startswith(b"!"):
                control = parse_control(frame)
                if control.name != "N":
                    return control
                return parse_news(frame.partition(b",")[2])
            return self._parse_data(frame)
        except Rejected as fault:
            return Rejection(fault.reason, fault.detail)


# --------------------------------------------------------------------------------------------- encoders
# Numbers are written by str(), not repr(): the shortest text too, but NumPy's repr is `np.float64(1.5)`.


def format_quantity(quantity: float) -> str:
    """The shortest text for a quantity: `10`, `0.5`."""
    return str(int(quantity)) if quantity == int(quantity) and quantity < 1e15 else str(quantity)


def format_seconds(ns: int) -> str:
    """ns as decimal seconds, exactly; at least milliseconds are shown."""
    whole, fraction = divmod(ns, 1_000_000_000)
    text = f"{fraction:09d}"
    return f"{whole}.{text[:3]}{text[3:].rstrip('0')}"


def encode_tick(symbol: str, price: float, ts: int | None = None) -> bytes:
    """A tick; the price in its shortest text, so that reading it back gives the same float."""
    return f"{symbol},{price}*".encode() if ts is None else f"{symbol},{price},{ts}*".encode()


def encode_news(symbol: str, sentiment: int) -> bytes:
    """A news item of the plain news port."""
    return f"{symbol},{sentiment}*".encode()


def encode_session_news(symbol: str, sentiment: int, ts: int) -> bytes:
    """A news item of the feed session."""
    return f"!N,{symbol},{sentiment},{ts}*".encode()


def encode_control(name: str, *fields: object) -> bytes:
    """`!NAME,field,…*`."""
    return ",".join([f"!{name}", *map(str, fields)]).encode() + b"*"


def encode_hello(role: str, *fields: object) -> bytes:
    """`!HELLO,version,role,…*`: role is `feed` or `orders`."""
    return encode_control("HELLO", PROTOCOL_VERSION, role, *fields)


def encode_plain_order(ts: int, side: str, quantity: float, symbol: str, price: float) -> bytes:
    """A plain order; `ts` in ns."""
    return f"{format_seconds(ts)},{side},{format_quantity(quantity)},{symbol},{price}*".encode()


def encode_session_order(order: SessionOrder) -> bytes:
    """A session order."""
    ts, side, quantity, symbol, price, cause, index, sent, kind, tif, limit, stop, tag = order
    text = f"{ts},{side},{format_quantity(quantity)},{symbol},{price},{cause},{index},{sent}"
    if kind != "MARKET" or tif != "ROD" or tag:
        text = f"{text},{kind},{tif},{limit},{stop},{tag}"
    return f"{text}*".encode()


def join(frames: Iterable[bytes]) -> bytes:
    """Frames due together, as one piece of bytes."""
    return b"".join(frames)
