"""What a strategy file asks of `ctx` and of the facts it is called with, against what they offer."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.findings import Finding, did_you_mean, error, warning
from trading_lib.context import KINDS, Context
from trading_lib.models import Fill, News, Report, Side, Tick, TimeInForce

FACTS: Final = {"on_tick": Tick, "on_news": News, "on_fill": Fill, "on_reject": Report}
OFFERED: Final = [*sorted(name for name in dir(Context) if not name.startswith("_")), "indicator"]
METHODS: Final = {name: getattr(Context, name) for name in OFFERED if callable(getattr(Context, name, None))}

Functions = Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]


def check_context(tree: ast.Module, callbacks: Functions, name: str) -> Iterator[Finding]:
    """Unknown names and calls that cannot work. `callbacks` are those the file defines itself."""
    contexts = {first for function in callbacks.values() if (first := _parameter(function, 0))}
    own = _attributes_set(tree, contexts)
    known = [*OFFERED, *own]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_name(node.value, contexts):
            yield from _check_attribute(node, known, own, name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            yield from _check_indicator(node, contexts, name)
        elif isinstance(node, ast.Call):
            yield from _check_call(node, contexts, name)
    for callback, function in callbacks.items():
        fact = _parameter(function, 1)
        if callback in FACTS and fact is not None:
            yield from _check_fact(function, fact, FACTS[callback], name)
    yield from _check_params(tree, contexts, name)


def _parameter(function: ast.FunctionDef | ast.AsyncFunctionDef, index: int) -> str | None:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return names[index] if index < len(names) else None


def _is_name(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _attributes_set(tree: ast.Module, contexts: set[str]) -> set[str]:
    """What the file itself puts on ctx."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and _is_name(node.value, contexts)
    }


def _check_attribute(node: ast.Attribute, known: list[str], own: set[str], name: str) -> Iterator[Finding]:
    where, attribute = f"{name}:{node.lineno}", f"ctx.{node.attr}"
    if isinstance(node.ctx, ast.Store) and node.attr in OFFERED:
        yield error(where, f"{attribute} is what ctx offers: assigning hides it", "choose another name")
    elif node.attr.startswith("_") and node.attr not in own:
        yield warning(where, f"{attribute} is not for strategies, and may change")
    elif isinstance(node.ctx, ast.Load) and node.attr not in known:
        yield error(where, f"ctx has no {node.attr}", did_you_mean(node.attr, known))


def _check_indicator(node: ast.Attribute, contexts: set[str], name: str) -> Iterator[Finding]:
    below = node.value
    if not (
        isinstance(below, ast.Attribute) and below.attr == "indicator" and _is_name(below.value, contexts)
    ):
        return
    if node.attr not in (*KINDS, "values", "made"):
        yield error(
            f"{name}:{node.lineno}", f"no indicator {node.attr}", did_you_mean(node.attr, list(KINDS))
        )


def _check_call(node: ast.Call, contexts: set[str], name: str) -> Iterator[Finding]:
    """Arguments of a ctx method: how many, of which names, and sides and times in force that exist."""
    called, where = node.func, f"{name}:{node.lineno}"
    if not (
        isinstance(called, ast.Attribute) and _is_name(called.value, contexts) and called.attr in METHODS
    ):
        return
    method = called.attr
    if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
        return
    signature = inspect.signature(METHODS[method])
    names = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
    parameters = [parameter for parameter in signature.parameters if parameter != "self"]
    for keyword in names:
        if keyword not in parameters:
            hint = did_you_mean(keyword, parameters)
            yield error(where, f"ctx.{method} has no argument {keyword}", hint)
            return
    try:
        bound = signature.bind(
            None, *node.args, **{k.arg: k.value for k in node.keywords if k.arg is not None}
        )
    except TypeError as fault:
        yield error(where, f"ctx.{method}: {fault}", f"ctx.{method}({', '.join(parameters)})")
        return
    yield from _check_choice(bound.arguments.get("side"), [str(side) for side in Side], where)
    yield from _check_choice(bound.arguments.get("tif"), [str(tif) for tif in TimeInForce], where)


def _check_choice(value: Any, choices: list[str], where: str) -> Iterator[Finding]:
    if isinstance(value, ast.Constant) and value.value not in choices:
        yield error(where, f"{value.value!r} is none of {', '.join(choices)}")


def _check_fact(
    function: ast.FunctionDef | ast.AsyncFunctionDef, fact: str, kind: type, name: str
) -> Iterator[Finding]:
    fields = [field for field in dir(kind) if not field.startswith("_")]
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and _is_name(node.value, {fact}):
            where = f"{name}:{node.lineno}"
            if isinstance(node.ctx, ast.Store):
                yield error(where, f"a {kind.__name__.lower()} cannot be changed")
            elif node.attr not in fields and not node.attr.startswith("__"):
                hint = did_you_mean(node.attr, fields)
                yield error(where, f"a {kind.__name__.lower()} has no {node.attr}", hint)


def _check_params(tree: ast.Module, contexts: set[str], name: str) -> Iterator[Finding]:
    """Parameters that are asked for and not in PARAMS: nobody would find out that they exist."""
    declared = declared_params(tree)
    if declared is None:
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get_param"
            and _is_name(node.func.value, contexts)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
            and node.args[0].value not in declared
        ):
            asked = node.args[0].value
            yield warning(f"{name}:{node.lineno}", f"{asked} is not in PARAMS", did_you_mean(asked, declared))


def declared_params(tree: ast.Module) -> list[str] | None:
    """The keys of PARAMS; None where there is none, or it is not written out."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and _is_name(node.targets[0], {"PARAMS"})
            and isinstance(node.value, ast.Dict)
            and all(isinstance(key, ast.Constant) for key in node.value.keys)
        ):
            return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    return None
