"""What a strategy may not do, rule by rule."""

from trading_lib.models import NS_PER_S, Order, Side
from trading_lib.risk import Exposure, Limits, Risk

FLAT = Exposure(0.0, 0.0, 0.0)
BUY, SELL = Side.BUY, Side.SELL


def check(
    risk: Risk,
    side: Side = BUY,
    quantity: float = 1.0,
    *,
    at: int = 0,
    stated: float = 100.0,
    market: float = 100.0,
    exposure: Exposure = FLAT,
    equity: float = 100.0,
) -> str:
    """The rule that denies an order, or nothing."""
    denial = risk.check(Order("A", quantity, stated, side, at), at, market, exposure, lambda: equity)
    return (denial or "").partition(":")[0]


def risk_of(day_equity: float = 100.0, **limits: float) -> Risk:
    risk = Risk(Limits(**limits))  # type: ignore[arg-type]
    risk.day_equity = day_equity
    return risk


def test_an_order_within_every_limit_passes() -> None:
    assert check(risk_of()) == ""


def test_the_largest_quantity_is_allowed() -> None:
    risk = risk_of(max_order_qty=5)
    assert check(risk, quantity=5.0) == ""
    assert check(risk, quantity=5.000001) == "max_order_qty"


def test_orders_are_counted_within_any_second_the_denied_ones_too() -> None:
    risk = risk_of(max_orders_per_s=2)
    assert [check(risk, at=at) for at in (0, 1, 2)] == ["", "", "max_orders_per_s"]
    assert check(risk, at=NS_PER_S) == "max_orders_per_s"  # 1, 2 and itself
    assert check(risk, at=NS_PER_S + 2) == ""  # that one and itself
    assert list(risk.arrivals) == [NS_PER_S, NS_PER_S + 2]


def test_the_collar_is_of_the_markets_price_and_to_both_sides() -> None:
    risk = risk_of(collar=0.05)
    assert [check(risk, stated=price) for price in (95.0, 105.0)] == ["", ""]
    assert [check(risk, stated=price) for price in (94.99, 105.01, 0.0)] == ["collar"] * 3


def test_open_orders_of_the_same_side_count_as_if_they_were_filled() -> None:
    risk = risk_of(max_position=10)
    held = Exposure(3.0, 4.0, 20.0)
    assert check(risk, BUY, 3.0, exposure=held) == ""
    assert check(risk, BUY, 3.1, exposure=held) == "max_position"
    assert check(risk, SELL, 1.0, exposure=Exposure(-3.0, 50.0, 6.0)) == ""
    assert check(risk, SELL, 1.1, exposure=Exposure(-3.0, 50.0, 6.0)) == "max_position"


def test_tenths_add_up_as_decimals() -> None:
    assert check(risk_of(max_position=0.3), BUY, 0.2, exposure=Exposure(0.1, 0.0, 0.0)) == ""
    assert check(risk_of(max_position=0.3), SELL, 0.1, exposure=Exposure(0.1, 0.0, 0.3)) == ""


def test_what_brings_a_position_nearer_to_zero_is_always_allowed() -> None:
    risk = risk_of(max_position=10)
    assert check(risk, SELL, 50.0, exposure=Exposure(50.0, 0.0, 0.0), equity=1.0) == ""
    assert check(risk, BUY, 20.0, exposure=Exposure(-50.0, 30.0, 0.0), equity=1.0) == ""
    assert check(risk, BUY, 20.1, exposure=Exposure(-50.0, 30.0, 0.0), equity=1.0) == "max_daily_loss"


def test_the_daily_loss_is_of_the_days_first_equity() -> None:
    risk = risk_of(day_equity=200.0, max_daily_loss=0.1)
    assert check(risk, equity=180.0) == ""
    assert check(risk, equity=179.99) == "max_daily_loss"


def test_who_begins_a_day_with_nothing_or_less_may_lose_nothing() -> None:
    for first in (0.0, -50.0):
        risk = risk_of(day_equity=first)
        assert check(risk, equity=first) == ""
        assert check(risk, equity=first - 0.01) == "max_daily_loss"


def test_the_kill_switch_denies_everything_and_still_counts() -> None:
    risk = risk_of()
    risk.killed = "by the operator"
    assert check(risk, SELL, exposure=Exposure(5.0, 0.0, 0.0)) == "kill switch"
    assert len(risk.arrivals) == 1


def test_the_first_rule_that_is_broken_is_the_one_that_is_named() -> None:
    risk = risk_of(max_order_qty=1, max_orders_per_s=1, max_position=1, collar=0.01)
    everything = {"quantity": 2.0, "stated": 200.0, "equity": 1.0}
    assert check(risk, at=0, quantity=1.0) == ""
    assert check(risk, at=1, **everything) == "max_order_qty"  # type: ignore[arg-type]
    assert check(risk, at=2, quantity=1.0, stated=200.0, equity=1.0) == "max_orders_per_s"
