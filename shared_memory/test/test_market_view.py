"""A tape and its price book as one: of one run, or not at all."""

from collections.abc import Iterator

import pytest

from shared_memory_utils import Entry, MarketView, SegmentError, SharedPriceBook, TapeWriter
from testing.harness import segment_name, segments
from trading_lib.models import Kind


@pytest.fixture
def name() -> Iterator[str]:
    made = segment_name()
    yield made
    assert segments(made) == []


@pytest.fixture
def tape(name: str) -> Iterator[TapeWriter]:
    writer = TapeWriter.open(name, 512, "run-1")
    yield writer
    writer.close()


def book_of(name: str, run_id: str) -> SharedPriceBook:
    return SharedPriceBook(["AAPL", "MSFT"], name, create=True, run_id=run_id)


def test_it_begins_at_the_head_and_is_finished_when_all_is_read_and_nothing_follows(name: str) -> None:
    tape = TapeWriter.open(name, 512, "run-1")
    with book_of(name, "run-1") as book:
        tape.append([Entry(1, 1.0, 1, 0, Kind.TICK)])
        with MarketView(name) as view:
            assert (view.run_id, view.lag) == ("run-1", 0)
            tape.append([Entry(2, 2.0, 2, 1, Kind.TICK)] * 3)
            assert (view.lag, view.finished) == (3, False)
            tape.close()
            assert not view.finished
            view.tape.take()
            assert (view.lag, view.finished) == (0, True)
        book.unlink()


@pytest.mark.usefixtures("tape")
def test_without_a_price_book_there_is_no_market(name: str) -> None:
    with pytest.raises(SegmentError):
        MarketView(name)


def test_without_a_tape_there_is_no_market(name: str) -> None:
    with book_of(name, "run-1") as book:
        with pytest.raises(SegmentError):
            MarketView(name)
        book.unlink()


@pytest.mark.usefixtures("tape")
def test_a_tape_and_a_price_book_of_different_runs_are_no_market(name: str) -> None:
    with book_of(name, "run-2") as book:
        with pytest.raises(SegmentError, match="of different runs"):
            MarketView(name)
        book.unlink()
