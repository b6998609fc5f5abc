"""What steers a run: the market's pace, a strategy's parameters, the kill switch, orders by hand."""

import time
from typing import Any, Final

from nicegui import ui

from Dashboard.desk import Desk
from Dashboard.pages.frame import attempt, doing, raw
from Dashboard.pages.parameters import ParameterForm
from trading_lib.control import AllowTrading, KillSwitch, Pause, Reset, Resume, Speed
from trading_lib.models import MANUAL

SETTLING_S: Final = 3.0  # until a status has the speed that was just asked for
SPEEDS: Final[dict[float, str]] = {
    0.1: "× 0.1",
    0.5: "× 0.5",
    1: "× 1",
    2: "× 2",
    5: "× 5",
    10: "× 10",
    50: "× 50",
    100: "× 100",
}
ALL: Final = "all"


def controls(desk: Desk, may_control: bool, strategy: str) -> None:
    """The left rail, with that strategy chosen. Who only looks gets the numbers without the buttons."""
    with ui.element("div").classes("group"):
        raw('<h3>Market: <span id="market-state"></span></h3><div id="rate" class="number"></div>')
        if may_control:
            market_buttons(desk)
    if may_control:
        with ui.element("div").classes("group at-hand"):
            _kill_switch(desk)
            raw(
                '<button class="cell-button wide-only" data-drawer="ticket" title="key t">order by hand …</button>'
            )
    with ui.element("div").classes("group wide-only"):
        raw("<h3>Strategy</h3>")
        _strategy_choice(desk, may_control, strategy)
    with ui.element("div").classes("group"):
        raw('<h3>Why no trade?</h3><div id="why" class="why"></div>')


def market_buttons(desk: Desk) -> None:
    """Start, pause, resume, reset, speed."""
    with ui.element("div").classes("row"):
        ui.button("Start", on_click=lambda: _start(desk)).props(
            'outline title="let the market play: from where it was paused, or once more from the beginning"'
        )
        ui.button("Pause", on_click=doing(desk, Pause, "paused")).props("outline")
    with ui.element("div").classes("row"):
        ui.button("Resume", on_click=doing(desk, Resume, "going on")).props("outline")
        ui.button("Reset", on_click=doing(desk, Reset, "begun anew")).props(
            'outline title="the market from its first record: a new epoch"'
        )

    _speed_choice(desk)


def _speed_choice(desk: Desk) -> None:
    """The speed as it is, whoever has set it."""
    shown = desk.system.part("gateway").get("speed", 1)
    changed_at = 0.0

    async def set_speed(event: Any) -> None:
        nonlocal shown, changed_at
        if event.value != shown:
            shown, changed_at = event.value, time.monotonic()
            await attempt(desk.act(Speed(speed=float(shown))), f"speed {_named(shown)[shown]}")

    def follow() -> None:
        nonlocal shown
        now = desk.system.part("gateway").get("speed")
        if now not in (None, shown) and time.monotonic() > changed_at + SETTLING_S:
            shown = now
            choice.set_options(_named(now), value=now)

    choice = ui.select(_named(shown), value=shown, label="speed", on_change=set_speed)
    choice.props("dense outlined options-dense")
    ui.timer(1.0, follow)


def _named(speed: float) -> dict[float, str]:
    """The speeds to choose from, and this one."""
    return SPEEDS if speed in SPEEDS else {**SPEEDS, speed: f"× {speed:g}"}


async def _start(desk: Desk) -> None:
    gateway = desk.system.part("gateway")
    if gateway.get("state") not in ("ready", "silent"):
        await attempt(desk.command({"start": "gateway"}), "the Gateway starts")
    elif gateway.get("ended"):
        await attempt(desk.act(Reset()), "begun anew")
    else:
        await attempt(desk.act(Resume()), "going on")


def _strategy_choice(desk: Desk, may_control: bool, strategy: str) -> None:
    names = [entry.id for entry in desk.config.Strategy.entries]
    chosen_before = strategy if strategy in (*names, MANUAL) else ALL
    choice = ui.select([ALL, *names, MANUAL], value=chosen_before, label="strategy").props(
        "dense outlined options-dense id=strategy-choice"
    )
    choice.on_value_change(lambda event: ui.run_javascript(f"algosimLive.chooseStrategy({event.value!r})"))
    raw('<div id="strategy-state" class="muted"></div><div id="strategy-error" class="bad"></div>')
    if may_control:
        of_all = names[0]  # whose parameters are shown beside all of them
        form = ParameterForm(desk, of_all if chosen_before == ALL else chosen_before)
        choice.on_value_change(lambda event: form.choose(of_all if event.value == ALL else event.value))


def _kill_switch(desk: Desk) -> None:
    with ui.dialog() as dialog, ui.card():
        ui.label("Kill switch: cancel what is open, and accept nothing more until you allow it again?").style(
            "font-weight: 600"
        )
        scope = (
            ui.select(
                [ALL, *(entry.id for entry in desk.config.Strategy.entries), MANUAL],
                value=ALL,
                label="strategy",
            )
            .props("dense outlined")
            .style("width: 100%")
        )
        flatten = ui.checkbox("close positions, too", value=desk.config.OrderManager.risk.kill_switch_flatten)

        async def pull() -> None:
            dialog.close()
            await attempt(desk.act(KillSwitch(strategy=meant(), flatten=bool(flatten.value))), "killed")

        async def take_back() -> None:
            dialog.close()
            await attempt(desk.act(AllowTrading(strategy=meant())), "trading again")

        def meant() -> str | None:
            return None if scope.value == ALL else str(scope.value)

        with ui.row():
            ui.button("Kill", on_click=pull).classes("kill").props('unelevated color="" id="kill-confirm"')
            ui.button("Allow trading again", on_click=take_back).props('outline id="kill-undo"')
            ui.button("Leave it", on_click=dialog.close).props("flat")
    ui.button("Kill switch", on_click=dialog.open).classes("kill").props('unelevated color="" id="kill"')
    raw('<div id="killed" class="bad"></div>')
