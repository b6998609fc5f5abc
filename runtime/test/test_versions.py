"""Versions of strategies, kept in a run's folder."""

from pathlib import Path

from runtime.versions import keep_version, kept_version
from trading_lib.strategy_file import load_strategy


def test_a_version_of_one_file_is_kept_as_that_file(tmp_path: Path) -> None:
    version = keep_version(tmp_path, "mine.py", {"mine.py": b"def on_tick(ctx, tick): pass\n"})
    assert kept_version(tmp_path, version).read_bytes() == b"def on_tick(ctx, tick): pass\n"
    assert kept_version(tmp_path, version) == tmp_path / "strategies" / f"{version}.py"


def test_a_version_with_neighbours_is_kept_so_that_it_runs(tmp_path: Path) -> None:
    files = {"mine.py": b"from rules import N\ndef on_tick(ctx, tick): pass\n", "rules.py": b"N = 3\n"}
    version = keep_version(tmp_path, "mine.py", files)
    assert load_strategy(kept_version(tmp_path, version, "mine.py")).N == 3


def test_keeping_a_version_again_changes_nothing(tmp_path: Path) -> None:
    files = {"mine.py": b"a", "rules.py": b"b"}
    assert keep_version(tmp_path, "mine.py", files) == keep_version(tmp_path, "mine.py", files)
    assert len(list((tmp_path / "strategies").iterdir())) == 1
