"""The price book: what a handle can do, who owns a segment, whose lock it is."""

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_memory.layout import BOOK_MAGIC, PAGE, SLOT_BYTES, TAPE_MAGIC
from shared_memory.segment import SHM_DIR, Segment, SegmentError, SegmentInUse, SegmentMissing
from shared_memory.test.actors import GO, TALLY, actor
from shared_memory_utils import BookFull, BookSnapshot, SharedPriceBook
from testing.harness import segment_name, segments
from trading_lib.wire import Rejected

EXAMPLES = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
LONGEST = "ABCDEFGHIJKLMNOPQRSTUVWX"  # 24 bytes
TOO_MUCH = 1 << 40  # bytes; no machine that runs this has so much shared memory

symbols = st.text("ABCabc019._/=-^:", min_size=1, max_size=24)
prices = st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False)
seconds = st.floats(1e8, 4e9)


@pytest.fixture
def book(name: str) -> Iterator[SharedPriceBook]:
    with SharedPriceBook(["AAPL", "MSFT"], name, create=True) as book:
        yield book


# ---------------------------------------------------------------------------------- reading and writing


def test_what_is_written_is_read_by_another_handle(book: SharedPriceBook, name: str) -> None:
    book.update("AAPL", 173.2, 1_759_311_000.0)
    with SharedPriceBook(["AAPL"], name) as other:
        assert other.read("AAPL") == (173.2, 1_759_311_000.0)
        book.update("AAPL", 173.3, 1_759_311_001.5)
        assert other.read("AAPL") == (173.3, 1_759_311_001.5)


def test_an_unknown_symbol_and_one_without_a_price_read_as_nothing(book: SharedPriceBook) -> None:
    assert book.read("AAPL") == (None, None)
    assert book.read("NOBODY") == (None, None)
    assert book.read("") == (None, None)


def test_without_a_timestamp_it_is_now(book: SharedPriceBook) -> None:
    before = time.time()
    book.update("AAPL", 1.0)
    _, moment = book.read("AAPL")
    assert moment is not None and before <= moment <= time.time()


@EXAMPLES
@given(seconds, prices)
def test_price_and_float_seconds_come_back_as_they_were(
    book: SharedPriceBook, moment: float, price: float
) -> None:
    book.update("AAPL", price, moment)
    assert book.read("AAPL") == (price, moment)


@EXAMPLES
@given(updates=st.lists(st.tuples(symbols, prices, seconds), max_size=60))
def test_the_book_holds_the_last_update_of_every_symbol(updates: list[tuple[str, float, float]]) -> None:
    own = segment_name()
    with SharedPriceBook(["AAPL"], own, create=True, capacity=64) as book, SharedPriceBook(name=own) as other:
        for symbol, price, moment in updates:
            book.update(symbol, price, moment)
        last = {symbol: (price, moment) for symbol, price, moment in updates}
        assert book.read_all() == other.read_all() == last
        assert {symbol: other.read(symbol) for symbol in last} == last
        assert book.versions().sum() == len(updates)
        assert_snapshot_agrees(book)
        assert_snapshot_agrees(other)
    assert segments(own) == []


def assert_snapshot_agrees(book: SharedPriceBook) -> None:
    """The snapshot, compiled where it can be, and the plain one are the same, and what `read_all` says."""
    snapshot = book.snapshot()
    count = len(snapshot.symbols)
    plain = BookSnapshot(snapshot.symbols, np.empty(count), np.empty(count, np.int64))
    book._gather(count, plain.prices, plain.times)
    known = ~np.isnan(snapshot.prices)
    assert snapshot.symbols == book.symbols
    assert np.array_equal(snapshot.prices, plain.prices, equal_nan=True)
    assert np.array_equal(snapshot.times, plain.times)
    assert {
        symbol: (price, ns / 10**9)
        for symbol, price, ns, there in zip(
            snapshot.symbols, snapshot.prices.tolist(), snapshot.times.tolist(), known, strict=True
        )
        if there
    } == book.read_all()


def test_a_snapshot_says_nan_for_what_never_had_a_price(book: SharedPriceBook) -> None:
    book.update("MSFT", 2.5, 1e9)
    symbols, prices, times = book.snapshot()
    assert symbols == ("AAPL", "MSFT")
    assert np.isnan(prices[0]) and prices[1] == 2.5
    assert times[1] == 10**18


@EXAMPLES
@given(updates=st.lists(st.integers(0, 3), max_size=40))
def test_a_snapshot_takes_the_last_pair_of_however_many_symbols(updates: list[int]) -> None:
    with SharedPriceBook([f"S{n}" for n in range(len(updates))], segment_name(), create=True) as book:
        for slot, times in enumerate(updates):
            for number in range(times):
                book.write_locked(slot, slot + number / 4, 100 * slot + number)
        _, prices, moments = book.snapshot()
        expected = [slot + (times - 1) / 4 if times else np.nan for slot, times in enumerate(updates)]
        assert np.array_equal(prices, expected, equal_nan=True)
        assert moments.tolist() == [
            100 * slot + times - 1 if times else 0 for slot, times in enumerate(updates)
        ]
        assert_snapshot_agrees(book)


def test_a_closed_handle_gives_no_snapshot(book: SharedPriceBook, name: str) -> None:
    other = SharedPriceBook(name=name)
    other.snapshot()
    other.close()
    with pytest.raises(ValueError, match="released"):
        other.snapshot()


def test_size_is_a_page_and_64_bytes_a_symbol(name: str) -> None:
    with SharedPriceBook(["AAPL"], name, create=True, capacity=10) as book:
        assert book.shared_memory_size() == PAGE + 10 * SLOT_BYTES == (SHM_DIR / name).stat().st_size
        assert (book.capacity, book.count) == (10, 1)


# ----------------------------------------------------------------------------------------------- symbols


def test_slots_come_from_the_segment_and_never_from_the_callers_list(
    book: SharedPriceBook, name: str
) -> None:
    book.update("AAPL", 1.0, 1e9)
    book.update("MSFT", 2.0, 1e9)
    with SharedPriceBook(["MSFT", "AAPL"], name) as other:
        assert other.symbols == ("AAPL", "MSFT")
        assert [other.slot(symbol) for symbol in ("AAPL", "MSFT")] == [0, 1]
        assert other.read_all() == {"AAPL": (1.0, 1e9), "MSFT": (2.0, 1e9)}


def test_a_symbol_that_is_not_there_is_an_error_that_names_it(book: SharedPriceBook, name: str) -> None:
    with pytest.raises(SegmentError, match="NVDA"):
        SharedPriceBook(["AAPL", "NVDA"], name)
    assert book.symbols == ("AAPL", "MSFT")


def test_symbols_are_added_while_others_read_until_the_book_is_full(name: str) -> None:
    with SharedPriceBook(["A"], name, create=True, capacity=3) as book, SharedPriceBook(name=name) as other:
        assert other.read("B") == (None, None)
        book.update("B", 2.0, 1e9)
        assert other.read("B") == (2.0, 1e9)
        other.update("C", 3.0, 1e9)
        assert book.read("C") == (3.0, 1e9)
        for handle in (book, other):
            with pytest.raises(BookFull, match="3 symbols"):
                handle.update("D", 4.0)
            assert handle.symbols == ("A", "B", "C")
        book.update("A", 1.5, 1e9)
        assert other.read_all() == {"A": (1.5, 1e9), "B": (2.0, 1e9), "C": (3.0, 1e9)}


def test_more_symbols_than_capacity_are_refused_and_leave_nothing(name: str) -> None:
    with pytest.raises(BookFull, match="room for 1"):
        SharedPriceBook(["A", "B"], name, create=True, capacity=1)
    assert segments(name) == []


def test_a_symbol_named_twice_has_one_slot(name: str) -> None:
    with SharedPriceBook(["A", "B", "A"], name, create=True) as book:
        assert book.symbols == ("A", "B")


def test_symbols_have_up_to_24_bytes(name: str) -> None:
    with SharedPriceBook([LONGEST], name, create=True) as book:
        book.update(LONGEST, 1.5, 1e9)
        book.update("AAPL", 2.5, 1e9)
        with SharedPriceBook(name=name) as other:
            assert other.read_all() == {LONGEST: (1.5, 1e9), "AAPL": (2.5, 1e9)}
        for bad in (LONGEST + "Y", "", "A B", "A,B", "A\0", "Ä"):
            with pytest.raises(Rejected, match="bad symbol"):
                book.update(bad, 1.0)
        assert book.count == 2


# ------------------------------------------------------------------------------------ who may write where


def permissions(name: str) -> set[str]:
    """How this process has mapped a segment."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[1] for line in lines if line.endswith(f"/{name}")}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps is Linux")
def test_a_reader_maps_read_only_until_its_first_update(name: str, tmp_path: Path) -> None:
    with actor("own_book", name, tmp_path) as owner:
        owner.wait_for("owner")
        with SharedPriceBook(["AAPL"], name) as book:
            assert book.read("AAPL") == (173.25, 1_759_311_000.5)
            book.snapshot()
            assert permissions(name) == {"r--s"}
            book.update("AAPL", 1.0, 1e9)
            assert permissions(name) == {"rw-s"}
            assert book.read("AAPL") == (1.0, 1e9)
        owner.kill()
    SharedPriceBook.adopt(name).unlink()


def test_a_book_that_is_not_there_is_missing(name: str) -> None:
    with pytest.raises(SegmentMissing, match=name):
        SharedPriceBook(["AAPL"], name)


def test_a_file_that_is_no_price_book_is_refused_and_left_alone(name: str) -> None:
    path = SHM_DIR / name
    said = rf"{name} is not a segment of this version .*: remove the file .*, or change"
    for content in (b"not ours", b"\0" * (2 * PAGE), TAPE_MAGIC.to_bytes(8, "little") + b"\1" * PAGE):
        path.write_bytes(content)
        for create in (False, True):
            with pytest.raises(SegmentError, match=said):
                SharedPriceBook(["AAPL"], name, create=create)
        assert path.read_bytes() == content
    path.unlink()


# ---------------------------------------------------------------------------------------------- ownership


def test_the_owners_end_removes_the_name_and_a_readers_does_not(name: str) -> None:
    with SharedPriceBook(["AAPL"], name, create=True) as book:
        with SharedPriceBook(["AAPL"], name) as reader:
            assert not reader.closed
        assert segments(name) == [name]
        late = SharedPriceBook(["AAPL"], name)
        book.update("AAPL", 5.0, 1e9)
    assert segments(name) == []
    assert late.closed
    assert late.read("AAPL") == (5.0, 1e9)
    late.close()
    late.close()


def test_whoever_removes_the_name_open_handles_see_it(book: SharedPriceBook, name: str) -> None:
    with SharedPriceBook(name=name) as other:
        other.unlink()
    assert segments(name) == []
    assert book.closed


def test_a_reader_process_that_ends_does_not_destroy_the_segment(name: str, tmp_path: Path) -> None:
    with SharedPriceBook(["AAPL"], name, create=True) as book:
        book.update("AAPL", 173.25, 1e9)
        for _ in range(2):
            with actor("read_book", name, tmp_path) as reader:
                assert reader.popen.wait(30) == 0
                assert json.loads(reader.output) == {"read": [173.25, 1e9]}
        assert segments(name) == [name]
        assert not book.closed


def test_a_live_owners_book_is_refused_by_pid_and_a_dead_owners_replaced(name: str, tmp_path: Path) -> None:
    with actor("own_book", name, tmp_path) as owner:
        owner.wait_for("owner")
        reader = SharedPriceBook(["AAPL"], name)
        with pytest.raises(SegmentInUse, match=rf"process {owner.pid}\b"):
            SharedPriceBook(["X"], name, create=True)
        with pytest.raises(SegmentInUse, match=rf"process {owner.pid}\b"):
            SharedPriceBook.adopt(name)
        assert not reader.closed
        owner.kill()
    check_that_it_is_replaced(reader, name)


def check_that_it_is_replaced(old: SharedPriceBook, name: str) -> None:
    with SharedPriceBook(["X"], name, create=True) as book:
        assert book.symbols == ("X",)
        assert old.closed
        assert old.read("AAPL") == (173.25, 1_759_311_000.5)
        with SharedPriceBook(["X"], name) as other:
            assert other.read_all() == {}
    old.close()


def test_a_dead_owners_book_can_be_adopted_as_it_stands(name: str, tmp_path: Path) -> None:
    with actor("own_book", name, tmp_path) as owner:
        owner.wait_for("owner")
        reader = SharedPriceBook(["AAPL"], name)
        owner.kill()
    with SharedPriceBook.adopt(name) as book:
        assert book.read("AAPL") == (173.25, 1_759_311_000.5)
        book.update("MSFT", 9.0, 1e9)
        assert not reader.closed
        assert reader.read("MSFT") == (9.0, 1e9)
    reader.close()
    with pytest.raises(SegmentMissing):
        SharedPriceBook.adopt(name)


# --------------------------------------------------------------------------------------------------- space


@pytest.mark.skipif(not os.statvfs(SHM_DIR).f_blocks, reason=f"{SHM_DIR} has no limit to run into")
def test_too_little_space_fails_at_once_and_names_the_key(name: str) -> None:
    with pytest.raises(SegmentError, match=r"OrderBook\.symbol_capacity smaller"):
        SharedPriceBook(["AAPL"], name, create=True, capacity=TOO_MUCH // SLOT_BYTES)
    assert segments(name) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM, errno.EFBIG])
def test_every_way_to_run_out_of_space_names_the_key(
    name: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(SegmentError, match=r"1,028,096 bytes wanted.*OrderBook\.symbol_capacity"):
        SharedPriceBook(["AAPL"], name, create=True, capacity=16_000)
    assert segments(name) == []


def test_a_segment_has_no_name_before_it_is_published(name: str) -> None:
    """So that a maker killed halfway leaves nothing."""
    segment = Segment.prepare(name, 2 * PAGE, "key")
    segment.write_header(BOOK_MAGIC, 1, "", 1, 1)
    if sys.platform == "linux":
        assert segments(name) == []
    assert segment.publish(replace=False)
    assert segments(name) == [name]
    rival = Segment.prepare(name, 2 * PAGE, "key")
    assert not rival.publish(replace=False)
    assert rival.publish(replace=True)
    assert segments(name) == [name]
    assert segment.closed and not rival.closed
    segment.unlink()
    assert segments(name) == [name]
    rival.unlink()
    for each in (segment, rival):
        each.close()


# ---------------------------------------------------------------------------------------------------- lock


def test_unrelated_processes_never_lose_a_read_modify_write(name: str, tmp_path: Path) -> None:
    times = 3_000
    with SharedPriceBook([TALLY, GO], name, create=True) as book:
        book.update(TALLY, 0.0)
        with actor("count", name, tmp_path, times) as one, actor("count", name, tmp_path, times) as two:
            one.wait_for("ready")
            two.wait_for("ready")
            book.update(GO, 1.0)
            one.wait_for("done")
            two.wait_for("done")
        assert book.read(TALLY)[0] == 2 * times


def test_a_forked_child_has_a_lock_of_its_own(name: str, tmp_path: Path) -> None:
    times = 3_000
    with SharedPriceBook([TALLY], name, create=True) as book:
        book.update(TALLY, 0.0)
        with actor("count_forked", name, tmp_path, times) as parent:
            parent.wait_for("done")
            assert json.loads(parent.output) == {"done": True}
        assert book.read(TALLY)[0] == 2 * times


def test_a_killed_holders_lock_is_free(name: str, tmp_path: Path) -> None:
    with (
        SharedPriceBook(["AAPL"], name, create=True) as book,
        actor("hold_lock", name, tmp_path) as holder,
    ):
        holder.wait_for("locked")
        with pytest.raises(BlockingIOError):
            fcntl.flock(book.segment.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
        book.update("AAPL", 2.0, 1e9)
        assert book.read("AAPL") == (2.0, 1e9)


def test_readers_need_no_lock(name: str, tmp_path: Path) -> None:
    with (
        SharedPriceBook(["AAPL"], name, create=True) as book,
        actor("hold_lock", name, tmp_path) as holder,
    ):
        book.update("AAPL", 2.0, 1e9)
        holder.wait_for("locked")
        assert book.read("AAPL") == (2.0, 1e9)
        assert book.snapshot().prices.tolist() == [2.0]


def test_two_handles_of_one_process_exclude_each_other(book: SharedPriceBook, name: str) -> None:
    with SharedPriceBook(name=name) as other:
        with book.segment.lock(), pytest.raises(BlockingIOError):
            fcntl.flock(other.segment.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with other.segment.lock():
            pass
