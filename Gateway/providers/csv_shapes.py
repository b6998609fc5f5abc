"""What the columns of a CSV file are, found from its first line and its name.

    timestamp,symbol,price[,size]                        ticks
    timestamp,ticker,open,high,low,close,volume          bars: the close
    Date,Open,High,Low,Close,Adj Close,Volume            Yahoo: the adjusted close, of the file's name
    26129,0.01633102,4.70443515,27781,27781,1498793709153,True,True
                                                         Binance aggTrades, with or without a header

Columns may stand in any order and under any of the names below, in any case; others are passed over.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from Gateway.providers.provider import DataError
from trading_lib import wire

TIME_NAMES: Final = (
    *("timestamp", "datetime", "date time", "date", "time", "ts", "event time"),
    *("transact time", "trade time", "open time"),
)
SYMBOL_NAMES: Final = ("symbol", "ticker", "asset", "asset id", "instrument", "sym")
PRICE_NAMES: Final = ("price", "last", "last price", "trade price", "px")
ADJUSTED_NAMES: Final = ("adj close", "adjclose", "adjusted close")
CLOSE_NAMES: Final = ("close",)
SIZE_NAMES: Final = ("size", "quantity", "qty", "volume", "vol")

KNOWN_SHAPES: Final = (
    "known are `timestamp,symbol,price[,size]`, `timestamp,ticker,open,high,low,close,volume`, "
    "`Date,Open,High,Low,Close,Adj Close,Volume` in SYMBOL.csv, "
    "and Binance aggTrades in SYMBOL-aggTrades-DATE.csv"
)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where in a row of `width` fields things are.

    `symbol` is None where every row is about `only_symbol`; `size` is None where there is none;
    `price_column` is the name for a person.
    """

    name: str
    width: int
    has_header: bool
    time: int
    symbol: int | None
    only_symbol: str
    price: int
    price_column: str
    size: int | None


def detect_shape(first_row: list[str], path: Path) -> Shape:
    """The shape of the file that begins with this row. Raises DataError that says what was expected."""
    if _is_agg_trade(first_row):
        symbol = _symbol_from(path, up_to_dash=True)
        return Shape("Binance aggTrades", len(first_row), False, 5, None, symbol, 1, "price", 2)
    names = [re.sub(r"[^a-z0-9]+", " ", name.lower()).strip() for name in first_row]
    time = _column(names, TIME_NAMES, path)
    price = _column(names, PRICE_NAMES, path)
    name = "ticks"
    if price is None:
        name = "bars"
        price = _column(names, ADJUSTED_NAMES, path)
        price = _column(names, CLOSE_NAMES, path) if price is None else price
    if time is None or price is None:
        shown = ",".join(first_row)[:80]
        missing = "timestamp" if time is None else "price or close"
        raise DataError(f"{path}: line 1: no column for the {missing} in {shown!r}; {KNOWN_SHAPES}")
    symbol_column = _column(names, SYMBOL_NAMES, path)
    of_binance = "agg trade id" in names
    return Shape(
        name="Binance aggTrades" if of_binance else name,
        width=len(names),
        has_header=True,
        time=time,
        symbol=symbol_column,
        only_symbol="" if symbol_column is not None else _symbol_from(path, up_to_dash=of_binance),
        price=price,
        price_column=first_row[price].strip(),
        size=next((names.index(name) for name in SIZE_NAMES if name in names), None),
    )


def _is_agg_trade(row: list[str]) -> bool:
    """id, price, quantity, first id, last id, time, buyer was maker [, best match]."""
    return (
        len(row) in (7, 8)
        and all(_NUMBER.fullmatch(field.strip()) for field in row[:6])
        and all(field.strip().lower() in ("true", "false") for field in row[6:])
    )


def _column(names: list[str], accepted: tuple[str, ...], path: Path) -> int | None:
    found = [i for i, name in enumerate(names) if name in accepted]
    if len(found) > 1:
        shown = ", ".join(repr(names[i]) for i in found)
        raise DataError(f"{path}: line 1: columns {shown} could all be the {accepted[0]}; keep one")
    return found[0] if found else None


def _symbol_from(path: Path, up_to_dash: bool) -> str:
    stem = path.name.removesuffix(".gz")
    stem = stem.removesuffix(Path(stem).suffix)
    symbol = stem.partition("-")[0] if up_to_dash else stem
    try:
        return wire.parse_symbol(symbol)
    except wire.Rejected as fault:
        raise DataError(f"{path}: the file has no symbol column, and its name is none: {fault}") from None
