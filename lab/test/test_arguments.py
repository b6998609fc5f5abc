"""What may be typed: durations, parameters, ranges, globs of strategies; and how it changes a configuration."""

import math
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from config import ROOT, ConfigError, load_config
from lab.arguments import MAX_VALUES, axis, duration, in_project, parameter, strategy_files, strategy_id
from lab.settings import configured, run_changes, strategies_change
from testing.harness import system_config, write_config


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), ("250ms", 0.25), ("7d", 604_800), (" 3 m ", 180)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-3s", "3 weeks", "1e3", "3S", "nan", "1h30m", "٣s"])
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a duration is like"):
        duration(text)


@given(st.floats(1e-3, 1e9), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_positive_number_of_every_unit_is_a_duration(number: float, unit: str) -> None:
    text = f"{number:.6f}"
    assert math.isclose(duration(text + unit), float(text) * duration("1" + unit))


def test_a_parameter_is_json_or_else_text() -> None:
    assert parameter("n=5") == ("n", 5)
    assert parameter("r = 0.5") == ("r", 0.5)
    assert parameter("flag=true") == ("flag", True)
    assert parameter("mode=fast") == ("mode", "fast")
    assert parameter("text=a=b") == ("text", "a=b")


@pytest.mark.parametrize("text", ["n", "=5", "a b=5", "1n=5"])
def test_a_parameter_needs_a_name(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a parameter is like"):
        parameter(text)


def test_a_range_has_its_end_and_no_rounding_errors() -> None:
    assert axis("fast=5:20:5") == ("fast", [5, 10, 15, 20])
    assert axis("fast=5:19:5").values == [5, 10, 15]
    assert axis("down=3:1:-1").values == [3, 2, 1]
    assert axis("k=0.1:0.3:0.1").values == [0.1, 0.2, 0.3]
    assert axis("n=7") == ("n", [7])
    assert axis("mode=a,b").values == ["a", "b"]


@given(st.integers(-1000, 1000), st.integers(1, 50), st.integers(0, 200))
def test_a_range_is_from_to_step(start: int, step: int, count: int) -> None:
    found = axis(f"n={start}:{start + step * count}:{step}").values
    assert found == list(range(start, start + step * count + 1, step))


@pytest.mark.parametrize(
    "text", ["n", "n=", "n=1:2", "n=1:5:0", "n=5:1:1", "n=a:b:c", "n=1:inf:1", f"n=0:{MAX_VALUES}:1"]
)
def test_what_is_no_range_is_said_to_be_none(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        axis(text)


def test_a_glob_finds_strategy_files_and_folders_and_passes_over_the_rest(tmp_path: Path) -> None:
    for name in ("b", "a", "empty"):
        (tmp_path / name).mkdir()
    for file in ("a/strategy.py", "b/strategy.py", "alone.py", "README.md"):
        (tmp_path / file).write_text("")
    found = strategy_files([f"{tmp_path}/*"])
    assert [strategy_id(file) for file in found] == ["a", "alone", "b"]
    assert strategy_files([str(tmp_path / "a"), str(tmp_path / "a" / "strategy.py")]) == [found[0]]
    with pytest.raises(typer.BadParameter, match="no strategy there"):
        strategy_files([f"{tmp_path}/empty"])


def test_a_path_in_the_project_is_said_from_its_root(tmp_path: Path) -> None:
    assert in_project(ROOT / "strategies" / "x.py") == "strategies/x.py"
    assert in_project(tmp_path / "x.py") == str(tmp_path / "x.py")


def test_what_was_typed_overrides_the_file_and_is_checked_like_it(tmp_path: Path) -> None:
    path = write_config(tmp_path, system_config(tmp_path, run={"seed": 1, "duration_s": 5.0}))
    changed = configured(path, run_changes(seed=7, speed=100.0, hide_seed=True))
    assert (changed.run.seed, changed.run.duration_s, changed.run.hide_seed) == (7, 5.0, True)
    assert changed.Gateway.schedule.speed == 100
    assert configured(path, run_changes()) == load_config(path)
    with pytest.raises(ConfigError, match=r"config\.json with the command line: run\.seed = -1"):
        configured(path, run_changes(seed=-1))


def test_strategies_that_are_typed_keep_the_parameters_configured_for_their_file(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, system_config(tmp_path, Strategy={"short_window": 3})))
    files = [
        ROOT / "strategies" / "sma_news" / "strategy.py",
        ROOT / "strategies" / "momentum" / "strategy.py",
    ]
    entries = strategies_change(config, files, {"quantity": 5})["Strategy"]["strategies"]
    assert [entry["id"] for entry in entries] == ["sma_news", "momentum"]
    assert entries[0]["params"]["short_window"] == 3
    assert entries[1]["params"] == {"quantity": 5}
