"""Forms that change a running market: its model, its arrivals, its seed; and what trading in it costs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from nicegui import ui

from Dashboard.checked import Wrong, from_values
from Dashboard.desk import Desk
from Dashboard.pages.fields import FOLLOW_S, Fields
from Dashboard.pages.frame import attempt, raw, text
from trading_lib.control import OperatorAction
from trading_lib.models import MANUAL

ALL: Final = "all"
RATES: Final = {"ou": "rates per second", "vasicek": "rates per second"}  # of the others per year
COSTS: Final = {  # name: what a person calls it
    "slippage_bps": "slippage, bps",
    "commission_bps": "commission, bps",
    "commission_fixed": "per order, $",
    "latency_ms": "latency, ms",
}
MODES: Final = {"fixed": "fixed", "poisson": "Poisson"}
HOW: Final = "python main.py configs/ou.json"


def model_form(desk: Desk, may_control: bool) -> None:
    """The model's parameters, each with its value now; or how to get a market that has a model."""
    gateway = desk.config.Gateway
    if gateway.provider != "simulated":
        kind = "a file" if gateway.provider == "csv" else "a random walk"
        raw(f"<h3>Model</h3><div>This market is {kind}: it has no model to change.</div>")
        raw(f'<div class="muted">One that has: <code>{HOW}</code></div>')
        return
    name = (gateway.model or {}).get("type", "ou")
    parameters = gateway.market
    known = _market(desk).get("model") or msgspec.to_builtins(parameters)
    changeable = {
        key: value
        for key, value in known.items()
        if isinstance(value, float) and key not in parameters.STARTING
    }
    raw(f'<h3>Model {text(name)}<span class="muted">, {RATES.get(name, "rates per year")}</span></h3>')
    if not changeable:
        raw("<div>What it is made of does not change while it runs.</div>")
        return
    _form(desk, "model", {key: key for key in changeable}, changeable, _model, may_control)


def _model(changes: Mapping[str, float]) -> dict[str, object]:
    return {"action": "model", "changes": changes}


def _market(desk: Desk) -> Mapping[str, Any]:
    market: Mapping[str, Any] = desk.system.part("gateway").get("market") or {}
    return market


def arrivals_form(desk: Desk, may_control: bool) -> None:
    """When ticks come, and by which seed. Both begin the market anew."""
    gateway = desk.config.Gateway
    if gateway.provider == "simulated":
        raw('<h3>Arrivals: <span id="arrivals"></span></h3>')
    if not may_control:
        return
    if gateway.provider == "simulated":
        schedule = gateway.schedule
        now = _market(desk)
        mode = now.get("mode", schedule.mode)
        dt_ms = now.get("dt_ms", schedule.dt_fixed_ms if mode == "fixed" else schedule.dt_mean_ms)
        with ui.element("div").classes("row"):
            modes = ui.select(MODES, value=mode, label="gaps").props(
                'dense outlined options-dense id="arrivals-mode"'
            )
            gap = ui.number("ms", value=dt_ms, min=0).props('dense outlined for="arrivals-ms"')
            fields = Fields({"mode": modes, "dt_ms": gap})

            def follow() -> None:
                if {"mode", "dt_ms"} <= (market := _market(desk)).keys():
                    fields.follow(market)

            ui.timer(FOLLOW_S, follow)

            async def begin() -> None:
                action = {"action": "schedule", "mode": modes.value, "dt_ms": gap.value}
                await _have_done(desk, action, f"begun anew, {MODES[modes.value]} gaps")

            ui.button("Reset", on_click=begin).props(
                'outline id="arrivals-apply" title="begin the market anew with these arrivals: a new epoch"'
            )
    raw("<h3>Seed</h3>")
    with ui.element("div").classes("row"):
        # empty: nothing says which seed is in force once somebody has begun the market anew with another one
        seed = ui.number("seed", min=0, precision=0, placeholder="the same").props(
            'dense outlined stack-label for="seed"'
        )

        async def anew() -> None:
            whole = int(seed.value) if seed.value is not None else None
            done = "begun anew" if whole is None else f"begun anew, seed {whole}"
            if await _have_done(desk, {"action": "reset", "seed": whole}, done):
                seed.value = None

        ui.button("Reset", on_click=anew).props(
            'outline id="seed-apply" title="the market from its first record: a new epoch; '
            'without a seed with the one it has"'
        )


def costs_form(desk: Desk, may_control: bool) -> None:
    """Slippage, commission, latency: of one strategy or of all, from here on."""
    raw("<h3>Costs and latency</h3>")
    names = [entry.id for entry in desk.config.Strategy.entries]
    scope = ui.select([ALL, *names, MANUAL], value=ALL, label="strategy").props(
        'dense outlined options-dense id="costs-scope"'
    )
    scope.on_value_change(lambda event: ui.run_javascript(f"window.algosimLab?.costsOf({event.value!r})"))
    execution = desk.config.OrderManager.execution
    known = {key: float(getattr(execution, key)) for key in COSTS}

    def costs(changes: Mapping[str, float]) -> dict[str, object]:
        return {"action": "costs", "strategy": None if scope.value == ALL else scope.value, **changes}

    _form(desk, "costs", COSTS, known, costs, may_control)


def _form(
    desk: Desk,
    kind: str,
    names: Mapping[str, str],
    known: Mapping[str, float],
    make: Callable[[Mapping[str, float]], Mapping[str, object]],
    may_control: bool,
) -> None:
    """A row for each value: its name, a field, and what it is now (the script writes that)."""
    fields: dict[str, ui.number] = {}
    with ui.element("div").classes("values" if may_control else "values shown"):
        for key, name in names.items():
            raw(f'<label for="{kind}-{key}-field">{text(name)}</label>')
            if may_control:
                fields[key] = ui.number().props(f'dense outlined for="{kind}-{key}-field"')
            raw(f'<span class="number" id="{kind}-{key}" title="now">{known[key]:g}</span>')
    if not may_control:
        return

    async def apply() -> None:
        changes = {key: field.value for key, field in fields.items() if field.value is not None}
        if not changes:
            ui.notify("enter what is to change; beside it stands how it is now", position="bottom-right")
            return
        said = ", ".join(f"{names[key]} = {value:g}" for key, value in changes.items())
        if await _have_done(desk, make(changes), said):
            for field in fields.values():
                field.value = None

    ui.button("Apply", on_click=apply).props(f'outline id="{kind}-apply" aria-label="apply {kind}"')


async def _have_done(desk: Desk, fields: Mapping[str, object], done: str) -> bool:
    """Have an action done, if what was entered makes one."""
    try:
        action: OperatorAction = from_values(str(fields["action"]), fields, OperatorAction)
    except Wrong as fault:
        ui.notify(str(fault), type="negative", position="bottom-right")
        return False
    return await attempt(desk.act(action), done) is not None
