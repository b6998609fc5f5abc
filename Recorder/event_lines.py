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

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from OrderManager import records
from Recorder.tape_file import Records
from trading_lib.models import Kind

_RANKS: Final = {"report": 1, "account": 2, "order": 3, "cancel": 3, "note": 4, "recovered": 5}
_TICK, _NEWS = int(Kind.TICK), int(Kind.NEWS)
_MARKS: Final = {int(kind): kind.name.lower() for kind in Kind}
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


def tape_lines(tape: Records, names: Sequence[str]) -> list[bytes]:
    """A line for each record; `names[slot]` is a symbol."""
    rows = zip(*(tape[name].tolist() for name in ("seq", "ts", "value", "slot", "kind")), strict=True)
    return [
        f'{{"tape_seq":{seq},"type":"tick","ts":"{ts}","symbol":"{names[slot]}","price":{value!r}}}\n'.encode()
        if kind == _TICK
        else _mark(seq, ts, value, slot, kind, names)
        for seq, ts, value, slot, kind in rows
    ]


def _mark(seq: int, ts: int, value: float, slot: int, kind: int, names: Sequence[str]) -> bytes:
    line: dict[str, Any] = {"tape_seq": seq, "type": _MARKS.get(kind, str(kind)), "ts": str(ts)}
    line |= {"symbol": names[slot], "sentiment": int(value)} if kind == _NEWS else {"value": value}
    return _encode(line) + b"\n"


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
