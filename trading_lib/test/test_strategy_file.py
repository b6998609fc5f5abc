"""Strategy files: what they may import, and what a version of one is."""

import sys
from pathlib import Path

import pytest

from trading_lib.strategy_file import StrategyError, load_strategy, version_files, version_of

TICK = "def on_tick(ctx, tick): pass\n"


def strategy(folder: Path, text: str = TICK, **neighbours: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in neighbours.items():
        (folder / f"{name}.py").write_text(content)
    path = folder / "strategy.py"
    path.write_text(text)
    return path


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    path = strategy(tmp_path / "a", f"import rules\nN = rules.N\n{TICK}", rules="N = 7\n")
    assert load_strategy(path).N == 7
    assert str(tmp_path / "a") not in sys.path


def test_two_strategies_may_each_have_a_module_of_one_name(tmp_path: Path) -> None:
    paths = [strategy(tmp_path / n, f"import rules\nN = rules.N\n{TICK}", rules=f"N = '{n}'\n") for n in "ab"]
    assert [load_strategy(path).N for path in paths] == ["a", "b"]


def test_a_module_beside_the_file_that_is_wrong_is_blamed_at_the_line_that_imports_it(tmp_path: Path) -> None:
    path = strategy(tmp_path, f"\nimport rules\n{TICK}", rules="1 / 0\n")
    with pytest.raises(StrategyError, match="line 2: ZeroDivisionError"):
        load_strategy(path)


def test_a_version_is_the_file_and_its_neighbours_and_nothing_below_that_is_no_package(
    tmp_path: Path,
) -> None:
    path = strategy(tmp_path, rules="x = 1\n")
    package, runs = tmp_path / "tools" / "deep", tmp_path / "runs"
    for folder in (package, runs):
        folder.mkdir(parents=True)
        (folder / "copy.py").write_text("")
    (tmp_path / "tools" / "__init__.py").write_text("")
    assert sorted(version_files(path)) == [
        "rules.py",
        "strategy.py",
        "tools/__init__.py",
        "tools/deep/copy.py",
    ]


def test_a_version_changes_with_any_of_its_files_and_with_nothing_else(tmp_path: Path) -> None:
    path = strategy(tmp_path, rules="x = 1\n")
    before = version_of(version_files(path))
    path.touch()
    assert version_of(version_files(path)) == before
    (tmp_path / "rules.py").write_text("x = 2\n")
    assert version_of(version_files(path)) != before
