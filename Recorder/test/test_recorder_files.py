"""What a killed Recorder leaves is gone on with: files that are retraced, rewound, and cut at a whole record."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Recorder.survey import ALL_BELOW, BLOCK, Survey, SurveyState
from Recorder.tape_file import HEADER_BYTES, NotATape, TapeCursor, TapeFile, tape_files
from Recorder.writers import Place, Retraced, Rolling, finished
from shared_memory_utils import RECORD, RECORD_DTYPE
from trading_lib.models import Kind

BIG = 1 << 40


def records(first: int, count: int, kind: Kind = Kind.TICK, slots: int = 3) -> bytes:
    """Packed tape records from seq `first` on, one a millisecond."""
    return b"".join(
        RECORD.pack(seq, seq * 1_000_000, 100.0 + seq % 7, 0, 0, seq % slots, kind)
        for seq in range(first, first + count)
    )


# ---------------------------------------------------------------------------------------------- retraced


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=8), st.integers(0, 100), st.binary(max_size=9))
def test_a_retraced_file_has_what_was_written_whatever_a_kill_left(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], left: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("retraced") / "rows.csv"
    whole = b"".join(pieces)
    path.write_bytes(whole[:left] + torn)
    file = Retraced(path)
    for piece in pieces:
        file.write(piece)
    file.cut()
    file.close()
    assert path.read_bytes() == whole


def test_retracing_touches_nothing_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"one\ntwo\nthree\n")
    file = Retraced(path)
    file.write(b"one\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    file.write(b"two\n2.5\n")
    assert path.read_bytes() == b"one\ntwo\n2.5\n"
    file.close()


# ----------------------------------------------------------------------------------------------- rolling


def contents(folder: Path) -> bytes:
    paths = [*finished(folder, "events", ".jsonl").values(), folder / "events.jsonl"]
    return b"".join(path.read_bytes() for path in paths)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=30), st.data())
def test_a_rolling_file_rewound_to_any_place_goes_on_from_there(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rolling")
    file = Rolling(folder, "events", ".jsonl", 40, 1000)
    places = []
    for piece in pieces:
        places.append(file.place)
        file.write(piece)
    file.close()
    k = data.draw(st.integers(0, len(pieces) - 1))
    file = Rolling(folder, "events", ".jsonl", 40, 1000)
    file.rewind(places[k])
    assert contents(folder) == b"".join(pieces[:k])
    for piece in pieces[k:]:
        file.write(piece)
    file.close()
    assert contents(folder) == b"".join(pieces)


def test_the_oldest_files_are_deleted_and_the_rest_stays_in_order(tmp_path: Path) -> None:
    file = Rolling(tmp_path, "events", ".jsonl", 10, 3)
    for k in range(10):
        file.write(b"%09d\n" % k)
    assert file.place == Place(9, 10)
    file.close()
    assert list(finished(tmp_path, "events", ".jsonl")) == [7, 8]
    assert contents(tmp_path) == b"000000007\n000000008\n000000009\n"


# -------------------------------------------------------------------------------------------------- tape


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 200))
def test_a_tape_cut_at_any_byte_goes_on_behind_its_last_whole_record(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], lost: int
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    tape = TapeFile(folder, "run", 20 * RECORD.size, 1000)
    for size in sizes:
        tape.write(records(tape.next_seq, size))
    total = tape.next_seq
    tape.close()
    last = folder / "tape.bin"
    last.write_bytes(last.read_bytes()[: max(0, last.stat().st_size - lost)])
    tape = TapeFile(folder, "run", 20 * RECORD.size, 1000)
    assert tape.next_seq <= total
    if tape.next_seq < total:
        tape.write(records(tape.next_seq, total - tape.next_seq))
    tape.close()
    assert read_all(folder) == list(range(total))


def read_all(folder: Path, start: int = 0, step: int = 7) -> list[int]:
    cursor = TapeCursor(folder, start)
    seqs: list[int] = []
    while len(chunk := cursor.take(step)):
        seqs += chunk["seq"].tolist()
    cursor.close()
    return seqs


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=8), st.integers(0, 300)
)
def test_a_cursor_begins_at_any_record_also_across_files_and_holes(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]], start: int
) -> None:
    folder = tmp_path_factory.mktemp("cursor")
    tape = TapeFile(folder, "run", 25 * RECORD.size, 1000)
    written: list[int] = []
    for hole, size in parts:
        first = tape.next_seq + hole
        tape.write(records(first, size))
        written += range(first, first + size)
    tape.close()
    assert read_all(folder, start) == [seq for seq in written if seq >= start]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=12))
def test_a_cursor_follows_a_tape_that_is_being_written_from_file_to_file(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("followed")
    tape, cursor = TapeFile(folder, "run", 25 * RECORD.size, 1000), TapeCursor(folder)
    seqs: list[int] = []
    for size, looked_at in [*script, (1, True)]:
        tape.write(records(tape.next_seq, size))
        while looked_at and len(chunk := cursor.take(7)):
            seqs += chunk["seq"].tolist()
    assert seqs == list(range(tape.next_seq))
    cursor.close()
    tape.close()


def test_a_file_says_its_run_and_first_record_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    tape = TapeFile(tmp_path, "run-1", BIG, 4)
    tape.write(records(5, 2))
    tape.close()
    assert tape_files(tmp_path) == [(5, tmp_path / "tape.bin")]
    data = (tmp_path / "tape.bin").read_bytes()
    assert data[HEADER_BYTES:] == records(5, 2)
    (tmp_path / "tape.bin").write_bytes(b"NOTATAPE" + data[8:])
    with pytest.raises(NotATape, match="layout"):
        TapeFile(tmp_path, "run-1", BIG, 4)


# ------------------------------------------------------------------------------------------------ survey


def surveyed(folder: Path, steps: list[int], below: int, state: SurveyState | None = None) -> Survey:
    survey = Survey(folder, state)
    for step in [*steps, below]:
        while survey.step(["A", "B", "C"], min(step, below), final=step == below):
            pass
    return survey


def test_prices_have_every_early_tick_and_later_the_last_of_each_block(tmp_path: Path) -> None:
    tape = TapeFile(tmp_path, "run", BIG, 4)
    total = ALL_BELOW + 2 * BLOCK + 10
    tape.write(records(0, 1, Kind.EPOCH))
    tape.write(records(1, total - 1))
    tape.close()
    surveyed(tmp_path, [], total).close()
    rows = [line.split(",") for line in (tmp_path / "prices.csv").read_text().splitlines()]
    assert rows[0] == ["epoch", "ts", "symbol", "price"]
    seqs = [int(row[1]) // 1_000_000 for row in rows[1:]]
    late = [end - back for end in (ALL_BELOW + BLOCK, ALL_BELOW + 2 * BLOCK, total) for back in (3, 2, 1)]
    assert seqs == [*range(1, ALL_BELOW), *late]
    assert {row[0] for row in rows[1:]} == {"1"}


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), max_size=5), st.integers(0, 5))
def test_a_survey_killed_anywhere_gives_the_same_files_and_counts(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], checkpoint: int
) -> None:
    folder = tmp_path_factory.mktemp("survey")
    tape = TapeFile(folder, "run", 60 * RECORD.size, 1000)
    for first in range(0, 400, 40):
        kinds = [Kind.EPOCH if seq % 97 == 0 else Kind.TICK for seq in range(first, first + 40)]
        tape.write(
            b"".join(records(seq, 1, kind) for seq, kind in zip(range(first, first + 40), kinds, strict=True))
        )
    tape.close()
    stops = sorted(stops)
    survey = Survey(folder)
    state = survey.state()
    for k, stop in enumerate(stops):
        while survey.step(["A", "B", "C"], stop):
            pass
        if k == checkpoint:
            state = survey.state()
    survey.close()  # killed: what was done since the checkpoint is done again
    resumed = surveyed(folder, [], 400, state)
    prices, counts = (folder / "prices.csv").read_bytes(), resumed.counts
    gaps = resumed.median_gaps(["A", "B", "C"])
    resumed.close()
    (folder / "prices.csv").unlink()
    whole = surveyed(folder, [], 400)
    assert (folder / "prices.csv").read_bytes() == prices
    assert (whole.counts, whole.median_gaps(["A", "B", "C"])) == (counts, gaps)
    whole.close()


def test_holes_are_counted_and_the_first_one_is_named(tmp_path: Path) -> None:
    tape = TapeFile(tmp_path, "run", BIG, 4)
    for first in (0, 30, 70):
        tape.write(records(first, 20))
    tape.close()
    survey = surveyed(tmp_path, [], 90)
    assert (survey.counts.records, survey.counts.missed, survey.counts.first_missed) == (60, 30, 20)
    survey.close()


def test_the_record_layout_is_that_of_shared_memory() -> None:
    assert np.frombuffer(records(7, 1), RECORD_DTYPE)["seq"].tolist() == [7]
