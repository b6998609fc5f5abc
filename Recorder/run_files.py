"""A run's files as tables, in a notebook as in the report.

    from Recorder.run_files import load_run

    run = load_run("runs/20260102-143000-1")
    run.trades.groupby("symbol").commission.sum()

| table | a row is | beside the columns of `Recorder.tables.COLUMNS` |
|---|---|---|
| `trades` | a fill | utc |
| `matched_trades` | a FIFO match of a lot with an exit | entry_utc, exit_utc |
| `equity` | one strategy's account at one instant | position_<SYMBOL> for every symbol, utc |
| `prices` | a price of one symbol | utc |

Types: `epoch` and every `ts` are int64 (ns UTC, event time, never through a float); `utc` columns are the
same instants as datetime64[ns, UTC]; names, sides, ids and tags are str (empty, never NaN). The other
columns named here are float64, read back to the very bits that were written. Those in MAY_BE_EMPTY are
NaN where the file has nothing; a row that lacks another number is left out, and noted. Columns that a
later version adds are kept as pandas takes them. `ts` may jump back where `epoch` grows.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

from Recorder.tables import COLUMNS, INTEGERS, MAY_BE_EMPTY, MONEY, POSITION, SIGNS, TEXTS, TIMES, NotARun

# From pandas 3.1 on floats are read exactly, and being told to is deprecated.
EXACT: Final[Mapping[str, Any]] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


class Run(msgspec.Struct, frozen=True, eq=False):
    """What a run left behind. A file that is missing is an empty table with its columns, and a line in `notes`.

    `manifest` is manifest.json as it stands: a killed run may have written any part of it. `notes` says what of
    the folder is missing or incomplete.
    """

    path: Path
    manifest: dict[str, Any]
    config: dict[str, Any]
    trades: pd.DataFrame
    matched_trades: pd.DataFrame
    equity: pd.DataFrame
    prices: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def run_id(self) -> str:
        """The manifest's run id, else the folder's name."""
        return str(self.manifest.get("run_id") or self.path.name)

    @property
    def strategies(self) -> list[str]:
        """The ids of the strategies that have an account or a fill, sorted."""
        return sorted(set(self.equity["strategy_id"].unique()) | set(self.trades["strategy_id"].unique()))

    def settings(self, *keys: str) -> dict[str, Any]:
        """A section of the effective configuration; {} when the run did not leave it."""
        found: object = self.config
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def multiplier(self, symbol: str) -> float:
        """Money per unit of the symbol's price and quantity."""
        return float(self.settings("instruments", symbol).get("multiplier", 1.0))

    @property
    def position_columns(self) -> list[str]:
        """The columns of `equity` that hold a symbol's signed quantity."""
        return [name for name in self.equity.columns if name.startswith(POSITION)]

    def total_equity(self) -> pd.DataFrame:
        """The strategies' accounts joined on (epoch, ts): epoch, ts, then positions and money summed over them.

        Between its rows a strategy's account stays as it was; before its first one it holds its initial cash and
        nothing else.
        """
        rows = self.equity.drop_duplicates(["epoch", "ts", "strategy_id"], keep="last")
        columns = [*self.position_columns, *MONEY]
        index = pd.MultiIndex.from_frame(rows[["epoch", "ts"]]).unique().sort_values()
        total = pd.DataFrame(0.0, index=index, columns=columns)
        for _, own in rows.groupby("strategy_id", sort=True):
            initial = initial_cash(own)
            account = own.set_index(["epoch", "ts"])[columns].reindex(index).ffill()
            total += account.fillna(dict.fromkeys(columns, 0.0) | {"cash": initial, "equity": initial})
        return total.reset_index()

    def __repr__(self) -> str:
        tables = ", ".join(f"{name}: {len(getattr(self, name)):,} rows" for name in COLUMNS)
        return f"<Run {self.run_id} at {self.path} ({tables})>"


def initial_cash(account: pd.DataFrame) -> float:
    """What the strategies of an account began with, which follows from each of its rows, to a millionth."""
    row = account.iloc[0]
    return round(float(row["equity"] - row["realized"] - row["unrealized"] + row["commission"]), 6)


def load_run(path: str | Path) -> Run:
    """Read a run's folder. Raises NotARun for what is none, or is damaged beyond a torn last line."""
    folder = Path(path)
    if not folder.is_dir():
        raise NotARun(f"{folder}: no such folder")
    if not any((folder / name).exists() for name in SIGNS):
        raise NotARun(f"{folder}: not a run: none of {', '.join(sorted(SIGNS))} is in it")
    notes: list[str] = []
    manifest = _json(folder / "manifest.json", notes)
    config = manifest.get("config")
    if not isinstance(config, dict):
        config = _json(folder / "config.json", notes)
    tables = {name: _table(folder / f"{name}.csv", COLUMNS[name], notes) for name in COLUMNS}
    return Run(folder, manifest, config, **tables, notes=tuple(notes))


def _json(path: Path, notes: list[str]) -> dict[str, Any]:
    """A JSON object, or {} and a note: a killed run leaves none, or half of one."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return {}
    except msgspec.DecodeError as fault:
        notes.append(f"{path.name} is not JSON ({fault})")
        return {}
    except OSError as fault:
        raise NotARun(f"{path}: cannot be read: {fault.strerror}") from None
    if not isinstance(found, dict):
        notes.append(f"{path.name} is not a JSON object")
        return {}
    return found


def _table(path: Path, columns: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """One CSV file with exact types; `columns` must be there, others are kept."""
    try:
        source = _whole_lines(path, notes)
        header = [] if source is None else list(pd.read_csv(source, nrows=0).columns)
        if source is None or not header:
            return _typed(pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in columns}))
        absent = [name for name in columns if name not in header]
        if absent:
            raise NotARun(f"{path}: column {absent[0]} is missing")
        if isinstance(source, io.BytesIO):
            source.seek(0)
        return _typed(_whole_rows(_read(source, header), columns, path.name, notes))
    except OSError as fault:
        raise NotARun(f"{path}: cannot be read: {fault.strerror}") from None
    except ValueError as fault:  # pandas says everything that is wrong in a file by a subclass of it
        raise NotARun(f"{path}: {fault}") from None


def _read(source: Path | io.BytesIO, header: list[str]) -> pd.DataFrame:
    known = {name for columns in COLUMNS.values() for name in columns}
    kinds = {name: _dtype(name) for name in header if name in known or name.startswith(POSITION)}
    empty = {name: ["", "nan"] for name, kind in kinds.items() if kind == "float64"}
    table: pd.DataFrame = pd.read_csv(
        source,
        dtype=kinds,
        na_values=empty,
        keep_default_na=False,  # a symbol may be called NA
        **EXACT,
    )
    return table


def _whole_rows(table: pd.DataFrame, columns: tuple[str, ...], file: str, notes: list[str]) -> pd.DataFrame:
    """The rows that have every number they must have."""
    needed = [name for name in columns if _dtype(name) == "float64" and name not in MAY_BE_EMPTY]
    whole = np.isfinite(table[needed].to_numpy(np.float64)).all(axis=1)
    if whole.all():
        return table
    n = int(len(whole) - whole.sum())
    notes.append(f"{file}: rows left out for want of a number: {n:,}")
    kept: pd.DataFrame = table[whole].reset_index(drop=True)
    return kept


def _dtype(column: str) -> str:
    if column in INTEGERS:
        return "int64"
    return "str" if column in TEXTS else "float64"


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a `utc` column for each `ts`."""
    for name in TIMES:
        if name in table:
            table[name.replace("ts", "utc")] = pd.to_datetime(table[name], unit="ns", utc=True)
    return table


def _whole_lines(path: Path, notes: list[str]) -> Path | io.BytesIO | None:
    """The file without a last line that was never finished; None when nothing is left."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                notes.append(f"{path.name} is empty")
                return None
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return path
            file.seek(0)
            text = file.read()
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return None
    notes.append(f"the last line of {path.name} was never finished and is left out")
    text = text[: text.rfind(b"\n") + 1]
    return io.BytesIO(text) if text else None
