"""The order session's control frames. As in `trading_lib.wire`, no sockets inside.

Towards the OrderManager, besides orders (`wire.encode_session_order`):

    !HELLO,1,orders,STRATEGY,TOKEN*                a client; its orders are worked as the tape goes on
    !HELLO,1,orders,STRATEGY,TOKEN,new,SEQ*        a host that begins at tape record SEQ and will report progress;
                                                   then, if it says so, its strategy's version, and then `reload`
                                                   for one that takes over from another version
    !HELLO,1,orders,STRATEGY,TOKEN,again,EXEC_ID*  a host that was here before; EXEC_ID is the last report it has
    !CANCEL,NS,CAUSE_SEQ,K,TARGET*                 cancel the order with client order id TARGET
    !P,NEXT_SEQ*                                   progress: every record before NEXT_SEQ was processed
    !M,NEXT_SEQ*                                   from the last progress to NEXT_SEQ records were missed
    !BYE*  !DIVERGED,TEXT*                         the host goes for good; because its reports are not these

and back:

    !LANE,BASE64*  (several)  !OK,SESSION,NEXT_SEQ*   the lane's state as JSON; where to begin
    !A,CAUSE_SEQ,K*                                every request up to this id is durable
    !R,JSON*                                       an execution report: `trading_lib.models.Report` as an array
    !ERROR,TEXT*                                   why this session ends

A host compares the reports that come back with its own lane's, byte for byte: equal reports are equal bytes.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from trading_lib.models import CancelRequest, Order, OrderType, Report, Side, TimeInForce
from trading_lib.wire import (
    Control,
    Rejected,
    SessionOrder,
    encode_control,
    encode_hello,
    encode_session_order,
    format_quantity,
    parse_control,
    parse_number,
    parse_order_id,
    parse_session_order,
    parse_time,
)

MAX_REPLY: Final = 1024  # bytes of a frame towards a client: a report with a long reason is under 600
MAX_FAREWELL: Final = 200  # bytes of why a host stops: with its name, it fits a frame
_CHUNK: Final = 600  # bytes of a lane's state in one frame, before base64
_LANE: Final = b"!LANE,"
_REPORT: Final = b"!R,"
_ACKNOWLEDGEMENT: Final = b"!A,"
_encode_json: Final = msgspec.json.Encoder().encode
_decode_json: Final = msgspec.json.Decoder(Report).decode

_MARKET: Final = OrderType.MARKET
_ROD: Final = TimeInForce.ROD
_SIDES_READ: Final = {str(side).encode(): side for side in Side}
_USUAL: Final = re.compile(
    rb"([0-8]\d{18}|\d{18}),(BUY|SELL),(\d{1,15}(?:\.\d{1,15})?),([A-Za-z0-9._/=\-^:]{1,24}),"
    rb"(\d{1,15}(?:\.\d{1,15})?),(\d{1,18}),(\d{1,9}),([0-8]?\d{1,18})"
)


def encode_request(request: Order | CancelRequest) -> bytes:
    """An order or a cancel request as a frame of the session."""
    if isinstance(request, CancelRequest):
        return f"!CANCEL,{request.timestamp},{request.cause_seq},{request.index},{request.target}*".encode()
    assert request.timestamp is not None
    if request.type is _MARKET and request.tif is _ROD and not request.tag:  # most are, and ticks wait for it
        return (
            f"{request.timestamp},{request.side},{format_quantity(request.quantity)},{request.symbol},"
            f"{request.price},{request.cause_seq},{request.index},{request.sent_wall}*"
        ).encode()
    return encode_session_order(
        SessionOrder(
            request.timestamp,
            request.side,
            request.quantity,
            request.symbol,
            request.price,
            request.cause_seq,
            request.index,
            request.sent_wall,
            request.type,
            request.tif,
            request.limit_price,
            request.stop_price,
            request.tag,
        )
    )


def parse_order(frame: bytes) -> Order:
    """A session order, or Rejected."""
    usual = _USUAL.fullmatch(frame)
    if usual is not None:  # what our own parts write, read in a third of the time
        ns, side, quantity, symbol, price, cause, index, sent = usual.groups()
        order = Order(
            symbol.decode(),
            float(quantity),
            float(price),
            _SIDES_READ[side],
            int(ns),
            int(cause),
            int(index),
            int(sent),
        )
        if order.quantity and order.price:
            return order
    ts, name, qty, symbol_text, stated, cause_seq, k, wall, kind, tif, limit, stop, tag = parse_session_order(
        frame
    )
    return Order(
        symbol_text,
        qty,
        stated,
        Side(name),
        ts,
        cause_seq,
        k,
        wall,
        OrderType(kind),
        TimeInForce(tif),
        limit,
        stop,
        tag,
    )


def parse_cancel(control: Control) -> CancelRequest:
    """The fields of a `!CANCEL`, or Rejected."""
    if len(control.fields) != 4:
        raise Rejected("bad control frame", "CANCEL")
    ts, cause, index, target = control.fields
    parse_order_id(target)
    return CancelRequest(target, parse_time(ts), parse_number(cause), parse_number(index))


def encode_order_hello(
    strategy: str, token: str, mode: str = "", number: int = 0, version: str = "", *, reload: bool = False
) -> bytes:
    """The first frame of a session."""
    if not mode:
        return encode_hello("orders", strategy, token)
    more = (version, *(["reload"] if reload else [])) if version else ()
    return encode_hello("orders", strategy, token, mode, number, *more)


def encode_progress(next_seq: int) -> bytes:
    """Every tape record before `next_seq` was processed."""
    return b"!P,%d*" % next_seq


def encode_missed(start: int, next_seq: int) -> bytes:
    """Every record before `start` was processed, and none of those from there to `next_seq`."""
    return b"!P,%d*!M,%d*" % (start, next_seq)


def encode_farewell(diverged: str = "") -> bytes:
    """A host goes for good; `diverged` says why, if it is because its reports are not the ledger's."""
    if not diverged:
        return encode_control("BYE")
    text = diverged.replace("*", "").encode()[:MAX_FAREWELL]
    return encode_control("DIVERGED", text.decode(errors="ignore"))


# ----------------------------------------------------------------------------------------- and back


class Welcome(NamedTuple):
    """A session begins: where on the tape, with the lane's state (JSON; empty for `again`). `rest` is what
    came after the answer."""

    session: int
    next_seq: int
    lane: bytes
    rest: bytes


class Refusal(NamedTuple):
    """There will be no session; `reason` is the OrderManager's."""

    reason: str


class WelcomeReader:
    """Puts the answer to a hello together, however its bytes come."""

    def __init__(self) -> None:
        self._rest = b""
        self._lane = bytearray()

    def feed(self, data: bytes) -> Welcome | Refusal | None:
        """The answer, once it is whole. Raises Rejected for what is none."""
        *frames, self._rest = (self._rest + data).split(b"*")
        if len(self._rest) > MAX_REPLY:
            raise Rejected("frame too long", f"{len(self._rest)} bytes")
        for number, frame in enumerate(frames, 1):
            if frame.startswith(_LANE):
                self._lane += decode_lane(frame)
                continue
            name, fields = parse_control(frame)
            if name == "ERROR":
                return Refusal(", ".join(fields))
            if name == "OK":
                if len(fields) < 2:
                    raise Rejected("bad control frame", "OK")
                rest = b"*".join([*frames[number:], self._rest])
                return Welcome(parse_number(fields[0]), parse_number(fields[1]), bytes(self._lane), rest)
        return None


def encode_welcome(session: int, next_seq: int) -> bytes:
    """The end of the answer to a hello."""
    return encode_control("OK", session, next_seq)


def encode_error(text: object) -> bytes:
    """Why a session ends, or does not begin."""
    return encode_control("ERROR", text)


def encode_lane(state: bytes) -> Iterator[bytes]:
    """A lane's state, cut into frames."""
    for start in range(0, len(state), _CHUNK):
        yield _LANE + base64.b64encode(state[start : start + _CHUNK]) + b"*"


def decode_lane(frame: bytes) -> bytes:
    """One frame's share of a lane's state. Raises Rejected."""
    try:
        return base64.b64decode(frame[len(_LANE) :], validate=True)
    except binascii.Error as fault:
        raise Rejected("bad lane", str(fault)) from None


def encode_acknowledgement(cause_seq: int, index: int) -> bytes:
    """Every request up to this id is durable."""
    return b"!A,%d,%d*" % (cause_seq, index)


def is_acknowledgement(frame: bytes) -> bool:
    """Whether `parse_acknowledgement` is for it."""
    return frame.startswith(_ACKNOWLEDGEMENT)


def parse_acknowledgement(frame: bytes) -> tuple[int, int]:
    """The id up to which every request is durable. Raises Rejected."""
    fields = frame[len(_ACKNOWLEDGEMENT) :].split(b",")
    if len(fields) != 2 or not (fields[0].isdigit() and fields[1].isdigit()):
        raise Rejected("bad control frame", "A")
    return int(fields[0]), int(fields[1])


def encode_report(report: Report) -> bytes:
    """An execution report as a frame."""
    return frame_report(_encode_json(report))


def frame_report(encoded: bytes) -> bytes:
    """A report that is JSON already. No text in it can hold a `*`: symbols, tags and reasons are ours."""
    return b"%b%b*" % (_REPORT, encoded)


def split_frames(frames: bytes) -> list[bytes]:
    """Whole frames one by one, without their `*`."""
    return frames.split(b"*")[:-1]


def is_report(frame: bytes) -> bool:
    """Whether `parse_report` is for it."""
    return frame.startswith(_REPORT)


def parse_report(frame: bytes) -> Report:
    """The report in a frame without its `*`. Raises Rejected."""
    try:
        return _decode_json(frame[len(_REPORT) :])
    except msgspec.DecodeError as fault:
        raise Rejected("bad report", str(fault)) from None
