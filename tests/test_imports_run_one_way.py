"""Imports run one way: `main, cli, Dashboard` -> processes -> what they share -> `trading_lib`."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (  # low to high: a layer may import the ones before it
    {"trading_lib"},
    {"config", "configuration", "logger", "shared_memory_utils", "shared_memory", "runtime"},
    {"Gateway", "OrderBook", "Strategy", "OrderManager", "Analytics", "Recorder"},
    {"main", "cli", "Dashboard", "lab"},
)
PROCESSES = 2  # the layer in which a part may use of another one only its face
FACES = (
    *("OrderManager.client", "OrderManager.models", "OrderBook.control_client"),
    *("OrderManager.journal", "OrderManager.records"),  # what it leaves in a file, for who reads it there
)
ONLY = {
    "trading_lib": set[str](),
    "configuration": {"trading_lib"},
    "shared_memory": {"trading_lib"},
    "strategies": {"trading_lib"},
}
EXEMPT = {"test", "tests", "testing", "benchmarks", "examples", "conftest"}  # may import anything, by nobody
NOT_OURS = {"runs", "logs", "node_modules", "__pycache__"}
# `trading_lib` is a pure library: no sockets, no processes.
IMPURE = {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "subprocess", "multiprocessing"}


class Import(NamedTuple):
    """`target` is what a line of the module `source` imports; both dotted, from the root."""

    source: str
    target: str
    where: str

    @property
    def tops(self) -> tuple[str, str]:
        """The first names of source and target."""
        return self.source.partition(".")[0], self.target.partition(".")[0]


def backward_imports(root: Path) -> list[str]:
    """One line, `file:line imports what: why not`, for each import below `root` that runs the wrong way."""
    modules = dict(sorted(own_modules(root)))
    ours = {module.partition(".")[0] for module in modules}
    imports = [
        found
        for module, path in modules.items()
        if EXEMPT.isdisjoint(module.split("."))
        for found in imports_of(module, path, root)
    ]
    within = {i.tops for i in imports if i.tops[1] in ours and rank(i.tops[0]) == rank(i.tops[1])}
    faults = []
    for found in imports:
        why = fault(found, ours) or circle(found, within)
        if why:
            faults.append(f"{found.where} imports {found.target}: {why}")
    return faults


def own_modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and path of every own .py file."""
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in NOT_OURS and not name.startswith(".")]
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".py":
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(module: str, path: Path, root: Path) -> Iterator[Import]:
    """Every import in a file, those inside functions too; `from a import b` is an import of `a.b`."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, where)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield Import(module, ".".join([*base, alias.name]), where)


def rank(top: str) -> int:
    """The layer of a top-level name; what has none (scripts, user files) is above all of them."""
    return next((i for i, layer in enumerate(LAYERS) if top in layer), len(LAYERS))


def fault(found: Import, ours: set[str]) -> str:
    """Why an import runs the wrong way, or ''."""
    source, target = found.tops
    if source == "trading_lib" and target in IMPURE:
        return "trading_lib has no sockets and no processes"
    if target not in ours:
        return ""
    if not EXEMPT.isdisjoint(found.target.split(".")):
        return "nothing imports tests"
    if source == target:
        return ""
    if source in ONLY:
        return "" if target in ONLY[source] else f"{source} stands on {ONLY[source] or 'nothing'}"
    if rank(target) > rank(source):
        return "a lower layer imports a higher one"
    if rank(source) == rank(target) == PROCESSES and not f"{found.target}.".startswith(
        tuple(f"{face}." for face in FACES)
    ):
        return "a process uses only the face of another one"
    return ""


def circle(found: Import, edges: set[tuple[str, str]]) -> str:
    """Why an import within a layer closes a circle, or ''."""
    source, target = found.tops
    if source == target or (source, target) not in edges:
        return ""
    reached, fresh = set[str](), {target}
    while fresh:
        reached |= fresh
        fresh = {b for a, b in edges if a in reached and a != b} - reached
    return f"{target} leads back to {source}" if source in reached else ""


def test_no_import_runs_backward() -> None:
    assert backward_imports(ROOT) == []


def test_every_own_module_was_looked_at() -> None:
    modules = dict(own_modules(ROOT))
    assert {"trading_lib", "trading_lib.wire", "trading_lib.models", "config"} <= modules.keys()
    assert not any(path.is_relative_to(ROOT / ".venv") for path in modules.values())


def tree(root: Path, files: dict[str, str]) -> Path:
    """The layers, each with a module that imports nothing, and `files` on top of it."""
    for name in set().union(*LAYERS):
        (root / name).mkdir()
        (root / name / "part.py").write_text("")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("trading_lib/bad.py", "import Gateway.part"),
        ("trading_lib/bad.py", "import config"),
        ("trading_lib/bad.py", "from shared_memory import part"),
        ("trading_lib/bad.py", "def late():\n    from socket import socket"),
        ("trading_lib/bad.py", "import multiprocessing.shared_memory"),
        ("trading_lib/deep/bad.py", "from ...Gateway import part"),
        ("shared_memory/bad.py", "import logger"),
        ("shared_memory/bad.py", "import OrderBook"),
        ("runtime/bad.py", "import OrderBook.part"),
        ("logger.py", "import main"),
        ("OrderBook/bad.py", "from Gateway.part import anything"),
        ("OrderBook/bad.py", "import OrderManager"),
        ("OrderBook/bad.py", "from OrderManager import server"),
        ("OrderBook/bad.py", "import OrderManager.client_of_mine"),
        ("OrderBook/bad.py", "import Dashboard"),
        ("Strategy/bad.py", "if True:\n    import cli"),
        ("strategies/mine/strategy.py", "from Strategy import part"),
        ("Strategy/bad.py", "import strategies.mine.strategy"),
        ("Gateway/bad.py", "from Gateway.test import helpers"),
        ("Gateway/bad.py", "import testing.clock"),
    ],
)
def test_a_planted_backward_import_is_found(tmp_path: Path, file: str, text: str) -> None:
    others = {"testing/clock.py": "", "strategies/mine/strategy.py": ""}
    line = text.count("\n") + 1
    faults = backward_imports(tree(tmp_path, others | {file: text}))
    assert len(faults) == 1
    assert faults[0].startswith(f"{file}:{line} imports ")


def test_a_circle_within_a_layer_is_found(tmp_path: Path) -> None:
    files = {
        "config.py": "import logger",
        "logger/a.py": "import runtime.part",
        "runtime/a.py": "from config import Config",
    }
    assert len(backward_imports(tree(tmp_path, files))) == 3


def test_what_is_allowed_is_allowed(tmp_path: Path) -> None:
    files = {
        "main.py": "import os, config, Gateway.part, Strategy.part\nfrom Dashboard import part",
        "Dashboard/view.py": "from OrderManager.part import anything",
        "Strategy/host.py": "import socket\nfrom OrderManager import client, models\nfrom . import part",
        "Gateway/deep/a.py": "from ..part import anything\nfrom OrderManager.client import Client",
        "Gateway/test/test_a.py": "import OrderBook.part, main, testing",
        "Gateway/conftest.py": "import main",
        "runtime/a.py": "from logger import part\nimport trading_lib.part",
        "shared_memory/a.py": "from trading_lib import part\nfrom shared_memory.part import anything",
        "strategies/mine/strategy.py": "from trading_lib.part import anything\nimport numpy",
        "benchmarks/latency.py": "import main, Gateway.part",
        "data/make.py": "import trading_lib.part, Gateway.part",
        ".venv/lib/package.py": "import this is not Python",
    }
    assert backward_imports(tree(tmp_path, files)) == []
