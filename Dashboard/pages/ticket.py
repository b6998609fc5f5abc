"""The order ticket: an order by hand, of the strategy `manual`. It asks before it sends."""

import asyncio
import time
from decimal import Decimal

from nicegui import ui

from Dashboard.checked import Wrong, from_values
from Dashboard.desk import Desk, Refusal
from Dashboard.money_watch import PENDING
from Dashboard.pages.frame import raw
from trading_lib.control import PlaceOrder

MARKET, LIMIT = "market", "limit"
OUTCOME_S = 3.0  # so long somebody waits for what becomes of an order


def order_ticket(desk: Desk) -> None:
    """The drawer, and the question before an order goes."""
    with ui.dialog() as dialog, ui.card():
        question = ui.label().style("font-weight: 600")
        raw(
            '<div class="muted">It is paper money: the order arrives after the configured latency, '
            "and the risk limits apply.</div>"
        )
        with ui.row():
            send = ui.button("Send").props("unelevated")
            ui.button("Leave it", on_click=dialog.close).props("flat")
    with ui.element("aside").classes("drawer narrow").props('id="ticket-drawer" aria-label="order by hand"'):
        raw(
            '<h2 style="font-size: 14px; margin: 0; line-height: 20px">Order by hand</h2>'
            '<div class="muted">strategy manual</div>'
        )
        symbol = ui.input("symbol").props("dense outlined").classes("ticket-symbol")
        side = ui.toggle(["BUY", "SELL"], value="BUY").props("spread no-caps unelevated")
        quantity = ui.number("quantity", value=10, min=0).props("dense outlined").classes("ticket-quantity")
        kind = ui.toggle([MARKET, LIMIT], value=MARKET).props("spread no-caps unelevated")
        price = ui.number("limit price", min=0).props("dense outlined").classes("ticket-price")
        price.bind_visibility_from(kind, "value", lambda value: value == LIMIT)
        lasts = ui.toggle({"day": "this day", "gtc": "until cancelled"}, value="gtc").props(
            "spread no-caps unelevated"
        )
        lasts.bind_visibility_from(kind, "value", lambda value: value == LIMIT)
        problem = ui.label().classes("bad")

        def order() -> PlaceOrder:
            fields = {
                "action": "order",
                "symbol": symbol.value.strip(),
                "side": side.value,
                "qty": quantity.value,
                "type": kind.value,
                "price": price.value if kind.value == LIMIT else None,
                "tif": lasts.value,
            }
            made: PlaceOrder = from_values("order", fields, PlaceOrder)
            return made

        asked: list[PlaceOrder] = []  # the one the question is about: fields that change meanwhile do not

        def ask() -> None:
            problem.text = _problem(desk, symbol.value.strip(), quantity.value, kind.value, price.value)
            if problem.text:
                return
            try:
                asked[:] = [order()]
            except Wrong as fault:
                problem.text = str(fault)
                return
            question.text = question_of(asked[0])
            dialog.open()

        async def place() -> None:
            dialog.close()
            if not asked:
                return  # a second click on its way as the first closed the question
            try:
                answer = await desk.act(asked.pop())
            except Refusal as fault:
                problem.text = str(fault)
            else:
                await _say_what_became(desk, f"{answer.seq}.-1")

        send.on_click(place)
        ui.button("Review …", on_click=ask).props("unelevated")
        raw('<button class="cell-button" data-drawer="ticket">close</button>')


async def _say_what_became(desk: Desk, order_id: str) -> None:
    """What the ledger makes of an order; an order travels for the configured latency of event time."""
    deadline = time.monotonic() + OUTCOME_S
    while time.monotonic() < deadline:
        told = [row for row in desk.money.orders.kept if row["id"] == order_id and row["status"] != PENDING]
        if told and told[-1]["status"] == "Rejected":
            ui.notify(f"denied: {told[-1]['reason']}", type="negative", position="bottom-right")
            return
        if told:
            ui.notify(f"{order_id}: {told[-1]['status']}", type="positive", position="bottom-right")
            return
        await asyncio.sleep(0.1)
    ui.notify(f"sent, on its way: {order_id}", type="positive", position="bottom-right")


def question_of(order: PlaceOrder) -> str:
    """What is asked before an order goes, with every digit that is sent."""
    at = "at the market" if order.price is None else f"at {_exact(order.price)} or better"
    return f"{order.side} {_exact(order.qty)} {order.symbol} {at}?"


def _exact(value: float) -> str:
    """All the digits of a number, and no exponent."""
    return f"{Decimal(repr(value)).normalize():,f}"


def _problem(desk: Desk, symbol: str, quantity: float | None, kind: str, price: float | None) -> str:
    """What is wrong with an order before it is sent; empty if nothing is."""
    if symbol not in desk.market.symbols:
        return f"{symbol or 'no symbol'}: there is none such in this market"
    if not quantity or quantity <= 0:
        return "the quantity must be above 0"
    if kind == LIMIT and (not price or price <= 0):
        return "a limit order needs a price above 0"
    return ""
