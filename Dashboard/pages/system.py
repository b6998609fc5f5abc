"""System: every process, how far behind it is, what was dropped and why, how long a tick takes, and the logs."""

from typing import Final

from nicegui import ui
from starlette.requests import Request

from Dashboard.desk import Desk
from Dashboard.guard import may_control
from Dashboard.log_tail import LEVELS, LOGS
from Dashboard.pages.frame import page_frame, raw, script

TILES: Final = {  # id: (name, what it is)
    "ticks": ("Ticks", "ticks put on the tape, by the last two statuses"),
    "orders": ("Orders", "orders the OrderManager received, by the last two statuses"),
    "latency": ("tick→order", "from when a tick was due at the Gateway to its order at the OrderManager"),
    "lag": ("Strategy lag", "records on the tape that the strategies have not read yet"),
    "gaps": ("Gaps", "interruptions of the feed, and the records they stand for"),
    "rejected": ("Rejected", "frames and rows passed over, orders denied and refused"),
    "disk": (
        "Runs' disk",
        "free on the disk that runs are written to; recording stops at Recorder.min_free_mb",
    ),
    "listeners": (
        "Listeners",
        "connections to this server's stream of events, and the frames that were passed over for slow ones",
    ),
}
PARTS: Final = {  # heading: its class
    "part": "",
    "state": "",
    "pid": "num",
    "CPU": "num",
    "memory": "num",
    "restarts": "num",
    "up": "num",
    "lag": "num",
    "says": "",
}


def add(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/system", title="algosim: System")
    def system(request: Request) -> None:
        page_frame(desk, "/system", may_control(request))
        with ui.element("main").classes("system"):
            _tiles()
            with ui.element("div").classes("left"):
                _parts()
                ids = _rates()
                _logs()
            with ui.element("div").classes("right"):
                ids |= _latency()
                _counted()
        script("system.js", ids)


def _tiles() -> None:
    tiles = "".join(
        f'<div class="kpi" title="{told}"><div class="name"><span>{name}</span>'
        f'<span id="tile-{key}-note"></span></div><div class="value" id="tile-{key}">–</div></div>'
        for key, (name, told) in TILES.items()
    )
    raw(f'<section class="kpis" aria-label="key figures">{tiles}</section>')


def _table(key: str, headings: dict[str, str]) -> None:
    """An empty table whose rows are the script's."""
    cells = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in headings.items())
    raw(
        f'<div class="scroll" tabindex="0"><table class="plain" id="{key}"><thead><tr>{cells}</tr></thead>'
        f'<tbody></tbody></table><div class="empty" id="{key}-empty">waiting for main.py’s status …</div></div>'
    )


def _parts() -> None:
    with ui.element("section").classes("panel parts").props('aria-label="processes"'):
        raw("<h2>Processes</h2>")
        _table("parts", PARTS)


def _latency() -> dict[str, int]:
    with ui.element("section").classes("panel latency").props('aria-label="latency"'):
        raw(
            '<h2>Latency, <span id="latency-stage">tick→order</span><span class="grow"></span>'
            '<span class="muted" id="latency-window"></span></h2>'
        )
        chart = ui.echart({"series": []}).classes("fill").id
        _table(
            "stages",
            {
                "stage, µs": "",
                "p50": "num",
                "p90": "num",
                "p99": "num",
                "p99.9": "num",
                "max": "num",
                "n": "num",
            },
        )
    return {"latency": chart}


def _rates() -> dict[str, int]:
    made = {}
    with ui.element("section").classes("panel rates").props('aria-label="rates"'):
        for key, name in (("ticks", "Ticks/s"), ("orders", "Orders/s")):
            with ui.element("div").classes("rate"):
                raw(f"<h2>{name}, last minutes</h2>")
                made[key] = ui.echart({"series": []}).classes("fill").id
    return made


def _counted() -> None:
    with ui.element("section").classes("panel counted").props('aria-label="drops and rejections"'):
        raw(
            "<h2>Dropped, missed, rejected<span class=grow></span>"
            '<button id="count-all" class="cell-button" aria-pressed="false" title="key a">count all</button></h2>'
        )
        _table("counted", {"part": "", "what": "what", "count": "num"})


def _logs() -> None:
    options = "".join(f"<option>{name}</option>" for name in LOGS)
    levels = "".join(f'<option value="{level}">{level.lower()}</option>' for level in LEVELS[:4])
    with ui.element("section").classes("panel logs").props('aria-label="logs"'):
        raw(
            '<h2>Log<select id="log-part" aria-label="which log">' + options + "</select>"
            f'<select id="log-level" aria-label="of this level or worse">{levels}</select>'
            '<input id="log-text" type="search" placeholder="find text" aria-label="find text" title="key /" '
            'maxlength="200"><span class="grow"></span><span id="log-note" class="muted"></span>'
            '<button id="log-follow" class="cell-button" aria-pressed="true" title="key f">follow</button></h2>'
            '<div id="log" class="log" role="log" aria-live="off" tabindex="0" aria-label="lines of the log"></div>'
        )
