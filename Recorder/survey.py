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

from Recorder.tally import Counts, Tally, TallyState
from Recorder.tape_file import Records, TapeCursor
from Recorder.writers import Place, Rolling
from trading_lib.models import Kind

ALL_BELOW: Final = 200_000  # tape records with a row for every tick
BLOCK: Final = 1000  # records a block behind them
CHUNK: Final = 1 << 14  # records at once
assert ALL_BELOW % BLOCK == 0
NO_LIMIT: Final = 1 << 62


class SurveyState(msgspec.Struct):
    """For a checkpoint: `prices` is how long prices.csv was."""

    tally: TallyState
    prices: Place


class Survey:
    """Follows a run's recorded tape. Owns prices.csv and a cursor. Raises OSError."""

    def __init__(self, folder: Path, state: SurveyState | None = None) -> None:
        self._prices = Rolling(folder, "prices", ".csv", NO_LIMIT, 1, lambda: b"epoch,ts,symbol,price\n")
        self._prices.rewind(state.prices if state is not None else Place(0, 0))
        self._tally = Tally(state.tally if state is not None else None)
        self._tape = TapeCursor(folder, self.counts.next_seq)

    def state(self) -> SurveyState:
        """Everything, for a checkpoint."""
        return SurveyState(self._tally.state(), self._prices.place)

    @property
    def counts(self) -> Counts:
        """What was looked at so far."""
        return self._tally.counts

    def median_gaps(self, names: Sequence[str]) -> dict[str, int | None]:
        """See Tally."""
        return self._tally.median_gaps(names)

    def step(self, names: Sequence[str], below: int, *, final: bool = False, most: int = CHUNK) -> bool:
        """Look at what is new before record `below`, up to `most` (2 blocks or more); False when there was nothing.

        Where only a block's last price counts, whole blocks are looked at, unless this is the end (`final`).
        """
        if self.counts.next_seq >= ALL_BELOW and not final:
            below = below // BLOCK * BLOCK
        elif not final:
            below = min(below, max(ALL_BELOW, below // BLOCK * BLOCK))
        if self.counts.next_seq >= below:
            return False
        tape = self._tape.take(most, below)
        if len(tape) == most and tape["seq"][-1] >= ALL_BELOW:
            part = int(np.searchsorted(tape["seq"], tape["seq"][-1] // BLOCK * BLOCK))
            self._tape.back(len(tape) - part)
            tape = tape[:part]
        if not len(tape):
            return False
        epochs = self.counts.epochs + np.cumsum(tape["kind"] == Kind.EPOCH)
        self._write_prices(tape, epochs, names)
        self._tally.take(tape)
        return True

    def _write_prices(self, tape: Records, epochs: npt.NDArray[Any], names: Sequence[str]) -> None:
        ticks = tape["kind"] == Kind.TICK
        tape, epochs = tape[ticks], epochs[ticks]
        if not len(tape):
            return
        seqs, slots = tape["seq"], tape["slot"].astype(np.int64)
        block = np.where(seqs < ALL_BELOW, seqs, seqs // BLOCK * BLOCK)
        groups = ((block - block[0]) * (epochs[-1] - epochs[0] + 1) + epochs - epochs[0]) * len(names) + slots
        last = len(tape) - 1 - np.sort(np.unique(groups[::-1], return_index=True)[1])[::-1]
        columns = (epochs, tape["ts"], slots, tape["value"])
        rows = zip(*(column[last].tolist() for column in columns), strict=True)
        lines = [f"{epoch},{ts},{names[slot]},{price!r}\n" for epoch, ts, slot, price in rows]
        self._prices.write("".join(lines).encode())

    def close(self) -> None:
        """Close the files."""
        self._tape.close()
        self._prices.close()
