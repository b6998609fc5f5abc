"""The rows of a CSV file as columns, and an account of those that were not accepted.

Every line is one row: a quote that never closes spoils its own line and no other. Whole columns are
converted at once; only what does not fit is looked at one by one.
"""

import csv
import gzip
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt

from Gateway.providers.csv_shapes import Shape, detect_shape
from Gateway.providers.provider import DataError
from Gateway.providers.tick_size import MAX_MANTISSA
from Gateway.providers.timestamps import NEGATIVE_TIME, parse_timestamps
from trading_lib import wire

MAX_SHOWN: Final = 20  # rejected rows kept in full; the counts are complete
_MAX_TEXT: Final = 40  # of a bad field in a report
_CHUNK: Final = 1 << 18  # characters parsed at once: with many more, garbage collection takes half the time
_ILLEGAL, _IGNORED = -1, -2  # stand for a symbol that is not loaded

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


class Faults:
    """Rejected rows: `counts` by reason, and the first MAX_SHOWN by line."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._shown: list[tuple[int, str]] = []

    def add(self, line: int, reason: str, text: str) -> None:
        """One row; `text` is what was at fault."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if len(self._shown) < MAX_SHOWN or line < self._shown[-1][0]:
            text = text.strip()
            text = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
            self._shown = sorted([*self._shown, (line, f"line {line}: {reason}: {text!r}")])[:MAX_SHOWN]

    @property
    def shown(self) -> list[str]:
        """`line 7: bad price: 'abc'` and so on, by line."""
        return [text for _, text in self._shown]


@dataclass(slots=True)
class Rows:
    """The n accepted rows, in the file's order.

    `names` all symbols met, `ids` int32[n] index into them, `times` int64[n] ns, `prices` float64[n]
    positive, `sizes` float64[n] not negative (all 0 unless asked for), `lines` int64[n].
    `total` counts all rows of data, `ignored` those of symbols nobody asked for: `others`.
    """

    shape: Shape
    names: list[str]
    ids: Int32Array
    times: Int64Array
    prices: Float64Array
    sizes: Float64Array
    lines: Int64Array
    total: int
    ignored: int
    others: list[str]
    faults: Faults


def load_rows(path: Path, wanted: tuple[str, ...] | None, sizes: bool) -> Rows:
    """Read a plain or gzip file. Raises DataError when it cannot be read or its shape is not known."""
    try:
        with _open_text(path) as file:
            return _Reader(path, wanted, sizes).read(file)
    except (OSError, EOFError, zlib.error) as fault:
        raise DataError(f"{path}: {getattr(fault, 'strerror', None) or fault}") from fault


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    # utf-8-sig drops a byte-order mark; what is no UTF-8 spoils its own field
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace")
    return path.open(encoding="utf-8-sig", errors="replace")


class _SymbolIds(dict[str, int]):
    """Field text to symbol id, worked out once for each text."""

    def __init__(self, wanted: tuple[str, ...] | None) -> None:
        super().__init__()
        self.names: list[str] = list(dict.fromkeys(wanted or ()))
        self._closed = wanted is not None
        self.update({name: i for i, name in enumerate(self.names)})

    def __missing__(self, text: str) -> int:
        self[text] = self[text.strip()] = found = self._find(text.strip())
        return found

    def _find(self, name: str) -> int:
        if name in self:
            return self[name]
        try:
            wire.parse_symbol(name)
        except wire.Rejected:
            return _ILLEGAL
        if self._closed:
            return _IGNORED
        self.names.append(name)
        return len(self.names) - 1


@dataclass(slots=True)
class _Part:
    """The accepted rows of one chunk."""

    ids: Int32Array
    times: Int64Array
    prices: Float64Array
    sizes: Float64Array
    lines: Int64Array


@dataclass(slots=True)
class _Table:
    """The rows of one chunk that have the right number of fields, as text."""

    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, i: int) -> list[str]:
        return [row[i] for row in self.rows]


class _Reader:
    def __init__(self, path: Path, wanted: tuple[str, ...] | None, sizes: bool) -> None:
        self._path, self._with_sizes = path, sizes
        self._ids = _SymbolIds(wanted)
        self._faults = Faults()
        self._total = self._ignored = 0
        self._parts: list[_Part] = []

    def read(self, file: TextIO) -> Rows:
        shape: Shape | None = None
        first_line = 1
        while lines := file.readlines(_CHUNK):
            rows = _split(lines)
            start = 0
            if shape is None:
                start = next((i for i, row in enumerate(rows) if not _is_blank(row)), len(rows))
                if start < len(rows):
                    shape = detect_shape(rows[start], self._path)
                    start += shape.has_header
            if shape is not None:
                self._convert(self._table(rows, start, first_line, shape.width), shape)
            first_line += len(lines)
        if shape is None:
            raise DataError(f"{self._path}: the file is empty")
        return self._rows(shape)

    def _table(self, rows: list[list[str]], start: int, first_line: int, width: int) -> _Table:
        """Rows from `start` on; `first_line` is the number of rows[0]."""
        if set(map(len, rows[start:])) <= {width}:
            table = _Table(list(range(first_line + start, first_line + len(rows))), rows[start:])
        else:
            table = _Table()
            for line, row in enumerate(rows[start:], first_line + start):
                if len(row) == width:
                    table.lines.append(line)
                    table.rows.append(row)
                elif not _is_blank(row):
                    self._total += 1
                    reason = "missing fields" if len(row) < width else "too many fields"
                    self._faults.add(line, reason, ",".join(row))
        self._total += len(table.rows)
        return table

    def _convert(self, table: _Table, shape: Shape) -> None:
        """Columns to numbers; keeps the rows in which all are good, files the others."""
        n = len(table.rows)
        if shape.symbol is None:
            ids = np.full(n, self._ids[shape.only_symbol], np.int32)
        else:
            ids = np.fromiter(map(self._ids.__getitem__, table.column(shape.symbol)), np.int32, n)
        times = parse_timestamps(table.column(shape.time))
        prices = _numbers(table.column(shape.price))
        sizes = np.zeros(n)
        if self._with_sizes and shape.size is not None:
            sizes = _numbers(table.column(shape.size))
        lines = np.array(table.lines, np.int64)
        good = (ids >= 0) & (times >= 0) & (prices > 0) & (prices < np.inf)
        good &= (sizes >= 0) & (sizes < MAX_MANTISSA)
        ignored = ids == _IGNORED
        self._ignored += int(np.count_nonzero(ignored))
        for i in np.flatnonzero(~good & ~ignored).tolist():
            row = table.rows[i]
            if ids[i] == _ILLEGAL:
                self._faults.add(table.lines[i], "bad symbol", row[shape.symbol or 0])
            elif times[i] < 0:
                reason = "negative time" if times[i] == NEGATIVE_TIME else "bad timestamp"
                self._faults.add(table.lines[i], reason, row[shape.time])
            elif not 0 < prices[i] < math.inf:
                self._faults.add(table.lines[i], _price_fault(float(prices[i])), row[shape.price])
            else:
                self._faults.add(table.lines[i], "bad size", row[shape.size or 0])
        if good.all():
            self._parts.append(_Part(ids, times, prices, sizes, lines))
        else:
            self._parts.append(_Part(ids[good], times[good], prices[good], sizes[good], lines[good]))

    def _rows(self, shape: Shape) -> Rows:
        parts = self._parts
        return Rows(
            shape,
            self._ids.names,
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.prices for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.lines for part in parts]),
            self._total,
            self._ignored,
            sorted({text.strip() for text, found in self._ids.items() if found == _IGNORED}),
            self._faults,
        )


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _split(lines: list[str]) -> list[list[str]]:
    """One row a line, whatever its quotes do."""
    if not any('"' in line for line in lines):
        return [line.split(",") for line in lines]
    try:
        rows = list(csv.reader(lines))
    except csv.Error:  # a field without an end
        rows = []
    return rows if len(rows) == len(lines) else [_split_one(line) for line in lines]


def _split_one(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return [line]


def _numbers(texts: list[str]) -> Float64Array:
    """Decimal numbers, each the float nearest its text; NaN where there is none."""
    joined = "".join(texts)
    if joined.isascii() and "_" not in joined:
        try:
            return np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            pass
    return np.fromiter(map(_number, texts), np.float64, len(texts))


def _number(text: str) -> float:
    if not text.isascii() or "_" in text:  # float() takes 1_000 and Arabic digits
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def _price_fault(price: float) -> str:
    if math.isfinite(price):
        return "price not positive"
    return "bad price" if math.isnan(price) else "price not finite"
