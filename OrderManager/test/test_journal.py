"""The journal: what was committed is found again whatever happened, and what was not is never made up."""

import contextlib
import errno
import os
import random
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from OrderManager import journal as journal_module
from OrderManager.journal import (
    BUFFER,
    CHUNK,
    Journal,
    JournalCut,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalMissing,
    JournalReader,
    NotAJournal,
)
from OrderManager.journal_format import BLOCK, FIRST_RECORD, HEAD, MAX_PAYLOAD, SLOT_OFFSETS, unpack_slots
from OrderManager.test.journal_actors import RUN_ID, actor, payload, said
from testing.harness import Process, wait_until

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=25)
Record = tuple[int, bytes]


class Recovered(NamedTuple):
    records: list[Record]
    cut: str

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.bin"


@contextlib.contextmanager
def a_path() -> Iterator[Path]:
    """One for each example: `tmp_path` would be shared by all of them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "journal.bin")


def kill(journal: Journal) -> None:
    """What SIGKILL does to it: descriptor and lock are gone, and nothing is tidied up."""
    os.close(journal._fd)
    journal._fd = -1


def recover(path: Path) -> Recovered:
    records: list[Record] = []
    journal = Journal.recover(path, lambda number, payload: records.append((number, payload)))
    kill(journal)
    return Recovered(records, journal.cut)


def write(path: Path, payloads: list[bytes], checkpoints: frozenset[int] = frozenset()) -> bytes:
    """A journal with these records, some of them checkpoints, and its bytes after a kill: not all its zeros."""
    journal = Journal.create(path, RUN_ID)
    for number, each in enumerate(payloads):
        assert number == (journal.checkpoint(each) if number in checkpoints else journal.append(each))
    journal.commit()
    kill(journal)
    os.truncate(path, ends(payloads)[-1] + 64)
    return path.read_bytes()


def ends(payloads: list[bytes]) -> list[int]:
    """The offset behind each record."""
    return list(accumulate((HEAD.size + len(each) for each in payloads), initial=FIRST_RECORD))[1:]


def append(path: Path, *payloads: bytes) -> None:
    journal = Journal.recover(path, lambda *_: None)
    journal.append_many(payloads)
    journal.commit()
    kill(journal)


def fail(fd: int) -> None:
    """An fsync of a bad disk."""
    raise OSError(errno.EIO, "a bad disk")


# ------------------------------------------------------------------------------------------ writing


@settings(deadline=None, max_examples=100)
@given(st.lists(PAYLOADS, max_size=5), st.booleans())
def test_what_was_committed_is_recovered_record_by_record(batches: list[list[bytes]], killed: bool) -> None:
    with a_path() as path:
        journal = Journal.create(path, RUN_ID)
        for batch in batches:
            journal.append_many(batch)
            journal.commit()
        kill(journal) if killed else journal.close()
        assert recover(path) == ([*enumerate(each for batch in batches for each in batch)], "")


def test_records_are_numbered_from_zero_and_on_across_a_recovery(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        assert [journal.append(b"a"), journal.append_many([b"b", b"c"]), journal.append(b"d")] == [0, 1, 3]
        assert journal.next_record == 4
    with Journal.recover(path, lambda *_: None) as journal:
        assert (journal.run_id, journal.durable, journal.append(b"e")) == (RUN_ID, 4, 4)
    assert recover(path).payloads == [b"a", b"b", b"c", b"d", b"e"]


def test_buffered_is_not_written_and_written_is_not_yet_durable(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal, JournalReader(path) as reader:
        journal.append(b"a")
        assert (reader.read(), journal.durable) == ([], 0)
        journal.write()
        assert (reader.read(), journal.durable) == ([(0, b"a")], 0)
        journal.commit()
        assert (reader.read(), journal.durable) == ([], 1)


def test_a_buffer_past_its_bound_is_written_at_once(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal, JournalReader(path) as reader:
        journal.append(bytes(BUFFER // 2))
        assert reader.read() == []
        journal.append(bytes(BUFFER // 2))
        assert [number for number, _ in reader.read()] == [0, 1]
        assert journal.durable == 0
        journal.append(b"in an empty buffer again")
        assert reader.read() == []


def test_a_batch_with_an_empty_payload_is_refused_whole(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        with pytest.raises(ValueError, match="a payload of 0 bytes"):
            journal.append_many([b"a", b""])
        assert journal.append(b"b") == 0
    assert recover(path).payloads == [b"b"]


def test_a_payload_too_long_to_be_read_back_is_refused(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal, pytest.raises(ValueError, match="268,435,457 bytes"):
        journal.append(bytes(MAX_PAYLOAD + 1))


@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_record_as_long_as_a_chunk_of_the_file_is_a_record(path: Path, length: int) -> None:
    with Journal.create(path, RUN_ID) as journal, JournalReader(path) as reader:
        journal.append_many([b"before", bytes(length), b"behind"])
        journal.commit()
        assert path.stat().st_size % CHUNK == 0
        assert reader.read() == [(0, b"before"), (1, bytes(length)), (2, b"behind")]
    assert recover(path).payloads == [b"before", bytes(length), b"behind"]


def test_a_closed_journal_has_no_reserve_left_and_takes_nothing(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        journal.append(b"abc")
    journal.close()
    assert path.stat().st_size == ends([b"abc"])[-1]
    with pytest.raises(JournalError, match="closed"):
        journal.append(b"d")
    append(path, b"d")
    assert recover(path).payloads == [b"abc", b"d"]


# ---------------------------------------------------------------------------------- damage, and its end


@settings(deadline=None, max_examples=200)
@given(st.data(), PAYLOADS)
def test_a_file_cut_anywhere_gives_all_records_before_the_cut(
    data: st.DataObject, payloads: list[bytes]
) -> None:
    with a_path() as path:
        left = write(path, payloads)
        size = data.draw(st.integers(FIRST_RECORD, len(left)), "size")
        path.write_bytes(left[:size])
        whole = [each for each, end in zip(payloads, ends(payloads), strict=True) if end <= size]

        found = recover(path)
        assert found.payloads == whole
        assert bool(found.cut) == (size < ends(payloads)[-1] and size not in {FIRST_RECORD, *ends(payloads)})

        append(path, b"new")
        assert recover(path) == ([*enumerate([*whole, b"new"])], "")


@settings(deadline=None, max_examples=300)
@given(st.data(), PAYLOADS, st.frozensets(st.integers(0, 24), max_size=4), st.integers(1, 255))
def test_a_changed_byte_costs_its_record_and_what_follows_and_no_other(
    data: st.DataObject, payloads: list[bytes], checkpoints: frozenset[int], flip: int
) -> None:
    with a_path() as path:
        changed = bytearray(write(path, payloads, checkpoints))
        at = data.draw(st.integers(FIRST_RECORD, len(changed) - 1), "at")
        changed[at] ^= flip
        path.write_bytes(changed)
        damaged = sum(end <= at for end in ends(payloads))  # the number of the record, or of none
        noted = sorted(number for number in checkpoints if number < len(payloads))[-2:]
        start = max((number for number in noted if number != damaged), default=0)
        left = payloads if start > damaged else payloads[:damaged]

        found = recover(path)
        assert found.records == [*enumerate(left)][start:]
        assert bool(found.cut) == (start <= damaged)
        assert ("COMMITTED RECORDS ARE LOST" in found.cut) == (damaged in noted and start <= damaged)

        append(path, b"new")
        assert recover(path) == ([*enumerate([*left, b"new"])][start:], "")


def test_a_cut_says_how_much_and_why(path: Path) -> None:
    left = bytearray(write(path, [b"first", b"second", b"third"]))
    left[ends([b"first"])[0] + HEAD.size] ^= 1
    path.write_bytes(left)
    assert recover(path).cut == "27 bytes cut behind 1 records: checksum mismatch"


def test_a_record_left_over_behind_a_cut_is_not_taken_for_the_next_one(path: Path) -> None:
    payloads = [b"one", b"two", b"six"]
    left = write(path, payloads)
    first, second, _ = ends(payloads)
    path.write_bytes(left[: second - 1])
    append(path, b"new")  # as long as the one it replaces
    with path.open("r+b") as file:
        file.seek(second)
        file.write(left[second:])  # as a disk that forgot about the cut would have it
    found = recover(path)
    assert found.payloads == [b"one", b"new"]
    assert "checksum mismatch" in found.cut
    assert first < second


def test_a_record_in_another_place_or_of_another_run_is_not_a_record(path: Path, tmp_path: Path) -> None:
    left = write(path, [b"one", b"two", b"six"])
    record = HEAD.size + 3
    ours, others = left[FIRST_RECORD:], tmp_path / "other.bin"
    path.write_bytes(left[:FIRST_RECORD] + ours[:record] + ours[2 * record : 3 * record])
    assert recover(path).payloads == [b"one"]

    with Journal.create(others, "another run"):
        pass
    with others.open("ab") as file:
        file.write(ours)
    assert recover(others).payloads == []


def test_a_cut_journal_is_as_good_as_any_and_has_its_reserve_again(path: Path) -> None:
    left = write(path, [b"one", b"two"])
    path.write_bytes(left[:-65])
    with Journal.recover(path, lambda *_: None) as journal:
        assert path.stat().st_size == ends([b"one"])[0]
        journal.append(b"2")
        journal.commit()
        assert path.stat().st_size == CHUNK
    assert recover(path) == ([(0, b"one"), (1, b"2")], "")


def test_what_a_killed_writer_had_not_committed_is_made_durable_or_not_recovered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(path, RUN_ID)
    journal.append(b"a")
    journal.write()
    kill(journal)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalError, match="cannot be taken over"):
            Journal.recover(path, lambda *_: None)
    assert recover(path) == ([(0, b"a")], "")


def test_what_cannot_be_applied_leaves_the_file_as_it_was_and_unlocked(path: Path) -> None:
    left = write(path, [b"one", b"two"])[:-65]
    path.write_bytes(left)

    def refuse(number: int, payload: bytes) -> None:
        raise LookupError(number)

    with pytest.raises(LookupError):
        Journal.recover(path, refuse)
    assert path.read_bytes() == left
    assert recover(path).payloads == [b"one"]


def test_progress_reaches_the_end_of_the_records(path: Path) -> None:
    payloads = [bytes(1000)] * 2000
    write(path, payloads)
    told: list[tuple[int, int]] = []
    Journal.recover(path, lambda *_: None, lambda done, size: told.append((done, size))).close()
    assert told == sorted(told)
    assert len(told) > 5
    assert told[-1] == (ends(payloads)[-1], ends(payloads)[-1] + 64)


# -------------------------------------------------------------------------------------- checkpoints


def test_recovery_begins_at_the_last_checkpoint(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        journal.append_many([b"a", b"b"])
        assert (journal.since_checkpoint, journal.checkpoint(b"C"), journal.since_checkpoint) == (2, 2, 0)
        journal.append(b"d")
        assert (journal.checkpoint(b"E"), journal.append(b"f"), journal.since_checkpoint) == (4, 5, 1)
    with Journal.recover(path, lambda *_: None) as journal:
        assert journal.since_checkpoint == 1
    assert recover(path).records == [(4, b"E"), (5, b"f")]


def test_a_checkpoint_is_durable_before_a_slot_points_at_it(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        journal.append(b"a")
        journal.checkpoint(b"B")
        assert journal.durable == 2


@pytest.mark.parametrize("slot", SLOT_OFFSETS)
@pytest.mark.parametrize("damage", ["not written", "half written"])
def test_a_kill_while_a_slot_is_written_means_the_checkpoint_before(
    path: Path, slot: int, damage: str
) -> None:
    """One, two or three checkpoints, so that each slot has its turn; then the last one never got its slot."""
    count = 2 if slot == SLOT_OFFSETS[1] else 3
    with Journal.create(path, RUN_ID) as journal:
        for number in range(count):
            before = path.read_bytes()[slot : slot + BLOCK]
            journal.checkpoint(b"checkpoint %d" % number)
            journal.append(b"record")
    data = bytearray(path.read_bytes())
    assert data[slot : slot + BLOCK] != before
    keep = 0 if damage == "not written" else 10
    data[slot + keep : slot + BLOCK] = before[keep:]
    path.write_bytes(data)

    with Journal.recover(path, lambda *_: None) as journal:
        assert journal.since_checkpoint == 3
        assert journal.cut == ""
    last = count - 1
    assert recover(path).payloads == [
        b"checkpoint %d" % (last - 1),
        b"record",
        b"checkpoint %d" % last,
        b"record",
    ]

    with Journal.recover(path, lambda *_: None) as journal:
        journal.checkpoint(b"next")
    assert recover(path).payloads == [b"next"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_after_a_recovery_the_next_checkpoint_leaves_the_last_ones_slot_alone(path: Path, count: int) -> None:
    write(path, [b"checkpoint"] * count, frozenset(range(count)))
    with Journal.recover(path, lambda *_: None) as journal:
        assert journal.checkpoint(b"next") == count
    noted = [slot.number for slot in unpack_slots(path.read_bytes()) if slot]
    assert sorted(noted) == [count - 1, count]


def test_without_a_good_slot_everything_is_handed_over(path: Path) -> None:
    data = bytearray(write(path, [b"a", b"B", b"c", b"D"], frozenset({1, 3})))
    for slot in SLOT_OFFSETS:
        data[slot] ^= 255
    path.write_bytes(data)
    assert recover(path) == ([(0, b"a"), (1, b"B"), (2, b"c"), (3, b"D")], "")


def test_a_lost_first_checkpoint_is_not_counted_from(path: Path) -> None:
    left = write(path, [b"A"], frozenset({0}))
    path.write_bytes(left[:-65])
    with Journal.recover(path, lambda *_: None) as journal:
        assert (journal.next_record, journal.since_checkpoint) == (0, 0)
        assert "COMMITTED RECORDS ARE LOST" in journal.cut


def test_a_record_in_the_place_of_a_lost_checkpoint_is_not_taken_for_one(path: Path) -> None:
    left = write(path, [b"a", b"B"], frozenset({1}))
    path.write_bytes(left[: ends([b"a"])[0]])  # between two records: nothing is torn, but a slot knows more
    assert recover(path) == (
        [(0, b"a")],
        "0 bytes cut behind 1 records: no further record; a checkpoint is among them: COMMITTED RECORDS ARE LOST",
    )
    append(path, b"b")
    assert recover(path) == ([(0, b"a"), (1, b"b")], "")


# ------------------------------------------------------------------------- what is refused, and by whom


def test_a_journal_has_one_writer(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        journal.append(b"a")
        journal.commit()
        with pytest.raises(JournalInUse, match="a live process writes it"):
            Journal.recover(path, lambda *_: None)
        with actor("try_to_recover", path) as other:
            assert wait_until(lambda: said(other)) == {"error": "JournalInUse"}
    with actor("try_to_recover", path) as other:
        assert wait_until(lambda: said(other)) == {"next_record": 1}


def test_a_journal_is_never_created_over_another_one(path: Path, tmp_path: Path) -> None:
    left = write(path, [b"a"])
    with pytest.raises(JournalError, match="File exists") as caught:
        Journal.create(path, RUN_ID)
    assert caught.value.errno == errno.EEXIST
    assert path.read_bytes() == left
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a journal"),
        (b"tick,price\n" * 2000, "not a journal"),
        (b"ALGOJRNL", "not a journal"),
    ],
)
def test_another_file_is_refused_and_left_alone(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    for attempt in (lambda: Journal.recover(path, lambda *_: None), lambda: JournalReader(path)):
        with pytest.raises(NotAJournal, match=why):
            attempt()
    assert path.read_bytes() == content


@pytest.mark.parametrize(("at", "why"), [(8, "layout version 254"), (20, "its header is damaged")])
def test_another_layout_and_a_damaged_header_are_refused(path: Path, at: int, why: str) -> None:
    data = bytearray(write(path, [b"a"]))
    data[at] ^= 255
    path.write_bytes(data)
    with pytest.raises(NotAJournal, match=why):
        Journal.recover(path, lambda *_: None)


def test_a_missing_journal_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(JournalMissing, match="no such journal"):
        JournalReader(tmp_path / "journal.bin")
    with pytest.raises(JournalError, match="Is a directory"):
        Journal.recover(tmp_path, lambda *_: None)
    with pytest.raises(JournalError, match="cannot be made"):
        Journal.create(tmp_path / "nowhere" / "journal.bin", RUN_ID)
    with pytest.raises(ValueError, match="run id of 65 bytes"):
        Journal.create(tmp_path / "journal.bin", "x" * 65)


# ------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("limit", [2 * CHUNK, 2 * CHUNK + 777])  # none of the last write fits, or part of it
def test_a_file_that_cannot_grow_breaks_the_journal_and_loses_nothing_committed(
    path: Path, limit: int
) -> None:
    with actor("write_up_to", path, limit) as writer:
        facts = wait_until(lambda: said(writer))
        assert writer.popen.wait() == 0
    assert facts["errno"] == errno.EFBIG
    assert facts["error"] == f"{path}: cannot be written (File too large)"
    assert facts["refused"] == f"{path}: refused: cannot be written (File too large)"
    assert recover(path) == ([(number, payload(number)) for number in range(facts["durable"])], "")


def test_a_full_disk_is_named_and_so_is_what_could_not_be_withdrawn(path: Path) -> None:
    with Journal.create(path, RUN_ID) as journal:
        end = journal._durable
    full = Path("/dev/full")  # every write says ENOSPC, and it cannot be cut
    with Journal(full, os.open(full, os.O_RDWR), RUN_ID, end) as journal:
        journal.append(b"a")
        with pytest.raises(JournalError) as caught:
            journal.commit()
    assert (caught.value.path, caught.value.errno) == (full, errno.ENOSPC)
    assert str(caught.value).startswith("/dev/full: cannot be written, nor what is not committed withdrawn")


def test_a_failed_fsync_is_never_followed_by_an_acknowledgement(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(path, RUN_ID) as journal, JournalReader(path) as reader:
        journal.append(b"kept")
        journal.commit()
        journal.append(b"written")
        journal.write()
        assert reader.read() == [(0, b"kept"), (1, b"written")]
        journal.append(b"buffered")
        with monkeypatch.context() as patch:
            patch.setattr(journal_module, "_sync_data", fail)
            with pytest.raises(JournalError, match="cannot be made durable"):
                journal.commit()
        for attempt in (
            journal.commit,
            journal.write,
            lambda: journal.append(b"x"),
            lambda: journal.checkpoint(b"x"),
        ):
            with pytest.raises(JournalError, match="refused: cannot be made durable"):
                attempt()
        assert (journal.durable, journal.next_record) == (1, 1)
        with pytest.raises(JournalCut, match="record 1 was read and then withdrawn"):
            reader.read()
    append(path, b"another")
    assert recover(path) == ([(0, b"kept"), (1, b"another")], "")


# ------------------------------------------------------------------------------------------- readers


@settings(deadline=None, max_examples=100)
@given(st.data(), PAYLOADS, st.integers(1, 5))
def test_a_reader_of_a_file_that_grows_by_any_bytes_returns_every_record_once(
    data: st.DataObject, payloads: list[bytes], limit: int
) -> None:
    with a_path() as path:
        left = write(path, payloads)
        sizes = sorted(data.draw(st.lists(st.integers(FIRST_RECORD, len(left)), max_size=8), "sizes"))
        path.write_bytes(left[:FIRST_RECORD])
        found: list[Record] = []
        with JournalReader(path) as reader:
            for size in (*sizes, len(left)):
                with path.open("r+b") as file:
                    file.write(left[:size])
                while some := reader.read(limit):
                    assert len(some) <= limit
                    found += some
                assert len(found) == reader.position == sum(end <= size for end in ends(payloads))
        assert found == [*enumerate(payloads)]


@settings(deadline=None, max_examples=100)
@given(PAYLOADS, st.frozensets(st.integers(0, 24), max_size=4), st.integers(0, 30))
def test_a_reader_begins_at_any_record_also_one_that_is_not_there_yet(
    payloads: list[bytes], checkpoints: frozenset[int], start: int
) -> None:
    with a_path() as path:
        write(path, payloads, checkpoints)
        with JournalReader(path, start) as reader:
            assert reader.position == start
            assert reader.read() == [*enumerate(payloads)][start:]
            append(path, *payloads)
            assert reader.read() == [*enumerate(payloads * 2)][max(start, len(payloads)) :]
            assert reader.position == max(start, 2 * len(payloads))


def test_a_reader_begins_at_the_last_checkpoint(path: Path) -> None:
    write(path, [b"a", b"B", b"c"], frozenset({1}))
    with JournalReader.from_checkpoint(path) as reader:
        assert (reader.run_id, reader.position) == (RUN_ID, 1)
        assert reader.read() == [(1, b"B"), (2, b"c")]
    reader.close()


def test_a_reader_says_when_damage_lies_before_a_checkpoint(path: Path) -> None:
    left = bytearray(write(path, [b"a", b"b", b"C"], frozenset({2})))
    left[ends([b"a"])[0] + HEAD.size] ^= 1
    path.write_bytes(left)
    with JournalReader(path) as reader:
        assert reader.read() == [(0, b"a")]
        with pytest.raises(
            JournalDamaged, match="record 1 is damaged: checksum mismatch, and checkpoint 2 follows"
        ):
            reader.read()


def test_a_reader_is_not_disturbed_by_a_recovery(path: Path) -> None:
    left = write(path, [b"a", b"b"])
    path.write_bytes(left[:-65])
    with JournalReader(path) as reader:
        assert reader.read() == [(0, b"a")]
        append(path, b"c")
        assert reader.read() == [(1, b"c")]
        assert reader.read() == []


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.chaos)])
def test_nothing_committed_is_lost_by_kills_and_a_reader_sees_each_record_once(
    path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    seen = 0

    def follow(reader: JournalReader) -> int:
        nonlocal seen
        for number, each in reader.read():
            assert (number, each) == (seen, payload(seen))
            seen += 1
        return seen

    with contextlib.ExitStack() as stack:
        reader: JournalReader | None = None
        for _ in range(kills):
            writer: Process = stack.enter_context(actor("write_for_ever", path))
            wait_until(lambda writer=writer: said(writer), "the first commit")  # type: ignore[misc]
            reader = reader or stack.enter_context(JournalReader(path))
            goal = seen + chance.randrange(1, 40_000)
            while seen < goal:
                follow(reader)
            writer.kill()

            durable = said(writer)["durable"]
            found = recover(path)
            first, last = found.records[0][0], found.records[-1][0]
            assert found.records == [(number, payload(number)) for number in range(first, last + 1)]
            assert last + 1 >= durable
            while follow(reader) <= last:
                pass
            assert seen == last + 1
