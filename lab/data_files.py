"""CSV files of prices: what is in one, and the same rows in the canonical shape.

    print(inspect(Path("AAPL.csv")))
    rows = import_file(Path("AAPL.csv"), Path("data/aapl.csv"))

Nothing is rounded: prices stay the floats that the file's text is read as.
"""

import os
from pathlib import Path
from typing import Final, Literal

import numpy as np

from Gateway.providers.csv_rows import Float64Array, Int64Array, Rows, load_rows
from Gateway.providers.provider import DataError
from Gateway.providers.tick_size import DEFAULT_TICK_SIZE, TickSize, quantise
from lab.tables import text_table
from Recorder.report_text import UNDEFINED, duration, instant
from trading_lib.models import NS_PER_S

Unit = Literal["s", "ms", "us", "ns"]
RESOLUTIONS: Final[tuple[tuple[int, Unit], ...]] = (
    *((1_000_000_000, "s"), (1_000_000, "ms")),
    *((1000, "us"), (1, "ns")),
)
LINES_AT_ONCE: Final = 100_000


def inspect(path: Path) -> str:
    """The shape of a file, its bad rows by reason and line, and a line for each symbol. Raises DataError."""
    rows = load_rows(path, None, False)
    shape = rows.shape
    parts = [f"{path}: {shape.name}, price in column {shape.price_column!r}"]
    if shape.size is not None:
        parts[0] += ", with sizes"
    rejected = sum(rows.faults.counts.values())
    parts.append(f"{rows.total:,} rows, {len(rows.times):,} usable, {rejected:,} rejected")
    parts += [f"  {count:,} × {reason}" for reason, count in sorted(rows.faults.counts.items())]
    parts += [f"  {text}" for text in rows.faults.shown]
    if rejected > len(rows.faults.shown):
        parts.append(f"  … and {rejected - len(rows.faults.shown):,} more")
    if not len(rows.times):
        raise DataError("\n".join(parts))
    behind = int(np.count_nonzero(rows.times < np.maximum.accumulate(rows.times)))
    if behind:
        parts.append(f"{behind:,} rows stand behind later ones: they are sorted by time")
    parts += _prices_without_ticks(rows)
    return "\n".join([*parts, "", _symbols(rows)])


def _prices_without_ticks(rows: Rows) -> list[str]:
    """What the Gateway rejects of the usable rows at the tick size that a symbol has by default."""
    tick = TickSize.of(DEFAULT_TICK_SIZE)
    values = quantise(rows.prices, tick.scale, float(tick.units))
    usual = f"a tick of {_plain(DEFAULT_TICK_SIZE)}, and are rejected unless instruments.SYMBOL.tick_size is"
    found = (
        (values == 0, f"are too small for {usual} smaller"),
        (values < 0, f"are too large for {usual} larger"),
    )
    return [f"{count:,} prices {what}" for bad, what in found if (count := np.count_nonzero(bad))]


def _symbols(rows: Rows) -> str:
    lines = []
    for i in np.unique(rows.ids).tolist():
        own = rows.ids == i
        times, prices = np.sort(rows.times[own]), rows.prices[own]
        gap = duration(float(np.median(np.diff(times))) / NS_PER_S) if len(times) > 1 else UNDEFINED
        low, high = _plain(float(prices.min())), _plain(float(prices.max()))
        count = f"{len(times):,}"
        lines.append((rows.names[i], count, instant(int(times[0])), instant(int(times[-1])), gap, low, high))
    head = ("symbol", "rows", "first (UTC)", "last (UTC)", "median gap", "lowest", "highest")
    return text_table(head, lines)


def import_file(path: Path, out: Path) -> int:
    """Write the usable rows as `timestamp,symbol,price[,size]`, sorted by time; returns how many.

    Raises DataError where there is none, FileExistsError where `out` is there already, OSError.
    """
    rows = load_rows(path, None, False)
    sizes: Float64Array | None = None
    if rows.shape.size is not None:
        rows = load_rows(path, None, True)
        sizes = rows.sizes
    if not len(rows.times):
        faults = rows.faults.shown[:3] or ["there is only a header"]
        raise DataError(f"{path}: no usable row of {rows.total:,}: {'; '.join(faults)}")
    order = np.argsort(rows.times, kind="stable")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _write(draft, rows, order, sizes)
        os.link(draft, out)  # whole or not at all, and never over another file
    finally:
        draft.unlink(missing_ok=True)
    return len(order)


def _write(path: Path, rows: Rows, order: Int64Array, sizes: Float64Array | None) -> None:
    unit = _resolution(rows.times)
    with path.open("w", encoding="utf-8") as file:
        file.write("timestamp,symbol,price" + (",size\n" if sizes is not None else "\n"))
        for start in range(0, len(order), LINES_AT_ONCE):
            some = order[start : start + LINES_AT_ONCE]
            times = np.datetime_as_string(rows.times[some].astype("M8[ns]"), unit=unit)
            names = [rows.names[i] for i in rows.ids[some].tolist()]
            columns = [
                [str(time).replace("T", " ") for time in times],
                names,
                map(repr, rows.prices[some].tolist()),
            ]
            if sizes is not None:
                columns.append(map(_plain, sizes[some].tolist()))
            file.writelines(",".join(fields) + "\n" for fields in zip(*columns, strict=True))


def _resolution(times: Int64Array) -> Unit:
    """The coarsest unit that says every time exactly."""
    return next(unit for ns, unit in RESOLUTIONS if not (times % ns).any())


def _plain(value: float) -> str:
    """The shortest text that is read as the same float; of a whole number without a point."""
    return repr(value).removesuffix(".0")
