"""An evaluation's folder: the files of a run, by the Recorder's own writers.

    files = Artefacts(folder, config, columns)
    files.write(records, names, facts)
    manifest = files.finish(names, strategies, reasons)

Nothing of a wall clock and no run id is in any of them: the same evaluation writes the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from config import Config, to_json
from OrderManager.records import JournalRecord
from Recorder import manifest
from Recorder.event_log import EventLog
from Recorder.ledger_rows import Frontier, LedgerRows
from Recorder.manifest import Known
from Recorder.recording import MB
from Recorder.survey import Survey
from Recorder.tally import Tally
from Recorder.tape_file import Records, TapeFile
from trading_lib.metrics import DAY_NS
from trading_lib.models import Kind

SIGN: Final = manifest.EVALUATION  # what an evaluation has written, another one may replace
OWN: Final = (
    "*.csv",
    "*.jsonl",
    "tape*.bin",
    "strategies/*.py",
    "manifest.json",
    "config.json",
    "report.html",
)


class NotEmpty(Exception):
    """A folder that holds something else than an evaluation."""


class Artefacts:
    """Owns every file of one evaluation. Raises OSError, NotEmpty.

    `columns` are the symbols with a column in equity.csv. Without `tape` there are neither tape.bin nor
    prices.csv nor events.jsonl, but of daily data, whose metrics need them; `ticks` are in events.jsonl only
    when asked for.
    """

    def __init__(
        self, folder: Path, config: Config, columns: Sequence[str], *, tape: bool = True, ticks: bool = False
    ) -> None:
        _clear(folder)
        manifest.write(folder, {SIGN: True})  # one that does not finish can be replaced, too
        self.folder = folder
        self._finished = False
        self._config = config
        multipliers = {symbol: each.multiplier for symbol, each in config.instruments.items()}
        self.rows = LedgerRows(folder, columns, multipliers)
        self._tally = Tally()
        self._trace = _Trace(folder, config, ticks=ticks) if tape else None
        self._began = False
        self._epoch_seq = -1

    def write(self, records: Records, names: Sequence[str], facts: Sequence[JournalRecord]) -> None:
        """Some more of the tape, at least one record, and what the lanes have made of it."""
        self._tally.take(records)
        if not self._began and self._trace is None and self._daily(names):
            self._trace = _Trace(self.folder, self._config, ticks=False)
        self._began = True
        if self._trace is not None:
            self._trace.write(records, names, facts)
        for fact in facts:
            self.rows.take(fact)
        epochs = records["seq"][records["kind"] == Kind.EPOCH]
        if len(epochs):
            self._epoch_seq = int(epochs[-1])
        last = int(records["seq"][-1])
        self.rows.release(last + 1, Frontier(last, self._epoch_seq, int(records["ts"][-1])))

    def _daily(self, names: Sequence[str]) -> bool:
        return any((gap or 0) >= DAY_NS for gap in self._tally.median_gaps(names).values())

    def finish(
        self,
        names: Sequence[str],
        facts: Sequence[JournalRecord],
        strategies: Sequence[Known],
        reasons: Mapping[str, int],
    ) -> dict[str, Any]:
        """Write all there is, the last facts too; returns the manifest.

        `reasons`: what keeps it from being comparable, counted.
        """
        for fact in facts:
            self.rows.take(fact)
        self.rows.finish()
        self._finished = True
        if self._trace is not None:
            self._trace.finish(names, facts)
        counts = self._tally.counts
        why_not = manifest.why_not(counts, self.rows, "", reasons)
        found = {
            SIGN: True,
            **{key: value for key, value in manifest.basis(self._config, "").items() if key != "run_id"},
            "strategies": [msgspec.structs.asdict(strategy) for strategy in strategies],
            "comparable": not why_not,
            "why_not": why_not,
            **manifest.contents(counts, self.rows, self._tally.median_gaps(names), names),
        }
        (self.folder / "config.json").write_bytes(to_json(self._config))
        manifest.write(self.folder, found)
        return found

    def close(self) -> None:
        """Let go of the files, whole or not."""
        if not self._finished:
            self.rows.close()
        if self._trace is not None:
            self._trace.close()


class _Trace:
    """tape.bin, and what follows it: events.jsonl and prices.csv."""

    def __init__(self, folder: Path, config: Config, *, ticks: bool) -> None:
        limit, keep = config.Recorder.rotate_mb * MB, config.Recorder.keep_files
        self._tape = TapeFile(folder, "", limit, keep)
        self._events = EventLog(folder, limit, keep, ticks=ticks)
        self._survey = Survey(folder)
        self._facts = 0

    def write(self, records: Records, names: Sequence[str], facts: Sequence[JournalRecord]) -> None:
        self._tape.write(records.tobytes())
        self._take(facts)
        self._events.horizon = self._tape.next_seq
        self._follow(names, final=False)

    def _follow(self, names: Sequence[str], *, final: bool) -> None:
        below = self._tape.next_seq
        while self._survey.step(names, below, final=final):
            pass
        while self._events.step(names, below, final=final):
            pass

    def _take(self, facts: Sequence[JournalRecord]) -> None:
        for number, fact in enumerate(facts, self._facts):
            self._events.take(fact, number, 0)
        self._facts += len(facts)

    def finish(self, names: Sequence[str], facts: Sequence[JournalRecord]) -> None:
        self._take(facts)
        self._follow(names, final=True)

    def close(self) -> None:
        self._tape.close()
        self._survey.close()
        self._events.close()


def _clear(folder: Path) -> None:
    """Make the folder, or take an earlier evaluation out of it. Raises NotEmpty, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and SIGN not in manifest.read(folder):
        raise NotEmpty(f"{folder}: is not empty, and holds no evaluation that could be replaced")
    for pattern in OWN:
        for path in folder.glob(pattern):
            path.unlink()
