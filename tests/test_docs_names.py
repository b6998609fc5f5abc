"""What the documentation names exists, and what it lists is what the code has."""

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from config import Config, parse_config, to_json
from lab.static_checks import CALLBACKS
from shared_memory import layout
from shared_memory_utils import DEFAULT_CAPACITY
from testing.harness import ROOT
from testing.pages import ALL_BLOCKS, PAGES, inline_code, prose_of, rows_of
from trading_lib.context import KINDS, Context

GENERATED: Final = {"benchmarks/RESULTS.md"}  # by `make bench`
MADE_BY_RUNS: Final = {"logs", "runs", ".cache"}


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
