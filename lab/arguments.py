"""What may be typed on a command line: durations, `key=value`, ranges of parameters, globs of strategies.

Each function takes the text and returns a plain value; what cannot be one is a `typer.BadParameter` whose
message says what is expected.
"""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import typer

from config import ROOT

SECONDS: Final = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MAX_VALUES: Final = 10_000  # of one range: more is a step that was typed wrong


class Parameter(NamedTuple):
    """A strategy's parameter with its value."""

    name: str
    value: Any


class Axis(NamedTuple):
    """A parameter with the values to try."""

    name: str
    values: list[Any]


def duration(text: str) -> float:
    """Seconds: `90`, `90s`, `2m`, `1.5h`, `250ms`, `7d`."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) *([a-z]*)", text.strip(), re.ASCII)
    if found is None or found[2] not in SECONDS or not float(found[1]):
        raise typer.BadParameter(f"{text!r}: a duration is like 90, 90s, 2m, 1.5h, 250ms or 7d")
    return float(found[1]) * SECONDS[found[2]]


def parameter(text: str) -> Parameter:
    """`quantity=5`: the value as JSON, or else as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise typer.BadParameter(f"{text!r}: a parameter is like quantity=5")
    return Parameter(name.strip(), value_of(value.strip()))


def value_of(text: str) -> Any:
    """JSON, or else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def axis(text: str) -> Axis:
    """A parameter and the values to try: `fast=5:50:5` (from, to, step, the end included), `mode=a,b`, `n=5`."""
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or not name.isidentifier() or not values.strip():
        raise typer.BadParameter(f"{text!r}: a range is like fast=5:50:5, and a list like fast=5,10,20")
    if ":" in values:
        return Axis(name, _range(text, values))
    return Axis(name, [value_of(value.strip()) for value in values.split(",")])


def _range(text: str, values: str) -> list[Any]:
    """In decimals, so that 0.1:0.3:0.1 ends with 0.3."""
    try:
        start, stop, step = (Decimal(part) for part in values.split(":"))
        steps = int((stop - start) / step)
    except (ValueError, InvalidOperation, ArithmeticError):
        raise typer.BadParameter(f"{text!r}: a range is from:to:step, like fast=5:50:5") from None
    if not 0 <= steps < MAX_VALUES:
        raise typer.BadParameter(
            f"{text!r}: a range of {max(0, steps + 1):,} values, not 1 to {MAX_VALUES:,}"
        )
    return [_number(start + i * step) for i in range(steps + 1)]


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def strategy_files(patterns: Iterable[str]) -> list[Path]:
    """The strategy files that globs match: files, and folders with a strategy.py in them; by name."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(Path(path) for path in _glob(pattern))
        files = [path / "strategy.py" if path.is_dir() else path for path in matches]
        usable = [path for path in files if path.suffix == ".py" and path.is_file()]
        if not usable:
            raise typer.BadParameter(
                f"{pattern!r}: no strategy there (a .py file, or a folder with a strategy.py)"
            )
        found |= dict.fromkeys(path.resolve() for path in usable)
    return list(found)


def _glob(pattern: str) -> Iterable[Path]:
    path = Path(pattern)
    if path.exists():
        return [path]
    anchor = Path(path.anchor) if path.is_absolute() else Path()
    return anchor.glob(str(path.relative_to(path.anchor)))


def strategy_id(path: Path) -> str:
    """What a strategy is called: the folder of a strategy.py, else the file itself; as an id must be."""
    name = path.parent.name if path.stem == "strategy" else path.stem
    return re.sub(r"[^A-Za-z0-9._\-]", "_", name)[:24]


def in_project(path: Path) -> str:
    """A path as a configuration says it: relative to the project's root where it is inside, else absolute."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
