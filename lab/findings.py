"""What a check found: `ok`, `warning` or `error`, where, what, and what to do about it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is. Only an error is a failed check."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True):
    """`where` is a file with its line, a key, or what was looked at; `hint` says what to do, or nothing."""

    level: Level
    where: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8}{self.where}: {self.text}"
        return f"{line}\n        {self.hint}" if self.hint else line


def ok(where: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, where, text)


def warning(where: str, text: str, hint: str = "") -> Finding:
    """It works, and is probably not what was meant."""
    return Finding(Level.WARNING, where, text, hint)


def error(where: str, text: str, hint: str = "") -> Finding:
    """It does not work."""
    return Finding(Level.ERROR, where, text, hint)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any of them is an error."""
    return any(finding.level is Level.ERROR for finding in findings)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint with the nearest names, or with all there are when none is near and they are few."""
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there is {', '.join(sorted(known))}" if len(known) <= 24 else ""
