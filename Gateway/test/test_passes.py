"""Epochs, ends and time marks: what is put between the records of a source, and where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers import Batch, Passes, TimeMarks
from Gateway.providers.provider import Provider, concatenate, empty_batch, mark, take, ticks
from trading_lib.models import Kind

MS = 1_000_000


class At(Provider):
    """One tick at each of the given times (ns), valued 1, 2, 3 …"""

    symbols, decimals = ("A",), (0,)

    def __init__(self, *times: int) -> None:
        count = len(times)
        self._all = ticks(np.zeros(count, np.int32), np.arange(1, count + 1), np.array(times, np.int64))
        self._at = 0

    def read(self, limit: int) -> Batch:
        self._at += limit
        return self._all.slice(self._at - limit, self._at)

    def restart(self, seed: int | None = None) -> None:  # noqa: ARG002  # the same for every seed
        self._at = 0


class Script(At):
    """The given records."""

    def __init__(self, *records: Batch) -> None:
        super().__init__()
        self._all = concatenate([empty_batch(), *records])


def shown(provider: Provider, count: int = 10_000) -> list[tuple[str, int]]:
    """(kind, time) of the first records."""
    batch = take(provider, count, by=7)
    return [(Kind(kind).name, time) for kind, time in zip(batch.kinds, batch.times.tolist(), strict=True)]


def test_one_pass_is_epoch_records_end() -> None:
    assert shown(Passes(At(5, 8), loop=False)) == [("EPOCH", 5), ("TICK", 5), ("TICK", 8), ("END", 8)]


def test_a_loop_begins_each_pass_with_an_epoch_and_never_ends() -> None:
    one_pass = [("EPOCH", 5), ("TICK", 5), ("TICK", 8)]
    assert shown(Passes(At(5, 8), loop=True), 9) == one_pass * 3


@pytest.mark.parametrize("loop", [True, False])
def test_a_source_without_records_gives_none(loop: bool) -> None:
    provider = Passes(At(), loop)
    assert provider.read(10).size == 0
    assert provider.read(10).size == 0


def test_closing_a_wrapper_closes_its_source() -> None:
    closed: list[str] = []

    class Owner(At):
        def close(self) -> None:
            closed.append("source")

    TimeMarks(Passes(Owner(), loop=False)).close()
    assert closed == ["source"]


@pytest.mark.parametrize(
    ("gap", "marks"),
    [
        (0, []),
        (1, []),
        (10 * MS, []),
        (10 * MS + 1, [10]),
        (20 * MS, [10]),
        (20 * MS + 1, [10, 20]),
        (100 * MS, [10, 20, 40, 80]),
    ],
)
def test_marks_stand_at_doubling_times_strictly_before_the_next_record(gap: int, marks: list[int]) -> None:
    start = 1_735_828_200_000_000_000
    expected = [("TICK", start), *(("TIME", start + ms * MS) for ms in marks), ("TICK", start + gap)]
    assert shown(TimeMarks(At(start, start + gap))) == expected


def test_marks_count_from_the_last_record_again_after_each_record() -> None:
    times = [time // MS for kind, time in shown(TimeMarks(At(0, 25 * MS, 50 * MS))) if kind == "TIME"]
    assert times == [10, 20, 35, 45]


def test_there_are_no_marks_between_epochs_nor_after_the_end() -> None:
    source = Script(
        mark(Kind.EPOCH, 0), At(0, 15 * MS).read(2), mark(Kind.EPOCH, 900 * MS), At(900 * MS).read(1)
    )
    assert shown(TimeMarks(Passes(At(0, 15 * MS), loop=False)))[-1] == ("END", 15 * MS)
    assert [record for record in shown(TimeMarks(source)) if record[0] == "TIME"] == [("TIME", 10 * MS)]


def test_a_loop_back_in_time_has_no_marks_at_the_seam() -> None:
    records = shown(TimeMarks(Passes(At(0, 15 * MS), loop=True)), 9)
    one_pass = [("EPOCH", 0), ("TICK", 0), ("TIME", 10 * MS), ("TICK", 15 * MS)]
    assert records == (one_pass * 3)[:9]


def test_marks_have_neither_symbol_nor_value() -> None:
    source = Script(ticks(np.array([1, 1], np.int32), np.array([7, 7]), np.array([0, 10**18])))
    batch = take(TimeMarks(source), 100)
    is_mark = batch.kinds == Kind.TIME
    assert np.count_nonzero(is_mark) == 37
    assert not batch.symbols[is_mark].any()
    assert not batch.values[is_mark].any()


def by_the_definition(times: list[int]) -> list[tuple[str, int]]:
    """The rule, spelled out one mark at a time."""
    records: list[tuple[str, int]] = []
    for i, time in enumerate(times):
        k = 0
        while i and times[i - 1] + 10 * MS * 2**k < time:
            records.append(("TIME", times[i - 1] + 10 * MS * 2**k))
            k += 1
        records.append(("TICK", time))
    return records


gaps = st.one_of(
    st.integers(0, 30 * MS),
    st.integers(0, 40).flatmap(lambda k: st.integers(10 * MS * 2**k - 1, 10 * MS * 2**k + 1)),
    st.integers(0, 10**15),
)


@given(st.lists(gaps.filter(lambda gap: gap < 2**62), max_size=12))
@settings(deadline=None, max_examples=150)
def test_marks_are_those_of_the_definition(steps: list[int]) -> None:
    times = np.cumsum([0, *steps], dtype=object).tolist()
    times = [time for time in times if time < 2**63]
    assert shown(TimeMarks(At(*times))) == by_the_definition(times)


@given(st.lists(gaps.filter(lambda gap: gap < 10**15), max_size=12), st.lists(st.integers(1, 9), min_size=1))
@settings(deadline=None, max_examples=100)
def test_where_reads_stop_changes_no_mark(steps: list[int], limits: list[int]) -> None:
    times = np.cumsum([0, *steps]).tolist()
    whole = shown(TimeMarks(Passes(At(*times), loop=False)))
    provider = TimeMarks(Passes(At(*times), loop=False))
    pieces: list[tuple[str, int]] = []
    for i in range(10_000):
        batch = provider.read(limits[i % len(limits)])
        if not batch.size:
            break
        pieces += [(Kind(k).name, t) for k, t in zip(batch.kinds, batch.times.tolist(), strict=True)]
    assert pieces == whole
