"""Exact decimals against `fractions.Fraction`."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.money import (
    MONEY_SCALE,
    MULTIPLIER_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
    commission,
    divided,
    exact,
    scaled,
    slipped,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.builds(
    lambda n, places: float(f"{n}e-{places}"), st.integers(-(10**11), 10**11), st.integers(0, 11)
)
prices = st.builds(lambda n: float(f"{n}e-4"), st.integers(1, 10**10))
bps = st.builds(lambda n: float(f"{n}e-2"), st.integers(0, 100_000))


def decimal_of(x: float) -> Fraction:
    """What a float stands for, by another way."""
    return Fraction(repr(x))


@settings(deadline=None, max_examples=500)
@given(st.one_of(finite, decimals))
def test_a_float_is_its_shortest_decimal(x: float) -> None:
    assert Fraction(*exact(x)) == decimal_of(x)


@settings(deadline=None)
@given(st.one_of(finite, decimals), st.sampled_from([PRICE_SCALE, QTY_SCALE, MULTIPLIER_SCALE, MONEY_SCALE]))
def test_digits_beyond_a_scale_are_rounded_half_to_even(x: float, scale: int) -> None:
    assert scaled(x, scale) == round(decimal_of(x) * scale)


@settings(deadline=None)
@given(st.one_of(decimals, prices))
def test_a_decimal_goes_in_and_out_unchanged(x: float) -> None:
    assert scaled(x, PRICE_SCALE) / PRICE_SCALE == x
    assert scaled(x, MONEY_SCALE) / MONEY_SCALE == x


@pytest.mark.parametrize(
    "x",
    [
        *(999_999.999999999, 1_000_000.000000001, -999_999.5, 1e6, -1e6, 1e-9, 1e-10, 0.0, -0.0),
        *(999.999999999999, 1000.000000000001, -999.5, 1e3, -1e3, 1e-12, 1e-13, 0.08626362550001),
    ],
)
def test_the_edges_of_the_short_way_are_exact(x: float) -> None:
    assert Fraction(*exact(x)) == decimal_of(x)
    assert scaled(x, MONEY_SCALE) == decimal_of(x) * MONEY_SCALE


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(x: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        exact(x)
    with pytest.raises(ValueError, match="not a finite number"):
        scaled(x, PRICE_SCALE)


def test_other_kinds_of_number_are_taken_as_floats() -> None:
    assert scaled(10, QTY_SCALE) == scaled(np.float64(10.0), QTY_SCALE) == 10 * QTY_SCALE
    assert scaled(np.float64(1e-11), PRICE_SCALE) == 10_000
    assert scaled(3_000_000, QTY_SCALE) == 3_000_000 * QTY_SCALE


@given(st.integers(), st.integers().filter(bool))
def test_a_quotient_is_rounded_half_to_even(numerator: int, denominator: int) -> None:
    assert divided(numerator, denominator) == round(Fraction(numerator, denominator))


def test_ties_go_to_the_even_side() -> None:
    assert [divided(n, 2) for n in (-3, -1, 1, 3, 5)] == [-2, 0, 0, 2, 2]
    assert [divided(n, -2) for n in (-3, -1, 1, 3, 5)] == [2, 0, 0, -2, -2]


def test_one_basis_point_of_slippage_reads_clean() -> None:
    assert repr(172.51 * (1 + 1 / 10_000)) == "172.52725099999998"
    assert repr(slipped(172.51, 1.0, +1)) == "172.527251"
    assert repr(slipped(172.53, 1.0, +1)) == "172.547253"
    assert repr(slipped(172.53, 1.0, -1)) == "172.512747"
    assert slipped(172.53, 0.0, +1) == 172.53


@settings(deadline=None, max_examples=300)
@given(st.one_of(prices, st.floats(min_value=1e-300, max_value=1e300)), bps, st.sampled_from([1, -1]))
def test_slippage_is_exact_and_rounded_once(price: float, slippage: float, sign: int) -> None:
    wanted = decimal_of(price) * (1 + sign * decimal_of(slippage) / 10_000)
    assert slipped(price, slippage, sign) == float(wanted)


def test_commission_is_of_the_notional_and_fixed() -> None:
    assert repr(commission(172.547253, 100.0, 0.5)) == "0.862736265"
    assert repr(commission(172.547253, 100.0, 0.5, fixed=1.5)) == "2.362736265"
    assert repr(commission(4000.25, 2.0, 0.5, multiplier=50.0)) == "20.00125"
    assert commission(100.0, 10.0, 0.0) == 0.0
    assert commission(-37.5, 10.0, 0.5) == 0.01875  # of the notional's size: a commission is never negative


@settings(deadline=None, max_examples=300)
@given(prices, decimals, bps, decimals.map(abs), st.sampled_from([1.0, 0.1, 50.0, 1000.0]))
def test_commission_is_exact_and_rounded_once(
    price: float, qty: float, rate: float, fixed: float, multiplier: float
) -> None:
    notional = abs(decimal_of(price) * decimal_of(qty) * decimal_of(multiplier))
    wanted = notional * decimal_of(rate) / 10_000 + decimal_of(fixed)
    assert commission(price, qty, rate, fixed, multiplier) == float(wanted)


def test_the_finest_tick_and_the_smallest_quantity_are_one_unit() -> None:
    assert scaled(1e-15, PRICE_SCALE) == 1
    assert scaled(1e-12, QTY_SCALE) == 1
    assert PRICE_SCALE * QTY_SCALE * MULTIPLIER_SCALE == MONEY_SCALE == int(Decimal(10) ** 39)
