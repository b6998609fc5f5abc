"""The operator's actions on the feed session. As in `trading_lib.wire`, no sockets inside.

Towards the Gateway, on a session that asked for `control` in its hello:

    !CONTROL,ID,JSON*      apply the action with this id (`trading_lib.control.MarketAction`)

and back, for each of them one of

    !C,ID,NS*              a mark of the feed: it takes effect here
    !REFUSED,ID,TEXT*      it does not, and why; beside the feed, without a feed number
"""

from typing import Final

import msgspec

from trading_lib.control import MarketAction, decode_market_action
from trading_lib.wire import MAX_FRAME, Control, Rejected, encode_control, parse_number

MAX_REQUEST: Final = 4096  # bytes; a change of 32 parameters is under 2,500
MAX_REASON: Final = MAX_FRAME - 40  # bytes, beside the frame's name and a number of 19 digits

_json: Final = msgspec.json.Encoder()


def encode_request(number: int, action: MarketAction) -> bytes:
    """An action for the Gateway. No text in it can hold a `*`: names are letters, digits and `_`."""
    return b"!CONTROL,%d,%b*" % (number, _json.encode(action))


def parse_request(frame: bytes) -> tuple[int, str]:
    """(id, JSON) of a `!CONTROL` without its `*`, or Rejected."""
    try:
        name, number, body = frame.decode().split(",", 2)
    except ValueError:  # UnicodeDecodeError, too
        raise Rejected("bad control frame", repr(frame[:40])) from None
    if name != "!CONTROL":
        raise Rejected("bad control frame", repr(name[:40]))
    return parse_number(number), body


def parse_action(body: str) -> MarketAction:
    """The action in a request. Rejected says what is wrong with it."""
    try:
        return decode_market_action(body)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise Rejected("bad action", str(fault)) from None


def encode_refusal(number: int, reason: str) -> bytes:
    """Why an action is not applied."""
    text = reason.replace("*", "").encode()[:MAX_REASON].decode(errors="ignore")
    return encode_control("REFUSED", number, text)


def parse_refusal(control: Control) -> tuple[int, str]:
    """(id, why) of a `!REFUSED`, or Rejected."""
    if control.name != "REFUSED" or len(control.fields) < 2:
        raise Rejected("bad control frame", control.name)
    return parse_number(control.fields[0]), ", ".join(control.fields[1:])
