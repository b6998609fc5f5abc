"""Instants spread over a recorded tape, and the market at each of them.

for moment in moments(folder, names, ["AAPL"], count=1000):
    print(moment.seq, moment.ts, moment.prices)
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from Recorder.tape_file import HEADER_BYTES, RECORD_BYTES, Records, TapeCursor, tape_files
from trading_lib.models import Kind

CHUNK: Final = 1 << 16  # records in memory at once
NEVER_SEEN: Final = float("nan")


class Moment(NamedTuple):
    """Behind record `seq`: event time `ts`, ns; `epoch` counted from 1; last prices, None before the first.

    `prices` are in the order in which the symbols were asked for; an epoch begins without any.
    """

    seq: int
    ts: int
    epoch: int
    prices: tuple[float | None, ...]


def spread(total: int, count: int) -> list[int]:
    """Up to `count` of the places 0 … total - 1, ascending, as even as they can be; the last is one of them.

    From two on the first is, too.
    """
    if total <= 0 or count <= 0:
        return []
    if count == 1:
        return [total - 1]
    count = min(count, total)
    return [i * (total - 1) // max(1, count - 1) for i in range(count)]


def recorded_records(folder: Path) -> int:
    """How many records the run's tape files hold now. Raises NotATape, OSError."""
    sizes = (path.stat().st_size for _, path in tape_files(folder))
    return sum(max(0, size - HEADER_BYTES) // RECORD_BYTES for size in sizes)


def moments(
    folder: Path,
    names: Sequence[str],
    symbols: Sequence[str],
    count: int,
    look: Callable[[int], bool] = lambda _: True,
) -> list[Moment]:
    """The market at `count` instants spread over the tape; `names` are its symbols by slot.

    `look(n)` hears how many records were read so far; once it returns False no more are. Raises NotATape, OSError.
    """
    total = recorded_records(folder)
    wanted = spread(total, count)
    slots = [names.index(symbol) for symbol in symbols]
    market = _Market(len(names))
    found: list[Moment] = []
    at = 0
    for chunk in _chunks(folder, total):
        stops = [place - at for place in wanted[len(found) :] if place < at + len(chunk)]
        found += [market.moment(slots, record) for record in market.pieces(chunk, stops)]
        at += len(chunk)
        if not look(at):
            break
    return found


def _chunks(folder: Path, total: int) -> Iterator[Records]:
    """The first `total` records; fewer where the oldest file was deleted meanwhile."""
    tape = TapeCursor(folder)
    try:
        while total > 0 and len(chunk := tape.take(min(CHUNK, total))):
            total -= len(chunk)
            yield chunk
    finally:
        tape.close()


class _Market:
    """Last prices by slot, and the epoch."""

    def __init__(self, size: int) -> None:
        self._prices = np.full(size, NEVER_SEEN)
        self._epoch = 0

    def pieces(self, records: Records, stops: Sequence[int]) -> Iterator[np.void]:
        """Go over the records; yields each record at one of `stops` when the market is as it left it."""
        start = 0
        for stop in stops:
            self._go(records[start : stop + 1])
            start = stop + 1
            yield records[stop]
        self._go(records[start:])

    def _go(self, records: Records) -> None:
        epochs = np.flatnonzero(records["kind"] == Kind.EPOCH)
        if len(epochs):
            self._epoch += len(epochs)
            self._prices[:] = NEVER_SEEN
            records = records[epochs[-1] + 1 :]
        ticks = records[records["kind"] == Kind.TICK]
        slots = ticks["slot"]
        known = slots < len(self._prices)  # a symbol that came after the manifest was written
        self._prices[slots[known]] = ticks["value"][known]  # of equal slots the last one counts

    def moment(self, slots: Sequence[int], record: np.void) -> Moment:
        """What stands behind a record."""
        prices = (float(self._prices[slot]) for slot in slots)
        return Moment(
            int(record["seq"]),
            int(record["ts"]),
            self._epoch,
            tuple(None if np.isnan(price) else price for price in prices),
        )
