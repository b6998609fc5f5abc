"""What is wrong with a value, for a person: path, value, and what is allowed."""

import re

import msgspec
from msgspec import inspect

from configuration.sections import Config


def explain(source: str, tree: object, message: str) -> str:
    """msgspec's `Expected … - at `$.A.b`` as `config.json: A.b = value: expected …`."""
    problem, _, where = message.partition(" - at ")
    value, kind, dotted = tree, inspect.type_info(Config), ""
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", where):
        if isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
            value, kind = value[int(index)], kind.item_type
            dotted += f"[{index}]"
        elif isinstance(kind, inspect.DictType) and isinstance(value, dict):  # msgspec does not say which key
            name, kind = _first_wrong(value, kind.value_type), kind.value_type
            value = value[name]
            dotted += f".{name}"
        elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
            kind = next(known.type for known in kind.fields if known.encode_name == name)
            value = value[name]
            dotted += f".{name}"
    dotted = dotted.lstrip(".")
    named = re.search(r"(unknown|required) field `(.*)`$", problem)
    if named is not None:
        key = f"{dotted}.{named[2]}".lstrip(".")
        known = ", ".join(f.encode_name for f in kind.fields) if isinstance(kind, inspect.StructType) else ""
        return f"{source}: {key}: {f'no such key, only {known}' if named[1] == 'unknown' else 'is missing'}"
    if where.startswith("`key`"):
        return f"{source}: {dotted} = {value!r}: as keys {problem[:1].lower()}{problem[1:]}"
    return f"{source}: {dotted or 'top level'} = {value!r}: expected {_expected(kind)}"


def _first_wrong(entries: dict[str, object], kind: inspect.Type) -> str:
    assert isinstance(kind, inspect.StructType)
    for key, entry in entries.items():
        try:
            msgspec.convert(entry, kind.cls)
        except msgspec.ValidationError:
            return key
    raise AssertionError("msgspec refused one of these")


def _expected(kind: inspect.Type) -> str:
    """What is allowed, for a person."""
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(repr(value) for value in kind.values)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(map(_expected, kind.types))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        bounds = {"above": kind.gt, "at least": kind.ge, "at most": kind.le}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        return f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number {text}".rstrip()
    if isinstance(kind, inspect.StrType):
        return f"text like {kind.pattern}" if kind.pattern else "text"
    if isinstance(kind, inspect.VarTupleType):
        bounds = {"at least": kind.min_length, "at most": kind.max_length}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound)
        return f"a list of {text} entries" if text else "a list"
    return {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(kind), "an object")
