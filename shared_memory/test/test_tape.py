"""The tape: every record once and in order, or an exact count of those missed, whoever is killed meanwhile."""

import errno
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_memory.doorbell import Doorbell, bells_name
from shared_memory.layout import (
    CHUNK,
    MAX_BELLS,
    PAGE,
    RECORD,
    RECORD_BYTES,
    STATE,
    STATE_STARTING,
    TAPE_INTENT,
    TAPE_MAGIC,
)
from shared_memory.segment import SHM_DIR, Segment
from shared_memory.tape import NO_FEED, tape_name
from shared_memory.test.actors import (
    RUN_ID,
    actor,
    attached,
    bad_records,
    entry,
    first_words,
    last_line,
    position,
)
from shared_memory_utils import (
    FeedPosition,
    SegmentError,
    SegmentInUse,
    SegmentMissing,
    TapeReader,
    TapeWriter,
    unlink_all,
)
from testing.harness import Process, segment_name, segments, wait_until

CAPACITY = 1 << 12
SMALLEST = 2 * CHUNK
TOO_MUCH = 1 << 40  # bytes; no machine that runs this has so much shared memory
EXAMPLES = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def tape(name: str) -> Iterator[TapeWriter]:
    with closing(TapeWriter.open(name, CAPACITY, RUN_ID)) as tape:
        yield tape


@pytest.fixture
def reader(tape: TapeWriter, name: str) -> Iterator[TapeReader]:
    with closing(TapeReader(name)) as reader:
        yield reader


def append(tape: TapeWriter, count: int, at: FeedPosition | None = None) -> None:
    tape.append([entry(seq) for seq in range(tape.tail, tape.tail + count)], at)


def count(packed: bytes) -> int:
    return len(packed) // RECORD_BYTES


# ------------------------------------------------------------------------------------------ write and read


def test_a_record_is_read_as_it_was_written(tape: TapeWriter, reader: TapeReader) -> None:
    before = time.time_ns()
    append(tape, 1)
    ts, value, due, slot, kind = entry(0)
    ((seq, *fields),) = RECORD.iter_unpack(reader.take())
    booked = fields.pop(3)
    assert (seq, *fields) == (0, ts, value, due, slot, kind)
    assert before <= booked <= time.time_ns()
    assert reader.take() == b""


def test_who_looks_sees_a_record_that_nobody_rings_for(tape: TapeWriter, reader: TapeReader) -> None:
    seen = threading.Event()

    def look() -> None:
        reader.look(time.monotonic_ns() + 60_000_000_000)
        seen.set()

    thread = threading.Thread(target=look)
    thread.start()
    assert not seen.is_set()
    append(tape, 1)
    assert seen.wait(30.0)
    thread.join()
    assert reader.take()


def test_who_looks_for_nothing_gives_up_in_time(reader: TapeReader) -> None:
    reader.look(time.monotonic_ns() + 1000)
    assert reader.take() == b""


@EXAMPLES
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(1, 900)), max_size=40), st.integers(0, 500))
def test_any_batching_gives_every_record_once_and_in_order(
    steps: list[tuple[int, int]], odd_capacity: int
) -> None:
    name = segment_name()
    with ExitStack() as stack:
        tape = stack.enter_context(closing(TapeWriter.open(name, SMALLEST + odd_capacity, RUN_ID)))
        reader = stack.enter_context(closing(TapeReader(name)))
        for size, limit in steps:
            if tape.tail + size - reader.cursor > SMALLEST:
                continue  # overruns have their own test
            append(tape, size)
            first = reader.cursor
            packed = reader.take(limit)
            assert count(packed) == min(limit, tape.tail - first)
            assert bad_records(packed, first) == 0
        while packed := reader.take(100):
            assert bad_records(packed, reader.cursor - count(packed)) == 0
        assert reader.cursor == tape.tail
        assert reader.missed == 0
    assert segments(name) == []


@EXAMPLES
@given(
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=12),
    limit=st.sampled_from([1, 100, 4096, 10**6]),
)
def test_what_was_overwritten_is_counted_exactly_and_reading_resumes_half_a_ring_back(
    sizes: list[int], limit: int
) -> None:
    name = segment_name()
    with ExitStack() as stack:
        tape = stack.enter_context(closing(TapeWriter.open(name, SMALLEST, RUN_ID)))
        reader = stack.enter_context(closing(TapeReader(name)))
        received = 0
        for size in sizes:
            append(tape, size)
            cursor, missed = reader.cursor, reader.missed
            packed = reader.take(limit)
            received += count(packed)
            first = reader.cursor - count(packed)
            if tape.tail - cursor > SMALLEST:
                assert first == tape.tail - SMALLEST // 2
            assert reader.missed - missed == first - cursor
            assert bad_records(packed, first) == 0
            assert received + reader.missed == reader.cursor <= tape.tail
        while packed := reader.take(limit):
            received += count(packed)
        assert received + reader.missed == tape.tail
    assert segments(name) == []


def test_a_late_reader_starts_at_the_head(tape: TapeWriter, name: str) -> None:
    append(tape, 1000)
    with closing(TapeReader(name)) as late:
        assert late.cursor == 1000
        assert late.take() == b""
        append(tape, 3)
        assert bad_records(late.take(), 1000) == 0
        assert (late.cursor, late.missed) == (1003, 0)


def test_one_record_can_be_looked_up_while_it_is_on_the_tape(tape: TapeWriter, reader: TapeReader) -> None:
    append(tape, CAPACITY + 10)
    for seq in (10, 11, CAPACITY, CAPACITY + 9):
        record = reader.record(seq)
        assert record is not None and record[:3] == (seq, entry(seq).ts, entry(seq).value)
    for seq in (-1, 0, 9, CAPACITY + 10):
        assert reader.record(seq) is None
    assert reader.cursor == 0


def test_what_a_chunk_is_about_to_overwrite_is_not_given_out(tape: TapeWriter, reader: TapeReader) -> None:
    """As a reader sees a writer that stands still between its intent and its tail."""
    append(tape, CAPACITY)
    tape.segment.words[TAPE_INTENT] = CAPACITY + 5
    packed = reader.take()
    assert reader.missed == CAPACITY // 2
    assert bad_records(packed, CAPACITY // 2) == 0
    assert reader.record(4) is None
    assert reader.record(5) is not None


def test_the_last_time_and_the_feed_position_are_the_published_tails(tape: TapeWriter) -> None:
    assert tape.last_ts() == 0
    assert tape.position == NO_FEED
    append(tape, 10)
    assert tape.position == NO_FEED
    append(tape, 5, FeedPosition(77, 5))
    assert tape.position == FeedPosition(77, 5)
    append(tape, 2 * CHUNK + 1, FeedPosition(77, 600))
    assert tape.position == FeedPosition(77, 600)
    append(tape, 1)
    assert tape.position == FeedPosition(77, 600)
    assert tape.last_ts() == entry(tape.tail - 1).ts


# ------------------------------------------------------------------------------------- a flat-out writer


@pytest.mark.parametrize("capacity", [SMALLEST, CAPACITY + 1])
def test_readers_of_a_flat_out_writer_get_whole_records_and_exact_counts(
    name: str, tmp_path: Path, capacity: int
) -> None:
    with actor("write_tape", name, tmp_path, capacity) as writer:
        writer.wait_for("generation")
        with closing(TapeReader(name)) as reader:
            first, received, overruns = reader.cursor, 0, 0
            while received < 60_000 or not overruns:
                missed = reader.missed
                packed = reader.take(random.randrange(1, capacity))
                overruns += reader.missed != missed
                received += count(packed)
                assert bad_records(packed, reader.cursor - count(packed)) == 0
                assert received + reader.missed == reader.cursor - first
                if received > 30_000 and not overruns:  # let ourselves be lapped
                    wait_until(lambda: reader.tail > reader.cursor + capacity)
        assert writer.alive
        writer.kill()
    unlink_all(name)


# ------------------------------------------------------------------------------------------------ adoption


def crash(tape: TapeWriter) -> None:
    """What is left when a writer is killed: its mapping and its claim are gone, the names are not."""
    tape.panel.close()
    tape.segment.close()


def test_a_writer_killed_just_before_it_publishes_leaves_the_position_of_what_is_published(name: str) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    for size in (10, 5):
        append(tape, size, position(tape.tail + size))
    for _ in range(3):
        tail = tape.tail
        tape.segment.words[TAPE_INTENT] = tail + 7
        tape._write_checkpoint(tail + 7, position(tail + 7))
        crash(tape)
        tape = TapeWriter.open(name, CAPACITY, RUN_ID)
        assert (tape.tail, tape.position) == (tail, position(tail))
        append(tape, 2, position(tail + 2))
        assert tape.position == position(tail + 2)
    tape.close()


def test_a_dead_writers_tape_of_the_same_run_is_adopted(name: str) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    append(tape, 10, FeedPosition(77, 10))
    with closing(TapeReader(name)) as reader:
        reader.cursor = 0
        crash(tape)
        with closing(TapeWriter.open(name, CAPACITY, RUN_ID)) as heir:
            assert heir.adopted and not tape.adopted
            assert (heir.generation, reader.generation) == (2, 2)
            assert (heir.tail, heir.position, heir.last_ts()) == (10, FeedPosition(77, 10), entry(9).ts)
            append(heir, 10)
            assert bad_records(reader.take(), 0) == 0
            assert (reader.cursor, reader.missed, reader.closed) == (20, 0, False)
        assert reader.closed


def test_without_a_run_a_tape_is_adopted_exactly_when_somebody_follows_it(name: str) -> None:
    crash(TapeWriter.open(name, CAPACITY, None))
    with closing(TapeReader(name)) as reader:
        tape = TapeWriter.open(name, CAPACITY, None)
        assert tape.adopted
        assert tape.run_id == reader.run_id
        crash(tape)
    with closing(TapeWriter.open(name, CAPACITY, None)) as tape:
        assert not tape.adopted
        assert tape.generation == 1


@pytest.mark.parametrize(
    ("capacity", "run_id"), [(CAPACITY, "another-run"), (2 * CAPACITY, RUN_ID), (2 * CAPACITY, None)]
)
def test_a_dead_tape_of_another_run_or_layout_is_replaced_and_its_readers_are_told(
    name: str, capacity: int, run_id: str | None
) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    append(tape, 3)
    with closing(TapeReader(name)) as reader:
        crash(tape)
        with closing(TapeWriter.open(name, capacity, run_id)) as new:
            assert (new.adopted, new.generation, new.tail, new.capacity) == (False, 1, 0, capacity)
            assert reader.closed
            assert reader.tail == 3
            with closing(TapeReader(name)) as next_reader:
                append(new, 1)
                assert bad_records(next_reader.take(), 0) == 0


def test_a_tape_that_was_closed_is_not_adopted(name: str) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    with closing(TapeReader(name)) as reader:
        tape.close()
        assert reader.closed
        with closing(TapeWriter.open(name, CAPACITY, RUN_ID)) as new:
            assert not new.adopted
            assert reader.closed


def test_a_tape_whose_maker_died_before_its_doorbells_is_replaced(name: str) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    tape.segment.words[STATE] = STATE_STARTING
    crash(tape)
    with pytest.raises(SegmentMissing):
        TapeReader(name)
    with closing(TapeWriter.open(name, CAPACITY, RUN_ID)) as new:
        assert not new.adopted
        TapeReader(name).close()


def test_a_tape_without_its_doorbells_is_replaced(name: str) -> None:
    crash(TapeWriter.open(name, CAPACITY, RUN_ID))
    (SHM_DIR / bells_name(tape_name(name))).unlink()
    with closing(TapeWriter.open(name, CAPACITY, RUN_ID)) as new:
        assert not new.adopted


def test_a_live_owners_tape_is_refused_by_pid_and_key(name: str, tmp_path: Path) -> None:
    with actor("write_tape", name, tmp_path, CAPACITY) as writer:
        writer.wait_for("generation")
        for run_id in (RUN_ID, "another-run", None):
            with pytest.raises(SegmentInUse, match=rf"process {writer.pid}\b.*OrderBook\.shared_memory_name"):
                TapeWriter.open(name, CAPACITY, run_id)
        unlink_all(name)
        assert len(segments(name)) == 2
        writer.kill()
    unlink_all(name)


def test_a_stopped_writer_leaves_no_name_and_a_closed_tape(name: str) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    with closing(TapeReader(name)) as reader:
        append(tape, 2)
        tape.close()
        assert segments(name) == []
        assert reader.closed
        assert bad_records(reader.take(), 0) == 0
        assert reader.cursor == reader.tail == 2
        with pytest.raises(SegmentMissing):
            TapeReader(name)


def test_two_that_start_at_once_end_as_one_owner_with_the_doorbells_that_readers_find(
    name: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        rivals = [stack.enter_context(actor("write_tape", name, tmp_path, CAPACITY)) for _ in range(4)]
        wait_until(lambda: sum(not rival.alive for rival in rivals) == 3, "all but one to be refused")
        assert sum("SegmentInUse" in rival.output for rival in rivals) == 3
        (winner,) = (rival for rival in rivals if rival.alive)
        reader = stack.enter_context(closing(wait_until(lambda: attached(name))))
        winner.wait_for("generation")
        seen = reader.cursor = reader.tail
        while reader.tail == seen:
            reader.wait(600.0)  # a lost doorbell would show as a test that ends in its timeout
        winner.kill()
    unlink_all(name)


# --------------------------------------------------------------------------------------------------- kills


def kill_writers(name: str, folder: Path, kills: int, patience: float) -> None:
    """Writers adopt the tape from one another, each killed somewhere in the middle; two readers check it all."""
    with ExitStack() as stack:
        readers: list[Process] = []
        tail = 0
        for generation in range(1, kills + 2):
            with actor("write_tape", name, folder, CAPACITY) as writer:
                said = first_words(writer, patience)
                assert said["generation"] == generation
                assert said["tail"] >= tail
                if not readers:
                    readers += [stack.enter_context(actor("follow_tape", name, folder)) for _ in range(2)]
                    for reader in readers:
                        reader.wait_for("start", patience)
                    tape = Segment.attach(tape_name(name), TAPE_MAGIC)
                    stack.callback(tape.close)
                    probe = stack.enter_context(closing(TapeReader(name)))
                enough = probe.tail + random.randrange(1, 200_000)
                wait_until(lambda: probe.tail > enough, "the writer to get so far", patience)  # noqa: B023
                assert writer.alive, writer.output
                writer.kill()
                tail = probe.tail
        heir = TapeWriter.open(name, CAPACITY, RUN_ID)
        assert heir.position == position(heir.tail)
        assert heir.generation == kills + 2
        heir.close()
        print(f"\n{tail:,} records written, {kills + 1} writers killed")
        for reader in readers:
            assert reader.popen.wait(patience) == 0, reader.output
            facts = last_line(reader)
            print(f"  {facts['received']:,} records read, {facts['missed']:,} missed, {facts['bad']} bad")
            assert facts["bad"] == 0 < facts["received"]
            assert facts["start"] + facts["received"] + facts["missed"] == facts["cursor"] == tail


def test_no_record_is_bad_when_writers_are_killed_and_the_tape_adopted(name: str, tmp_path: Path) -> None:
    kill_writers(name, tmp_path, kills=3, patience=30)


@pytest.mark.chaos
@pytest.mark.timeout(3000)
def test_no_record_is_bad_in_100_kills(name: str, tmp_path: Path) -> None:
    kill_writers(name, tmp_path, kills=120, patience=300)


# ------------------------------------------------------------------------------------------------ doorbells


def test_a_sleeper_wakes_when_it_is_rung(tape: TapeWriter, name: str, tmp_path: Path) -> None:
    with actor("sleep_on_tape", name, tmp_path) as sleeper:
        sleeper.wait_for("ready")
        append(tape, 1)
        tape.ring()
        sleeper.wait_for('"woken": 1')


def test_a_sleeper_wakes_when_the_tape_is_closed(name: str, tmp_path: Path) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    with actor("sleep_on_tape", name, tmp_path) as sleeper:
        sleeper.wait_for("ready")
        tape.close()
        sleeper.wait_for("woken")


def test_a_sleeper_wakes_when_its_dead_tape_is_replaced(name: str, tmp_path: Path) -> None:
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    with actor("sleep_on_tape", name, tmp_path) as sleeper:
        sleeper.wait_for("ready")
        crash(tape)
        with closing(TapeWriter.open(name, CAPACITY, "another-run")):
            sleeper.wait_for("woken")


@pytest.mark.skipif(sys.platform != "linux", reason="without a futex nobody sleeps for longer than 1 ms")
@pytest.mark.parametrize("run_id", [RUN_ID, "another-run"])
def test_a_sleeper_whose_waker_was_killed_on_the_way_is_woken_by_the_successor(
    name: str, tmp_path: Path, run_id: str
) -> None:
    """Killed between taking the flag down and waking: the sleeper is left with no flag up."""
    tape = TapeWriter.open(name, CAPACITY, RUN_ID)
    flag = PAGE // 4
    with actor("sleep_on_tape", name, tmp_path) as sleeper:
        sleeper.wait_for("ready")
        process = psutil.Process(sleeper.pid)
        wait_until(lambda: tape.panel._flags.words[flag] and process.status() == psutil.STATUS_SLEEPING)
        tape.panel._flags.words[flag] = 0
        crash(tape)
        with closing(TapeWriter.open(name, CAPACITY, run_id)) as heir:
            assert heir.adopted == (run_id == RUN_ID)
            sleeper.wait_for("woken")


def test_a_sleeper_burns_no_cpu(tape: TapeWriter, reader: TapeReader) -> None:
    began, used = time.monotonic(), time.thread_time()
    reader.wait(0.3)
    assert time.monotonic() - began >= 0.29
    assert time.thread_time() - used < 0.05


def test_nobody_sleeps_over_what_is_already_there(tape: TapeWriter, reader: TapeReader) -> None:
    append(tape, 1)
    reader.wait(600.0)
    assert count(reader.take()) == 1
    tape.segment.words[STATE] += 1
    reader.wait(600.0)


@pytest.mark.skipif(sys.platform != "linux", reason="claims of a dead process are freed at once on Linux")
def test_a_killed_sleeper_leaves_its_page_to_the_next(tape: TapeWriter, name: str, tmp_path: Path) -> None:
    for _ in range(3):
        with actor("sleep_on_tape", name, tmp_path) as sleeper:
            sleeper.wait_for("ready")
            wait_until(lambda: tape.panel.readers == 1)
            sleeper.kill()
        assert tape.panel.readers == 0
    with closing(TapeReader(name)) as reader:
        append(tape, 1)
        tape.ring()
        assert count(reader.take()) == 1
        assert tape.panel.readers == 1


def test_128_readers_can_sleep_and_one_more_is_refused(tape: TapeWriter, name: str) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_BELLS - 1):
            stack.enter_context(closing(TapeReader(name)))
        with closing(TapeReader(name)):
            assert tape.panel.readers == MAX_BELLS
            with pytest.raises(SegmentError, match="all 128 doorbells"):
                TapeReader(name)
        TapeReader(name).close()
    assert tape.panel.readers == 0


def test_a_reader_misses_nothing_once_its_doorbell_is_seen_to_be_taken(
    tape: TapeWriter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noticed(Doorbell):
        """One whose holder is seen, and written for, before it has returned."""

        def __init__(self, tape_name: str) -> None:
            super().__init__(tape_name)
            assert tape.panel.readers == 1
            append(tape, 1)

    monkeypatch.setattr("shared_memory.tape.Doorbell", Noticed)
    with closing(TapeReader(name)) as reader:
        assert count(reader.take()) == 1


def test_a_ring_between_the_last_look_and_the_sleep_is_not_lost(tape: TapeWriter, reader: TapeReader) -> None:
    def nothing_new() -> bool:
        append(tape, 1)
        tape.ring()
        return True  # what a reader says whose look came just before

    began = time.monotonic()
    reader._bell.wait(600.0, nothing_new)
    assert time.monotonic() - began < 60


def test_no_wake_up_is_lost(name: str, tmp_path: Path) -> None:
    """Ping-pong: each waits for the other's record in one long sleep, so that one lost wake-up ends the test."""
    rounds = 2000
    with ExitStack() as stack:
        ping = stack.enter_context(closing(TapeWriter.open(name, CAPACITY, RUN_ID)))
        other = stack.enter_context(actor("echo", name, tmp_path, rounds))
        other.wait_for("listening")
        back = stack.enter_context(closing(TapeReader(f"{name}.back")))
        wait_until(lambda: ping.panel.readers, "the other side")
        for seq in range(rounds):
            append(ping, 1)
            ping.ring()
            while not (packed := back.take()):
                back.wait(600.0)
            assert bad_records(packed, seq) == 0
        back.close()
        assert other.popen.wait(30) == 0, other.output


# ------------------------------------------------------------------------------------------------- no space


@pytest.mark.skipif(not os.statvfs(SHM_DIR).f_blocks, reason=f"{SHM_DIR} has no limit to run into")
def test_too_little_space_fails_at_once_and_names_the_key(name: str) -> None:
    with pytest.raises(SegmentError, match=r"make OrderBook\.tape_capacity \(\d+\) smaller"):
        TapeWriter.open(name, TOO_MUCH // RECORD_BYTES, RUN_ID)
    assert segments(name) == []


def test_space_that_ends_at_the_doorbells_leaves_no_tape(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def reserve(fd: int, offset: int, size: int) -> None:
        sizes.append(size)
        if len(sizes) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(fd, size)

    monkeypatch.setattr(os, "posix_fallocate", reserve, raising=False)
    with pytest.raises(SegmentError, match="not enough shared memory"):
        TapeWriter.open(name, CAPACITY, RUN_ID)
    assert len(sizes) == 2
    assert segments(name) == []


def test_a_tape_too_small_to_be_read_is_refused(name: str) -> None:
    with pytest.raises(SegmentError, match="at least 512"):
        TapeWriter.open(name, SMALLEST - 1, RUN_ID)
    assert segments(name) == []
