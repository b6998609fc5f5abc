"""What the journal holds, in the order in which it became true.

A commit of a lane is its reports and account rows followed by its head; reports without a head behind
them were never told to anybody, and a reader leaves them out.
"""

from typing import Any, Final

import msgspec

from trading_lib.lane_state import LaneHead
from trading_lib.models import Account, CancelRequest, Order, Report
from trading_lib.tally import TallyState


class Opened(msgspec.Struct, frozen=True, tag="opened", array_like=True):
    """A lane begins; `state` is a `LaneState` as JSON."""

    strategy_id: str
    state: bytes


class Taken(msgspec.Struct, frozen=True, tag="taken", array_like=True):
    """A request was accepted. `number` counts orders as they arrived (0 for a cancel), `wall` is ns."""

    strategy_id: str
    number: int
    wall: int
    request: Order | CancelRequest

    @property
    def by_operator(self) -> bool:
        """Whether it is an order that an operator has placed: the lane made it, nobody sent it."""
        return self.request.index < 0


STARTED: Final = "started"  # of all notes the one that every comparable run has


class Note(msgspec.Struct, frozen=True, tag="note", array_like=True):
    """At tape record `seq`, `what` happened to a strategy; all but `STARTED` keep a run from being comparable.

    A strategy's version, `detail`, begins with started, restart or reload.
    """

    strategy_id: str
    seq: int
    what: str  # started, restart, reload, host lost, missed, diverged, no lane, tape began anew
    detail: str = ""


class Recovered(msgspec.Struct, frozen=True, tag="recovered", array_like=True):
    """A restarted OrderManager goes on from here; `cut` says what the torn tail lost, if anything."""

    wall: int
    cut: str


class Horizon(msgspec.Struct, frozen=True, tag="horizon", array_like=True):
    """Every lane has processed every tape record before `seq`: nothing earlier will be reported any more."""

    seq: int


class QueuedLane(msgspec.Struct, frozen=True, array_like=True):
    """A lane in a checkpoint: its `LaneState` as JSON, accepted requests it has not seen yet, its trades."""

    state: bytes
    queue: list[Order | CancelRequest]
    tally: TallyState | None = None


class Checkpoint(msgspec.Struct, frozen=True, tag="checkpoint", array_like=True):
    """Everything: nothing before it is needed to go on."""

    orders: int
    lanes: list[QueuedLane]


JournalRecord = Opened | Taken | Note | Recovered | Horizon | Checkpoint | Report | Account | LaneHead

encode: Final = msgspec.json.Encoder().encode  # text: a journal can be read with `strings`
decode: Final = msgspec.json.Decoder(JournalRecord).decode

_NS_FIELDS: Final = ("ts", "wall", "sent_wall", "latency_ns")
_TYPES: Final = {
    Report: "report",
    Account: "account",
    Note: "note",
    Recovered: "recovered",
    Horizon: "horizon",
}


def event_of(record: JournalRecord) -> dict[str, Any] | None:
    """A record as others are shown it: its fields and its `type`; None for what only a recovery needs.

    ns are strings, for a JSON number does not hold them everywhere. `tape_seq` is the tape record it belongs
    to: that of a request is its cause.
    """
    if isinstance(record, Taken):
        return _request_event(record)
    kind = _TYPES.get(type(record))
    return {"type": kind, **_fields(record)} if kind is not None else None


def _request_event(record: Taken) -> dict[str, Any]:
    request = record.request
    fields = _fields(request)
    if isinstance(request, Order):
        fields["order_type"] = fields.pop("type")  # `type` says what the event is
    return {
        "type": "order" if isinstance(request, Order) else "cancel",
        "tape_seq": request.cause_seq,
        "ts": str(fields.pop("timestamp")),
        "wall": str(record.wall),
        "strategy_id": record.strategy_id,
        "number": record.number,
        "client_order_id": request.client_order_id,
        **fields,
    }


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    found = msgspec.structs.asdict(record)
    if "seq" in found:
        found["tape_seq"] = found.pop("seq")
    for name in _NS_FIELDS:
        if name in found:
            found[name] = str(found[name])
    return found
