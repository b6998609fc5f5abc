"""Two runs or evaluations, compared to their first differing event.

    found = diff("runs/20260102-143000-1", "evaluations/first")
    print(found)                              # the same, or record, time and what each of the two says

Compared are the tapes, then what the ledgers say (events.jsonl without ticks, wall clocks and notes of what
happened to processes), then the rows of trades.csv and equity.csv.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from Recorder import manifest
from Recorder.report_text import instant
from Recorder.tables import NotARun
from Recorder.tape_file import TapeCursor
from Recorder.writers import finished
from trading_lib.models import Kind

CHUNK: Final = 1 << 14
TABLES: Final = ("trades.csv", "equity.csv")
LEDGER: Final = frozenset({"order", "cancel", "report", "account"})
WALL: Final = ("wall", "sent_wall", "number")  # not of the market: they differ from run to run
Event = dict[str, Any]


class Diff(msgspec.Struct, frozen=True):
    """The first difference: at tape record `seq` (None: of a row whose record is not known).

    `what` says where it was found, `a` and `b` what each of the two has there; nothing: "–".
    """

    what: str
    seq: int | None
    ts: int | None
    a: str
    b: str

    def __str__(self) -> str:
        where = f"at record {self.seq}" if self.seq is not None else "in a row"
        when = f", {instant(self.ts)} UTC" if self.ts is not None else ""
        return f"the first difference is {where}{when}: {self.what}\n  a: {self.a}\n  b: {self.b}"


def diff(a: str | Path, b: str | Path) -> Diff | None:
    """The first difference between two folders, None where they say the same.

    Raises NotARun for a folder that is none, or when they have nothing that could be compared; NotATape, OSError.
    """
    folders = Path(a), Path(b)
    for folder in folders:
        if not manifest.read(folder):
            raise NotARun(f"{folder}: no manifest.json of a run or an evaluation")
    compared = False
    found: list[Diff] = []
    if all((folder / "tape.bin").exists() for folder in folders):
        compared = True
        found += _tapes(*folders)
    if all((folder / "events.jsonl").exists() for folder in folders):
        compared = True
        found += _events(*folders)
    if found:
        return min(found, key=lambda each: each.seq if each.seq is not None else -1)
    for name in TABLES:
        if all((folder / name).exists() for folder in folders):
            compared = True
            found += _rows(name, *folders)
    if not compared:
        raise NotARun(f"{a} and {b} have no file in common that could be compared")
    return found[0] if found else None


def _tapes(a: Path, b: Path) -> list[Diff]:
    """The first record that is not the same in both."""
    names = [list(manifest.read(folder).get("symbols", [])) for folder in (a, b)]
    cursors = TapeCursor(a), TapeCursor(b)
    try:
        while True:
            one, two = (cursor.take(CHUNK) for cursor in cursors)
            count = min(len(one), len(two))
            fields = ("seq", "ts", "value", "slot", "kind")
            unlike = np.any([one[name][:count] != two[name][:count] for name in fields], axis=0)
            places = np.flatnonzero(unlike)
            if len(places) or len(one) != len(two):
                at = int(places[0]) if len(places) else count
                records = [tape[at] if at < len(tape) else None for tape in (one, two)]
                known = next(record for record in records if record is not None)
                said = [_record(record, name) for record, name in zip(records, names, strict=True)]
                return [Diff("the tape", int(known["seq"]), int(known["ts"]), *said)]
            if not count:
                return []
    finally:
        for cursor in cursors:
            cursor.close()


def _record(record: Any, names: list[str]) -> str:
    """A tape record for a person."""
    if record is None:
        return "–"
    kind, value = Kind(int(record["kind"])), float(record["value"])
    symbol = f" {names[record['slot']]}" if kind in (Kind.TICK, Kind.NEWS) else ""
    return f"{kind.name}{symbol} {value!r}"


def _events(a: Path, b: Path) -> list[Diff]:
    """The first thing that the ledgers say differently."""
    for one, two in zip_longest(_ledger(a), _ledger(b)):
        if one != two:
            first = min(
                (each for each in (one, two) if each is not None), key=lambda each: int(each["tape_seq"])
            )
            ts = first.get("ts", first.get("timestamp"))
            said = _told(one, two), _told(two, one)
            return [Diff("the ledger", first["tape_seq"], int(ts) if ts is not None else None, *said)]
    return []


def _ledger(folder: Path) -> Iterator[Event]:
    """A run's events of the ledger, in order, without what differs from run to run."""
    for path in [*finished(folder, "events", ".jsonl").values(), folder / "events.jsonl"]:
        with path.open("rb") as lines:
            for line in lines:
                if b'"type":"tick"' in line or not line.endswith(b"\n"):
                    continue
                event = msgspec.json.decode(line)
                if event["type"] in LEDGER:
                    yield {key: value for key, value in event.items() if key not in WALL}


def _told(event: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """An event for a person: what it is, and what of it is not as in the other one."""
    if event is None:
        return "–"
    name = f"{event['strategy_id']} {event['type']} {event.get('client_order_id', event.get('cause', ''))}"
    alike = other is not None and all(
        event.get(k) == other.get(k) for k in ("tape_seq", "type", "strategy_id")
    )
    shown = {
        key: value
        for key, value in event.items()
        if key not in ("tape_seq", "type", "strategy_id", "client_order_id")
        and (value != other.get(key) if alike and other is not None else value not in ("", 0, 0.0))
    }
    return f"{name}: {', '.join(f'{key} {value}' for key, value in shown.items())}"


def _rows(name: str, a: Path, b: Path) -> list[Diff]:
    """The first line of a table that is not the same."""
    with (a / name).open(encoding="utf-8") as one, (b / name).open(encoding="utf-8") as two:
        for number, lines in enumerate(zip_longest(one, two), 1):
            if lines[0] != lines[1]:
                said = ["–" if line is None else line.rstrip("\n") for line in lines]
                return [Diff(f"{name}, line {number}", None, None, *said)]
    return []
