"""A strategy's file in the browser: choose, edit, save. What is saved runs at once, where hot reload is on.

The disk is a thread's business, one piece of it at a time for a page: what is known of the file is of the last.
"""

import ast
import asyncio
import re
from typing import Any, Final, Literal

import msgspec
from nicegui import ui

from config import resolve
from Dashboard.desk import Desk
from Dashboard.pages.frame import attempt, raw
from Dashboard.strategy_files import Changed, Refused, StrategyFiles, Text
from trading_lib.control import HotReload
from trading_lib.strategy_file import blame

SOURCE: Final = "the source"  # what is parsed before it has a version calls itself so
LOOK_S: Final = 1.0  # so often an open page looks whether its file has changed on disk, and for errors
TOOLTIP: Final = 400  # characters of an error
_line: Final = re.compile(r"\bline (\d{1,7}): ")


class Editor:
    """One open page's editor. `may_save` false: the files are shown, and cannot be changed."""

    def __init__(self, desk: Desk, may_save: bool, first: str) -> None:
        self._desk, self._may_save = desk, may_save
        self._files = StrategyFiles(resolve(desk.config.Dashboard.strategies_dir))
        self._configured = {
            entry.id: (path := resolve(entry.path), self._files.name_of(path))
            for entry in desk.config.Strategy.entries
        }
        self._elsewhere = {  # files outside the folder: they are shown, never written
            f"{strategy}: {path}": path for strategy, (path, name) in self._configured.items() if name is None
        }
        self._disk = asyncio.Lock()
        self._name = ""
        self._known = Text("", "")  # as it was read or saved last
        self._marked: tuple[int, str] | None = None
        self._told_edited = False
        self._hot_seen = desk.system.part("strategy").get("hot_reload", True)
        self._build(first)

    @property
    def id(self) -> int:
        """Of the editor's element."""
        return self._code.id

    @property
    def shown(self) -> dict[str, Any]:
        """The file that is shown, and the strategies that run it."""
        return {"name": self._name, "runs": self._running(self._name)}

    # -------------------------------------------------------------------------------------------- the files

    def _running(self, name: str) -> list[str]:
        """The strategies that run a file."""
        elsewhere = self._elsewhere.get(name)
        return [
            strategy
            for strategy, (path, here) in self._configured.items()
            if (path == elsewhere if elsewhere else here == name)
        ]

    def _options(self) -> dict[str, str]:
        names = [*self._files.names(), *self._elsewhere]
        names.sort(key=lambda name: not self._running(name))  # those that run come first
        return {name: f"{name} (runs)" if self._running(name) else name for name in names}

    def _read(self, name: str) -> Text:
        if (path := self._elsewhere.get(name)) is None:
            return self._files.read(name)
        found = StrategyFiles(path.parent.parent)
        if found.name_of(path) != path.parent.name:
            raise Refused(f"{path}: not shown, a strategy's file is <folder>/<name>/strategy.py")
        return found.read(path.parent.name)

    def _shown(self, name: str) -> Text:
        """A file, or why it cannot be shown; that has no digest."""
        try:
            return self._read(name)
        except Refused as fault:
            return Text(f"# {fault}", "")

    # --------------------------------------------------------------------------------------------- elements

    def _build(self, first: str) -> None:
        options = self._options()
        chosen = first if first in options else next(iter(options), None)
        with ui.element("div").classes("toolbar"):
            self._choice = ui.select(options, value=chosen, on_change=self._open).props(
                'dense outlined options-dense id="editor-file" aria-label="strategy file"'
            )
            if self._may_save:
                self._save_button = ui.button("Save", on_click=self.save).props(
                    'unelevated id="editor-save" title="Ctrl-S"'
                )
                ui.button("New …", on_click=self._ask_name).props('outline id="editor-new"')
                self._hot = ui.checkbox(
                    "hot reload",
                    value=self._hot_seen,
                    on_change=self._set_hot_reload,
                ).props('dense id="hot-reload" title="whether a file that is saved runs at once"')
            raw('<span class="grow"></span><span id="editor-note" class="muted" role="status"></span>')
        with (
            ui.element("div").classes("conflict").props('role="alert" id="editor-conflict"') as self._conflict
        ):
            ui.label("This file was changed on disk meanwhile, and not by you.")
            ui.button("Take the one on disk", on_click=self._take_theirs).props("outline dense")
            if self._may_save:
                ui.button("Save mine over it", on_click=self._save_over).props("outline dense")
        self._conflict.set_visibility(False)
        self._code = ui.codemirror(
            language="Python", indent="    ", keymap={"Mod-s": self.save} if self._may_save else {}
        ).classes("editor fill")
        self._code.props('aria-label="the strategy file"')
        if not self._may_save:
            self._code.disable()
        self._code.on_value_change(self._tell_edited)
        ui.timer(LOOK_S, self._look)
        if chosen:  # read as the page is made: nobody can undo what it begins with
            self._name = chosen
            self._take(self._shown(chosen))

    async def _open(self) -> None:
        """Show the file that is chosen; what was not saved of the one before is lost only if it was asked."""
        async with self._disk:
            name = self._choice.value
            if not name or name == self._name:
                return
            if self._edited and self._name:
                self._ask_to_leave()
                return
            self._name = name
            await self._read_anew()
        ui.run_javascript(f"window.algosimLab?.file({msgspec.json.encode(self.shown).decode()})")

    @property
    def _edited(self) -> bool:
        return bool(self._known.digest) and self._code.value != self._known.source

    def _tell_edited(self) -> None:
        """Let the page say that something is not saved, and ask before it is left."""
        if self._edited != self._told_edited:
            self._told_edited = self._edited
            ui.run_javascript(f"window.algosimLab?.edited({'true' if self._edited else 'false'})")

    def _note(self, text: str, kind: Literal["positive", "warning", "negative"]) -> None:
        ui.notify(text, type=kind, position="bottom-right")

    # ----------------------------------------------------------------------------------------------- saving

    async def save(self, over: bool = False) -> None:
        """Write what is in the editor, unless the file has changed meanwhile; `over`: even then."""
        if not self._may_save or not self._name:
            return
        if self._name in self._elsewhere:
            self._note(f"not saved: it lies outside {self._files.root}", "negative")
            return
        async with self._disk:
            source, known = self._code.value, None if over else self._known.digest
            try:
                digest = await asyncio.to_thread(self._write, self._name, source, known)
            except Changed:
                self._conflict.set_visibility(True)
            except Refused as fault:
                self._note(f"not saved: {fault}", "negative")
            else:
                self._known = Text(source, digest)
                self._conflict.set_visibility(False)
                self._tell_edited()
                wrong = await asyncio.to_thread(_syntax_fault, source)
                self._note(self._what_saving_did(wrong), "warning" if wrong else "positive")

    def _write(self, name: str, source: str, known: str | None) -> str:
        """Save a file with the digest `known`, or whatever it is now; its new digest. Raises Changed, Refused."""
        return self._files.save(name, source, self._files.read(name).digest if known is None else known)

    def _what_saving_did(self, fault: str) -> str:
        runs = self._running(self._name)
        if fault:
            strategies = self._desk.system.strategies()["strategies"]
            goes_on = any(one["strategy"] in runs and one.get("state") == "running" for one in strategies)
            return f"saved, but it cannot be run: {fault}{'; the version before goes on' if goes_on else ''}"
        if not runs:
            return "saved: it does not run yet"
        reloads = self._desk.system.part("strategy").get("hot_reload", True)
        return "saved, it takes over if it loads" if reloads else "saved"

    async def _save_over(self) -> None:
        await self.save(over=True)

    async def _take_theirs(self) -> None:
        async with self._disk:
            await self._read_anew()

    async def _read_anew(self) -> None:
        self._known = Text("", "")
        self._take(await asyncio.to_thread(self._shown, self._name))

    def _take(self, theirs: Text) -> None:
        """Show what was read in place of what is shown."""
        self._conflict.set_visibility(False)
        self._known = theirs
        self._code.value = theirs.source
        self._marked = None
        self._tell_edited()

    async def _set_hot_reload(self, event: Any) -> None:
        if event.value != self._desk.system.part("strategy").get("hot_reload"):
            await attempt(
                self._desk.act(HotReload(on=bool(event.value))),
                f"hot reload {'on' if event.value else 'off'}",
            )

    # --------------------------------------------------------------------------------------------- questions

    def _ask_to_leave(self) -> None:
        async def leave() -> None:
            dialog.close()
            self._known = Text("", "")
            await self._open()

        def stay() -> None:
            dialog.close()
            self._choice.value = self._name

        with ui.dialog(value=True).props("persistent") as dialog, ui.card():
            ui.label(f"{self._name} has changes that are not saved.").style("font-weight: 600")
            with ui.row():
                ui.button("Stay", on_click=stay).props("unelevated")
                ui.button("Lose them", on_click=leave).props('flat id="editor-lose"')

    def _ask_name(self) -> None:
        async def make() -> None:
            try:
                made = await asyncio.to_thread(self._files.create, name.value or "")
            except Refused as fault:
                problem.text = str(fault)
                return
            dialog.close()
            self._choice.set_options(self._options())
            self._choice.value = made

        with ui.dialog(value=True) as dialog, ui.card():
            ui.label("A new strategy, from the template").style("font-weight: 600")
            name = ui.input("name", placeholder="my_strategy").props(
                'dense outlined autofocus for="new-name"'
            )
            name.on("keydown.enter", make)
            problem = ui.label().classes("bad")
            raw(
                '<div class="muted">It runs once it is in the configuration: '
                "<code>Strategy.strategies</code>, or <code>sim run NAME</code>.</div>"
            )
            with ui.row():
                ui.button("Make it", on_click=make).props('unelevated id="new-make"')
                ui.button("Leave it", on_click=dialog.close).props("flat")

    # ---------------------------------------------------------------------------------------------- looking

    async def _look(self) -> None:
        """Notice a change on disk, and the line that fails."""
        if not self._known.digest:
            return
        async with self._disk:
            await self._look_at_the_disk()
        reloads = self._desk.system.part("strategy").get("hot_reload", self._hot_seen)
        if self._may_save and reloads != self._hot_seen:  # somebody has switched it, here or elsewhere
            self._hot_seen = self._hot.value = reloads
        self._mark(self._failing())

    async def _look_at_the_disk(self) -> None:
        try:
            theirs = await asyncio.to_thread(self._read, self._name)
        except Refused:
            return  # an editor is replacing it, or it is gone: saving will say so
        if theirs.digest == self._known.digest:
            return
        if self._edited:
            self._conflict.set_visibility(True)
        else:
            self._take(theirs)

    def _failing(self) -> tuple[int, str] | None:
        """(line, what is wrong there) of the strategies that run this file."""
        runs = self._running(self._name)
        for one in self._desk.system.strategies()["strategies"]:
            text = one.get("error") or one.get("last_error") or ""
            if one["strategy"] in runs and (found := _line.search(text)):
                return int(found[1]), text[found.start() :][:TOOLTIP]
        return None

    def _mark(self, failing: tuple[int, str] | None) -> None:
        if failing == self._marked:
            return
        self._marked = failing
        lines = self._known.source.count("\n") + 1
        if failing is None or failing[0] > lines:
            self._code.decorations = []
            self._code.line_tooltips = {}
            return
        line, text = failing
        self._code.decorations = [{"kind": "line", "line": line, "class": "failing"}]
        self._code.line_tooltips = {line: text}
        self._code.reveal_line(line)


def _syntax_fault(source: str) -> str:
    """What keeps a source from being Python, as an error of the strategy says it; nothing when it is."""
    try:
        ast.parse(source, SOURCE)
    except SyntaxError as fault:
        return blame(fault, SOURCE)
    except (ValueError, RecursionError, MemoryError) as fault:  # a NUL character; nested too deep
        return f"{type(fault).__name__}: {fault}"
    return ""
