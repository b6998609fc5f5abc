"""Runs: what was recorded, in a list; one looked at, two or more side by side."""

from typing import Final

from nicegui import ui
from starlette.requests import Request

from Dashboard.desk import Desk
from Dashboard.guard import may_control
from Dashboard.pages.frame import BY_SIGN, column, grid, page_frame, raw, script

FIND: Final = "find a run: id, strategy, state"


def add(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/runs", title="algosim: Runs")
    def runs(request: Request) -> None:
        control = may_control(request)
        page_frame(desk, "/runs", control)
        with ui.element("main").classes("runs").props('id="runs"'):
            ids = _list() | _chosen()
        script("runs.js", {**ids, "mayControl": control})


def _list() -> dict[str, int]:
    number = {"cellClass": "num", "headerClass": "num"}
    columns = [
        column("id", "run", width=176, pinned="left"),
        column("state", "state", width=80, **{":cellClass": "params => algosimCells.stateClass(params)"}),
        column("started", "began (UTC)", "began", width=128),
        column("duration_s", "event time", "length", width=84),
        column("strategies", "strategies", flex=1, minWidth=84, tooltipField="strategies"),
        column("fills", "fills", "whole", width=56),
        column("equity", "equity", "money", width=92),
        column("gain", "return", "gain", width=80, **BY_SIGN),
        column("comparable", "comparable", "yes", width=92, cellDataType=False, **number),
    ]
    with ui.element("section").classes("panel").props('aria-label="list of runs"'):
        raw('<h2>Runs <span id="runs-count" class="muted" role="status">are being listed …</span></h2>')
        ui.input(placeholder=FIND).props(f'dense outlined clearable aria-label="{FIND}"').classes("runs-find")
        chosen = {
            "mode": "multiRow",
            "checkboxes": True,
            "headerCheckbox": False,
            "enableClickSelection": True,
        }
        made = grid(columns, "id", rowSelection=chosen, selectionColumnDef={"width": 36, "pinned": "left"})
        return {"runs": made.id}


def _chosen() -> dict[str, int]:
    with ui.element("aside").classes("panel").props('aria-label="what is chosen"'):
        raw('<div id="runs-none" class="empty"></div>')
        raw('<div id="runs-one" class="run-facts" hidden></div>')
        with ui.element("div").classes("run-compare").props('id="runs-many" hidden'):
            raw('<h2>Side by side <span id="compare-state" class="muted" role="status"></span></h2>')
            raw(
                '<div id="compare-notes" class="muted"></div><div id="compare-table" class="compare-table"></div>'
            )
            raw("<h2>Return since each began, event time</h2>")
            return {"compared": ui.echart({"series": []}).classes("fill").id}
