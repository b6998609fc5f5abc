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

import ast
import contextlib
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from config import Config, parse_config, to_json
from lab.static_checks import CALLBACKS
from shared_memory import layout
from shared_memory_utils import DEFAULT_CAPACITY
from testing.harness import ROOT, ConditionNotMet, free_port, segment_name, segments, wait_until
from trading_lib.context import KINDS, Context

PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKERS: Final = ("no-test", "test", "save as", "prints")
NOT_COPIED: Final = (".*", "__pycache__", "logs", "runs", "build", "*.egg-info")
MADE_BY_RUNS: Final = {"logs", "runs", ".cache"}
GENERATED: Final = {"benchmarks/RESULTS.md"}  # by `make bench`
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


class Block(NamedTuple):
    """A fenced block; `line` is that of its fence, `argument` what follows the marker's colon."""

    page: Path
    line: int
    language: str
    code: str
    marker: str
    argument: str

    @property
    def where(self) -> str:
        """For a person."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def options(self) -> list[str]:
        """Of a `test` marker."""
        return [text.strip() for text in self.argument.split(";")] if self.marker == "test" else []

    @property
    def until(self) -> str | None:
        """The text after which to press Ctrl-C."""
        return next((text.removeprefix("until ") for text in self.options if text.startswith("until ")), None)

    @property
    def runs(self) -> bool:
        """Whether it is a program to run here."""
        return self.language in ("python", "sh") and self.marker in ("", "test")


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(
        r"^(?:<!-- *(?P<marker>[a-z -]+?) *(?:: *(?P<argument>.*?))? *-->\n)?"
        r"```(?P<language>\S*)\n(?P<code>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    text = page.read_text()
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["code"],
            found["marker"] or "",
            found["argument"] or "",
        )
        for found in pattern.finditer(text)
    ]


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> set[str]:
    """What stands in backticks on a page."""
    return set(re.findall(r"`([^`\n]+)`", prose_of(page)))


def rows_of(page: Path, after: str = "") -> list[list[str]]:
    """The rows of the first table after a text, without its heading."""
    text = page.read_text().partition(after)[2] if after else page.read_text()
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None, f"{page.name}: no table after {after!r}"
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table[0].splitlines()[2:]]


ALL_BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


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


# --------------------------------------------------------------------------------------------- what it names


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, f"{page.name}: {named - targets}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            path = (page.parent / file).resolve() if file else page
            assert path.exists() or file in GENERATED, f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}"


def test_every_file_named_exists() -> None:
    saved = {block.argument for block in ALL_BLOCKS if block.marker == "save as"}
    looks_like_a_path = re.compile(r"[\w.\-]+(/[\w.\-]+)*(/|\.(py|json|md|toml|txt|csv|log))")
    for page in PAGES:
        for name in inline_code(page):
            if looks_like_a_path.fullmatch(name) and name.partition("/")[0] not in MADE_BY_RUNS:
                assert (ROOT / name).exists() or name in saved, f"{page.name}: `{name}`"


def configuration() -> dict[str, Any]:
    """Every key with its default."""
    tree: dict[str, Any] = json.loads(to_json(parse_config(b'{"symbols": ["AAPL"]}')))
    return tree


def is_key(name: str) -> bool:
    """Whether the configuration has a key of that dotted name."""
    tree: Any = configuration()
    for part in name.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def is_member(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something defined in one. Nothing is imported."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        file = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if file.exists():
            return defines(ast.parse(file.read_text()).body, parts[length:])
    return ROOT.joinpath(*parts).is_dir()


def defines(body: list[ast.stmt], names: list[str]) -> bool:
    """Whether statements define `names[0]`, that one `names[1]`, and so on."""
    if not names:
        return True
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == names[0]:
            return defines(statement.body, names[1:])
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        imported = statement.names if isinstance(statement, ast.ImportFrom | ast.Import) else []
        defined = [t.id for t in targets if isinstance(t, ast.Name)] + [a.asname or a.name for a in imported]
        if names[0] in defined and len(names) == 1:
            return True
    return False


def test_every_function_class_and_key_named_exists() -> None:
    ours = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    sections = set(Config.__struct_fields__)
    for page in PAGES:
        for name in inline_code(page):
            if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", name) is None or name.endswith(
                (".py", ".json", ".md", ".log")
            ):
                continue
            if name.partition(".")[0] in ours | sections:
                assert is_key(name) or is_member(name), f"{page.name}: `{name}`"


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert (
        is_member("Gateway.outbox.Outbox.push")
        and is_member("trading_lib.wire")
        and is_member("OrderManager.Order")
    )
    assert not is_member("Gateway.outbox.Outbox.pull") and not is_member("Gateway.nothing")
    assert is_key("Gateway.pace.mode") and not is_key("Gateway.pace.mood")


# --------------------------------------------------------------------------------------------- what it lists


def test_the_configuration_table_has_the_defaults() -> None:
    rows = rows_of(ROOT / "README.md", "## Configuration")
    assert len(rows) > 20
    for key, default, _ in rows:
        tree: Any = configuration()
        for part in key.strip("`").split("."):
            assert part in tree, key
            tree = tree[part]
        assert json.loads(default.strip("`")) == tree, f"{key}: {tree!r}"


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of every single key."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_the_configuration_table_leaves_out_only_addresses() -> None:
    listed = {key.strip("`") for key, *_ in rows_of(ROOT / "README.md", "## Configuration")}
    ends = ("host", "port", "max_clients", "session_on_slow", "shared_memory_name")
    assert {key for key in set(leaves(configuration())) - listed if not key.endswith(ends)} == {"symbols"}


def test_the_tables_of_what_a_strategy_can_use_are_those_of_the_code() -> None:
    page = ROOT / "docs" / "STRATEGIES.md"

    def named(heading: str, pattern: str) -> set[str]:
        return {name for first, *_ in rows_of(page, heading) for name in re.findall(pattern, first)}

    context = {name for name in vars(Context) if not name.startswith("_")} | {"indicator"}
    assert named("## What ctx has", r"ctx\.(\w+)") == context
    assert named("## Indicators", r"(\w+)\(") == set(KINDS)
    assert named("## The file", r"`(\w+)") == {*CALLBACKS, "PARAMS", "SYMBOLS", "NAME"}
    shipped = {file.parent.name for file in (ROOT / "strategies").glob("*/strategy.py")}
    assert named("Shipped with the project:", r"`(\w+)`") == shipped


def test_the_calls_of_ctx_are_written_as_they_are_defined() -> None:
    page = (ROOT / "docs" / "STRATEGIES.md").read_text()
    for name, method in vars(Context).items():
        if callable(method) and not name.startswith("_"):
            arguments = [
                key if default is inspect.Parameter.empty else f"{key}={default!r}".replace("'", '"')
                for key, default in (
                    (p.name, p.default) for p in inspect.signature(method).parameters.values()
                )
            ]
            call = f"`ctx.{name}({', '.join(arguments[1:])})`"
            assert call in page, call


def test_the_dependencies_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = ROOT / "docs" / "DEPENDENCIES.md"
    for heading, wanted in (
        ("## To run", project["dependencies"]),
        ("## To develop", project["optional-dependencies"]["dev"]),
    ):
        rows = rows_of(page, heading)
        names = [re.split(r"[<>=~! \[;]", requirement)[0] for requirement in wanted]
        assert sorted(name.strip("`") for name, _ in rows) == sorted(names)
        assert all(reason for _, reason in rows)


def test_the_reasons_for_rejections_are_those_of_the_code() -> None:
    found = set()
    for file in ("trading_lib/wire.py", "OrderBook/order_book.py", "OrderManager/server.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            reason: ast.expr | None = None
            if isinstance(node, ast.Call) and node.args:
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                reason = node.args[0] if name in ("Rejected", "Rejection") else None
            elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "rejected":
                reason = node.slice
            if isinstance(reason, ast.Constant):
                found.add(reason.value)
    rows = rows_of(ROOT / "docs" / "PROTOCOL.md", "## Rejections")
    assert {reason.strip("`") for reason, _ in rows} == found


@pytest.mark.parametrize(
    ("after", "dtype"), [("**A slot", layout.SLOT_DTYPE), ("**A record", layout.RECORD_DTYPE)]
)
def test_the_offsets_are_those_of_the_layout(after: str, dtype: Any) -> None:
    kinds = {"int64": "<i8", "float64": "<f8", "uint32": "<u4", "uint8": "|u1", "24 bytes": "|S24"}
    rows = rows_of(ROOT / "docs" / "SHARED_MEMORY.md", after)
    documented = {field: (kinds[kind], int(offset)) for offset, kind, field, _ in rows}
    assert documented == {name: (dtype.fields[name][0].str, dtype.fields[name][1]) for name in dtype.names}


def test_the_header_and_the_sizes_are_those_of_the_layout() -> None:
    page = ROOT / "docs" / "SHARED_MEMORY.md"
    rows = {int(offset): (book, tape) for offset, _, book, tape, _ in rows_of(page, "## Layout")}
    words = (layout.VERSION, layout.CAPACITY, layout.OWNER_PID, layout.GENERATION, layout.STATE)
    offsets = {8 * word for word in (layout.MAGIC, *words, layout.BOOK_COUNT, layout.TAPE_TAIL)}
    assert set(rows) == offsets | {layout.RUN_ID_OFFSET, 8 * layout.TAPE_CHECKPOINTS}
    assert rows[0] == (
        f"magic `{layout.BOOK_MAGIC:#X}`".replace("X", "x", 1),
        f"`{layout.TAPE_MAGIC:#X}`".replace("X", "x", 1),
    )
    assert rows[8 * layout.TAPE_INTENT] == ("symbols in use", "intent")
    assert rows[8 * layout.TAPE_TAIL] == ("", "tail")
    assert layout.LAYOUT_VERSION == 1 and "layout version, 1" in page.read_text()
    book = layout.PAGE + layout.SLOT_BYTES * configuration()["OrderBook"]["symbol_capacity"]
    tape = layout.PAGE + layout.RECORD_BYTES * DEFAULT_CAPACITY
    bells = layout.PAGE * (1 + layout.MAX_BELLS)
    sizes = [row[-1] for row in rows_of(page, "## Segments")]
    assert sizes == [f"{size:,} bytes" for size in (book, tape, bells)]
