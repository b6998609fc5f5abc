"""A form for a strategy's parameters: what its file names, with what is set now."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from Dashboard.desk import Desk
from Dashboard.pages.fields import FOLLOW_S, Fields
from Dashboard.pages.frame import attempt
from trading_lib.control import Params

MOST: Final = 24  # parameters with a field of their own
Maker = Callable[[str, Any], ValueElement[Any]]


class ParameterForm:
    """The fields of one strategy."""

    def __init__(self, desk: Desk, strategy: str) -> None:
        self._desk = desk
        self._box = ui.element("div").classes("form")
        self.choose(strategy)
        ui.timer(FOLLOW_S, self._follow)

    def choose(self, strategy: str) -> None:
        """Show another strategy's."""
        self._strategy = strategy
        self._made: tuple[int, Mapping[str, Maker]] | None = None
        self._fields = Fields({})
        self._applied = 0  # the id of the last action from here: until it is handled nothing is followed
        self._box.clear()
        self._follow()

    def _follow(self) -> None:
        """Show what is set, whoever has set it; nothing while nothing is known of the strategy."""
        status = self._status()
        if "params" not in status:
            return
        now = {**self._declared, **status["params"]}
        makers = {name: maker for name, value in now.items() if (maker := _maker(value)) is not None}
        made = self._desk.system.generation, dict(list(makers.items())[:MOST])
        if made != self._made:  # the first time, after a reload of the file, or in another run
            self._made, self._applied = made, 0
            self._make(made[1], now)
        elif status.get("params_action", 0) >= self._applied:
            self._fields.follow(now)

    def _status(self) -> Mapping[str, Any]:
        strategies = self._desk.system.strategies()["strategies"]
        return next((one for one in strategies if one["strategy"] == self._strategy), {})

    @property
    def _declared(self) -> Mapping[str, Any]:
        declared: Mapping[str, Any] = self._status().get("params_known", {})
        return declared

    def _make(self, makers: Mapping[str, Maker], now: Mapping[str, Any]) -> None:
        self._box.clear()
        with self._box:
            self._fields = Fields({name: make(name, now[name]) for name, make in makers.items()})
            if makers:
                ui.button("Apply", on_click=self._apply).props('outline aria-label="apply parameters"')

    async def _apply(self) -> None:
        declared = self._declared
        changes = {
            name: _typed(value, declared.get(name, value))
            for name, value in self._fields.touched.items()
            if value not in (None, "")
        }
        broken = [name for name in changes if isinstance(declared.get(name), int) and changes[name] % 1]
        if broken:
            ui.notify(f"{broken[0]}: a whole number", type="negative", position="bottom-right")
            return
        if not changes:
            ui.notify("nothing was changed", position="bottom-right")
            return
        said = ", ".join(f"{name} = {value}" for name, value in changes.items())
        fields, action = self._fields, Params(strategy=self._strategy, params=changes)
        answer = await attempt(self._desk.act(action), said)
        if answer is not None and fields is self._fields:  # nobody has chosen another strategy meanwhile
            self._applied = answer.id
            fields.settle(changes)


def _maker(value: object) -> Maker | None:
    """What makes the field for a value; None where there is none for its kind."""
    if isinstance(value, bool):
        return _switch
    if isinstance(value, int | float):
        return _number
    return _text if isinstance(value, str) else None


def _switch(name: str, value: Any) -> ValueElement[Any]:
    return ui.checkbox(name, value=value)


def _number(name: str, value: Any) -> ValueElement[Any]:
    return ui.number(name, value=value).props("dense outlined")


def _text(name: str, value: Any) -> ValueElement[Any]:
    return ui.input(name, value=value).props("dense outlined")


def _typed(value: Any, before: Any) -> Any:
    """A number field gives floats, also where a whole number is meant."""
    return (
        int(value) if isinstance(before, int) and isinstance(value, float) and value.is_integer() else value
    )
