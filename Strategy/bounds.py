"""What a worker says of itself, cut to what its parent keeps and passes on: user code may have forged all of it.

    kept, cut = bounded({"errors": 3, "why": {"warming up": 7}}, room=1000)

A status that no longer fits the supervisor's line would leave everybody without one.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

TEXT: Final = 600  # characters of a text; an exception's is half as long …
TEXT_BYTES: Final = 1200  # … and bytes, as JSON
MOST: Final = 1 << 53  # of a count, either way: whoever reads JSON has it exactly
ENTRIES: Final = 512  # of a table or a list
DEPTH: Final = 8  # of tables and lists in each other
ROOM: Final = 1 << 19  # bytes of all strategies' tables and lists together: half a line to the supervisor
SUMMARY_ROOM: Final = 1 << 16  # and of what is said of all together
NUMBER_BYTES: Final = 25  # the longest there is, as JSON

Message = TypeVar("Message", bound=msgspec.Struct)


def bounded(fields: Mapping[str, Any], room: int) -> tuple[dict[str, Any], int]:
    """JSON-like fields cut short, and how many values found no room.

    A text is cut, a count is clamped, and each field stays; what tables and lists hold stays as long as all of
    it fits `room` bytes as JSON. The names are ours.
    """
    left = _Room(room)
    return {name: left.fit(value) for name, value in fields.items()}, left.cut


def bounded_message(message: Message) -> tuple[Message, int]:
    """The same of a message."""
    fields, cut = bounded(msgspec.structs.asdict(message), ROOM)
    return type(message)(**fields), cut


class _Room:
    """Bytes that are left, and what has found none."""

    def __init__(self, left: int) -> None:
        self._left = left
        self.cut = 0

    def fit(self, value: Any, depth: int = 0) -> Any:
        """The value, or what there is room for of it."""
        if isinstance(value, Mapping):
            return self._table(value, depth)
        if isinstance(value, list | tuple):
            kept = [self.fit(item, depth + 1) for item in value[:ENTRIES] if self._has_room(item, depth)]
            self.cut += max(0, len(value) - ENTRIES)
            return kept if isinstance(value, list) else tuple(kept)
        return _leaf(value)

    def _table(self, table: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in table.items():
            name = _text(str(key))
            if name in kept or len(kept) == ENTRIES:
                self.cut += 1
            elif self._has_room(value, depth, _size(name) + 1):
                kept[name] = self.fit(value, depth + 1)
        return kept

    def _has_room(self, value: Any, depth: int, beside: int = 0) -> bool:
        """Take the room of an entry; its own entries take theirs when it is their turn."""
        inner = isinstance(value, Mapping | list | tuple)
        size = beside + 1 + (2 if inner else _size(_leaf(value)))
        if size > self._left or (inner and depth + 1 == DEPTH):
            self.cut += 1
            return False
        self._left -= size
        return True


def _leaf(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-MOST, min(value, MOST))
    return value


def _text(text: str) -> str:
    """The beginning of it."""
    short = text[:TEXT]
    if len(msgspec.json.encode(short)) > TEXT_BYTES:
        short = short[: TEXT_BYTES // 6]  # no character takes more
    return short if len(short) == len(text) else f"{short[:-1]}…"


def _size(leaf: Any) -> int:
    """Bytes of it as JSON, at most."""
    return len(msgspec.json.encode(leaf)) if isinstance(leaf, str) else NUMBER_BYTES
