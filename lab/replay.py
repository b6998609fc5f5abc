"""A recorded run, once more: its strategies, as they were, over its tape must make its orders.

    result = replay("runs/20260102-143000-1")
    print(result)                             # same orders, or the first difference

    for step in Replay("runs/20260102-143000-1"):
        print(step.seq, step.request)         # each order as it is made again

Read are tape.bin, journal.bin, control.jsonl and strategies/<version>. Reloads, restarts, an operator's
actions and a killed OrderManager are part of what is replayed; orders of plain clients and by hand are not.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from config import Config, load_config
from lab.history import read_histories
from lab.interrupts import Patience, interruptible
from lab.rehearsal import Difference, Rehearsal, Step
from Recorder import manifest
from Recorder.tables import NotARun
from Recorder.tape_file import Records, TapeCursor
from runtime.reporting import STATUS
from trading_lib.control import read_actions
from trading_lib.engine import Engine

CHUNK: Final = 1 << 14  # records at once …
WATCHED: Final = 1 << 11  # … and when somebody looks on
__all__ = ["Difference", "Replay", "ReplayResult", "Step", "replay"]


class ReplayResult(msgspec.Struct, frozen=True):
    """What a replay found. `orders` counts requests that are the same, cancels too, by strategy.

    `not_replayable` says from which record on the tape cannot be replayed, and why; up to there it was.
    `unsettled` says from which record on an OrderManager killed at the end had made nothing of it: requests are
    compared there, too, but fills are the replay's alone. `unsent` counts requests that a killed host made no
    more; `manual` orders of plain clients and by hand, which are not replayed.
    """

    orders: dict[str, int]
    records: int
    difference: Difference | None = None
    not_replayable: str = ""
    unsettled: str = ""
    unsent: int = 0
    manual: int = 0

    @property
    def same(self) -> bool:
        """Whether everything was replayed, and is the same."""
        return self.difference is None and not self.not_replayable

    def __str__(self) -> str:
        lines = [f"{self.records:,} records; {sum(self.orders.values()):,} requests are the same"]
        if self.unsent:
            lines.append(f"{self.unsent:,} requests a killed host had not sent")
        if self.manual:
            lines.append(f"{self.manual:,} orders of plain clients and by hand are not replayed")
        lines += [said for said in (self.not_replayable, self.unsettled) if said]
        if self.difference is not None:
            lines.append(f"the first difference: {self.difference}")
        return "\n".join(lines)


def replay(run: str | Path) -> ReplayResult:
    """Replay a run as far as it can be. Raises what Replay raises."""
    again = Replay(run)
    for _ in again:
        pass
    return again.result


class Replay:
    """A replay as it goes: iterate once, in the order of the tape; then `result`.

    `look(seq)` is called when all `rehearsals` have processed record `seq`: for each of `stops`, which ascend, and
    some more. It returns False when it has seen enough. `engine` makes the engines.

    Raises NotARun, ConfigError, JournalError, NotATape, StrategyError, OSError.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        stops: Sequence[int] = (),
        look: Callable[[int], bool] | None = None,
        engine: type[Engine] = Engine,
    ) -> None:
        folder = Path(run)
        self._folder = folder
        known = manifest.read(folder)
        if "symbols" not in known or not (folder / "tape.bin").exists():
            raise NotARun(f"{folder}: no manifest.json and tape.bin of a run")
        if not (folder / "journal.bin").exists():
            raise NotARun(f"{folder}: no journal.bin: an evaluation is repeated, not replayed")
        self._names: list[str] = list(known["symbols"])
        self._histories = read_histories(folder)
        config = load_config(folder / "config.json", {})
        self._patience = Patience(config.Strategy.hang_s)
        self.rehearsals = self._rehearsals(config, known, engine)
        self._stops, self._look = stops, look
        self._records = 0
        self._stopped = ""
        self._ended = bool(known.get("ended"))

    def _rehearsals(self, config: Config, known: dict[str, Any], engine: type[Engine]) -> list[Rehearsal]:
        entries = {entry.id: entry for entry in config.Strategy.entries}
        histories = self._histories.strategies
        strange = sorted(histories.keys() - entries.keys())
        if strange:
            raise NotARun(f"{self._folder}: {', '.join(strange)} traded, and is not in config.json")
        actions = read_actions(self._folder / "control.jsonl")
        clean = bool(known.get("ended")) and _saw_everything(self._folder, known["last_seq"] + 1)
        return [
            Rehearsal(
                self._folder,
                config,
                entries[name],
                history,
                self._names,
                actions,
                ended_cleanly=clean,
                patience=self._patience,
                engine=engine,
            )
            for name, history in sorted(histories.items())
        ]

    @property
    def result(self) -> ReplayResult:
        """What was found so far."""
        found = [each.difference for each in self.rehearsals if each.difference is not None]
        return ReplayResult(
            {each.strategy_id: each.same for each in self.rehearsals},
            self._records,
            min(found, key=lambda difference: difference.seq, default=None),
            self._stopped,
            self._unsettled,
            sum(each.unsent for each in self.rehearsals),
            self._histories.manual,
        )

    def __iter__(self) -> Iterator[Step]:
        with interruptible() as interrupted, self._patience.watching():
            yield from self._steps(interrupted)

    def _steps(self, interrupted: threading.Event) -> Iterator[Step]:
        for chunk in self._chunks():
            if interrupted.is_set():
                raise KeyboardInterrupt
            rows: list[Any] = chunk.tolist()
            self._records += len(rows)
            yield from self._in_order([each.step(rows) for each in self.rehearsals])
            if self.result.difference is not None:
                return
            if self._look is not None and not self._look(self._records - 1):
                return
        if self._histories.began_anew and not self._stopped:
            self._stopped = self._from_here("the tape began anew")
        if self._histories.last_seq > self._records and not self._stopped:
            self._stopped = self._from_here("the recorded tape ends there, the journal does not")
        if not self._stopped:
            yield from self._in_order([each.finish() for each in self.rehearsals])

    @property
    def _unsettled(self) -> str:
        horizon = self._histories.horizon
        if not self._ended or self._records <= horizon:
            return ""
        return (
            f"from seq {horizon} on the ledger had made nothing of it: what was filled there is the replay's"
        )

    def _from_here(self, why: str) -> str:
        return f"not replayable: from seq {self._records} ({why})"

    def _in_order(self, steps: list[list[Step]]) -> list[Step]:
        """By record, up to the first difference."""
        difference = self.result.difference
        merged = sorted(
            (step for own in steps for step in own), key=lambda step: (step.seq, step.strategy_id)
        )
        return [step for step in merged if difference is None or step.seq <= difference.seq]

    def _chunks(self) -> Iterator[Records]:
        """The tape from record 0 on, up to the first hole."""
        tape = TapeCursor(self._folder)
        try:
            while len(chunk := tape.take(CHUNK if self._look is None else room(self._stops, self._records))):
                seqs = chunk["seq"]
                holes = np.flatnonzero(seqs != np.arange(self._records, self._records + len(chunk)))
                whole = int(holes[0]) if len(holes) else len(chunk)
                if whole:
                    yield chunk[:whole]
                if whole < len(chunk):
                    self._stopped = self._from_here("records are missing")
                    return
        finally:
            tape.close()


def room(stops: Sequence[int], done: int) -> int:
    """How many records come next, after `done`, where somebody looks on: up to the next of `stops`."""
    following = bisect_left(stops, done)
    return min(WATCHED, stops[following] + 1 - done) if following < len(stops) else WATCHED


def _saw_everything(folder: Path, records: int) -> bool:
    """Whether the Strategy had read the whole tape, and said all it had to say, when the run ended."""
    try:
        status = msgspec.json.decode((folder / STATUS).read_bytes(), type=dict[str, Any])
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    strategy = status.get("parts", {}).get("strategy", {})
    if strategy.get("state") in ("killed", "failed"):  # its last counts are of before
        return False
    lost = strategy.get("counters", {}).get("lost at the end")
    return not lost and not manifest.not_taken(status, records)
