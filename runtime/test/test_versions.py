"""Versions of strategies, kept in a run's folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from runtime.versions import Version, kept_params, kept_version, same_params
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


def test_processes_that_keep_a_version_at_the_same_time_all_find_it_kept(tmp_path: Path) -> None:
    neighbours = {f"rules{number}": f"N = {number}\n" for number in range(30)}
    made = version(tmp_path / "a", mine="a = 1\n", **neighbours)
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            run = tmp_path / str(number)
            run.mkdir()
            together = Barrier(8)
            for done in [threads.submit(keep_together, made, run, together) for _ in range(8)]:
                done.result()
            assert [kept.name for kept in (run / "strategies").iterdir()] == [made.name]


def keep_together(made: Version, run: Path, together: Barrier) -> None:
    together.wait(10)
    made.keep(run)


def test_other_parameters_are_another_version_and_kept_with_it(tmp_path: Path) -> None:
    plain = version(tmp_path / "a", mine="def on_tick(ctx, tick): pass\n")
    params = {"window": 8, "levels": [1, 2.5], "mode": "é"}
    changed = plain.with_params(params)
    assert changed.name.startswith(f"{plain.name}-")
    for made in (plain, changed):
        made.keep(tmp_path)
    assert kept_version(tmp_path, changed.name, "mine.py").read_bytes() == plain.source
    assert kept_params(tmp_path, changed.name, {"window": 1}) == params
    assert kept_params(tmp_path, plain.name, {"window": 1}) == {"window": 1}


def test_a_version_is_named_by_what_its_parameters_are_and_not_by_their_order(tmp_path: Path) -> None:
    made = version(tmp_path / "a", mine="")
    assert made.with_params({"a": 1, "b": 2}).name == made.with_params({"b": 2, "a": 1}).name
    assert made.with_params({"a": 1}).name != made.with_params({"a": 1.0}).name
    assert not same_params({"a": 1}, {"a": True})


def test_with_other_parameters_a_version_keeps_its_file_unless_what_it_imports_has_changed(
    tmp_path: Path,
) -> None:
    alone = version(tmp_path / "a", mine="old")
    (tmp_path / "a" / "mine.py").write_text("new")
    assert alone.again_with({"n": 1}).source == b"old"
    made = version(tmp_path / "b", mine="old", rules="")
    (tmp_path / "b" / "mine.py").write_text("new")
    assert made.again_with({"n": 1}).name == made.with_params({"n": 1}).name
    (tmp_path / "b" / "rules.py").write_text("N = 3")
    assert made.again_with({"n": 1}).source == b"new"
