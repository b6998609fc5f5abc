"""A run's folder being written: from the tape, the journal, and what an earlier Recorder of the run has left.

    recording = Recording(folder, config, run_id)
    recording.tape.write(packed)            # first of all: the tape does not wait
    recording.set_names(symbols)
    while recording.step(): ...             # everything else follows from tape.bin and journal.bin
    recording.checkpoint()                  # a second: the manifest, and where to go on after a kill
    recording.finish()

Every file but tape.bin is a function of tape.bin and journal.bin, so a kill at any instant costs nothing:
tables of the journal are made again and found to be there already (`writers.Retraced`); what follows the
tape is cut back to the last checkpoint and goes on from there.
"""

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from config import Config
from OrderManager.journal import JournalCut, JournalError, JournalMissing
from OrderManager.records import Horizon
from Recorder import event_log, journal_feed, manifest, survey
from Recorder.event_log import EventLog, EventLogState
from Recorder.journal_feed import JournalFeed
from Recorder.ledger_rows import Frontier, LedgerRows
from Recorder.survey import Survey, SurveyState
from Recorder.tables import COLUMNS, POSITION
from Recorder.tape_file import RECORD_BYTES, Records, TapeFile, tape_files
from Recorder.writers import replace_file
from trading_lib.models import Kind

STATE: Final = ".recorder"  # the checkpoint, in the run's folder
MB: Final = 1_000_000
PLACES_KEPT: Final = (
    4096  # batches of the tape whose times are known: more than pass between two horizons, or wait
)


class Pieces(NamedTuple):
    """Records to be worked on at once."""

    journal: int
    survey: int
    events: int


LARGE: Final = Pieces(journal_feed.LIMIT, survey.CHUNK, event_log.CHUNK)
SMALL: Final = Pieces(32, 2048, 1024)  # some 0.2 ms each


class RecordingInUse(Exception):
    """A live process records this run."""


class State(msgspec.Struct):
    """The checkpoint."""

    survey: SurveyState
    events: EventLogState


_state: Final = msgspec.msgpack.Decoder(State).decode


class Recording:
    """Owns every file the Recorder writes in one run's folder. Raises RecordingInUse, OSError, NotATape.

    `live`: the run goes on, so that it has neither ended nor been given up.
    """

    def __init__(self, folder: Path, config: Config, run_id: str, *, live: bool = False) -> None:
        section = config.Recorder
        limit = section.rotate_mb * MB
        self.folder = folder
        self.kept = limit * section.keep_files // RECORD_BYTES  # tape records that no rotation deletes
        self._config = config
        with contextlib.ExitStack() as owned:  # if one cannot be opened, the others are closed
            owned.callback(os.close, _lock(folder))
            self.tape = TapeFile(folder, run_id, limit, section.keep_files)
            owned.callback(self.tape.close)
            state = _read_state(folder)
            self._survey = Survey(folder, state.survey if state else None)
            owned.callback(self._survey.close)
            self._events = EventLog(
                folder,
                limit,
                section.keep_files,
                ticks=section.ticks_in_events,
                state=state.events if state else None,
            )
            owned.callback(self._events.close)
            self._owned = owned.pop_all()
        self._rows: LedgerRows | None = None
        self._finished = False  # and the rows' files closed
        self._feed: JournalFeed | None = None
        self._symbols: tuple[str, ...] = ()  # those with a column in equity.csv
        self.journal_fault = ""  # why the journal cannot be followed
        self._places: deque[Frontier] = deque(maxlen=PLACES_KEPT)
        self._epoch_seq = -1
        self._frontier: Frontier | None = None
        before = manifest.read(folder)
        self.names: list[str] = list(before.get("symbols", []))
        self._ended: str | None = None if live else before.get("ended")
        self._stopped: str = "" if live else before.get("stopped", "")
        self._basis = {**manifest.basis(config, run_id), "started": before.get("started") or manifest.now()}
        self._strategies: list[dict[str, str]] = list(before.get("strategies", []))
        self._end: dict[str, int] = {}
        self.note_strategies()

    # -------------------------------------------------------------------------------------------- inputs

    def set_names(self, names: Sequence[str]) -> None:
        """The symbols by slot. To be said before a record of a new one is written."""
        if len(names) > len(self.names):
            self.names = list(names)
            self.checkpoint()

    def write_tape(self, packed: bytes, records: Records) -> None:
        """The next records of the tape, packed and as an array."""
        self.tape.write(packed)
        epochs = records["seq"][records["kind"] == Kind.EPOCH]
        if len(epochs):
            self._epoch_seq = int(epochs[-1])
        self._places.append(Frontier(int(records["seq"][-1]), self._epoch_seq, int(records["ts"][-1])))

    def note_strategies(self) -> None:
        """Keep the strategy files as they are now."""
        for known in manifest.keep_strategies(self._config, self.folder):
            if (entry := msgspec.structs.asdict(known)) not in self._strategies:
                self._strategies.append(entry)

    def note_end(self, status: dict[str, Any]) -> None:
        """The system's last status: what only its parts have counted."""
        reasons = manifest.end_reasons(status, self.tape.next_seq)
        self._end = {what: count for what, count in reasons.items() if count}

    # ---------------------------------------------------------------------------------------- following

    def step(self, *, final: bool = False, rest: Callable[[], object] | None = None) -> bool:
        """A bounded piece of work; False when there was none. `final`: nothing more will come.

        With `rest` it is a small piece, and `rest()` is called between its parts.
        """
        most = LARGE if rest is None else SMALL
        rest = rest or (lambda: None)
        below = self.tape.next_seq
        crowded = self._events.crowded(below)
        told = not crowded and self._follow_journal(most.journal)
        heard_out = not crowded and (not told or (self._feed is not None and self._feed.at_end))
        rest()
        survey = self._survey.step(self.names, below, final=final, most=most.survey)
        rest()
        events = self._events.step(
            self.names, below, final=final and not (crowded or told), heard_out=heard_out, most=most.events
        )
        rest()
        return crowded or told or survey or events

    def _follow_journal(self, most: int) -> bool:
        if self.journal_fault:
            return False
        try:
            if self._feed is None:
                self._begin_journal()
            assert self._feed is not None and self._rows is not None
            facts = self._feed.take(most)
        except JournalMissing:
            return False
        except JournalCut:  # what it had not made durable was withdrawn: nobody was told, neither are we
            self._leave_journal()
            return True
        except JournalError as fault:
            self.journal_fault = str(fault)
            return False
        if facts is None:
            return False
        for fact in facts:
            self._rows.take(fact.record)
            self._events.take(fact.record, fact.number, fact.place)
            if isinstance(fact.record, Horizon):
                self._rows.release(fact.record.seq, self._frontier_at(fact.record.seq))
        if self._rows.wider:
            self._symbols = self._rows.wider
            self._leave_journal()
        return True

    def _begin_journal(self) -> None:
        """Read the journal from its first record on; what it gave already is found in the files."""
        feed = JournalFeed(self.folder / "journal.bin")
        if self._rows is not None:
            self._rows.close()
        multipliers = {symbol: each.multiplier for symbol, each in self._config.instruments.items()}
        self._feed = feed
        self._symbols = self._symbols or self._columns()
        self._rows = LedgerRows(self.folder, self._symbols, multipliers)
        self._events.begin_again()

    def _leave_journal(self) -> None:
        """The next step begins it again."""
        assert self._feed is not None
        self._feed.close()
        self._feed = None

    def _columns(self) -> tuple[str, ...]:
        """The symbols of equity.csv: those configured, and others that an earlier Recorder came upon."""
        symbols = dict.fromkeys(self._config.symbols)
        with contextlib.suppress(OSError), (self.folder / "equity.csv").open() as file:
            header = file.readline().rstrip("\n").split(",")
            first, last = len(COLUMNS["equity"][:3]), -len(COLUMNS["equity"][3:])
            symbols |= dict.fromkeys(name.removeprefix(POSITION) for name in header[first:last])
        return tuple(symbols)

    def _frontier_at(self, horizon: int) -> Frontier | None:
        """What is known of the tape before a horizon."""
        places = self._places
        while places and places[0].seq < horizon:
            self._frontier = places.popleft()
        return self._frontier

    @property
    def behind(self) -> int:
        """Tape records that are kept and not yet in events.jsonl."""
        return self.tape.next_seq - self._events.next_seq

    @property
    def source_ended(self) -> bool:
        """Whether the last record says that the source has no more."""
        return self._survey.counts.ended

    # ------------------------------------------------------------------------------------------- keeping

    def checkpoint(self) -> None:
        """Write the manifest, and where a successor goes on."""
        state = State(self._survey.state(), self._events.state())
        replace_file(self.folder / STATE, msgspec.msgpack.encode(state))
        manifest.write(self.folder, self.manifest())

    def give_up(self, why: str) -> None:
        """Nothing more is recorded: say so in the manifest."""
        self._stopped = why
        self.checkpoint()

    def manifest(self) -> dict[str, Any]:
        """What is known of the run now."""
        counts, rows = self._survey.counts, self._rows
        if self._ended:
            counts = manifest.with_lost_end(counts, self._events.horizon)
        files = tape_files(self.folder)
        why_not = manifest.why_not(counts, rows, self._stopped or self.journal_fault, self._end)
        return {
            **self._basis,
            "ended": self._ended,
            "stopped": self._stopped,
            "strategies": self._strategies,
            "comparable": not why_not,
            "why_not": why_not,
            "tape": manifest.tape_status(counts, files[0][0] if files else 0),
            "dropped": {"events out of order": self._events.late} if self._events.late else {},
            **manifest.contents(counts, rows, self._survey.median_gaps(self.names), self.names),
        }

    def status(self) -> dict[str, Any]:
        """For the supervisor."""
        counts = self._survey.counts
        return {
            "tape_seq": self.tape.next_seq,
            "records": counts.records,
            "ticks": counts.ticks,
            "missed": counts.missed,
            "fills": self._rows.fills if self._rows is not None else 0,
            "behind": self.behind,
            "out_of_order": self._events.late,
        }

    def finish(self) -> None:
        """The run is over: write all there is, and say so in the manifest."""
        while self.step(final=True):
            pass
        if self._rows is not None:
            self._rows.finish()
            self._finished = True
        self._ended = self._ended or manifest.now()
        self.checkpoint()

    def close(self) -> None:
        """Let go of the files, whole or not: a successor goes on."""
        if self._feed is not None:
            self._feed.close()
        if self._rows is not None and not self._finished:
            self._rows.close()
        self._owned.close()


def _lock(folder: Path) -> int:
    """A descriptor that keeps others from recording this run; the kernel lets go of a killed holder's."""
    fd = os.open(folder / f"{STATE}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RecordingInUse(f"{folder}: a Recorder is at work") from None
    return fd


def _read_state(folder: Path) -> State | None:
    """None if there is none, or another version's: then everything is made from the tape and the journal again."""
    try:
        return _state((folder / STATE).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None
