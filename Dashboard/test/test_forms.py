"""What a form of a page does with what somebody enters, and says of it: pages without a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from config import parse_config
from Dashboard.desk import Desk, Refusal
from Dashboard.pages.controls import controls
from Dashboard.pages.market_form import costs_form
from Dashboard.pages.ticket import order_ticket
from Dashboard.test.simulated import until, visit
from Dashboard.test.statuses import status
from OrderBook.control_client import Answer
from testing.harness import segment_name
from trading_lib.control import OperatorAction

ANSWER = Answer(7, 42)


class Asked:
    """A desk whose actions are only noted; `refusal`: and refused."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.actions: list[dict[str, Any]] = []
        self.refusal = ""
        monkeypatch.setattr(desk, "act", self._act)

    async def _act(self, action: OperatorAction) -> Answer:
        if self.refusal:
            raise Refusal(self.refusal)
        self.actions.append({name: getattr(action, name) for name in action.__struct_fields__})
        return ANSWER


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    name = segment_name().encode()
    desk = Desk(parse_config(b'{"symbols": ["A"], "OrderBook": {"shared_memory_name": "%s"}}' % name), None)
    desk.market.symbols = ("AAPL",)
    yield Asked(desk, monkeypatch)
    desk.close()


def enter(user: User, kind: type[ui.number] | type[ui.input], label: str, value: Any) -> None:
    """Into the field with a label."""
    (field,) = (one for one in user.find(kind=kind).elements if one.props.get("label") == label)
    field.set_value(value)


# --------------------------------------------------------------------------------------------- parameters


def test_a_whole_number_refuses_a_fraction_and_stays_whole(asked: Asked) -> None:
    name = asked.desk.config.Strategy.entries[0].id
    one = {"strategy": name, "params": {"window": 20}, "params_known": {"window": 5, "factor": 1.5}}
    asked.desk.system.take(status(strategy={"strategies": [one]}))

    async def work(user: User) -> None:
        enter(user, ui.number, "window", 2.5)
        user.find("Apply").click()
        await until(lambda: user.notify.messages == ["window: a whole number"])
        assert asked.actions == []
        enter(user, ui.number, "window", 30.0)
        enter(user, ui.number, "factor", 2.5)
        user.find("Apply").click()
        await until(lambda: asked.actions == [{"strategy": name, "params": {"window": 30, "factor": 2.5}}])
        assert type(asked.actions[0]["params"]["window"]) is int

    visit(lambda: controls(asked.desk, True, name), work)


# ------------------------------------------------------------------------------------------------- tickets


def sent(user: User, quantity: float = 10) -> None:
    """Fill a ticket in, and say yes to what it asks."""
    enter(user, ui.input, "symbol", "AAPL")
    enter(user, ui.number, "quantity", quantity)
    user.find("Review …").click()
    user.find("Send").click()


def outcome(asked: Asked, told: str, reason: str = "") -> None:
    """What the ledger says of the order."""
    asked.desk.money.orders.add({"id": f"{ANSWER.seq}.-1", "status": told, "reason": reason})


def test_an_order_that_a_risk_limit_denies_is_shown_as_denied_to_who_sent_it(asked: Asked) -> None:
    async def work(user: User) -> None:
        sent(user)
        await until(lambda: asked.actions)
        outcome(asked, "Pending")
        outcome(asked, "Rejected", "max_order_qty")
        await until(lambda: user.notify.messages)
        assert user.notify.messages == ["denied: max_order_qty"]

    visit(lambda: order_ticket(asked.desk), work)


def test_an_order_that_fills_is_shown_as_filled(asked: Asked) -> None:
    async def work(user: User) -> None:
        sent(user)
        await until(lambda: asked.actions)
        outcome(asked, "Filled")
        await until(lambda: user.notify.messages == ["42.-1: Filled"])

    visit(lambda: order_ticket(asked.desk), work)


def test_an_order_that_cannot_be_says_what_can_and_is_not_sent(asked: Asked) -> None:
    async def work(user: User) -> None:
        sent(user, quantity=1e16)
        await user.should_see("order: qty = 1e+16: expected a number above 0 and at most", retries=50)
        assert asked.actions == []

    visit(lambda: order_ticket(asked.desk), work)


def test_costs_that_cannot_be_say_what_can(asked: Asked) -> None:
    async def work(user: User) -> None:
        slippage = next(iter(user.find(kind=ui.number).elements))
        slippage.value = -1.0
        user.find("Apply").click()
        await until(lambda: user.notify.messages)
        assert " = -1.0: expected a number at least 0 and at most" in user.notify.messages[0]
        assert asked.actions == []

    visit(lambda: costs_form(asked.desk, may_control=True), work)


def test_an_order_that_the_market_does_not_take_says_why_in_the_ticket(asked: Asked) -> None:
    asked.refusal = "no run is going on"

    async def work(user: User) -> None:
        sent(user)
        await user.should_see("no run is going on", retries=50)

    visit(lambda: order_ticket(asked.desk), work)
