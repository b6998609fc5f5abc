"""Parameters that nobody knows: they would change nothing, and nobody would find out."""

import ast
from collections.abc import Iterable

from config import StrategyEntry, resolve
from lab.context_checks import declared_params
from lab.findings import did_you_mean


def unknown_params(entries: Iterable[StrategyEntry], names: Iterable[str]) -> str:
    """What to say of the first name that none of the strategies knows; nothing if there is none.

    A strategy without PARAMS, or one that cannot be read, may know any.
    """
    known: set[str] = set()
    for entry in entries:
        try:
            declared = declared_params(ast.parse(resolve(entry.path).read_bytes()))
        except (OSError, ValueError, SyntaxError):
            return ""
        if declared is None:
            return ""
        known |= {*declared, *entry.params}
    for name in names:
        if name not in known:
            return f"no strategy here has a parameter {name}: {did_you_mean(name, sorted(known))}"
    return ""
