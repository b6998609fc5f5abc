"""Versions of strategies, kept in a run's folder."""

from pathlib import Path

from runtime.versions import Version, kept_version
from trading_lib.strategy_file import load_strategy


def version(folder: Path, **files: str) -> Version:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return Version(folder / "mine.py")


def test_a_version_of_one_file_is_kept_as_that_file(tmp_path: Path) -> None:
    made = version(tmp_path / "a", mine="def on_tick(ctx, tick): pass\n")
    made.keep(tmp_path)
    assert kept_version(tmp_path, made.name).read_bytes() == made.source
    assert kept_version(tmp_path, made.name) == tmp_path / "strategies" / f"{made.name}.py"


def test_a_version_with_neighbours_is_kept_so_that_it_runs(tmp_path: Path) -> None:
    made = version(
        tmp_path / "a", mine="from rules import N\ndef on_tick(ctx, tick): pass\n", rules="N = 3\n"
    )
    made.keep(tmp_path)
    assert load_strategy(kept_version(tmp_path, made.name, "mine.py")).N == 3


def test_keeping_a_version_again_changes_nothing(tmp_path: Path) -> None:
    made = version(tmp_path / "a", mine="a = 1\n", rules="b = 1\n")
    made.keep(tmp_path)
    made.keep(tmp_path)
    assert len(list((tmp_path / "strategies").iterdir())) == 1
