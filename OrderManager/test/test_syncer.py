"""An fdatasync in a thread: nobody is told before it has ended, and nobody waits for it but who is to be told."""

import errno
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from OrderManager import journal as journal_module
from OrderManager import records
from OrderManager import syncer as syncer_module
from OrderManager.journal import Journal, JournalError
from OrderManager.ledger import Ledger
from OrderManager.scribe import FEW, LULL, LULL_S, Scribe
from OrderManager.syncer import Syncer
from OrderManager.test.ledger_room import LOG, Client, Room, Tape, order, tape
from runtime.loop import EventLoop
from testing.harness import wait_until


class Disk:
    """A disk that takes its time: an fdatasync ends when it is let go, and fails if it is told to."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.begun = 0
        self.fault: OSError | None = None

    def sync(self, _: int) -> None:
        self.begun += 1
        self.gate.acquire()
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(syncer_module, "_sync_data", made.sync)
    return made


class BusyRoom(Room):
    """A ledger with a syncer, whose last order was a moment ago."""

    def open(self) -> None:
        super().open()
        self.ledger.close()
        self.syncer = Syncer()
        self.ledger = Ledger(
            self.folder,
            self.market,
            self._make_lane,
            LOG,
            lambda *record: self.published.append(record),
            None,
            self.syncer,
        )

    def told_of(self, client: Client) -> int:
        """How many acknowledgements there have been, after another look."""
        self.ledger.settle()
        return len(client.acknowledged)

    def send_fast(self, client: Client, *inputs: object) -> None:
        self.ledger.scribe._committed_at = time.monotonic() + 60
        self.send(client, *inputs)  # type: ignore[arg-type]


@pytest.fixture
def market() -> Iterator[Tape]:
    with tape() as made:
        yield made


def test_an_order_is_acknowledged_when_the_disk_has_it_and_the_ledger_works_on_meanwhile(
    tmp_path: Path, market: Tape, disk: Disk
) -> None:
    room = BusyRoom(tmp_path, market)
    market.put(*[10.0] * 5)
    client = room.join("sma", number=5)
    room.ledger.settle()
    room.send_fast(client, order(4), 5)
    wait_until(lambda: disk.begun == 1, "the fdatasync to begin")
    market.put(*[10.0] * 5)
    room.send_fast(client, order(8), 10)  # a second one: the ledger is not held up
    assert client.acknowledged == []
    assert client.told == [("4.0", "New"), ("4.0", "Filled")]  # which is in the journal
    disk.gate.release()
    wait_until(lambda: room.told_of(client) == 1, "the first acknowledgement")
    assert client.acknowledged == [(4, 0)]  # and not the second order's: it came after that fdatasync
    disk.gate.release()
    wait_until(lambda: room.told_of(client) == 2, "the second")
    assert client.acknowledged == [(4, 0), (8, 0)]
    assert disk.begun == 2
    disk.gate.release(10)
    room.stop()
    room.syncer.close()


def test_a_disk_that_fails_in_the_thread_acknowledges_nothing_and_breaks_the_journal(
    tmp_path: Path, market: Tape, disk: Disk
) -> None:
    room = BusyRoom(tmp_path, market)
    market.put(*[10.0] * 5)
    client = room.join("sma", number=5)
    room.ledger.settle()
    disk.fault = OSError(errno.EIO, "Input/output error")
    room.send_fast(client, order(4), 5)
    wait_until(lambda: disk.begun == 1, "the fdatasync to begin")
    disk.gate.release(10)
    with pytest.raises(JournalError, match="cannot be made durable"):
        wait_until(lambda: room.told_of(client))
    assert client.acknowledged == []
    assert room.ledger.journal.broken is not None
    room.ledger.close()
    room.market.close()
    room.syncer.close()


def test_what_is_written_while_the_disk_works_is_not_durable_with_it(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "journal.bin", "run") as journal:
        journal.append(b"before")
        journal.begin_sync()
        journal.append(b"meanwhile")
        journal.write()
        journal.end_sync(None)
        assert journal.durable == 1
        journal.commit()
        assert journal.durable == 2


@pytest.mark.parametrize("disk_s", [0.0001, 0.1])
def test_however_slow_the_disk_is_only_the_first_fdatasync_after_a_lull_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_s: float
) -> None:
    now, counters = [100.0], Counter[str]()

    def sync(_: int) -> None:
        now[0] += disk_s

    monkeypatch.setattr(journal_module, "_sync_data", sync)
    monkeypatch.setattr(syncer_module, "_sync_data", lambda _: None)
    syncer = Syncer()
    scribe = Scribe(
        Journal.create(tmp_path / "journal.bin", "run"), syncer, lambda *_: None, counters, lambda: now[0]
    )

    def orders_come(count: int) -> None:
        for _ in range(count):
            scribe.add_urgent(records.Horizon(1))
        scribe.commit(())
        syncer.wait()

    for count in (1, 1, 100, 1):
        orders_come(count)
    assert counters == {"fdatasync": 1, "fdatasync in the thread": 3}
    lull = max(LULL_S, LULL * disk_s) * 1.01
    now[0] += lull
    orders_come(FEW)
    assert counters["fdatasync"] == 2
    now[0] += lull
    orders_come(FEW + 1)
    assert counters == {"fdatasync": 2, "fdatasync in the thread": 4}
    scribe.close()
    syncer.close()


def test_one_slow_fdatasync_does_not_send_every_later_one_to_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, disk_s, counters = [100.0], [0.005], Counter[str]()

    def sync(_: int) -> None:
        now[0] += disk_s[0]

    monkeypatch.setattr(journal_module, "_sync_data", sync)
    monkeypatch.setattr(syncer_module, "_sync_data", sync)
    syncer = Syncer(lambda: now[0])
    journal = Journal.create(tmp_path / "journal.bin", "run")
    scribe = Scribe(journal, syncer, lambda *_: None, counters, lambda: now[0])

    def order_comes() -> None:
        now[0] += LULL_S * 1.01
        scribe.add_urgent(records.Horizon(1))
        scribe.commit(())
        wait_until(lambda: syncer.finished() or not syncer.busy)

    order_comes()
    disk_s[0] = 0.0001
    for _ in range(10):
        order_comes()
    assert counters == {"fdatasync": 9, "fdatasync in the thread": 2}
    scribe.close()
    syncer.close()


def test_the_channel_wakes_a_loop_once_for_each_fdatasync(disk: Disk) -> None:
    syncer, loop = Syncer(), EventLoop()
    woken: list[bool] = []
    loop.add(syncer.channel, lambda _: woken.append(syncer.finished()))
    disk.gate.release()
    syncer.start(0)
    loop.run_once(30.0)
    loop.run_once(0.0)
    assert woken == [True]
    loop.close()
    syncer.close()
