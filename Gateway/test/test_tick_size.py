"""Prices become whole ticks: nearest, ties to even, as the decimal text says."""

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers.tick_size import TOO_LARGE, TickSize, quantise

TICK_SIZES = [0.0001, 0.01, 0.02, 0.05, 0.125, 0.25, 1e-8, 1.0, 5.0]


def in_ticks(price: float, size: float) -> int:
    """One price as an integer in units of the tick size's decimals."""
    tick = TickSize.of(size)
    return int(quantise(np.array([price]), tick.scale, tick.units)[0])


@pytest.mark.parametrize(
    ("size", "decimals", "units"),
    [(0.0001, 4, 1), (0.05, 2, 5), (0.25, 2, 25), (1e-8, 8, 1), (1.0, 0, 1), (5, 0, 5), (100.0, 0, 100)],
)
def test_a_tick_size_is_decimals_and_units(size: float, decimals: int, units: int) -> None:
    assert TickSize.of(size) == TickSize(decimals, units)


@pytest.mark.parametrize("size", [0.0, -0.01, float("nan"), float("inf"), 1e-16, 1 / 3, 1e300])
def test_a_tick_size_that_cannot_be_meant_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="tick size"):
        TickSize.of(size)


@pytest.mark.parametrize(
    ("price", "size", "value"),
    [
        (1.00005, 0.0001, 10000),  # a tie of the text: to even
        (1.00015, 0.0001, 10002),
        (173.2, 0.0001, 1732000),
        (0.15, 0.05, 15),
        (5000.30, 0.25, 500025),
        (100000.12345678, 1e-8, 10000012345678),
        (0.00004, 0.0001, 0),
        (0.00005, 0.0001, 0),
        (1e12, 0.0001, TOO_LARGE),
        (1e308, 1e-8, TOO_LARGE),
        (10.0**15, 1.0, TOO_LARGE),
        (10.0**15 - 1, 1.0, 10**15 - 1),
        (78268875.9, 1e-8, TOO_LARGE),
    ],
)
def test_a_price_goes_to_its_nearest_tick(price: float, size: float, value: int) -> None:
    assert in_ticks(price, size) == value


@given(
    st.integers(0, 14).flatmap(lambda n: st.integers(1, 10 ** (n + 1) - 1)),
    st.integers(0, 16),
    st.sampled_from(TICK_SIZES),
)
@settings(deadline=None, max_examples=400)
def test_rounding_is_that_of_decimal_arithmetic_up_to_15_digits(
    digits: int, decimals: int, size: float
) -> None:
    exact = Decimal(digits).scaleb(-decimals)
    step = Decimal(repr(size))
    whole = (exact / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step
    tick = TickSize.of(size)
    expected = int(whole.scaleb(tick.decimals))
    assert in_ticks(float(exact), size) == (expected if expected < 10**15 else TOO_LARGE)


@given(st.integers(1, 10**15 - 1), st.integers(0, 15))
@settings(deadline=None)
def test_what_is_whole_ticks_already_stays(value: int, decimals: int) -> None:
    assert in_ticks(value / 10**decimals, float(f"1e-{decimals}")) == value
