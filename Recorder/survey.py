"""What the recorded tape says by itself: counts for the manifest, and prices.csv.

`prices.csv` has every tick among the first 200,000 records of a run, and after them, in each block of 1,000
records, the last tick of every symbol that moved in it: enough to draw, and at most a row a tick.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from Recorder.tape_file import Records, TapeCursor
from Recorder.writers import Place, Rolling
from trading_lib.models import Kind

ALL_BELOW: Final = 200_000  # tape records with a row for every tick
BLOCK: Final = 1000  # records a block behind them
GAPS_KEPT: Final = 255  # a symbol's first ones: their median is the estimate
CHUNK: Final = 1 << 14  # records at once
assert ALL_BELOW % BLOCK == 0
NO_LIMIT: Final = 1 << 62


class Counts(msgspec.Struct):
    """What is on a tape, up to `next_seq`. `ts` is the last record's."""

    next_seq: int = 0
    records: int = 0
    ticks: int = 0
    news: int = 0
    epochs: int = 0
    gaps: int = 0  # GAP marks: the feed or the OrderBook lost something
    controls: int = 0
    missed: int = 0  # records that are not in tape.bin
    first_missed: int = -1  # the first of them
    ended: bool = False  # the last record was END
    ts: int = 0


class SurveyState(msgspec.Struct):
    """For a checkpoint: `prices` is how long prices.csv was. Gaps are int64, as bytes, by slot."""

    counts: Counts
    prices: Place
    gaps: dict[int, bytes]
    last_ts: dict[int, int]


class Survey:
    """Follows a run's recorded tape. Owns prices.csv and a cursor. Raises OSError."""

    def __init__(self, folder: Path, state: SurveyState | None = None) -> None:
        self._prices = Rolling(folder, "prices", ".csv", NO_LIMIT, 1, lambda: b"epoch,ts,symbol,price\n")
        state = state or SurveyState(Counts(), Place(0, 0), {}, {})
        self._prices.rewind(state.prices)
        self.counts = state.counts
        self._gaps = {slot: np.frombuffer(gaps, np.int64) for slot, gaps in state.gaps.items()}
        self._last_ts = dict(state.last_ts)
        self._tape = TapeCursor(folder, self.counts.next_seq)

    def state(self) -> SurveyState:
        """Everything, for a checkpoint."""
        gaps = {slot: gaps.tobytes() for slot, gaps in self._gaps.items()}
        counts = msgspec.structs.replace(self.counts)
        return SurveyState(counts, self._prices.place, gaps, dict(self._last_ts))

    def step(self, names: Sequence[str], below: int, *, final: bool = False) -> bool:
        """Look at what is new before record `below`; False when there was nothing.

        Where only a block's last price counts, whole blocks are looked at, unless this is the end (`final`).
        """
        if self.counts.next_seq >= ALL_BELOW and not final:
            below = below // BLOCK * BLOCK
        elif not final:
            below = min(below, max(ALL_BELOW, below // BLOCK * BLOCK))
        if self.counts.next_seq >= below:
            return False
        tape = self._tape.take(CHUNK, below)
        if len(tape) == CHUNK and tape["seq"][-1] >= ALL_BELOW:
            part = int(np.searchsorted(tape["seq"], tape["seq"][-1] // BLOCK * BLOCK))
            self._tape.back(len(tape) - part)
            tape = tape[:part]
        if not len(tape):
            return False
        epochs = self.counts.epochs + np.cumsum(tape["kind"] == Kind.EPOCH)
        self._write_prices(tape, epochs, names)
        self._count(tape)
        return True

    def _write_prices(self, tape: Records, epochs: npt.NDArray[Any], names: Sequence[str]) -> None:
        ticks = tape["kind"] == Kind.TICK
        tape, epochs = tape[ticks], epochs[ticks]
        if not len(tape):
            return
        seqs, slots = tape["seq"], tape["slot"].astype(np.int64)
        block = np.where(seqs < ALL_BELOW, seqs, seqs // BLOCK * BLOCK)
        order = np.lexsort((seqs, slots, epochs, block))
        same = np.all([np.diff(column[order]) == 0 for column in (block, epochs, slots)], axis=0)
        last = np.sort(order[np.append(~same, True)])
        columns = (epochs, tape["ts"], slots, tape["value"])
        rows = zip(*(column[last].tolist() for column in columns), strict=True)
        lines = [f"{epoch},{ts},{names[slot]},{price!r}\n" for epoch, ts, slot, price in rows]
        self._prices.write("".join(lines).encode())

    def _count(self, tape: Records) -> None:
        counts, kinds, seqs = self.counts, np.bincount(tape["kind"], minlength=8), tape["seq"]
        first, last = int(seqs[0]), int(seqs[-1])
        missed = last + 1 - counts.next_seq - len(tape)
        if missed and counts.first_missed < 0:
            jumps = np.flatnonzero(np.diff(seqs, prepend=counts.next_seq - 1) > 1)
            counts.first_missed = int(seqs[jumps[0] - 1]) + 1 if jumps[0] else min(counts.next_seq, first)
        counts.missed += missed
        counts.next_seq = last + 1
        counts.records += len(tape)
        counts.ticks += int(kinds[Kind.TICK])
        counts.news += int(kinds[Kind.NEWS])
        counts.epochs += int(kinds[Kind.EPOCH])
        counts.gaps += int(kinds[Kind.GAP])
        counts.controls += int(kinds[Kind.CONTROL])
        counts.ended = int(tape["kind"][-1]) == Kind.END
        counts.ts = int(tape["ts"][-1])
        self._note_gaps(tape[tape["kind"] == Kind.TICK])

    def _note_gaps(self, ticks: Records) -> None:
        """Times between a symbol's first ticks; what goes back, into a new epoch, is no gap."""
        slots = ticks["slot"]
        full = [slot for slot, gaps in self._gaps.items() if len(gaps) >= GAPS_KEPT]
        wanted = ~np.isin(slots, full)
        if not wanted.any():
            return
        slots, times = slots[wanted], ticks["ts"][wanted]
        order = np.argsort(slots, kind="stable")
        slots, times = slots[order], times[order]
        edges = np.flatnonzero(np.diff(slots)) + 1
        for own, ts in zip(np.split(slots, edges), np.split(times, edges), strict=True):
            slot = int(own[0])
            gaps = np.diff(ts, prepend=self._last_ts.get(slot, ts[0] + 1))
            known = self._gaps.get(slot, np.empty(0, np.int64))
            self._gaps[slot] = np.concatenate((known, gaps[gaps >= 0]))[:GAPS_KEPT]
            self._last_ts[slot] = int(ts[-1])

    def median_gaps(self, names: Sequence[str]) -> dict[str, int | None]:
        """The median of each symbol's first gaps, ns; None for one with less than two ticks."""
        return {
            names[slot]: int(np.median(gaps)) if len(gaps) else None
            for slot, gaps in sorted(self._gaps.items())
        }

    def close(self) -> None:
        """Close the files."""
        self._tape.close()
        self._prices.close()
