"""The Recorder's process: copies the tape to the run's folder, and lets everything else follow from there.

It is in nobody's way: it reads shared memory and files, at a lower priority than the others, and what follows
from the tape may wait while much comes in. What stops it (a full disk above all) stops recording alone,
loudly; trading goes on.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from config import Config
from Recorder.courtesy import Courtesy
from Recorder.recording import MB, Recording, RecordingInUse
from Recorder.tape_file import NotATape
from Recorder.tape_text import TapeText
from runtime.loop import EventLoop, Reminder
from runtime.part import Part
from runtime.run_folder import open_run_folder
from runtime.scheduling import precise_timers
from shared_memory_utils import RECORD_DTYPE, MarketView, SegmentError

COPIED: Final = 1 << 14  # tape records copied at once, at most
COPIES: Final = 32  # of so many before anything else has its turn, when there are that many
IDLE_S: Final = 0.05  # asleep on the tape so long, at most: then the journal is looked at
PAUSE_S: Final = 0.1  # between two rounds when there is work: in larger batches it costs less
REST_S: Final = 0.0001  # between two small pieces of it: see `_rest`
SMALL_PIECES: Final = 64  # in a round: 100,000 ticks and 1,000 orders a second need some 16 …
LARGE_PIECES: Final = 8  # … and then, without a rest, so many: who is behind has other cares
BUSY: Final = 2500  # records copied in one round: of a stream like this …
BUSY_PIECES: Final = 4  # … so much is worked on in a round, the rest when there is time, or at the end …
MOST_BEHIND: Final = 5_000_000  # … unless so many records wait: they take some fifteen seconds at the end
ROUND_S: Final = 0.5  # of work in a round, at most, for who gets hardly a processor
SEARCH_S: Final = 0.05  # between two looks for a tape that is not there
FINISH_S: Final = 0.2  # for what is left when stopping; the rest is for who makes the report


class RecorderProcess:
    """Records one run after another."""

    def __init__(self, part: Part, config: Config) -> None:
        self._part = part
        self._config = config
        self._name = config.OrderBook.shared_memory_name
        self._source: MarketView | None = None
        self._recording: Recording | None = None
        self._status: Mapping[str, Any] = {}
        self._stopped = ""  # why nothing is recorded any more
        self._courtesy = Courtesy(part.log.warning)
        self._reminder = Reminder(
            part.log.warning, f"no tape {self._name!r} (OrderBook.shared_memory_name) for 10 s; still looking"
        )
        self._loop = EventLoop()
        part.watch(self._loop)
        self._taken = Reminder(part.log.warning, "another Recorder records this run; waiting for its end", 1)

    def run(self) -> None:
        """Until told to stop; then write what there is, if the run is over."""
        part = self._part
        while not part.stopping:
            part.check_link()
            if self._source is None and not self._attach():
                time.sleep(SEARCH_S)
            else:
                self._round()
            if part.status_due():
                self._every_second()
        self._leave()
        part.report(self.status())
        self._loop.close()

    def _attach(self) -> bool:
        try:
            source = MarketView(self._name)
        except SegmentError:
            self._reminder.missing()
            return False
        run_id = source.run_id
        if self._part.run_id not in (None, run_id):  # another system's, under the same name
            source.close()
            self._reminder.missing()
            return False
        self._reminder.found()
        self._source = source
        self._stopped = ""
        try:
            folder = open_run_folder(self._config, run_id)
            self._check_space(folder)
            self._recording = Recording(folder, self._config, run_id, live=True)
            self._go_on(source, self._recording)
        except RecordingInUse:
            source.close()
            self._source = None
            self._taken.missing()
            return False
        except (OSError, NotATape) as fault:
            self._stop(fault)
        self._part.ready(f"run {run_id}, from record {source.tape.cursor}")
        self._courtesy.give_way()  # not before: a busy machine would leave it without its kernels for minutes
        return True

    @staticmethod
    def _go_on(source: MarketView, recording: Recording) -> None:
        """Read the tape on from where its copy ends."""
        if recording.tape.next_seq > source.tape.tail:
            raise OSError(f"record {recording.tape.next_seq} is kept already, and the tape has begun anew")
        source.tape.cursor = recording.tape.next_seq
        recording.set_names(source.book.symbols)

    def _round(self) -> None:
        source, recording = self._source, self._recording
        assert source is not None
        if recording is None:  # recording has stopped: wait for the next run
            source.tape.cursor = source.tape.tail
            time.sleep(SEARCH_S)
        else:
            try:
                copied = self._copy(source, recording)
                followed = self._follow(recording, busy=copied >= BUSY)
                if not self._part.stopping:  # then main.py has the say
                    self._courtesy.look(caught_up=followed and source.lag < BUSY)
            except (OSError, NotATape) as fault:
                self._stop(fault)
                return
            if copied or not followed:
                self._loop.run_once(PAUSE_S)  # shorter when it is to stop
            else:
                source.tape.wait(IDLE_S)
        if source.finished:
            self._leave()

    def _follow(self, recording: Recording, *, busy: bool) -> bool:
        """Make of what is copied all that is to be made, or a good piece of it; whether it was all.

        While the system is `busy` it is a small one: whoever wants these files has the time, and no order has.
        """
        few = busy and recording.behind < min(MOST_BEHIND, recording.kept // 2)
        until = time.monotonic() + ROUND_S
        for piece in range(BUSY_PIECES if few else SMALL_PIECES + LARGE_PIECES):
            rest = self._rest if piece < SMALL_PIECES else None
            if self._part.stopping or time.monotonic() > until:
                break
            if not recording.step(rest=rest):
                return True
        return False

    @staticmethod
    def _rest() -> None:
        """Leave the processor with nothing to do for a moment.

        Who waits for the other one is brought here then. While we are at work the kernel does not do that, though
        whoever wakes up on this processor takes it from us.
        """
        time.sleep(REST_S)

    @staticmethod
    def _copy(source: MarketView, recording: Recording) -> int:
        """Take what is on the tape, or a good piece of it; how many records that were."""
        copied = 0
        for _ in range(COPIES):
            packed = source.tape.take(COPIED)
            if not packed:
                break
            recording.set_names(source.book.symbols)
            records = np.frombuffer(packed, RECORD_DTYPE)
            recording.write_tape(packed, records)
            copied += len(records)
        return copied

    def _every_second(self) -> None:
        if self._recording is not None:
            try:
                self._check_space(self._recording.folder)
                self._recording.note_strategies()
                self._recording.checkpoint()
            except OSError as fault:
                self._stop(fault)
        self._part.report(self.status())

    def _check_space(self, folder: Path) -> None:
        """Raises OSError when there is too little room on the disk."""
        least, disk = self._config.Recorder.min_free_mb, os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize // MB
        if free < least:
            raise OSError(f"{free} MB free, and Recorder.min_free_mb is {least}")

    def _stop(self, fault: Exception) -> None:
        """Record nothing more of this run, and have everybody know."""
        self._stopped = str(fault)
        self._part.log.error("RECORDING STOPPED, trading goes on: %s", fault)
        recording, self._recording = self._recording, None
        if recording is None:
            return
        self._status = recording.status()
        try:
            recording.give_up(self._stopped)
        except OSError as again:
            self._part.log.error("and the manifest could not say so: %s", again)
        recording.close()

    def _leave(self) -> None:
        """Let go of the run; when its tape has ended, after all of it is written."""
        source, recording = self._source, self._recording
        if source is not None and recording is not None:
            try:
                self._finish(source, recording)
            except OSError as fault:
                self._stop(fault)
            else:
                self._status = recording.status()
                recording.close()
                self._part.log.info("run %s: %s", source.run_id, self._status)
        if source is not None:
            source.close()
        self._source = self._recording = None

    def _finish(self, source: MarketView, recording: Recording) -> None:
        deadline = time.monotonic() + FINISH_S
        while self._copy(source, recording):
            pass
        while recording.step():
            if self._part.stopping and time.monotonic() > deadline:
                break
        else:
            if source.finished or (self._part.stopping and recording.source_ended):
                recording.finish()
                return
        recording.checkpoint()

    def status(self) -> dict[str, Any]:
        """Counts since the start, for the supervisor."""
        recording, source = self._recording, self._source
        counts = recording.status() if recording is not None else self._status
        lag = source.lag if source is not None else 0
        starved = self._courtesy.starved
        return {
            "stopped": self._stopped,
            "attached": source is not None,
            "lag": lag,
            "starved": starved,
            **counts,
        }


def serve(part: Part, config: Config) -> None:
    """Run the Recorder until it is told to stop."""
    TapeText.warm(part.log.info)
    precise_timers()
    RecorderProcess(part, config).run()
