"""The logs: one file and at most one console each, appended to, rotated, whole batches of lines at once."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import logger
from logger import close_logger, get_logger, log_lines

MakeLog = Callable[..., logging.Logger]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR|DEBUG) +(.*)")


@pytest.fixture
def make_log(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeLog]:
    """Loggers of parts that no other test has."""
    made: list[logging.Logger] = []

    def make(part: str = "part", **options: Any) -> logging.Logger:
        made.append(get_logger(f"{part}-{request.node.name}", tmp_path / "logs", **options))
        return made[-1]

    yield make
    for log in made:
        close_logger(log)


def file_of(log: logging.Logger) -> Path:
    (handler,) = (h for h in log.handlers if isinstance(h, logging.FileHandler))
    return Path(handler.baseFilename)


def messages(path: Path) -> list[str]:
    """What a log file holds; every line has its time and level."""
    found = [LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(found)
    return [match[2] for match in found if match is not None]


def test_a_part_writes_to_its_own_file_in_a_folder_that_is_made_for_it(
    make_log: MakeLog, tmp_path: Path
) -> None:
    one, two = make_log("one"), make_log("two")
    one.info("for one")
    two.info("for two – é")
    assert file_of(one).parent == tmp_path / "logs"
    assert messages(file_of(one)) == ["for one"]
    assert messages(file_of(two)) == ["for two – é"]


def test_asked_for_again_there_is_still_one_handler_of_each_kind_and_the_file_is_appended_to(
    make_log: MakeLog,
) -> None:
    for number in range(3):
        log = make_log()
        log.warning("number %d", number)
    assert [type(handler).__name__ for handler in log.handlers] == ["_LogFile", "StreamHandler"]
    assert messages(file_of(log)) == ["number 0", "number 1", "number 2"]


def test_without_a_console_there_is_only_the_file(
    make_log: MakeLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(console=False)
    log.error("only here")
    assert len(log.handlers) == 1
    assert capsys.readouterr() == ("", "")
    assert messages(file_of(log)) == ["only here"]


@pytest.mark.parametrize(
    ("verbosity", "shown", "written"),
    [
        (0, ["a warning"], ["information", "a warning"]),
        (1, ["information", "a warning"], ["information", "a warning"]),
        (2, ["a detail", "information", "a warning"], ["a detail", "information", "a warning"]),
        (3, ["a detail", "information", "a warning"], ["a detail", "information", "a warning"]),
    ],
)
def test_the_console_is_quiet_unless_asked(
    make_log: MakeLog,
    capsys: pytest.CaptureFixture[str],
    verbosity: int,
    shown: list[str],
    written: list[str],
) -> None:
    log = make_log(verbosity=verbosity)
    log.debug("a detail")
    log.info("information")
    log.warning("a warning")
    printed = capsys.readouterr()
    name = log.name.removeprefix("algosim.")
    assert printed.err.splitlines() == [f"{name}: {text}" for text in shown]
    assert printed.out == ""
    assert messages(file_of(log)) == written


def test_a_batch_of_lines_reads_like_lines_logged_one_by_one(
    make_log: MakeLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(verbosity=1)
    log_lines(log, ["one", "two %s", "three\nfour"])
    log.info("five")
    expected = ["one", "two %s", "three", "four", "five"]
    assert messages(file_of(log)) == expected
    name = log.name.removeprefix("algosim.")
    assert capsys.readouterr().err.splitlines() == [f"{name}: {text}" for text in expected]


def test_a_batch_takes_one_time_and_its_level(make_log: MakeLog) -> None:
    log = make_log(console=False)
    log_lines(log, ["one", "two"], logging.WARNING)
    lines = file_of(log).read_text().splitlines()
    assert [line[24:] for line in lines] == ["WARNING one", "WARNING two"]
    assert lines[0][:23] == lines[1][:23]


def test_nothing_to_log_and_lines_below_the_level_write_nothing(make_log: MakeLog) -> None:
    log = make_log(console=False)
    log_lines(log, [])
    log_lines(log, ["a detail"], logging.DEBUG)
    assert not file_of(log).exists()


def test_a_log_that_has_grown_is_rotated_and_old_ones_are_limited(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "FILE_BYTES", 2000)
    monkeypatch.setattr(logger, "FILE_COUNT", 2)
    log = make_log(console=False)
    for number in range(200):
        log_lines(log, [f"number {number}", "x" * 50])
    files = sorted(file_of(log).parent.glob(f"{file_of(log).name}*"))
    assert [file.name.removeprefix(file_of(log).name) for file in files] == ["", ".1", ".2"]
    assert all(file.stat().st_size <= 2000 for file in files)
    assert "number 199" in messages(files[0])


def test_text_that_cannot_be_encoded_is_written_as_well_as_it_can_be(make_log: MakeLog) -> None:
    log = make_log(console=False)
    log.info("half of a pair: \ud800")
    log_lines(log, ["another: \udfff"])
    assert messages(file_of(log)) == ["half of a pair: \\ud800", "another: \\udfff"]


def test_other_loggers_do_not_hear_of_it(make_log: MakeLog, caplog: pytest.LogCaptureFixture) -> None:
    make_log().error("ours alone")
    assert caplog.messages == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_on_a_full_disk_it_says_so_once_and_goes_on(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(console=False)
    file_of(log).symlink_to("/dev/full")
    for _ in range(3):
        log.info("lost")
    printed = capsys.readouterr().err
    assert printed.count("cannot be written (No space left on device): going on without") == 1
    assert "Traceback" not in printed


def test_closed_it_has_no_handlers_left(make_log: MakeLog) -> None:
    log = make_log()
    log.info("something")
    close_logger(log)
    assert log.handlers == []
