"""The OrderManager's journal as facts: what a lane says counts once its head stands behind it."""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from OrderManager import records
from OrderManager.journal import JournalError, JournalReader
from trading_lib.lane_state import LaneHead
from trading_lib.models import Account, Report

LIMIT: Final = 4096  # records at once


class Fact(NamedTuple):
    """A record, the number of the one that made it count, and its place among those that one made count."""

    number: int
    place: int
    record: records.JournalRecord


class JournalFeed:
    """Follows a journal, from its first record on. Owns the file. Raises JournalError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = JournalReader(path)
        self._pending: dict[str, list[records.JournalRecord]] = {}  # by strategy, without a head so far
        self.at_end = False  # whether the last `take` found fewer records than it asked for

    def take(self, most: int = LIMIT) -> list[Fact] | None:
        """The facts that up to `most` more records hold, in order; None when there is no further record."""
        read = self._reader.read(most)
        self.at_end = len(read) < most
        if not read:
            return None
        facts: list[Fact] = []
        for number, payload in read:
            try:
                record = records.decode(payload)
            except msgspec.DecodeError as fault:
                raise JournalError(self._path, f"record {number} is of another version: {fault}") from None
            match record:
                case Report() | Account():
                    self._pending.setdefault(record.strategy_id, []).append(record)
                case LaneHead():
                    own = self._pending.pop(record.strategy_id, ())
                    facts += [Fact(number, index, found) for index, found in enumerate(own)]
                case records.Opened() | records.Checkpoint():
                    pass
                case _:
                    if isinstance(record, records.Recovered):
                        self._pending.clear()
                    facts.append(Fact(number, 0, record))
        return facts

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
