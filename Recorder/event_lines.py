"""The lines of `events.jsonl`: each an object with its `tape_seq` and its `type`; ns times are strings.

| type | is | beside `tape_seq` |
|---|---|---|
| tick, news | a tape record | ts, symbol, price or sentiment |
| time, epoch, gap, control, end | a mark on the tape | ts, value |
| report | an execution report, at the record that made it final | the fields of `models.Report` |
| account | a strategy's money | the fields of `models.Account` |
| order, cancel | a request, at the record that caused it | whose; the fields of `models.Order`, `CancelRequest` |
| note | what happened to a strategy | strategy_id, what, detail |
| recovered | the OrderManager was started again | wall, cut |

From `report` on they are what the event stream says, too: `OrderManager.records.event_of` makes both. At one
`tape_seq` they come in this order, then by strategy.
"""

from typing import Final, NamedTuple

import msgspec

from OrderManager import records

_RANKS: Final = {"report": 1, "account": 2, "order": 3, "cancel": 3, "note": 4, "recovered": 5}
_CLOCKED: Final = ("wall", "sent_wall", "number")
_encode: Final = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """A line and its place: they sort as the lines stand in the file."""

    seq: int
    rank: int
    strategy_id: str
    number: int  # of its journal record, or of the one that made it count
    place: int  # among those that one record made count
    line: bytes


def event_of(record: records.JournalRecord, number: int, place: int, horizon: int) -> Event | None:
    """A journal record as an event; None for what has no line.

    What has no place of its own on the tape stands at `horizon`.
    """
    fields = records.event_of(record)
    rank = _RANKS.get(fields["type"]) if fields is not None else None
    if fields is None or rank is None:
        return None
    if fields.get("wall") == "0":  # of an evaluation, which has no clock and counts no arrivals
        fields = {key: value for key, value in fields.items() if key not in _CLOCKED}
    seq = fields.get("tape_seq", horizon)
    line = _encode({"tape_seq": seq, **fields}) + b"\n"
    return Event(seq, rank, fields.get("strategy_id", ""), number, place, line)
