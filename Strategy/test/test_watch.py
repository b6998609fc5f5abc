"""Saved files are noticed; and when they no longer are, that is."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from runtime.part import EXIT_OK
from Strategy import watch
from Strategy.test.stage import BUY_ALL, stage
from Strategy.watch import Watch
from testing.harness import wait_until


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> Iterator[tuple[Watch, list[str]]]:
    """A watch, and what wakes it has given."""
    monkeypatch.setattr(watch, "LOOK_MS", 50)
    woken: list[str] = []
    with closing(Watch(folders, lambda: woken.append("!"))) as made:
        yield made, woken


def test_a_saved_module_is_told_once_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(monkeypatch, tmp_path) as (made, woken):
        found: set[Path] = set()

        def told() -> set[Path]:
            (tmp_path / "rules.py").write_text("QTY = 1")
            (tmp_path / "notes.txt").write_text("")
            found.update(made.take())
            return found

        assert wait_until(told) == {tmp_path}
        assert woken and not made.failed


def remove(folder: Path) -> None:
    folder.rmdir()


def replace(folder: Path) -> None:
    folder.rename(folder.with_name("before"))
    folder.mkdir()


@pytest.mark.parametrize(
    ("change", "said"), [(remove, "No such file or directory"), (replace, "has been replaced")]
)
def test_a_folder_that_is_no_longer_the_same_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], said: str
) -> None:
    folder, other = tmp_path / "mine", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    saved = 0
    with watching(monkeypatch, folder, other) as (made, woken):

        def told() -> bool:
            nonlocal saved
            saved += 1
            (other / "rules.py").write_text(f"QTY = {saved}")
            return bool(made.take())

        wait_until(told)  # it follows
        change(folder)
        wait_until(lambda: made.failed)
        assert said in made.failed and str(folder) in made.failed
        assert woken


def test_a_system_without_a_watch_left_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*folders: Path, **options: object) -> Iterable[set[tuple[object, str]]]:
        raise WatchfilesRustInternalError("error in underlying watcher: OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "watch", full)
    with watching(monkeypatch, tmp_path) as (made, woken):
        wait_until(lambda: woken)
        assert made.failed == "error in underlying watcher: OS file watch limit reached."


def test_that_hot_reload_is_off_is_in_the_log_and_the_status(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s, s.market() as m:
        s.until_ready()
        s.path.parent.rename(tmp_path / "elsewhere")
        s.until(lambda: re.search("WARNING hot reload is off: .*No such file or directory", s.log))
        s.until(lambda: "'hot_reload': False" in s.process.output)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert s.stop() == EXIT_OK
