"""What the ledger writes down and whom it tells, in this order: the journal, the disk, then acknowledgements,
reports and events.

    scribe.add(record)                 # buffered
    scribe.tell(client, frames)        # not before it is in the journal
    scribe.commit(desks)               # one write for everything
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from OrderManager import records
from OrderManager.journal import Journal
from OrderManager.lane_desk import LaneDesk
from OrderManager.server import Connection
from OrderManager.syncer import Syncer

LULL_S: Final = 0.0025  # without a request for so long, so that the next will not find us at the disk …
LULL: Final = 2.0  # … and for so many times what an fdatasync takes …
FEW: Final = 16  # … and then with no more than so many, one here holds hardly anybody up, and is told sooner

Publish = Callable[[int, records.JournalRecord], None]


class Scribe:
    """Owns the journal, not the syncer. Without one every fdatasync is waited for here.

    `publish(number, record)` is called for every record once it is in the journal; `counters` are somebody's
    who shows them.
    """

    def __init__(
        self,
        journal: Journal,
        syncer: Syncer | None,
        publish: Publish,
        counters: Counter[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self._urgent = 0  # so many of what was added are to be acknowledged …
        self._lull = False  # … and they came after a lull
        self._syncer = syncer
        self._in_thread = False  # an fdatasync was begun there, and not looked after
        self._needed = 0  # so many records are to be durable, for somebody waits to be told
        self._clock = clock
        self._committed_at = -math.inf  # when the last one of what was urgent ended …
        self._sync_s = 0.0  # … and how long the last fdatasync has taken
        self._publish = publish
        self._counters = counters
        self._batch: list[records.JournalRecord] = []  # not in the journal yet …
        self._payloads: list[bytes] = []  # … encoded
        self._untold: list[tuple[Connection, bytes]] = []  # about what is not in the journal yet

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for a commit."""
        return self._urgent > 0

    def add(self, record: records.JournalRecord) -> None:
        """Have a record in the journal with the next commit."""
        self._batch.append(record)
        self._payloads.append(records.encode(record))

    def add_urgent(self, record: records.JournalRecord) -> None:
        """The same for what somebody waits for an acknowledgement of."""
        if not self._urgent:
            self._lull = self._clock() - self._committed_at > max(LULL_S, LULL * self._sync_s)
        self._urgent += 1
        self.add(record)

    def add_encoded(self, batch: Iterable[records.JournalRecord], payloads: Sequence[bytes]) -> None:
        """The same for several, which somebody has encoded already."""
        self._batch += batch
        self._payloads += payloads

    def tell(self, client: Connection, frames: bytes) -> None:
        """Send frames once all that was added is in the journal."""
        self._untold.append((client, frames))

    def commit(self, desks: Collection[LaneDesk]) -> None:
        """One write for everything; on the disk before any of it is acknowledged. Raises JournalError."""
        batch, journal, first = self._batch, self.journal, 0
        urgent, self._urgent = self._urgent, 0
        if batch:
            first = journal.append_many(self._payloads)
            journal.write()
            if urgent:
                self._needed = journal.next_record
            self._batch, self._payloads = [], []
        for desk in desks:
            desk.note_acknowledgement(self._needed)
        alone = self._lull and 0 < urgent <= FEW
        self._sync(here=alone)
        self.acknowledge(desks)
        if alone:
            os.sched_yield()  # the kernel likes to wake who was told on this processor: it would wait for us
        for client, frames in self._untold:
            client.send(frames)
        self._untold.clear()
        for number, record in enumerate(batch, first):
            self._publish(number, record)
        if urgent:
            self._committed_at = self._clock()

    def _sync(self, *, here: bool) -> None:
        """Have the disk take what is to be acknowledged: here in a lull, in the thread when orders come fast."""
        journal, syncer = self.journal, self._syncer
        if self._in_thread and syncer is not None:
            if not syncer.finished():
                return
            self._end_sync(syncer)
        if self._needed > journal.durable:
            if syncer is None or here:
                self._counters["fdatasync"] += 1
                began = self._clock()
                journal.commit()
                self._sync_s = self._clock() - began
            else:
                self._counters["fdatasync in the thread"] += 1
                syncer.start(journal.begin_sync())
                self._in_thread = True

    def _end_sync(self, syncer: Syncer) -> None:
        self._in_thread = False
        self._sync_s = syncer.took
        self.journal.end_sync(syncer.fault)

    def acknowledge(self, desks: Iterable[LaneDesk]) -> None:
        """Tell everybody what is durable by now."""
        durable = self.journal.durable
        for desk in desks:
            frame = desk.acknowledgement(durable)
            if frame and desk.client is not None:
                desk.client.send(frame)

    def wait_for_disk(self) -> None:
        """Until no fdatasync is under way: of two at once only one would hear of a fault. Raises JournalError."""
        if self._in_thread and self._syncer is not None:
            self._syncer.wait()
            self._end_sync(self._syncer)

    def checkpoint(self, checkpoint: records.Checkpoint) -> None:
        """Everything that was committed, as one record. Raises JournalError."""
        self.wait_for_disk()
        self.journal.checkpoint(records.encode(checkpoint))

    def finish(self, desks: Iterable[LaneDesk]) -> None:
        """Have the disk take all that was committed, and acknowledge it. Raises JournalError."""
        self.wait_for_disk()
        self.journal.commit()
        self.acknowledge(desks)

    def close(self) -> None:
        """Let go of the journal. Raises JournalError; closed anyway."""
        try:
            self.wait_for_disk()  # it holds the file's descriptor
        finally:
            self.journal.close()
