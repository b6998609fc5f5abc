"""Lanes rebuilt from a journal: after a kill at any instant they stand where the ledger last said so."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from OrderManager import records
from OrderManager.journal import JournalError, JournalReader
from OrderManager.lane_desk import LaneDesk
from trading_lib.broker import Terms
from trading_lib.lane import Lane
from trading_lib.lane_state import LaneHead, LaneState, replay, restore, set_head
from trading_lib.models import Account, Report
from trading_lib.portfolio import PortfolioState
from trading_lib.risk import Limits
from trading_lib.tally import Tally

_state: Final = msgspec.json.Decoder(LaneState).decode


class Recovery:
    """Takes a journal's records in order. `make(strategy_id)` gives a fresh lane."""

    def __init__(self, make: Callable[[str], Lane]) -> None:
        self._make = make
        self._reports: dict[str, list[Report]] = {}  # without a head behind them they do not count
        self.desks: dict[str, LaneDesk] = {}
        self.orders = 0

    def on_record(self, _: int, payload: bytes) -> None:
        """One record of the journal."""
        record = records.decode(payload)
        match record:
            case records.Taken():
                self.orders = max(self.orders, record.number)
                self.desks[record.strategy_id].restore(record.request)
            case Report():
                self._reports.setdefault(record.strategy_id, []).append(record)
            case Account():
                self.desks[record.strategy_id].standing.add(record)
            case LaneHead():
                self._commit(self.desks[record.strategy_id], record)
            case records.Opened():
                self._open(record.state)
            case records.Checkpoint():
                self._reset(record)
            case records.Recovered():
                self._reports.clear()
            case _:
                pass  # rows and notes are for readers: nothing of them is needed to go on

    def _open(self, state: bytes) -> LaneDesk:
        saved = _state(state)
        lane = self._make(saved.head.strategy_id)
        restore(lane, saved)
        desk = self.desks[saved.head.strategy_id] = LaneDesk(lane)
        return desk

    def _reset(self, checkpoint: records.Checkpoint) -> None:
        self.desks.clear()
        self._reports.clear()
        self.orders = checkpoint.orders
        for saved in checkpoint.lanes:
            desk = self._open(saved.state)
            desk.tally = Tally.from_state(saved.tally, desk.lane.multipliers)
            for request in saved.queue:
                desk.restore(request)

    def _commit(self, desk: LaneDesk, head: LaneHead) -> None:
        lane = desk.lane
        for report in self._reports.pop(head.strategy_id, ()):
            self._submit(desk, report.seq + 1)
            replay(lane, report)
            desk.remember(report, records.encode(report))
        self._submit(desk, head.next_seq)
        set_head(lane, head)
        lane.reports.clear()  # of requests that came too late, submitted again: the journal has them

    @staticmethod
    def _submit(desk: LaneDesk, before: int) -> None:
        while desk.queue and desk.queue[0].cause_seq < before:
            desk.lane.submit(desk.queue.popleft())


def final_money(path: Path) -> dict[str, PortfolioState]:
    """Every strategy's portfolio at the end of a run, from its journal. Raises JournalError."""
    recovery = Recovery(lambda strategy_id: Lane(strategy_id, Terms(), Limits()))
    with JournalReader.from_checkpoint(path) as reader:
        try:
            while found := reader.read():
                for number, payload in found:
                    recovery.on_record(number, payload)
        except msgspec.DecodeError as fault:
            raise JournalError(path, f"is of another version: {fault}") from None
    return {name: desk.lane.portfolio.state() for name, desk in recovery.desks.items()}
