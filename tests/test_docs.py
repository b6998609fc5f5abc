"""The documentation is true.

Every fenced block of README.md and docs/*.md is run, page by page and in order, in a copy of the project
with ports and segment names of its own. A comment on the line before a fence says how:

    <!-- no-test: reason -->               it is not run
    <!-- test: system -->                  beside a running system (`python main.py`)
    <!-- test: system; dashboard -->       … with its dashboard
    <!-- test: until TEXT -->              with Ctrl-C once it has printed TEXT
    <!-- test: terminals; until TEXT -->   each line in a terminal of its own, then Ctrl-C in all
    <!-- save as: PATH -->                 not by itself: it is a file of the blocks after it
    <!-- prints -->                        a `text` block: what the block above prints; … stands for anything
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from testing.harness import ROOT, ConditionNotMet, free_port, segment_name, segments, wait_until
from testing.pages import ALL_BLOCKS, PAGES, Block, blocks_of

MARKERS: Final = ("no-test", "test", "save as", "prints")
NOT_COPIED: Final = (".*", "__pycache__", "logs", "runs", "build", "*.egg-info")
STOPPED_BY_CTRL_C: Final = {0, -signal.SIGINT, 128 + signal.SIGINT}
PORTS: Final = (
    *("8000", "8001", "9000", "9001", "9002", "8080"),
    *("8010", "8011", "9010", "9011", "9012", "8090"),  # of a second system
)
TRIES: Final = 40  # of a client that was started before what it connects to

NC: Final = """#!{python}
# What `nc [-w s] host port` does, for machines without one.
import os, socket, sys, threading

def send():
    while data := os.read(0, 4096):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)

peer = socket.create_connection((sys.argv[-2], int(sys.argv[-1])))
threading.Thread(target=send, daemon=True).start()
while data := peer.recv(4096):
    os.write(1, data)
"""

SIM: Final = """# What is installed as `sim`, of the copy of the project that it is called in.
sys.path.insert(0, ".")
from cli import main

if __name__ == "__main__":
    main()
"""


# ------------------------------------------------------------------------------------------- running a page


class Terminal:
    """A program in a process group of its own, as if typed into a terminal: its stdin stays open."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def printed(self) -> str:
        """So far."""
        return self._output.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def ctrl_c(self) -> None:
        """SIGINT to the program and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """For its end; returns the exit code."""
        return self._process.wait(30)

    def close(self) -> None:
        """Stop what is left of it, kindly at first."""
        if self.exit_code is None:
            self.ctrl_c()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Session:
    """One reader's way through a page: a copy of the project, its own ports, and what the last block printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "algosim"
        self._outputs = folder
        self.segment = segment_name()
        self._instead = {name: str(free_port()) for name in PORTS}
        self._instead |= {"market_prices": self.segment, "my_prices": f"{self.segment}-mine"}
        shutil.copytree(ROOT, self.folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
        for file in (
            *(self.folder / "configuration").glob("*.py"),
            self.folder / "config.json",
            *self.folder.glob("examples/*.py"),
        ):
            file.write_text(self.adapted(file.read_text()))
        tools = folder / "bin"
        tools.mkdir()
        if shutil.which("nc") is None:
            (tools / "nc").write_text(NC.format(python=sys.executable))
            (tools / "nc").chmod(0o755)
        (tools / "sim").write_text(f"#!{sys.executable}\nimport sys\n{SIM}")
        (tools / "sim").chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env = os.environ | {
            "PATH": path,
            "ALGOSIM_PURE_PYTHON": "1",
            "ALGOSIM_Dashboard__port": self._instead["8080"],
            "PYTHONUNBUFFERED": "1",
        }
        self._terminals: list[Terminal] = []
        self._system: Terminal | None = None
        self._has_dashboard = False
        self.printed = ""

    def adapted(self, text: str) -> str:
        """With the session's ports and names in place of the usual ones."""
        return re.sub(
            rf"\b({'|'.join(self._instead)})\b",
            lambda m: self._instead[m[0]],
            text,
        )

    def open(self, command: list[str]) -> Terminal:
        """A new terminal."""
        output = self._outputs / f"terminal-{len(self._terminals)}"
        env = self._env | {"ALGOSIM_Dashboard__enabled": str(self._has_dashboard).lower()}
        terminal = Terminal(command, self.folder, env, output)
        self._terminals.append(terminal)
        return terminal

    def save(self, block: Block) -> None:
        """A block that is a file."""
        path = self.folder / block.argument
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.adapted(block.code))

    def run(self, block: Block) -> None:
        """Run a block; fails where it fails."""
        self._want_system("system" in block.options, "dashboard" in block.options)
        code = self.adapted(block.code)
        if block.language == "python":
            commands = [[sys.executable, "-c", code]]
        else:
            texts = code.splitlines() if "terminals" in block.options else [code]
            commands = [["bash", "-e", "-o", "pipefail", "-c", text] for text in texts]
        terminals = [self.open(command) for command in commands]
        if block.until is not None:
            self._wait_for(block.until, commands, terminals)
            for terminal in terminals:
                terminal.ctrl_c()
        allowed = {0} if block.until is None else STOPPED_BY_CTRL_C
        codes = [terminal.wait() for terminal in terminals]
        self.printed = "".join(terminal.printed for terminal in terminals)
        assert set(codes) <= allowed, f"{block.where}: exit codes {codes}\n{self.printed}"

    def _wait_for(self, text: str, commands: list[list[str]], terminals: list[Terminal]) -> None:
        """Until one has printed `text`. A client that found nobody is started again; a part never."""
        tries = TRIES

        def found() -> bool:
            nonlocal tries
            for i, terminal in enumerate(terminals):
                if terminal.exit_code is not None and text not in terminal.printed:
                    if "/run.py" in commands[i][-1] or "main.py" in commands[i][-1] or not tries:
                        raise ConditionNotMet(f"{commands[i][-1]!r} has ended:\n{terminal.printed}")
                    tries -= 1
                    terminals[i] = self.open(commands[i])
            return any(text in terminal.printed for terminal in terminals)

        try:
            wait_until(found, f"{text!r} from {[command[-1] for command in commands]}")
        except ConditionNotMet as fault:
            fault.add_note("\n".join(terminal.printed for terminal in terminals))
            raise

    def _want_system(self, wanted: bool, dashboard: bool = False) -> None:
        if self._system is not None and (not wanted or dashboard != self._has_dashboard):
            self._system.ctrl_c()
            assert self._system.wait() == 0, self._system.printed
            self._system = None
        self._has_dashboard = dashboard  # one process less where nobody looks
        if wanted and self._system is None:
            system = self._system = self.open([sys.executable, "main.py"])
            started = r"dashboard: http(?s:.)*ticks [1-9]" if dashboard else r"ticks [1-9]"
            wait_until(
                lambda: re.search(started, system.printed) or system.exit_code is not None,
                "the first ticks of the system",
            )
            assert system.exit_code is None, system.printed

    def close(self) -> None:
        """Stop the system; nothing may be left."""
        try:
            self._want_system(False)
        finally:
            for terminal in self._terminals:
                terminal.close()
        wait_until(lambda: segments(self.segment) == [], "the end of every segment")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    try:
        yield session
    finally:
        session.close()


def assert_printed(block: Block, printed: str) -> None:
    """A `text` block against what was printed; … stands for anything."""
    pattern = ".*".join(map(re.escape, block.code.strip().split("…")))
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{block.where}: printed was\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs_and_prints_what_the_page_says(page: Path, session: Session) -> None:
    for block in blocks_of(page):
        if block.marker == "save as":
            session.save(block)
        elif block.runs:
            session.run(block)
        elif block.marker == "prints":
            assert_printed(block, session.printed)


def test_every_block_is_marked_as_this_test_understands_it() -> None:
    for block in ALL_BLOCKS:
        assert block.language in ("python", "sh", "json", "text"), f"{block.where}: {block.language!r}"
        assert block.marker in ("", *MARKERS), f"{block.where}: marker {block.marker!r}"
        if block.marker == "no-test":
            assert len(block.argument) > 10, f"{block.where}: a reason, please"
        elif block.marker == "prints":
            assert block.language == "text", block.where
        elif block.language == "json":
            assert block.marker == "save as", f"{block.where}: a configuration is saved and used"
        known = ("system", "dashboard", "terminals")
        assert all(o in known or o.startswith("until ") for o in block.options), (
            f"{block.where}: {block.options}"
        )
        if "terminals" in block.options:
            assert block.until, block.where
    for page in PAGES:  # no fence and no marker that `blocks_of` has not seen
        fences = len(re.findall(r"^ *```", page.read_text(), re.MULTILINE))
        assert fences == 2 * len(blocks_of(page)), page.name
        markers = re.findall(r"^<!--", page.read_text(), re.MULTILINE)
        assert len(markers) == sum(bool(block.marker) for block in blocks_of(page)), page.name


def test_a_saved_file_is_used_by_a_later_block() -> None:
    for i, block in enumerate(ALL_BLOCKS):
        if block.marker == "save as":
            later = [other.code for other in ALL_BLOCKS[i + 1 :] if other.page == block.page]
            name = block.argument.removesuffix("/strategy.py")  # the folder of one stands for it
            assert any(name in code for code in later), block.where


def test_a_page_that_is_wrong_is_noticed(session: Session) -> None:
    def block(language: str, code: str, argument: str = "") -> Block:
        return Block(ROOT / "README.md", 1, language, code, "test" if argument else "", argument)

    session.run(block("python", "print('one\\ntwo', 8000)"))
    assert_printed(block("text", "one\n…"), session.printed)
    with pytest.raises(AssertionError):
        assert_printed(block("text", "one\ntwo 8000"), session.printed)
    with pytest.raises(AssertionError):
        session.run(block("python", "raise SystemExit(3)"))
    with pytest.raises(AssertionError):
        session.run(block("sh", "false\ntrue"))
    with pytest.raises(ConditionNotMet, match="has ended"):
        session.run(block("sh", "python Gateway/run.py none.json", "terminals; until ready"))
