"""What is on a tape, counted while it goes by: for the manifest, and for the grid of the metrics."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from Recorder.tape_file import Records
from trading_lib.models import Kind

GAPS_KEPT: Final = 255  # a symbol's first ones: their median is the estimate


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


class TallyState(msgspec.Struct):
    """Everything, for a checkpoint. Gaps are int64, as bytes, by slot."""

    counts: Counts
    gaps: dict[int, bytes]
    last_ts: dict[int, int]


class Tally:
    """Counts, and the times between a symbol's first ticks."""

    def __init__(self, state: TallyState | None = None) -> None:
        state = state or TallyState(Counts(), {}, {})
        self.counts = state.counts
        self._gaps = {slot: np.frombuffer(gaps, np.int64) for slot, gaps in state.gaps.items()}
        self._last_ts = dict(state.last_ts)

    def state(self) -> TallyState:
        """Everything, for a checkpoint."""
        gaps = {slot: gaps.tobytes() for slot, gaps in self._gaps.items()}
        return TallyState(msgspec.structs.replace(self.counts), gaps, dict(self._last_ts))

    def take(self, tape: Records) -> None:
        """The next records of the tape, at least one."""
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
