"""The list of runs as the dashboard has it: bounded, and read again only where something changed."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from Dashboard import run_shelf
from Dashboard.run_shelf import RunShelf


def make_run(runs: Path, name: str, day: int, **manifest: object) -> Path:
    folder = runs / name
    folder.mkdir(exist_ok=True)
    known = {
        "started": f"2026-01-{day:02}T00:00:00.000+00:00",
        "ended": f"2026-01-{day:02}T01:00:00.000+00:00",
    }
    (folder / "manifest.json").write_text(json.dumps({**known, **manifest}))
    os.utime(folder, (day, day))
    return folder


def test_the_newest_run_stands_first_and_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    for day in (2, 3, 1):
        make_run(tmp_path, f"run-{day}", day)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run-1")
    found = asyncio.run(RunShelf(tmp_path).list())
    assert [run.id for run in found.runs] == ["run-3", "run-2", "run-1"]
    assert asyncio.run(RunShelf(tmp_path / "nowhere").list()).runs == []


def test_of_many_runs_the_ones_that_changed_last_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_shelf, "MOST", 3)
    for day in range(1, 8):
        make_run(tmp_path, f"run-{day}", day)
    found = asyncio.run(RunShelf(tmp_path).list())
    assert [run.id for run in found.runs] == ["run-7", "run-6", "run-5"]
    assert found.folders == 7


def test_what_is_no_run_takes_no_place_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_shelf, "MOST", 3)
    for day in range(1, 5):
        make_run(tmp_path, f"run-{day}", day)
    for day in range(5, 9):  # newer than any of them
        (tmp_path / f"folder-{day}").mkdir()
        os.utime(tmp_path / f"folder-{day}", (day, day))
    found = asyncio.run(RunShelf(tmp_path).list())
    assert [run.id for run in found.runs] == ["run-4", "run-3", "run-2"]


def test_a_run_that_is_over_is_read_again_when_its_folder_changed(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run", 1, fills=1)
    shelf = RunShelf(tmp_path)

    def fills() -> int | None:
        return asyncio.run(shelf.list(0.0)).runs[0].fills

    assert fills() == 1
    make_run(tmp_path, "run", 1, fills=2)  # nothing came into the folder or went: nobody looks
    assert fills() == 1
    os.utime(folder, (2, 2))
    assert fills() == 2


def test_a_run_that_is_not_over_is_read_every_time(tmp_path: Path) -> None:
    make_run(tmp_path, "run", 1, ended=None, fills=1)
    shelf = RunShelf(tmp_path)
    assert asyncio.run(shelf.list(0.0)).runs[0].fills == 1
    make_run(tmp_path, "run", 1, ended=None, fills=2)
    assert asyncio.run(shelf.list(0.0)).runs[0].fills == 2


def test_who_asks_at_once_gets_one_list(tmp_path: Path) -> None:
    make_run(tmp_path, "run", 1)
    shelf = RunShelf(tmp_path)

    async def ask() -> int:
        return len({id(found) for found in await asyncio.gather(*(shelf.list() for _ in range(50)))})

    assert asyncio.run(ask()) == 1
