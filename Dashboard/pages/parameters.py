"""A form for a strategy's parameters: what its file names, with what is set now."""

from typing import Any, Final

from nicegui import ui

from Dashboard.desk import Desk
from Dashboard.pages.frame import attempt
from trading_lib.control import Params

MOST: Final = 24  # parameters with a field of their own


def fill_form(desk: Desk, form: ui.element, strategy: str) -> bool:
    """Make the fields of one strategy anew; False while nothing is known of it."""
    form.clear()
    status = next(
        (one for one in desk.system.strategies()["strategies"] if one["strategy"] == strategy), None
    )
    if status is None or "params" not in status:
        return False
    declared = status.get("params_known", {})
    known = {**declared, **status.get("params", {})}
    fields: dict[str, Any] = {}
    with form:
        for name, value in list(known.items())[:MOST]:
            if isinstance(value, bool):
                fields[name] = ui.checkbox(name, value=value)
            elif isinstance(value, int | float):
                fields[name] = ui.number(name, value=value).props("dense outlined")
            elif isinstance(value, str):
                fields[name] = ui.input(name, value=value).props("dense outlined")

        async def apply() -> None:
            changes = {
                name: _typed(field.value, declared.get(name, known[name]))
                for name, field in fields.items()
                if field.value != known[name] and field.value not in (None, "")
            }
            broken = [name for name in changes if isinstance(declared.get(name), int) and changes[name] % 1]
            if broken:
                ui.notify(f"{broken[0]}: a whole number", type="negative", position="bottom-right")
                return
            if not changes:
                ui.notify("nothing was changed", position="bottom-right")
                return
            said = ", ".join(f"{name} = {value}" for name, value in changes.items())
            if await attempt(desk.act(Params(strategy=strategy, params=changes)), said):
                known.update(changes)

        if fields:
            ui.button("Apply", on_click=apply).props('outline aria-label="apply parameters"')
    return True


def _typed(value: Any, before: Any) -> Any:
    """A number field gives floats, also where a whole number is meant."""
    return (
        int(value) if isinstance(before, int) and isinstance(value, float) and value.is_integer() else value
    )
