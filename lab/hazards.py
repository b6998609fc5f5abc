"""What a strategy file does that the sandbox denies, or that makes two runs of it differ."""

import ast
from collections.abc import Iterator
from typing import Final

from lab.findings import Finding, error, warning

DENIED_MODULES: Final = {  # what a strategy would want them for
    **dict.fromkeys(
        ("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "asyncio"),
        "no network",
    ),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), "no new processes"),
    **dict.fromkeys(("shelve", "dbm", "sqlite3", "tempfile", "shutil"), "no writing of files"),
}
DENIED_CALLS: Final = {
    **dict.fromkeys(
        ("os.system", "os.popen", "os.fork", "os.kill", "os.execv", "os.spawnv"), "no new processes"
    ),
    **dict.fromkeys(
        ("os.remove", "os.unlink", "os.mkdir", "os.makedirs", "os.rename"), "no writing of files"
    ),
}
WALL_CLOCK: Final = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
}
GLOBAL_RANDOM: Final = {
    *(
        f"random.{name}"
        for name in ("random", "randint", "choice", "gauss", "uniform", "shuffle", "randrange")
    ),
    *(f"np.random.{name}" for name in ("rand", "randn", "random", "randint", "choice", "normal", "uniform")),
}
MUTATORS: Final = {
    "append",
    "extend",
    "insert",
    "add",
    "update",
    "pop",
    "popleft",
    "clear",
    "remove",
    "setdefault",
}
CONSTANTS: Final = {"NAME", "PARAMS", "SYMBOLS"}


def check_hazards(tree: ast.Module, name: str) -> Iterator[Finding]:
    """Findings of a whole file; `name` is what they call it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _check_import(node, name)
        elif isinstance(node, ast.Call):
            yield from _check_call(node, f"{name}:{node.lineno}")
    yield from _check_globals(tree, name)


def _check_import(node: ast.Import | ast.ImportFrom, name: str) -> Iterator[Finding]:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for module in modules:
        why = DENIED_MODULES.get(module.partition(".")[0])
        if why is not None:
            yield error(f"{name}:{node.lineno}", f"{module}: the sandbox allows {why}")


def _check_call(node: ast.Call, where: str) -> Iterator[Finding]:
    called = _dotted(node.func)
    if called in DENIED_CALLS:
        yield error(where, f"{called}: the sandbox allows {DENIED_CALLS[called]}")
    elif called == "time.sleep":
        yield error(
            where, "time.sleep holds up every tick behind this one", "count ticks, or compare tick.ts"
        )
    elif called in WALL_CLOCK:
        yield warning(
            where, f"{called} is the wall clock: no two runs are the same", "use tick.ts, event time in ns"
        )
    elif called in GLOBAL_RANDOM:
        hint = "keep a random.Random(seed) of your own on ctx"
        yield warning(where, f"{called} draws differently in every run", hint)
    elif called == "open":
        yield from _check_open(node, where)


def _check_open(node: ast.Call, where: str) -> Iterator[Finding]:
    modes = [node.args[1]] if len(node.args) > 1 else [k.value for k in node.keywords if k.arg == "mode"]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
    if isinstance(mode, str) and set(mode) & set("wax+"):
        yield error(where, "open: the sandbox allows no writing of files", "ctx.log() writes to the log")
    else:
        yield warning(where, "open: the sandbox allows reading below the strategy's own folder, nothing else")


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression that is one, else ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _check_globals(tree: ast.Module, name: str) -> Iterator[Finding]:
    """Names of the module that its functions change: they outlive an epoch, and a reload loses them."""
    shared = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    } - CONSTANTS
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            local = _locals(function)
            for line, changed in _changes(function):
                if changed in shared - local:
                    hint = f"keep it on ctx: ctx.{changed} = … in init"
                    yield warning(
                        f"{name}:{line}", f"{changed} belongs to the module: an epoch does not reset it", hint
                    )


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    """Names that are the function's own, and not declared global."""
    arguments = function.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    stores = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    declared = {name for n in ast.walk(function) if isinstance(n, ast.Global) for name in n.names}
    return names | (stores - declared)


def _changes(function: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of everything a function assigns into, or changes by a method that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            for changed in node.names:
                yield node.lineno, changed
            continue
        below: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            below = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            below = node.func.value if node.func.attr in MUTATORS else None
        if isinstance(below, ast.Name):
            yield below.lineno, below.id
