"""What every page has: the header, the theme, the notice when something is wrong, and grids that look alike."""

import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from nicegui import ui

from Dashboard.desk import Desk, Refusal
from OrderBook.control_client import Answer
from trading_lib.control import OperatorAction

PAGES: Final = {"/": "Live", "/lab": "Lab", "/runs": "Runs", "/system": "System"}
READ_ONLY: Final = (
    "Read only from here: control stays on the machine itself (ssh -L {port}:localhost:{port})."
)

BY_SIGN: Final = {":cellClass": "params => algosimCells.signClass(params)"}  # of a column of gains and losses


def page_frame(desk: Desk, here: str, may_control: bool) -> None:
    """The header of a page; `here` is its path."""
    port = desk.config.Dashboard.port
    ui.add_head_html('<link rel="stylesheet" href="/static/theme.css">')
    ui.colors(primary="var(--accent)")
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{name}</a>'
        for path, name in PAGES.items()
    )
    note = "" if may_control else f'<span class="muted">{READ_ONLY.format(port=port)}</span>'
    with ui.element("header").classes("bar"):
        raw(f'<span class="brand">algosim</span><nav aria-label="pages">{links}</nav>')
        raw(
            '<span><span id="dot" class="dot"></span><span id="run" class="run muted">connecting …</span></span>'
        )
        raw(note)
        ui.element("div").classes("grow")
        raw('<span id="clock" class="clock number" title="event time, UTC"></span>')
        mode = ui.dark_mode(None)
        ui.button(icon="contrast", on_click=lambda: mode.set_value(not mode.value)).props(
            'flat dense aria-label="light or dark"'
        )
    raw('<div id="notice" class="notice" role="status"></div>')


def raw(markup: str) -> ui.html:
    """Markup of ours; whatever else is in it was escaped. Its container leaves no trace in the layout."""
    return ui.html(markup, sanitize=False).style("display: contents")


def text(value: object) -> str:
    """Escaped for markup."""
    return html.escape(str(value))


def script(module: str, values: Mapping[str, Any]) -> None:
    """Run a script of ours once the page is there; `values` are `window.algosim` to it."""
    data = msgspec.json.encode(values).decode().replace("<", "\\u003c")
    ui.add_body_html(f"<script>window.algosim = {data};</script>")
    ui.add_body_html(f'<script type="module" src="/static/{module}"></script>')


def grid(columns: Sequence[Mapping[str, Any]], key: str = "key", **options: Any) -> ui.aggrid:
    """A grid whose rows are the script's, known by their `key`."""
    return ui.aggrid(
        {
            "columnDefs": list(columns),
            "defaultColDef": {"sortable": True, "resizable": True, "suppressMovable": True, "minWidth": 40},
            "rowData": [],
            ":getRowId": f"params => String(params.data.{key})",
            "asyncTransactionWaitMillis": 20,
            "rowBuffer": 4,
            "animateRows": False,
            "suppressCellFocus": False,
            "rowHeight": 24,
            "headerHeight": 26,
            "overlayNoRowsTemplate": "<span class='muted'>nothing yet</span>",
            **options,
        },
        theme="quartz",
        auto_size_columns=False,
    )


def column(field: str, name: str, cell: str = "", **more: Any) -> dict[str, Any]:
    """A column; `cell` names the function in `algosimCells` that writes its numbers."""
    made: dict[str, Any] = {"field": field, "headerName": name, **more}
    if cell:
        made[":valueFormatter"] = f"params => algosimCells.{cell}(params)"
        made.setdefault("cellClass", "num")
        made.setdefault("headerClass", "num")
    return made


async def attempt(work: Awaitable[Answer | None], done: str = "") -> Answer | None:
    """Have something done, and say how it went. Of an action its answer; None where there is none."""
    try:
        answer = await work
    except Refusal as fault:
        ui.notify(str(fault), type="negative", position="bottom-right")
        return None
    if done:
        where = f" (record {answer.seq:,})" if answer is not None else ""
        ui.notify(done + where, type="positive", position="bottom-right")
    return answer


def doing(desk: Desk, make: Callable[[], OperatorAction], done: str = "") -> Callable[[], Awaitable[None]]:
    """A handler that has an action done."""

    async def handler() -> None:
        await attempt(desk.act(make()), done)

    return handler
