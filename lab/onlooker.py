"""Strategies looked at while they run once more: money, indicators and reasons behind any record of a tape.

    watch(folder, [99, 199], lambda seq, performers: print(seq, performers[0].lane.equity()) or True)

A run is replayed, with the versions that it kept; an evaluation is made again from its own tape, if its files
are still those that it was made of.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from lab.artefacts import SIGN as EVALUATION
from lab.interrupts import interruptible
from lab.like import subject_like
from lab.replay import Replay, room
from lab.trial import Trial
from Recorder import manifest
from Recorder.tables import NotARun
from Recorder.tape_file import TapeCursor
from Strategy.trace import shown
from trading_lib.engine import Engine
from trading_lib.lane import Lane

INDICATORS: Final = 16  # of one strategy, the first it made


class LastReason(dict[str, int]):
    """What `ctx.no_trade` counts in; remembers which reason was the last, and the record it was given at."""

    def __init__(self, at: Callable[[], int]) -> None:
        super().__init__()
        self.last = ""
        self.seq = -1
        self._at = at

    def __setitem__(self, reason: str, times: int) -> None:
        super().__setitem__(reason, times)
        self.last, self.seq = reason, self._at()


class WatchedEngine(Engine):
    """An engine that can say why it did not trade last."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.said = LastReason(lambda: self.at)
        super().__init__(*arguments, reasons=self.said, **named)

    def shown_indicators(self) -> dict[str, Any]:
        """The first INDICATORS of its indicators, each with its latest value: a number, several, or None."""
        values = self.indicator_values()
        return {name: shown(values[name]) for name in islice(values, INDICATORS)}


class Performer(NamedTuple):
    """A strategy that runs once more: its ledger's lane, and its engine, if a host has begun."""

    strategy_id: str
    version: str
    lane: Lane
    engine: Engine | None


See = Callable[[int, Sequence[Performer]], bool]


def watch(folder: Path, stops: Sequence[int], see: See) -> str:
    """Run what a folder holds once more; says why it is not the run, or not to its last record, else ''.

    `see(seq, performers)` is called when everybody has processed record `seq`: for each of `stops`, which ascend,
    and some more. It returns False when it has seen enough. Raises what Replay raises.
    """
    if manifest.read(folder).get(EVALUATION):
        return _watch_evaluation(folder, stops, see)
    replay = Replay(
        folder,
        stops=stops,
        look=lambda seq: see(
            seq, [Performer(r.strategy_id, r.version, r.ledger, r.engine) for r in performers]
        ),
        engine=WatchedEngine,
    )
    performers = replay.rehearsals
    for _ in replay:
        pass
    result = replay.result
    if result.difference is not None:
        return f"a replay differs from the run: {result.difference}"
    return "; ".join(said for said in (result.not_replayable, result.unsettled) if said)


def _watch_evaluation(folder: Path, stops: Sequence[int], see: See) -> str:
    known, subject = manifest.read(folder), subject_like(folder)
    recorded = {each["id"]: each["version"] for each in known["strategies"]}
    versions = {each.id: each.version for each in subject.versions()}
    changed = sorted(name for name, version in versions.items() if recorded.get(name) != version)
    if changed:
        raise NotARun(f"{folder}: the file of {', '.join(changed)} is not what it was then")
    trial = Trial(subject.config, subject.modules(), known["symbols"], versions, WatchedEngine)
    with interruptible() as interrupted, closing(TapeCursor(folder)) as tape:
        done = 0
        while len(chunk := tape.take(room(stops, done))):
            done += len(chunk)
            if int(chunk["seq"][-1]) != done - 1:
                return f"records of its tape are missing before seq {int(chunk['seq'][-1])}"
            trial.step(chunk)
            if interrupted.is_set():
                raise KeyboardInterrupt
            performers = [Performer(e.strategy_id, versions[e.strategy_id], e.lane, e) for e in trial.engines]
            if not see(done - 1, performers):
                break
    return ""
