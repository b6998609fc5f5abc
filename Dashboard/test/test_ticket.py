"""What the order ticket asks before an order goes."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Dashboard.pages.ticket import question_of
from trading_lib.control import PlaceOrder
from trading_lib.models import Side

amounts = st.floats(min_value=1e-12, max_value=1e18) | st.integers(1, 10**15).map(float)


@pytest.mark.parametrize(
    ("quantity", "price", "asked"),
    [
        (1234567.0, 123456.78, "BUY 1,234,567 AAPL at 123,456.78 or better?"),
        (0.1, 1e-7, "BUY 0.1 AAPL at 0.0000001 or better?"),
        (10.0, None, "BUY 10 AAPL at the market?"),
    ],
)
def test_an_order_is_asked_about_with_every_digit(quantity: float, price: float | None, asked: str) -> None:
    kind = "market" if price is None else "limit"
    wanted = {
        "action": "order",
        "symbol": "AAPL",
        "side": "BUY",
        "qty": quantity,
        "type": kind,
        "price": price,
    }
    order = msgspec.convert(wanted, PlaceOrder)
    assert question_of(order) == asked


@given(amounts, amounts)
def test_what_is_asked_is_what_is_sent(quantity: float, price: float) -> None:
    order = PlaceOrder(symbol="X", side=Side.SELL, qty=quantity, type="limit", price=price)
    found = re.fullmatch(r"SELL (\S+) X at (\S+) or better\?", question_of(order))
    assert found is not None
    assert [float(number.replace(",", "")) for number in found.groups()] == [quantity, price]
