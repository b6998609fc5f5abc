"""Fields that show what counts now, whoever changes it; one that a person has changed waits for that person."""

from collections.abc import Mapping
from typing import Any, Final

from nicegui.elements.mixins.value_element import ValueElement

FOLLOW_S: Final = 1.0  # as often as statuses come


class Fields:
    """Of a form, by name; made with the values that count."""

    def __init__(self, fields: Mapping[str, ValueElement[Any]]) -> None:
        self._fields = dict(fields)
        self._shown = {name: field.value for name, field in fields.items()}

    @property
    def touched(self) -> dict[str, Any]:
        """What a person has entered that is not what counts."""
        return {name: field.value for name, field in self._fields.items() if field.value != self._shown[name]}

    def follow(self, now: Mapping[str, Any]) -> None:
        """Show what counts now, but where somebody has entered something else."""
        untouched = self._fields.keys() - self.touched
        self._shown = {name: now[name] for name in self._fields}
        for name in untouched:
            self._fields[name].value = now[name]

    def settle(self, asked: Mapping[str, Any]) -> None:
        """These are asked for: where nothing else was entered meanwhile a field follows again."""
        self._shown |= asked
