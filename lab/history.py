"""What a run's journal says of each strategy's host: when it began and with which version, what it asked for.

The journal is the authority: inputs.jsonl says the same of the notes.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from OrderManager import records
from Recorder.journal_feed import JournalFeed
from trading_lib.lane import Request
from trading_lib.models import MANUAL

BEGINNINGS: Final = (records.STARTED, "restart", "reload")
_BY_HOST: Final = re.compile(r"(\d+) records, by its host")
_BY_LEDGER: Final = re.compile(r"(\d+) records from (\d+), by the ledger")


class Beginning(msgspec.Struct, frozen=True):
    """A host begins at a record, with a version of the strategy; `what` is one of BEGINNINGS."""

    seq: int
    what: str
    version: str


class Missed(msgspec.Struct, frozen=True):
    """Records [seq, stop) were lost to the host, or to the ledger's lane."""

    seq: int
    stop: int
    by_host: bool


class History(msgspec.Struct):
    """One strategy's. `happened` is in the journal's order, `requests` in that of their ids.

    `diverged`: its host was stopped because it and the ledger differed.
    """

    strategy_id: str
    happened: list[Beginning | Missed] = msgspec.field(default_factory=list)
    requests: list[Request] = msgspec.field(default_factory=list)
    diverged: bool = False


class Histories(msgspec.Struct):
    """A run's, by strategy. `manual` counts orders of plain clients and by hand, which are not replayed.

    `began_anew`: the tape's numbers began again, which ends what can be replayed. The journal speaks of records
    up to `last_seq`; every lane had processed those before `horizon`.
    """

    strategies: dict[str, History]
    manual: int = 0
    began_anew: bool = False
    last_seq: int = 0
    horizon: int = 0


def read_histories(run: Path) -> Histories:
    """Everything there is in the journal of a run. Raises JournalError."""
    found = Histories({})
    feed = JournalFeed(run / "journal.bin")
    try:
        while (facts := feed.take()) is not None and not found.began_anew:
            for fact in facts:
                _take(found, fact.record)
    finally:
        feed.close()
    return found


def _take(found: Histories, record: records.JournalRecord) -> None:
    if isinstance(record, records.Taken | records.Note) and record.strategy_id == MANUAL:
        found.manual += isinstance(record, records.Taken)
    elif isinstance(record, records.Taken):
        found.last_seq = max(found.last_seq, record.request.cause_seq + 1)
        _history(found, record.strategy_id).requests.append(record.request)
    elif isinstance(record, records.Horizon):
        found.horizon = record.seq
    elif isinstance(record, records.Note):
        _note(found, _history(found, record.strategy_id), record)


def _history(found: Histories, strategy_id: str) -> History:
    return found.strategies.setdefault(strategy_id, History(strategy_id))


def _note(found: Histories, history: History, note: records.Note) -> None:
    if note.what in BEGINNINGS:
        history.happened.append(Beginning(note.seq, note.what, note.detail))
    elif note.what == "diverged":
        history.diverged = True
    elif note.what == "tape began anew":
        found.began_anew = True
    elif match := _BY_HOST.fullmatch(note.detail):
        history.happened.append(Missed(note.seq, note.seq + int(match[1]), by_host=True))
    elif match := _BY_LEDGER.fullmatch(note.detail):
        start = int(match[2])
        history.happened.append(Missed(start, start + int(match[1]), by_host=False))
