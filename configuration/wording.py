"""What is wrong with a value, for a person: path, value, and what is allowed."""

import re
from typing import Any

import msgspec
from msgspec import inspect

from configuration.sections import Config


def explain(source: str, tree: object, message: str, type_: Any = Config) -> str:
    """msgspec's `Expected … - at `$.A.b``, of a `type_`, as `config.json: A.b = value: expected …`."""
    problem, _, where = message.partition(" - at ")
    dotted, value, kind = _found(tree, type_, where)
    named = re.search(r"(unknown|required) field `(.*)`$", problem)
    if named is not None:
        key = f"{dotted}.{named[2]}".lstrip(".")
        known = ", ".join(f.encode_name for f in kind.fields) if isinstance(kind, inspect.StructType) else ""
        return f"{source}: {key}: {f'no such key, only {known}' if named[1] == 'unknown' else 'is missing'}"
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return f"{source}: {problem}"  # the struct's own words
    said = f"{source}: {dotted or 'top level'} = {value!r}"
    if isinstance(kind, inspect.DictType) and where.startswith("`key`"):
        return f"{said}: as keys expected {_expected(kind.key_type)}"
    if isinstance(kind, inspect.DictType) and where.endswith("[...]`"):
        return f"{said}: as values expected {_expected(kind.value_type)}"
    return f"{said}: expected {_expected(kind)}"


def _found(tree: object, type_: Any, where: str) -> tuple[str, object, inspect.Type]:
    """A path of msgspec's: (as we write it, what stands there, what may stand there)."""
    value, kind, dotted = tree, _meant(inspect.type_info(type_), tree), ""
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", where):
        if isinstance(kind, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
            value, kind = value[int(index)], kind.item_type
            dotted += f"[{index}]"
        elif isinstance(kind, inspect.DictType) and isinstance(value, dict):  # msgspec does not say which key
            if not isinstance(kind.value_type, inspect.StructType):
                break
            name, kind = _first_wrong(value, kind.value_type), kind.value_type
            value = value[name]
            dotted += f".{name}"
        elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
            kind = next(known.type for known in kind.fields if known.encode_name == name)
            value = value[name]
            dotted += f".{name}"
        elif isinstance(kind, inspect.UnionType) and isinstance(value, dict):  # of none of its structs
            value, kind = value[name], inspect.LiteralType(_tags(kind))
            dotted += f".{name}"
    return dotted.lstrip("."), value, kind


def _meant(kind: inspect.Type, value: object) -> inspect.Type:
    """Of the structs of a tagged union the one that a value names."""
    if isinstance(kind, inspect.UnionType) and isinstance(value, dict):
        for one in kind.types:
            if isinstance(one, inspect.StructType) and value.get(one.tag_field) == one.tag:
                return one
    return kind


def _tags(kind: inspect.UnionType) -> tuple[str | int, ...]:
    return tuple(one.tag for one in kind.types if isinstance(one, inspect.StructType) and one.tag is not None)


def _first_wrong(entries: dict[str, object], kind: inspect.StructType) -> str:
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
        return " or ".join(dict.fromkeys(map(_expected, kind.types)))
    if isinstance(kind, inspect.EnumType):
        return " or ".join(repr(member.value) for member in kind.cls)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        bounds = {"above": kind.gt, "at least": kind.ge, "at most": kind.le}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        return f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number {text}".rstrip()
    if isinstance(kind, inspect.StrType):
        return f"text like {kind.pattern}" if kind.pattern else "text"
    if isinstance(kind, inspect.VarTupleType | inspect.ListType | inspect.DictType):
        bounds = {"at least": kind.min_length, "at most": kind.max_length}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound)
        name = "an object" if isinstance(kind, inspect.DictType) else "a list"
        return f"{name} of {text} entries" if text else name
    return {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(kind), "an object")
