"""What comes from outside, checked: a value of ours, or what is wrong with it.

action = from_json("control", body, OperatorAction)
order = from_values("order", {"action": "order", "qty": 0, …}, PlaceOrder)
# Wrong: order: qty = 0: expected a number above 0 and at most 1000000000000000.0
"""

from typing import Any

import msgspec

from configuration.wording import explain


class Wrong(Exception):
    """What cannot be taken; the text says why, to a person."""


def from_json(source: str, text: bytes | str, type_: Any) -> Any:
    """A `type_` from JSON; `source` is what errors call it. Raises Wrong."""
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        raise Wrong(f"{source}: not JSON: {fault}") from None
    return from_values(source, fields, type_)


def from_values(source: str, fields: object, type_: Any) -> Any:
    """A `type_` from plain values. Raises Wrong."""
    try:
        return _converted(source, fields, type_)
    except RecursionError:
        raise Wrong(f"{source}: nested too deep") from None


def _converted(source: str, fields: object, type_: Any) -> Any:
    try:
        return msgspec.convert(fields, type_)
    except msgspec.ValidationError as fault:
        raise Wrong(explain(source, fields, str(fault), type_)) from None
