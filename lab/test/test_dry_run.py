"""A dry run answers whatever the strategy does: work, raise, loop for ever, or end the process."""

from pathlib import Path

import pytest

from lab.dry_run import DryRun, dry_run
from lab.scaffold import TEMPLATE

QUICK_S = 1.0


def run(folder: Path, source: str, **params: object) -> DryRun:
    file = folder / "strategy.py"
    file.write_text(source)
    return dry_run(file, params, QUICK_S if "while" in source else 15.0)


def test_a_new_strategy_trades_without_an_error(tmp_path: Path) -> None:
    result = run(tmp_path, TEMPLATE.format(name="x"), window=5)
    assert result.fault == ""
    assert result.outcome is not None
    assert result.outcome.ticks == 20_000
    assert result.outcome.orders > 0 and result.outcome.errors == 0
    assert result.us_per_tick > 0


def test_an_exception_is_named_with_its_line_and_every_one_is_counted(tmp_path: Path) -> None:
    result = run(tmp_path, "SYMBOLS = ['ABC']\ndef on_tick(ctx, tick):\n    1 / 0\n")
    assert result.outcome is not None
    assert result.outcome.errors == result.outcome.ticks == 10_000
    assert result.outcome.last_error == "line 3: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def on_tick(ctx, tick):\n    while True:\n        pass\n", "still busy after 1 s"),
        ("x = 1\n", "on_tick(ctx, tick)"),
        ("1 / 0\n", "line 1: ZeroDivisionError"),
        ("import os\nos._exit(0)\n", "the process ended: without a word"),
        ("def init(ctx): ctx.nothing\ndef on_tick(ctx, tick): pass\n", "init: line 1: AttributeError"),
        ("SYMBOLS = ['A B']\ndef on_tick(ctx, tick): pass\n", "symbols[0] = 'A B'"),
    ],
    ids=["loop", "no on_tick", "raises", "exits", "init", "symbol"],
)
def test_what_keeps_a_strategy_from_running_is_said(tmp_path: Path, source: str, fault: str) -> None:
    result = run(tmp_path, source)
    assert result.outcome is None
    assert fault in result.fault


def test_an_endless_loop_is_blamed_on_its_line(tmp_path: Path) -> None:
    result = run(tmp_path, "def on_tick(ctx, tick):\n    n = 0\n    while True:\n        n += 1\n")
    assert result.fault in [f"line {line}: still busy after 1 s" for line in (3, 4)]


def test_what_a_strategy_prints_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    result = run(tmp_path, "def on_tick(ctx, tick):\n    print('{}', flush=True)\n")
    assert result.outcome is not None and result.outcome.ticks == 20_000


def test_a_strategy_is_tried_as_locked_in_as_it_will_run(tmp_path: Path) -> None:
    source = """
import os, socket
def on_tick(ctx, tick):
    for what in (socket.socket, os.fork, lambda: open("made", "w"), lambda: os.kill(os.getppid(), 9)):
        try:
            what()
        except OSError:
            ctx.denied = getattr(ctx, "denied", 0) + 1
    if ctx.denied == 4:
        ctx.place_market_order("BUY", 1)
"""
    result = run(tmp_path, source)
    if result.unenforced or not result.denied_calls:
        pytest.skip(f"this kernel does not lock strategies in: {result.unenforced}")
    assert result.outcome is not None
    assert result.outcome.errors == 0
    assert result.outcome.orders == 1, "something of it was allowed"
    assert result.denied_calls["socket"] == 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["strategy.py"]
