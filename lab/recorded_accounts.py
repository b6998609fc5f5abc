"""Each strategy's account at any time, as far as equity.csv has it: what stands where nothing is replayed."""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from Recorder.run_files import Run
from Recorder.tables import POSITION


class Account(NamedTuple):
    """Positions that are not flat, cash and equity, as of a row of equity.csv."""

    positions: dict[str, float]
    cash: float
    equity: float


class RecordedAccounts:
    """The rows of a run's equity.csv by strategy and time."""

    def __init__(self, run: Run) -> None:
        self._symbols = [column.removeprefix(POSITION) for column in run.position_columns]
        columns = [*run.position_columns, "cash", "equity"]
        self._times: dict[str, list[tuple[int, int]]] = {}
        self._values: dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]] = {}
        for name, own in run.equity.groupby("strategy_id", sort=True):
            strategy = str(name)
            self._times[strategy] = list(zip(own["epoch"].tolist(), own["ts"].tolist(), strict=True))
            self._values[strategy] = own[columns].to_numpy(np.float64)

    @property
    def strategies(self) -> list[str]:
        """The ids of those that have an account, sorted."""
        return list(self._times)

    def at(self, strategy_id: str, epoch: int, ts: int) -> Account | None:
        """The last row up to then; None before the first."""
        row = bisect_right(self._times.get(strategy_id, []), (epoch, ts)) - 1
        if row < 0:
            return None
        *positions, cash, equity = self._values[strategy_id][row].tolist()
        held = {
            symbol: qty for symbol, qty in zip(self._symbols, positions, strict=True) if qty and qty == qty
        }
        return Account(held, cash, equity)
