"""What strategies say: rationed, counted, and harmless to whoever reads it."""

import logging
from pathlib import Path

import pytest

from logger import close_logger, get_logger
from Strategy import printed
from Strategy.printed import PRINTS_A_SECOND, WARNINGS_A_SECOND, Printed


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_so_many_lines_a_second_are_logged_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(printed, "time", clock)
    log = get_logger("printed", tmp_path, console=False)
    said = Printed("mine", log)
    for _ in range(3):
        said.take(["hello"] * 150)
        said.warn(logging.WARNING, ["oh"] * 7)
        clock.now += 0.5  # the third is of another second
    close_logger(log)
    text = (tmp_path / "printed.log").read_text()
    assert text.count("mine: hello") == PRINTS_A_SECOND + 150
    assert text.count("WARNING oh") == WARNINGS_A_SECOND + 7
    assert said.dropped == 300 - PRINTS_A_SECOND + 14 - WARNINGS_A_SECOND


def test_nothing_a_strategy_says_is_obeyed_by_a_terminal(tmp_path: Path) -> None:
    log = get_logger("printed", tmp_path, console=False)
    said = Printed("mine", log)
    said.take(["\x1b]0;owned\x07 è ✓ \t|", "\u202e", "\udcff"])
    said.warn(99, ["a\nb\x00"])
    close_logger(log)
    shown = [line[32:] for line in (tmp_path / "printed.log").read_text().splitlines()]
    assert shown == ["mine: \\x1b]0;owned\\x07 è ✓ \t|", "mine: \\u202e", "mine: \\udcff", "a", "b\\x00"]
