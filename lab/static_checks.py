"""What can be said of a strategy file without running it.

    findings = check_source(path.read_bytes(), "strategies/mine/strategy.py")

Callbacks and their arity, names that `ctx` does not have, what the sandbox denies, what makes two runs differ.
"""

import ast
from collections.abc import Iterator
from typing import Final

from lab.context_checks import check_context
from lab.findings import Finding, did_you_mean, error, warning
from lab.hazards import check_hazards

CALLBACKS: Final = {  # and what they are called with
    "on_tick": ("ctx", "tick"),
    "init": ("ctx",),
    "on_news": ("ctx", "news"),
    "on_fill": ("ctx", "fill"),
    "on_reject": ("ctx", "report"),
    "on_stop": ("ctx",),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def check_source(source: bytes, name: str) -> list[Finding]:
    """Everything found in a strategy file's source; `name` is what the findings call the file."""
    try:
        tree = ast.parse(source, name)
    except SyntaxError as fault:
        return [error(f"{name}:{fault.lineno}", f"{type(fault).__name__}: {fault.msg}")]
    except ValueError as fault:  # a NUL byte
        return [error(name, str(fault))]
    found = [*_check_callbacks(tree, name), *_check_constants(tree, name)]
    callbacks = {f.name: f for f in _functions(tree) if f.name in CALLBACKS}
    found += check_context(tree, callbacks, name)
    found += check_hazards(tree, name)
    return sorted(found, key=_line)


def _line(finding: Finding) -> int:
    line = finding.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _check_callbacks(tree: ast.Module, name: str) -> Iterator[Finding]:
    names = set(_bound(tree))
    if "on_tick" not in names and "*" not in names:
        yield error(name, "there is no function on_tick(ctx, tick)")
    for function in _functions(tree):
        where = f"{name}:{function.lineno}"
        if function.name in CALLBACKS:
            yield from _check_arity(function, where)
        elif function.name.startswith("on_"):
            hint = did_you_mean(function.name, [known for known in CALLBACKS if known not in names])
            yield warning(where, f"nothing calls {function.name}", hint)


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names that the module's top level defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _check_arity(function: Function, where: str) -> Iterator[Finding]:
    wanted = CALLBACKS[function.name]
    signature = f"{function.name}({', '.join(wanted)})"
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    most = float("inf") if arguments.vararg else positional
    required_keywords = [d for d in arguments.kw_defaults if d is None]
    if not positional - len(arguments.defaults) <= len(wanted) <= most or required_keywords:
        yield error(where, f"{function.name} is called as {signature}, and takes other arguments")
    if isinstance(function, ast.AsyncFunctionDef):
        yield error(where, f"{function.name} is async: nothing awaits it", f"def {signature}:")


def _check_constants(tree: ast.Module, name: str) -> Iterator[Finding]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield from _check_constant(target.id, node.value, f"{name}:{node.lineno}")


def _check_constant(constant: str, value: ast.expr, where: str) -> Iterator[Finding]:
    if constant == "SYMBOLS" and isinstance(value, ast.Constant):
        yield error(where, "SYMBOLS is a list of symbols", f"SYMBOLS = [{value.value!r}]")
    elif constant == "PARAMS" and isinstance(value, ast.List | ast.Tuple | ast.Set | ast.Constant):
        yield error(where, "PARAMS is a dict of names and defaults", 'PARAMS = {"quantity": 10}')
