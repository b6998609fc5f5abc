"""The order session's control frames. As in `trading_lib.wire`, no sockets inside.

Towards the OrderManager, besides orders (`wire.encode_session_order`):

    !HELLO,1,orders,STRATEGY,TOKEN*                a client; its orders are worked as the tape goes on
    !HELLO,1,orders,STRATEGY,TOKEN,new,SEQ*        a host that begins at tape record SEQ and will report progress
    !HELLO,1,orders,STRATEGY,TOKEN,again,EXEC_ID*  a host that was here before; EXEC_ID is the last report it has
    !CANCEL,NS,CAUSE_SEQ,K,TARGET*                 cancel the order with client order id TARGET
    !P,NEXT_SEQ*                                   progress: every record before NEXT_SEQ was processed
    !M,NEXT_SEQ*                                   from the last progress to NEXT_SEQ records were missed

and back:

    !LANE,BASE64*  (several)  !OK,SESSION,NEXT_SEQ*   the lane's state as JSON; where to begin
    !A,CAUSE_SEQ,K*                                every request up to this id is durable
    !R,JSON*                                       an execution report: `trading_lib.models.Report` as an array
    !ERROR,TEXT*                                   why this session ends

A host compares the reports that come back with its own lane's, byte for byte: equal reports are equal bytes.
"""

import base64
import re
from collections.abc import Iterator
from typing import Final

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
    parse_number,
    parse_order_id,
    parse_session_order,
    parse_time,
)

MAX_REPLY: Final = 1024  # bytes of a frame towards a client: a report with a long reason is under 600
_CHUNK: Final = 600  # bytes of a lane's state in one frame, before base64
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


def encode_order_hello(strategy: str, token: str, mode: str = "", number: int = 0) -> bytes:
    """The first frame of a session."""
    if not mode:
        return encode_hello("orders", strategy, token)
    return encode_hello("orders", strategy, token, mode, number)


def encode_lane(state: bytes) -> Iterator[bytes]:
    """A lane's state, cut into frames."""
    for start in range(0, len(state), _CHUNK):
        yield encode_control("LANE", base64.b64encode(state[start : start + _CHUNK]).decode())


def decode_lane(control: Control) -> bytes:
    """One frame's share of a lane's state."""
    return base64.b64decode(control.fields[0])


def encode_report(report: Report) -> bytes:
    """An execution report as a frame."""
    return frame_report(_encode_json(report))


def frame_report(encoded: bytes) -> bytes:
    """A report that is JSON already. No text in it can hold a `*`: symbols, tags and reasons are ours."""
    return b"!R,%b*" % encoded


def parse_report(frame: bytes) -> Report:
    """The report in a frame that begins with `!R,`, without its `*`. Raises Rejected."""
    try:
        return _decode_json(frame[len(b"!R,") :])
    except msgspec.DecodeError as fault:
        raise Rejected("bad report", str(fault)) from None
