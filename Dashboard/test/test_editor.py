"""The editor of strategy files, on a page without a browser: a disk that is slow holds nobody up."""

import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from config import parse_config
from Dashboard.desk import Desk
from Dashboard.pages.editor import Editor
from Dashboard.strategy_files import FILE
from Dashboard.test.simulated import until, visit
from testing.harness import PATIENCE_S, segment_name

Work = Callable[[User, ui.codemirror], Awaitable[None]]


class SlowDisk:
    """Whoever has a file written through waits at `fsync` until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, *_: int) -> None:
        self.waiting.set()
        assert self.go.wait(PATIENCE_S)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(f"# {name}\n")
    return tmp_path


@pytest.fixture
def desk(root: Path) -> Iterator[Desk]:
    tree: dict[str, Any] = {
        "symbols": ["A"],
        "OrderBook": {"shared_memory_name": segment_name()},
        "Strategy": {"strategies": [{"id": "own", "path": str(root / "two" / FILE)}]},
        "Dashboard": {"strategies_dir": str(root)},
    }
    desk = Desk(parse_config(json.dumps(tree).encode()), None)
    yield desk
    desk.close()


def editing(desk: Desk, first: str, work: Work) -> None:
    """Do something with the editor of an open page."""

    async def worked(user: User) -> None:
        (code,) = user.find(kind=ui.codemirror).elements
        await work(user, code)

    visit(lambda: Editor(desk, may_save=True, first=first), worked)


def choose(user: User, name: str) -> None:
    (choice,) = user.find(kind=ui.select).elements
    choice.value = name


@pytest.mark.parametrize(("named", "shown"), [("one", "# one\n"), ("nobody", "# two\n"), ("", "# two\n")])
def test_the_file_that_the_address_names_is_shown_or_else_one_that_runs(
    desk: Desk, named: str, shown: str
) -> None:
    async def work(user: User, code: ui.codemirror) -> None:
        assert code.value == shown

    editing(desk, named, work)


def test_another_file_is_shown_when_it_is_chosen(desk: Desk, root: Path) -> None:
    async def work(user: User, code: ui.codemirror) -> None:
        choose(user, "two")
        await until(lambda: code.value == "# two\n")
        (root / "one" / FILE).unlink()
        choose(user, "one")
        await until(lambda: "No such file" in code.value)

    editing(desk, "one", work)


def test_what_is_typed_while_a_slow_disk_saves_is_saved_by_the_next_one(
    desk: Desk, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def work(user: User, code: ui.codemirror) -> None:
        code.value = "# mine\n"
        user.find("Save").click()
        await until(disk.waiting.is_set)  # and this loop goes on
        code.value = "# mine, more of it\n"
        user.find("Save").click()
        disk.go.set()
        await until(lambda: (root / "one" / FILE).read_text() == "# mine, more of it\n")
        await until(lambda: user.notify.messages == ["saved: it does not run yet"] * 2)
        assert code.value == "# mine, more of it\n"

    editing(desk, "one", work)


def test_a_file_that_is_chosen_while_a_slow_disk_saves_is_shown_when_that_is_done(
    desk: Desk, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def work(user: User, code: ui.codemirror) -> None:
        code.value = "# mine\n"
        user.find("Save").click()
        await until(disk.waiting.is_set)
        choose(user, "two")
        disk.go.set()
        await until(lambda: code.value == "# two\n")
        assert (root / "one" / FILE).read_text() == "# mine\n"

    editing(desk, "one", work)


def test_a_file_that_changed_on_disk_is_shown_unless_it_was_edited(desk: Desk, root: Path) -> None:
    async def work(user: User, code: ui.codemirror) -> None:
        (root / "one" / FILE).write_text("# theirs\n")
        await until(lambda: code.value == "# theirs\n")
        code.value = "# mine\n"
        (root / "one" / FILE).write_text("# theirs again\n")
        await user.should_see("changed on disk meanwhile", retries=100)
        assert code.value == "# mine\n"
        user.find("Save mine over it").click()
        await until(lambda: (root / "one" / FILE).read_text() == "# mine\n")

    editing(desk, "one", work)


@pytest.mark.parametrize(
    ("source", "fault"),
    [("x = (\n", "line 1: SyntaxError: '(' was never closed"), ("  x = 1\n", "line 1: IndentationError: ")],
)
def test_a_file_that_is_no_python_is_saved_with_a_warning(
    desk: Desk, root: Path, source: str, fault: str
) -> None:
    async def work(user: User, code: ui.codemirror) -> None:
        code.value = source
        user.find("Save").click()
        await until(lambda: user.notify.messages)
        (message,) = user.notify.messages
        assert message.startswith(f"saved, but it cannot be run: {fault}")
        assert "goes on" not in message, "none of it runs"
        assert (root / "two" / FILE).read_text() == source

    editing(desk, "two", work)
