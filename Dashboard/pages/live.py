"""Live: the market, what the strategies do in it, and the controls, on one screen."""

from typing import Final

from nicegui import ui
from starlette.requests import Request

from Dashboard.desk import Desk
from Dashboard.guard import may_control
from Dashboard.pages.controls import controls
from Dashboard.pages.frame import BY_SIGN, column, grid, page_frame, raw, script
from Dashboard.pages.ticket import order_ticket
from trading_lib.models import MANUAL

KPIS: Final = {  # id: (name, what it is)
    "equity": ("Equity", "initial + realised + unrealised − commissions"),
    "realized": ("Realised", "gross P&L of what was closed, at average cost"),
    "unrealized": ("Unrealised", "gross P&L of what is open, at the last price"),
    "drawdown": ("Drawdown", "the largest fall from a peak of this epoch's equity"),
    "sharpe": ("Sharpe", "of this epoch's returns, annualised"),
    "exposure": (
        "Exposure",
        "share of this epoch's event time with a position; of several strategies the mean",
    ),
    "wins": ("Win rate", "closed trades of this epoch with a net gain"),
    "trades": (
        "Trades",
        "closed trades (FIFO matches) of this epoch, and commissions paid since the run began",
    ),
}


def add(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/", title="algosim: Live")
    def live(request: Request, strategy: str = "") -> None:
        control = may_control(request)
        page_frame(desk, "/", control)
        with ui.element("main").classes("live"):
            with ui.element("section").classes("panel side").props('aria-label="controls"'):
                controls(desk, control, strategy)
            _kpis()
            ids = _price() | _tables() | _curves()
        ids |= _market()
        if control:
            order_ticket(desk)
        strategies = [*(entry.id for entry in desk.config.Strategy.entries), MANUAL]
        script("live.js", {**ids, "mayControl": control, "strategies": strategies})


def _kpis() -> None:
    tiles = "".join(
        f'<div class="kpi" title="{told}"><div class="name"><span>{name}</span>'
        f'<span id="kpi-{key}-note"></span></div><div class="value" id="kpi-{key}">–</div></div>'
        for key, (name, told) in KPIS.items()
    )
    raw(f'<section class="kpis" aria-label="key figures">{tiles}</section>')


def _chart(classes: str = "fill") -> int:
    return ui.echart({"series": []}).classes(classes).id


def _price() -> dict[str, int]:
    with ui.element("section").classes("panel price").props('aria-label="price chart"'):
        raw(
            '<h2><b id="chart-symbol">–</b><span id="chart-last" class="number"></span>'
            '<span style="flex:1"></span><span class="muted">▲ buy ▼ sell ◆ news</span>'
            '<button id="follow" class="cell-button" aria-pressed="true" title="key f">follow live</button>'
            '<button data-drawer="market" class="cell-button" title="key m">market</button></h2>'
        )
        return {"price": _chart()}


def _curves() -> dict[str, int]:
    made = {}
    with ui.element("div").classes("curves"):
        for key, heading in (
            ("equity", "Equity"),
            ("drawdown", "Drawdown, %"),
            ("returns", 'Returns, bps&nbsp;<span id="returns-step"></span>'),
        ):
            with ui.element("section").classes("panel"):
                raw(f"<h2>{heading}</h2>")
                made[key] = _chart()
    return made


_BEGINNING: Final = (  # of a trade's row and of an order's
    column("time", "time (UTC)", width=162, cellClass="num", headerClass="num"),
    column("strategy", "strategy", width=102),
    column("side", "side", "side", width=66, **{":cellClass": "params => algosimCells.sideClass(params)"}),
)
TABLES: Final = {  # id: columns
    "trades": (
        *_BEGINNING,
        column("qty", "quantity", "whole", width=68),
        column("symbol", "symbol", width=64),
        column("price", "price", "price", width=74),
        column("commission", "cost", "cost", width=62),
        column("tag", "reason", flex=1, tooltipField="tag"),
    ),
    "open": (
        *_BEGINNING,
        column("qty", "leaves", "whole", width=68),
        column("symbol", "symbol", width=64),
        column("type", "type", width=64),
        column("limit", "limit / stop", "price", width=84),
        column("status", "status", flex=1, minWidth=90),
        column(
            "cancel",
            "",
            width=68,
            pinned="right",
            **{":cellRenderer": "() => '<button class=cell-button>cancel</button>'"},
        ),
    ),
    "positions": (
        column("strategy", "strategy", flex=1, minWidth=110),
        column("symbol", "symbol", width=90),
        column("qty", "position", "whole", width=100, **BY_SIGN),
        column("average", "average price", "price", width=120),
        column("last", "last price", "price", width=110),
        column("unrealized", "unrealised", "money", width=120, **BY_SIGN),
    ),
}


def _tables() -> dict[str, int]:
    made = {}
    with ui.element("section").classes("panel tables").props('aria-label="trades, orders, positions"'):
        with ui.tabs().props("dense align=left no-caps") as tabs:
            ui.tab("trades", "Trades")
            with ui.tab("open", "Open orders"):
                raw('<span id="open-count" class="muted"></span>')
            ui.tab("positions", "Positions")
        with ui.tab_panels(tabs, value="trades").classes("fill").props("keep-alive animated=false") as panels:
            panels.style("background: transparent")
            for key, columns in TABLES.items():
                with ui.tab_panel(key).style("padding: 0; height: 100%"):
                    made[key] = grid(columns).id
    return made


def _market() -> dict[str, int]:
    columns = [
        column("symbol", "symbol", minWidth=84, flex=1),
        column("last", "last", "price", width=95, **{":cellClassRules": "algosimCells.tint"}),
        column("change", "change", "percent", width=85, **BY_SIGN),
        column("rate", "ticks/s", "rate", width=75),
        column("sentiment", "news", "whole", width=62),
        column(
            "spark",
            "",
            width=78,
            sortable=False,
            cellDataType=False,
            **{":cellRenderer": "params => algosimCells.spark(params)"},
        ),
        column("age", "stale", "age", width=62),
    ]
    with ui.element("aside").classes("drawer").props('id="market-drawer" aria-label="market"'):
        with ui.element("div").style("display: flex; gap: 8px; align-items: center"):
            ui.input(placeholder="find a symbol; Enter opens the first").props(
                'dense outlined aria-label="find a symbol"'
            ).classes("fill market-filter")
            raw('<button class="cell-button" data-drawer="market" aria-label="close">close</button>')
        return {"market": grid(columns, "symbol").id}
