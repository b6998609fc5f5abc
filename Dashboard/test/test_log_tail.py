"""The end of a log: bounded, whole lines, over rotations, and never anything but a log."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Dashboard.log_tail import LOGS, SCANNED, UnknownLog, Wanted, read_tail, sizes

STAMP = "2026-11-21 07:30:00,123"


def write(folder: Path, text: str, part: str = "gateway") -> Path:
    path = folder / f"{part}.log"
    with path.open("a") as file:
        file.write(text)
    return path


def texts(folder: Path, wanted: Wanted | None = None, after: str = "") -> list[str]:
    return [line.text for line in read_tail(folder, "gateway", wanted or Wanted(), after).lines]


def test_a_line_is_time_level_and_text(tmp_path: Path) -> None:
    write(tmp_path, f"{STAMP} WARNING no data, waiting\n")
    (line,) = read_tail(tmp_path, "gateway", Wanted()).lines
    assert (line.time, line.level, line.text) == (STAMP, "WARNING", "no data, waiting")


def test_what_goes_on_with_a_record_has_its_level(tmp_path: Path) -> None:
    write(tmp_path, f"{STAMP} ERROR   boom\nTraceback\n  line 3\n{STAMP} INFO    fine\n")
    assert texts(tmp_path, Wanted(level="ERROR")) == ["boom", "Traceback", "  line 3"]


def test_only_the_last_lines_and_those_with_the_text_are_given(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"{STAMP} INFO    line {i}\n" for i in range(1000)))
    assert texts(tmp_path, Wanted(count=2)) == ["line 998", "line 999"]
    assert texts(tmp_path, Wanted(text="LINE 12", count=3)) == ["line 127", "line 128", "line 129"]


def test_what_comes_later_is_given_once_and_only_in_whole_lines(tmp_path: Path) -> None:
    write(tmp_path, "one\ntw")
    first = read_tail(tmp_path, "gateway", Wanted())
    assert [line.text for line in first.lines] == ["one"]
    assert texts(tmp_path, after=first.at) == []
    write(tmp_path, "o\nthree\n")
    second = read_tail(tmp_path, "gateway", Wanted(), first.at)
    assert [line.text for line in second.lines] == ["two", "three"]
    assert texts(tmp_path, after=second.at) == []


def test_of_a_large_file_only_the_end_is_read_and_it_begins_with_a_whole_line(tmp_path: Path) -> None:
    line = "x" * 99
    write(tmp_path, f"{line}\n" * (3 * SCANNED // 100))
    found = texts(tmp_path, Wanted(count=10**9))
    assert set(found) == {line} and SCANNED - 100 <= 100 * len(found) <= SCANNED


def test_what_was_written_too_fast_to_follow_is_passed_over_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "first\n")
    at = read_tail(tmp_path, "gateway", Wanted()).at
    write(tmp_path, ("y" * 99 + "\n") * (2 * SCANNED // 100))
    tail = read_tail(tmp_path, "gateway", Wanted(count=10**9), at)
    assert tail.skipped + 100 * len(tail.lines) == 100 * (2 * SCANNED // 100)


def test_a_rotated_log_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    path = write(tmp_path, "one\n")
    at = read_tail(tmp_path, "gateway", Wanted()).at
    write(tmp_path, "two\n")
    path.rename(f"{path}.1")
    write(tmp_path, "three\n")
    tail = read_tail(tmp_path, "gateway", Wanted(), at)
    assert [line.text for line in tail.lines] == ["two", "three"] and tail.skipped == 0
    assert texts(tmp_path, after=tail.at) == []


def test_a_log_that_was_emptied_begins_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "one\ntwo\n")
    at = read_tail(tmp_path, "gateway", Wanted()).at
    path.write_text("new\n")
    assert texts(tmp_path, after=at) == ["new"]


def test_no_log_yet_is_no_line(tmp_path: Path) -> None:
    assert texts(tmp_path) == []
    assert sizes(tmp_path) == []
    write(tmp_path, "12345\n")
    assert sizes(tmp_path) == [{"part": "gateway", "bytes": 6}]


@pytest.mark.parametrize(
    "name", ["../gateway", "/etc/passwd", "gateway.log", "gateway/../main", "", "token", "main\0"]
)
def test_nothing_but_the_log_of_a_part_can_be_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownLog):
        read_tail(tmp_path, name, Wanted())


def test_a_link_to_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "gateway.log").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        read_tail(tmp_path, "gateway", Wanted())


def test_a_pipe_in_the_place_of_a_log_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gateway.log")
    assert texts(tmp_path) == []


@given(st.text(max_size=40))
def test_a_place_that_means_nothing_is_the_beginning(after: str) -> None:
    assert read_tail(Path("/nowhere"), LOGS[0], Wanted(), after).lines == []


@given(st.lists(st.integers(0, 30), max_size=12))
def test_however_a_log_is_written_following_it_gives_every_line_once(tmp_path_factory, pieces) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("log")
    whole = "".join(f"line {i}\n" for i in range(60))
    at, found, written = "", [], 0
    for size in pieces:
        write(folder, whole[written : written + size])
        written += size
        tail = read_tail(folder, "gateway", Wanted(), at)
        at = tail.at
        found += [line.text for line in tail.lines]
    assert found == whole[:written].split("\n")[:-1]
