"""The last money of a run's accounts, from the end of equity.csv, however long that is."""

import csv
import os
from collections.abc import Collection, Iterator
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

from Recorder.tables import NotARun

TAILS: Final = (1 << 16, 1 << 20)  # bytes that are looked at, the second when the first has not everybody


class LastMoney(NamedTuple):
    """All strategies together: what they began with, and their equity by the last row of each."""

    initial: float
    final: float


def last_money(equity_csv: Path, strategies: Collection[str]) -> LastMoney | None:
    """Of `strategies`, and of others at the file's end; None without a row, or when one of them has none there.

    A strategy that is in a wholly read file nowhere has no account. Raises NotARun for rows that are none.
    """
    try:
        size = equity_csv.stat().st_size
        for tail in TAILS:
            found = {row["strategy_id"]: row for row in _rows(equity_csv, tail)}
            if found.keys() >= set(strategies) or size <= tail:
                break
        else:
            return None
        money = [_money(row) for row in found.values()]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, csv.Error) as fault:
        raise NotARun(f"{equity_csv}: its end cannot be read ({fault})") from None
    if not money:
        return None
    return LastMoney(sum(each.initial for each in money), sum(each.final for each in money))


def _rows(path: Path, tail: int) -> Iterator[dict[str, str]]:
    """The whole rows among the last `tail` bytes, and what their cells are called."""
    with path.open("rb") as file:
        header = file.readline()
        start = max(len(header), file.seek(0, os.SEEK_END) - tail)
        file.seek(start - 1)
        text = file.read()
    lines = text.decode().split("\n")[1:-1]  # what is before the first line end and behind the last is no row
    names = next(csv.reader([header.decode()]), [])
    for cells in csv.reader(lines):
        yield dict(zip(names, cells, strict=True))


def _money(row: dict[str, str]) -> LastMoney:
    """As `Recorder.run_files.initial_cash` has it."""
    unrealized, realized, commission, equity = (
        float(row[name]) for name in ("unrealized", "realized", "commission", "equity")
    )
    if not isfinite(unrealized + realized + commission + equity):
        raise ValueError("a number is missing")
    return LastMoney(round(equity - realized - unrealized + commission, 6), equity)
