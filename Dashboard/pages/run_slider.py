"""A run, looked at instant by instant: the market, what a strategy held, saw and said."""

from typing import Final

from nicegui import ui
from starlette.requests import Request

from Dashboard.desk import Desk
from Dashboard.guard import may_control
from Dashboard.pages.frame import page_frame, raw, script, text
from Dashboard.run_downloads import NotThere, run_folder

SPEEDS: Final = (1, 2, 5, 10, 20, 50, 100, 200)  # instants a second
USUAL_SPEED: Final = 20
BUTTONS: Final = {  # id: (icon, what it does, key)
    "first": ("first_page", "to the first instant", "Home"),
    "back": ("chevron_left", "one instant back", "←"),
    "play": ("play_arrow", "play", "space"),
    "forward": ("chevron_right", "one instant on", "→"),
    "last": ("last_page", "to the last instant", "End"),
}


def add(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/runs/{run_id}", title="algosim: a run")
    def run(request: Request, run_id: str) -> None:
        control = may_control(request)
        page_frame(desk, "/runs", control)
        try:
            run_folder(desk.runs, run_id)
        except NotThere as fault:
            raw(f'<main class="empty">{text(fault)}. <a href="/runs">All runs</a></main>')
            return
        with ui.element("main").classes("slider"):
            chart = _chart(run_id)
            _side()
            _transport()
        script("slider.js", {"run": run_id, "chart": chart, "mayControl": control})


def _chart(run_id: str) -> int:
    with ui.element("section").classes("panel chart").props('aria-label="the run"'):
        raw(
            f'<h2><b>{text(run_id)}</b><span id="run-state"></span><span style="flex:1"></span>'
            '<label>symbol <select id="symbol" class="choice"></select></label>'
            '<label>strategy <select id="strategy" class="choice"></select></label>'
            '<button id="again" class="cell-button" hidden>look again</button>'
            '<a id="facts" class="cell-button" href="/runs">files and report</a></h2>'
            '<div id="note" class="muted" role="status"></div>'
        )
        with ui.element("div").classes("fill stage").props('id="stage"'):
            made = ui.echart({"series": []}).classes("whole")
            raw(
                '<div id="cursor" class="cursor" hidden></div><div id="work" class="work" role="status"></div>'
            )
        return made.id


def _side() -> None:
    raw(
        '<section class="panel at" aria-label="at this instant">'
        '<h2>At this instant</h2><div id="at-time" class="facts"></div>'
        '<h2>Market</h2><div id="at-market" class="facts"></div>'
        '<h2>Strategy</h2><div id="at-strategy" class="facts"></div>'
        '<h2>Position</h2><div id="at-position" class="facts"></div>'
        '<h2>Why no trade?</h2><div id="at-why"></div>'
        '<h2>Indicators</h2><div id="at-indicators" class="facts"></div></section>'
    )


def _transport() -> None:
    buttons = "".join(
        f'<button id="{name}" class="cell-button" title="{told} (key {key})" aria-label="{told}" disabled>'
        f'<i class="material-icons" aria-hidden="true">{icon}</i></button>'
        for name, (icon, told, key) in BUTTONS.items()
    )
    speeds = "".join(
        f"<option value={speed}{' selected' if speed == USUAL_SPEED else ''}>{speed} / s</option>"
        for speed in SPEEDS
    )
    raw(
        f'<section class="panel transport" aria-label="time slider">{buttons}'
        '<label>speed <select id="speed" class="choice" title="instants a second (keys + and −)">'
        f"{speeds}</select></label>"
        '<input id="slider" type="range" min="0" max="0" value="0" step="1" aria-label="instant" disabled>'
        '<span id="place" class="number"></span></section>'
    )
