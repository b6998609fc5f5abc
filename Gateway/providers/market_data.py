"""CSV replay.

    provider = CsvProvider("data/market_data-1.csv", tick_sizes={"AAPL": 0.01})
    print(provider.report())
    while (batch := provider.read(4096)).size:
        ...

The file is loaded whole: its shape is detected (see csv_shapes), bad rows are counted by reason and the
first few shown, prices become whole ticks. Reading is then slicing.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from Gateway.providers.csv_rows import Float64Array, Int32Array, Int64Array, Rows, load_rows
from Gateway.providers.provider import Batch, DataError, Provider, ticks
from Gateway.providers.tick_size import DEFAULT_TICK_SIZE, MAX_MANTISSA, TickSize, quantise
from trading_lib import wire

SIZE_SUFFIX: Final = ".SIZE"  # the series of the sizes of a symbol's trades
SIZE_TICK_SIZES: Final = (1e-8, 1e-4, 1.0)  # the first in which a series' largest size fits is its own


class CsvProvider(Provider):
    """The prices of a CSV file (plain or gzip), in time order; rows of one time keep the file's order.

    `symbols`: only these are emitted, and in this order are `Provider.symbols` (default: all, in order of
    appearance). `tick_sizes`: per symbol, 0.0001 where not given. `sizes`: emit the size column too, as a
    tick of `SYMBOL.SIZE` right before the price it belongs to; a row of size 0 has none. Their tick size,
    where not given as that of `SYMBOL.SIZE`, is the first of SIZE_TICK_SIZES the largest one fits in.
    The close of a bar is emitted at the bar's own timestamp.

    Raises DataError, naming the file, where it cannot be read or has no usable row; ValueError for a bad
    tick size or symbol argument.

    `total` counts the rows of data; `rejected` the bad ones by reason, `details` shows the first of them;
    `ignored` counts those of other symbols, `reordered` those that stood behind a later one, `without_size`
    those that were to have a size and had 0; `missing` are the symbols asked for that have no row.
    """

    def __init__(
        self,
        path: str | Path,
        symbols: Iterable[str] | None = None,
        tick_sizes: Mapping[str, float] | None = None,
        *,
        sizes: bool = False,
    ) -> None:
        self.path = Path(path)
        wanted = None if symbols is None else tuple(wire.parse_symbol(symbol) for symbol in symbols)
        self._tick_sizes = {symbol: TickSize.of(size) for symbol, size in (tick_sizes or {}).items()}
        rows = load_rows(self.path, wanted, sizes)
        if sizes and rows.shape.size is None:
            raise DataError(
                f"{self.path}: sizes are asked for, and there is no size, quantity or volume column"
            )
        self.shape, self.total, self.ignored = rows.shape, rows.total, rows.ignored

        ids, values, times, sizes_of = self._in_ticks(rows)
        self.rejected: dict[str, int] = rows.faults.counts
        self.details: list[str] = rows.faults.shown
        self.loaded = ids.shape[0]
        if not self.loaded:
            raise DataError(f"{self.path}: no usable row of {self.total}: {self._why_none(rows, wanted)}")

        here = np.bincount(ids, minlength=len(rows.names)) > 0
        kept = np.flatnonzero(here) if wanted is None else np.arange(len(rows.names))
        self.missing = tuple(rows.names[i] for i in np.flatnonzero(~here)) if wanted is not None else ()
        self.symbols = tuple(rows.names[i] for i in kept)
        self.decimals = tuple(self._tick(symbol).decimals for symbol in self.symbols)
        self.reordered = int(np.count_nonzero(times < np.maximum.accumulate(times)))
        if self.reordered:
            order = np.argsort(times, kind="stable")
            ids, values, times, sizes_of = ids[order], values[order], times[order], sizes_of[order]
        self._all = ticks(np.searchsorted(kept, ids).astype(np.int32), values, times)
        self.without_size = 0
        if sizes:
            self._insert_sizes(sizes_of)
        self._next = 0

    def read(self, limit: int) -> Batch:
        """See Provider. The columns are views of the loaded ones: not to be written to."""
        start = self._next
        self._next = min(start + limit, self._all.size)
        return self._all.slice(start, self._next)

    def restart(self, seed: int | None = None) -> None:  # noqa: ARG002  # the same for every seed
        """See Provider."""
        self._next = 0

    def report(self) -> str:
        """What was loaded and what was not, for a person: one line, and one for each rejected row shown."""
        parts = [
            f"{self.path}: {self.shape.name}, prices from column {self.shape.price_column!r}, "
            f"{self.loaded} of {self.total} rows, {len(self.symbols)} series"
        ]
        parts += [f"{count} rejected ({reason})" for reason, count in self.rejected.items()]
        counts = (
            (self.reordered, "reordered by time"),
            (self.ignored, "of other symbols ignored"),
            (self.without_size, "without a size"),
        )
        parts += [f"{count} {what}" for count, what in counts if count]
        if self.missing:
            parts.append(f"none of {', '.join(self.missing)}")
        return "\n  ".join(["; ".join(parts), *self.details])

    def _tick(self, symbol: str) -> TickSize:
        return self._tick_sizes.get(symbol, _DEFAULT_TICK)

    def _in_ticks(self, rows: Rows) -> tuple[Int32Array, Int64Array, Int64Array, Float64Array]:
        """ids, prices in ticks, times and sizes of the rows whose price is at least one tick."""
        of_names = [self._tick(name) for name in rows.names]
        scales = np.array([tick.scale for tick in of_names])[rows.ids]
        units = np.array([float(tick.units) for tick in of_names])[rows.ids]
        values = quantise(rows.prices, scales, units)
        good = values > 0
        if good.all():
            return rows.ids, values, rows.times, rows.sizes
        for i in np.flatnonzero(~good).tolist():
            reason = "price rounds to 0" if values[i] == 0 else "price too large for its tick size"
            text = f"{rows.names[rows.ids[i]]} {rows.prices[i]!r}"
            rows.faults.add(int(rows.lines[i]), reason, text)
        return rows.ids[good], values[good], rows.times[good], rows.sizes[good]

    def _why_none(self, rows: Rows, wanted: tuple[str, ...] | None) -> str:
        if self.details:
            return "; ".join(self.details[:3])
        if self.ignored:
            return f"all are of {_listed(rows.others)}, and {_listed(wanted or ())} are asked for"
        return f"there is only a header (line 1, {rows.shape.name})"

    def _insert_sizes(self, sizes: Float64Array) -> None:
        """A tick of SYMBOL.SIZE before each tick that has a size."""
        of_symbol = self._all.symbols
        largest = np.zeros(len(self.symbols))
        np.maximum.at(largest, of_symbol, sizes)
        names = tuple(symbol + SIZE_SUFFIX for symbol in self.symbols)
        for name in names:
            if len(name) > wire.MAX_SYMBOL or name in self.symbols:
                raise DataError(
                    f"{self.path}: there can be no series {name}: too long, or already in the file"
                )
        of_names = [self._size_tick(name, most) for name, most in zip(names, largest.tolist(), strict=True)]
        scales = np.array([tick.scale for tick in of_names])[of_symbol]
        units = np.array([float(tick.units) for tick in of_names])[of_symbol]
        values = quantise(sizes, scales, units)
        has_size = values > 0
        self.without_size = int(np.count_nonzero(~has_size))
        first = np.cumsum(1 + has_size) - 1 - has_size
        batch = self._all.repeat(1 + has_size.astype(np.int64))
        batch.symbols[first[has_size]] += len(self.symbols)
        batch.values[first[has_size]] = values[has_size]
        self._all = batch
        self.symbols += names
        self.decimals += tuple(tick.decimals for tick in of_names)

    def _size_tick(self, name: str, largest: float) -> TickSize:
        if name in self._tick_sizes:
            return self._tick_sizes[name]
        choices = map(TickSize.of, SIZE_TICK_SIZES)
        return next((tick for tick in choices if largest * tick.scale < MAX_MANTISSA), TickSize(0, 1))


def _listed(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} others" if len(symbols) > 5 else "")


_DEFAULT_TICK: Final = TickSize.of(DEFAULT_TICK_SIZE)
