"""Instants spread over a tape, and the market at each."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.moments import Moment, moments, recorded_records, spread
from Recorder.tape_file import Records, TapeFile
from shared_memory_utils import RECORD_DTYPE
from trading_lib.models import Kind

NAMES = ("A", "B", "C")


@given(st.integers(0, 10**9), st.integers(0, 2000))
def test_places_are_as_even_as_whole_numbers_can_be_and_have_both_ends(total: int, count: int) -> None:
    places = spread(total, count)
    assert len(places) == min(total, count)
    gaps = {b - a for a, b in pairwise(places)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)
    if places:
        assert places[-1] == total - 1
    if len(places) > 1:
        assert places[0] == 0


def tape(folder: Path, rows: Sequence[tuple[int, int, float, int]], per_file: int) -> Records:
    """Recorded (kind, gap in seq, value, slot), with a new file every so many records."""
    records = np.zeros(len(rows), RECORD_DTYPE)
    seq = 0
    for at, (kind, gap, value, slot) in enumerate(rows):
        records[at] = (seq, 1_000 + at, value, 0, 0, slot, kind)
        seq += gap
    file = TapeFile(folder, "run", 96 + per_file * RECORD_DTYPE.itemsize, 1000)
    for record in records:
        file.write(record.tobytes())
    file.close()
    return records


def market_by_hand(records: Records, count: int) -> list[Moment]:
    """One record at a time."""
    prices: dict[str, float] = {}
    epoch, every = 0, []
    for seq, ts, value, _, _, slot, kind in records.tolist():
        if kind == Kind.EPOCH:
            prices, epoch = {}, epoch + 1
        elif kind == Kind.TICK and slot < len(NAMES):
            prices[NAMES[slot]] = value
        every.append(Moment(seq, ts, epoch, (prices.get("C"), prices.get("A"))))
    return [every[place] for place in spread(len(every), count)]


ROWS = st.tuples(
    st.sampled_from([Kind.TICK] * 6 + [Kind.NEWS, Kind.EPOCH, Kind.TIME]),
    st.sampled_from([1, 1, 1, 1, 5]),
    st.floats(0.01, 1e6),
    st.integers(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=60), st.integers(0, 70), st.integers(2, 40))
def test_the_market_is_that_of_going_over_the_tape_record_by_record(
    rows: list[tuple[Kind, int, float, int]], count: int, per_file: int
) -> None:
    with TemporaryDirectory() as name, patch("lab.moments.CHUNK", 7):
        folder = Path(name)
        records = tape(folder, [(int(kind), gap, value, slot) for kind, gap, value, slot in rows], per_file)
        assert recorded_records(folder) == len(records)
        assert moments(folder, NAMES, ["C", "A"], count) == market_by_hand(records, count)


def test_no_more_is_read_once_nobody_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.moments.CHUNK", 4)
    tape(tmp_path, [(Kind.TICK, 1, 2.0, 0)] * 10, 100)
    heard: list[int] = []

    def look(done: int) -> bool:
        heard.append(done)
        return done < 8

    found = moments(tmp_path, NAMES, ["A"], 10, look)
    assert heard == [4, 8]
    assert [moment.seq for moment in found] == list(range(8))
