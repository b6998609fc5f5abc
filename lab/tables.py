"""Tables of plain text: aligned columns, the same on a terminal, in a pipe and in a file."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

NS_PER_S: Final = 1_000_000_000
UNITS: Final = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
UNDEFINED: Final = "–"


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines, without a last newline: the first column to the left, the others to the right."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(row_cells))
        for row_cells in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def time_span(ns: float) -> str:
    """A length of time in the unit that suits it."""
    seconds = ns / NS_PER_S
    factor, unit = next(((factor, unit) for factor, unit in UNITS if abs(seconds) >= factor), (1e-9, "ns"))
    return f"{seconds / factor:.4g} {unit}"


def instant(ns: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as %, or a dash."""
    return UNDEFINED if value is None else f"{100 * value:.{digits}f} %"


def ratio(value: float | None) -> str:
    """A number such as a Sharpe ratio, or a dash."""
    return UNDEFINED if value is None else f"{value:.2f}"
