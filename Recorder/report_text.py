"""Numbers and instants as the report prints them. What is undefined is "–", never a NaN.

What they return may stand in HTML as it is, if the unit may; foreign text goes through `escape`.
"""

import html
import math
from datetime import UTC, datetime
from typing import Final

import msgspec

UNDEFINED: Final = "–"
MINUS: Final = "−"
NS_PER_S: Final = 1_000_000_000
SPANS: Final = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def escape(text: object) -> str:
    """Foreign text, made harmless in HTML text and in quoted attributes."""
    return html.escape(str(text), quote=True)


def embedded(value: object) -> str:
    """JSON that may stand inside a script element: no `<` that could end it."""
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")


def number(value: object, digits: int = 2, unit: str = "", sign: bool = False) -> str:
    """`value` with `digits` decimals, thousands separated, then its unit."""
    if not _defined(value):
        return UNDEFINED
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # no "-0.00"
    return text.replace("-", MINUS) + (f" {unit}" if unit else "")


def exact(value: object, unit: str = "") -> str:
    """`value` as short as it can be written without loss, thousands separated."""
    if not _defined(value):
        return UNDEFINED
    assert isinstance(value, int | float)
    text = repr(float(value))
    if "e" not in text:
        whole, _, part = text.partition(".")
        text = f"{int(whole):,}" if not whole.startswith("-0") else whole
        text += f".{part}" if part != "0" else ""
    return text.replace("-", MINUS) + (f" {unit}" if unit else "")


def count(value: object) -> str:
    """A whole number, thousands separated."""
    return number(value, 0)


def plural(n: int, noun: str) -> str:
    """`1 fill`, `2 fills`."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def percent(fraction: object, digits: int = 2, sign: bool = False) -> str:
    """A fraction as per cent."""
    return number(fraction * 100, digits, "%", sign) if isinstance(fraction, int | float) else UNDEFINED


def titled(name: str, unit: str) -> str:
    """`Equity, USD`; the name alone where the unit is not known."""
    return f"{name}, {unit}" if unit else name


def duration(seconds: object) -> str:
    """A length of time in the largest unit that leaves at least 1 of it."""
    if not _defined(seconds):
        return UNDEFINED
    assert isinstance(seconds, int | float)
    if seconds == 0:
        return "0 s"
    size, unit = next(((s, u) for s, u in SPANS if abs(seconds) >= s), SPANS[-1])
    return f"{seconds / size:,.3g} {unit}" if abs(seconds / size) < 1000 else number(seconds / size, 0, unit)


def instant(ts: int) -> str:
    """ns UTC, to the last digit that is not zero: `2025-01-02 14:30:00.25`."""
    moment = datetime.fromtimestamp(ts // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
    below = f"{ts % NS_PER_S:09d}".rstrip("0")
    return f"{moment}.{below}" if below else moment


def _defined(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
