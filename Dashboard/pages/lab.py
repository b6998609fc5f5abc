"""Lab: the market's model, what trading costs, the strategies' files, the leaderboard; and what a run outlives."""

from typing import Final

from nicegui import ui
from starlette.requests import Request

from Dashboard.desk import Desk
from Dashboard.guard import may_control
from Dashboard.pages.controls import market_buttons
from Dashboard.pages.editor import Editor
from Dashboard.pages.frame import page_frame, raw, script
from Dashboard.pages.market_form import arrivals_form, costs_form, model_form

PARTS: Final = {  # that may be killed, each with what a person should see happen then
    "orderbook": "the OrderBook: prices stand still; its successor takes over the tape, with a GAP",
    "order_manager": "the OrderManager: orders wait; its successor reads the journal: nothing is lost or done twice",
    "strategy": "the Strategy: it begins afresh at the head of the tape, with the ledger's positions",
    "gateway": "the Gateway: the market begins anew, which is an epoch",
    "recorder": "the Recorder: its successor reads on from where its files end",
}
EXPORTS: Final = ("trades.csv", "equity.csv", "events.jsonl", "config.json", "manifest.json")
LEADERBOARD: Final = ("", "strategy", "return", "drawdown", "Sharpe", "trades")


def add(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/lab", title="algosim: Lab")
    def lab(request: Request, file: str = "") -> None:
        control = may_control(request)
        page_frame(desk, "/lab", control)
        with ui.element("main").classes("lab"):
            with ui.element("section").classes("panel side").props('aria-label="market and costs"'):
                _market(desk, control)
            with ui.element("section").classes("panel file").props('aria-label="strategy file"'):
                editor = Editor(desk, control, file)
                _strategy()
            with ui.element("div").classes("right"):
                _leaderboard()
                if control:
                    _chaos()
                _exports()
        script("lab.js", {"editor": editor.id, "mayControl": control, "file": editor.shown})


def _market(desk: Desk, control: bool) -> None:
    with ui.element("div").classes("group"):
        raw('<h3>Market: <span id="market-state"></span></h3><div id="rate" class="number"></div>')
        if control:
            market_buttons(desk)
    for make in (model_form, arrivals_form, costs_form):
        with ui.element("div").classes("group"):
            make(desk, control)


def _strategy() -> None:
    """What the strategies that run the file are doing."""
    raw(
        '<div class="running"><div id="strategy-state" class="muted"></div>'
        '<div id="strategy-error" class="bad" role="status"></div>'
        '<h3>Why no trade?</h3><div id="why" class="why"></div></div>'
    )


def _leaderboard() -> None:
    numbers = "".join(
        f'<th scope="col"{"" if name == "strategy" else " class=num"}>{name}</th>' for name in LEADERBOARD
    )
    raw(
        '<section class="panel leaders" aria-label="leaderboard"><h2>Leaderboard</h2>'
        f'<div class="scroll" tabindex="0"><table class="plain" id="leaders"><thead><tr>{numbers}</tr></thead>'
        '<tbody></tbody></table><div class="empty" id="leaders-empty">no strategy trades yet</div></div></section>'
    )


def _chaos() -> None:
    rows = "".join(
        f'<tr data-part="{part}" title="{told}"><td>{part}</td><td class="state">–</td>'
        f'<td class="num restarts">–</td><td class="num outage">–</td>'
        f'<td><button class="cell-button" data-kill="{part}" aria-label="kill {part}">kill</button></td></tr>'
        for part, told in PARTS.items()
    )
    raw(
        '<section class="panel chaos" aria-label="chaos"><h2>What it outlives<span class="grow"></span>'
        '<button class="cell-button" id="drop-feed" title="hang up on the Gateway: the OrderBook connects again">'
        "drop the feed</button></h2>"
        '<table class="plain"><thead><tr><th scope="col">part</th><th scope="col">state</th>'
        '<th scope="col" class="num">restarts</th><th scope="col" class="num">last outage</th><th></th></tr></thead>'
        f'<tbody>{rows}</tbody></table><div id="happened" class="happened" role="log">'
        '<div class="muted">Kill a part, and see how long it is gone.</div></div></section>'
    )


def _exports() -> None:
    links = "".join(f'<a class="cell-button" data-export="{name}" download>{name}</a>' for name in EXPORTS)
    raw(
        f'<section class="panel exports" aria-label="export"><h2>Export this run</h2><div>{links}</div></section>'
    )
