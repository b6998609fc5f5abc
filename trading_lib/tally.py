"""How many trades a strategy has closed while it trades, and how many of them it has won.

    tally = Tally(multipliers)
    tally.add(report)
    tally.now(epoch).wins

A trade is one match, first in, first out (`trading_lib.fifo`); it is won if its net is above zero. Counted
anew in each epoch. Some 2 µs a fill; memory for the open lots.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import msgspec

from trading_lib.fifo import Fifo, FifoState
from trading_lib.models import Report
from trading_lib.money import MONEY_SCALE, MULTIPLIER_SCALE, QTY_SCALE, scaled


class Score(NamedTuple):
    """Closed trades of an epoch, and those that were won. None: not known."""

    trades: int | None
    wins: int | None


UNKNOWN = Score(None, None)


class TallyState(msgspec.Struct, frozen=True):
    """Everything a `Tally` knows; `fifo` is None for one that cannot know."""

    epoch: int
    trades: int
    wins: int
    fifo: FifoState | None


class Tally:
    """Takes a lane's reports in their order; `multipliers` are the money per unit of price by symbol.

    With `known` False, for a lane that began with positions, nobody can say what closing them has won.
    """

    def __init__(self, multipliers: Mapping[str, float], *, known: bool = True) -> None:
        self._multipliers = {symbol: scaled(m, MULTIPLIER_SCALE) for symbol, m in multipliers.items()}
        self._fifo = Fifo(keep_round_trips=False) if known else None
        self._epoch = self._trades = self._wins = 0

    def add(self, report: Report) -> None:
        """One report."""
        fill = report.fill
        if fill is None or self._fifo is None:
            return
        if report.epoch != self._epoch:
            self._epoch, self._trades, self._wins = report.epoch, 0, 0
        multiplier = self._multipliers.get(fill.symbol, MULTIPLIER_SCALE)
        qty, cost = scaled(fill.signed_qty, QTY_SCALE), scaled(fill.commission, MONEY_SCALE)
        self._fifo.apply(fill, qty, multiplier, cost)
        for trade in self._fifo.take_trades():
            self._trades += 1
            self._wins += trade.net > 0

    def now(self, epoch: int) -> Score:
        """The score of an epoch, the last one."""
        if self._fifo is None:
            return UNKNOWN
        return Score(self._trades, self._wins) if epoch == self._epoch else Score(0, 0)

    def state(self) -> TallyState:
        """Everything, for a checkpoint."""
        fifo = self._fifo.state() if self._fifo else None
        return TallyState(self._epoch, self._trades, self._wins, fifo)

    @classmethod
    def from_state(cls, state: TallyState | None, multipliers: Mapping[str, float]) -> Self:
        """The inverse of `state`; of None, a checkpoint without one, a tally that cannot know."""
        tally = cls(multipliers, known=False)
        if state is not None and state.fifo is not None:
            tally._fifo = Fifo.from_state(state.fifo, keep_round_trips=False)
            tally._epoch, tally._trades, tally._wins = state.epoch, state.trades, state.wins
        return tally
