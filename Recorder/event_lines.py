"""The lines of `events.jsonl`: each an object with its `tape_seq` and its `type`; ns times are strings.

| type | is | beside `tape_seq` |
|---|---|---|
| tick, news | a tape record | ts, symbol, price or sentiment |
| time, epoch, gap, control, end | a mark on the tape | ts, value |
| report | an execution report, at the record that made it final | the fields of `models.Report` |
| account | a strategy's money | the fields of `models.Account` |
| order, cancel | a request, at the record that caused it | the fields of `models.Order`, `models.CancelRequest` |
| note, recovered | what keeps a run from being comparable | strategy_id, what, detail; cut |

At one `tape_seq` they come in this order, then by strategy.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from OrderManager import records
from Recorder.tape_file import Records
from trading_lib.models import Account, Kind, Order, Report

_NS_FIELDS: Final = ("ts", "timestamp", "wall", "sent_wall", "latency_ns")
_TICK, _NEWS = int(Kind.TICK), int(Kind.NEWS)
_MARKS: Final = {int(kind): kind.name.lower() for kind in Kind}
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
    """A journal record as an event; None for what only a recovery needs.

    What has no place of its own on the tape stands at `horizon`.
    """
    match record:
        case Report():
            seq, rank, line = record.seq, 1, {"type": "report", **_fields(record)}
        case Account():
            seq, rank, line = record.seq, 2, {"type": "account", **_fields(record)}
        case records.Taken():
            kind = "order" if isinstance(record.request, Order) else "cancel"
            identity = {"strategy_id": record.strategy_id, "number": record.number, "wall": str(record.wall)}
            request = {"client_order_id": record.request.client_order_id, **_fields(record.request)}
            if "type" in request:
                request["order_type"] = request.pop("type")
            seq, rank, line = record.request.cause_seq, 3, {"type": kind, **identity, **request}
        case records.Note():
            seq, rank, line = record.seq, 4, {"type": "note", **_fields(record)}
        case records.Recovered():
            seq, rank, line = horizon, 5, {"type": "recovered", **_fields(record)}
        case _:
            return None
    strategy_id = getattr(record, "strategy_id", "")
    return Event(seq, rank, strategy_id, number, place, _encode({"tape_seq": seq, **line}) + b"\n")


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    found = msgspec.structs.asdict(record)
    found.pop("seq", None)
    for name in _NS_FIELDS:
        if name in found:
            found[name] = str(found[name])
    return found
