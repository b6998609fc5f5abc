"""Indicators that remember more than a window: EMA, RSI, MACD and VWAP against independent references."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.indicators import EMA, MACD, RSI, VWAP

checked = settings(deadline=None, derandomize=True, max_examples=200)
prices = st.floats(min_value=1e-4, max_value=1e6).map(lambda x: round(x, 4))
series = st.lists(prices, max_size=60)
WALK: list[float] = (100 + np.random.default_rng(6).normal(0, 0.1, 400).cumsum()).round(4).tolist()


def run(made: Any, values: list[float]) -> list[Any]:
    return [made.update(x) for x in values]


def exponential(values: list[float], n: int) -> list[float]:
    """By pandas: the mean of the first `n`, then alpha = 2 / (n + 1); NaN before."""
    seeded = pd.Series([math.fsum(values[:n]) / n, *values[n:]])
    return [math.nan] * (n - 1) + seeded.ewm(alpha=2 / (n + 1), adjust=False).mean().tolist()


def with_nan(found: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in found]


# ------------------------------------------------------------------------------------------------ EMA


@checked
@given(st.integers(1, 12), series)
def test_the_average_follows_its_recursion_from_the_mean_of_the_first_n(n: int, values: list[float]) -> None:
    alpha, expected = Fraction(2, n + 1), Fraction(0)
    average = EMA(n)
    for i, x in enumerate(values, 1):
        found = average.update(x)
        if i < n:
            assert found is None
            continue
        if i == n:
            expected = sum(map(Fraction, values[:n]), Fraction(0)) / n
        else:
            expected = alpha * Fraction(x) + (1 - alpha) * expected
        assert found == pytest.approx(float(expected), rel=0, abs=2 * n * max(values[:i]) * 2**-52)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_the_exponential_average_agrees_with_pandas(n: int) -> None:
    np.testing.assert_allclose(with_nan(run(EMA(n), WALK)), exponential(WALK, n), rtol=1e-13)


@checked
@given(st.integers(1, 30), st.lists(prices, min_size=30, max_size=40), prices)
def test_a_market_that_became_flat_is_reached_to_some_last_places(
    n: int, before: list[float], price: float
) -> None:
    average = EMA(n)
    run(average, [*before, *[price] * 1_500])
    assert average.value == pytest.approx(price, rel=0, abs=(n + 1) * math.ulp(price))


# ----------------------------------------------------------------------------------------------- MACD


def test_the_lines_are_differences_of_exponential_averages() -> None:
    found = [value or (math.nan,) * 3 for value in run(MACD(12, 26, 9), WALK)]
    macd = np.subtract(exponential(WALK, 12), exponential(WALK, 26))
    signal = np.array([math.nan] * 25 + exponential(macd[25:].tolist(), 9))
    macd[: 26 + 9 - 2] = math.nan
    np.testing.assert_allclose(found, np.column_stack([macd, signal, macd - signal]), rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------ RSI


def wilder(values: list[float], n: int) -> list[float | None]:
    """The definition in exact arithmetic."""
    changes = [Fraction(b) - Fraction(a) for a, b in itertools.pairwise(values)]
    found: list[float | None] = [None] * min(n, len(values))
    gain = loss = Fraction(0)
    for i, change in enumerate(changes, 1):
        up, down = max(change, Fraction(0)), max(-change, Fraction(0))
        if i < n:
            gain, loss = gain + up, loss + down
            continue
        if i == n:
            gain, loss = (gain + up) / n, (loss + down) / n
        else:
            gain, loss = (gain * (n - 1) + up) / n, (loss * (n - 1) + down) / n
        moved = gain + loss
        if moved:
            found.append(float(100 * gain / moved))
        else:
            found.append(50.0 if not any(changes[:i]) else found[-1])
    return found


@checked
@given(st.integers(1, 10), st.lists(st.integers(1, 10**6).map(lambda k: k * 1e-4), max_size=40))
def test_the_index_follows_wilders_definition(n: int, values: list[float]) -> None:
    found = run(RSI(n), values)
    for value, expected in zip(found, wilder(values, n), strict=True):
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-11, abs=1e-11))


@pytest.mark.parametrize("n", [2, 14])
def test_the_index_agrees_with_pandas(n: int) -> None:
    changes = np.diff(WALK)

    def average(parts: Any) -> Any:
        seeded = pd.Series([parts[:n].mean(), *parts[n:]])
        return seeded.ewm(alpha=1 / n, adjust=False).mean().to_numpy()

    gain, loss = average(changes.clip(min=0)), average(-changes.clip(max=0))
    found = with_nan(run(RSI(n), WALK))
    assert np.isnan(found[:n]).all()
    np.testing.assert_allclose(found[n:], 100 - 100 / (1 + gain / loss), rtol=1e-11)


def test_only_gains_are_100_and_only_losses_0() -> None:
    assert run(RSI(3), [1.0, 2.0, 2.0, 5.0, 6.0])[3:] == [100.0, 100.0]
    assert run(RSI(3), [6.0, 5.0, 5.0, 2.0, 1.0])[3:] == [0.0, 0.0]


def test_a_flat_market_leaves_the_index_as_it_was_for_any_time() -> None:
    index = RSI(3)
    run(index, [100.0, 101.0, 99.5, 100.25, 100.5])
    before = index.value
    assert set(run(index, [100.5] * 20_000)) == {before}
    assert index.update(100.6) == 100.0  # what was before has long been forgotten


def test_a_trend_that_turns_is_seen_however_long_it_was() -> None:
    index = RSI(3)
    found = run(index, [100.0 + i for i in range(20_000)])
    assert set(found[3:]) == {100.0}
    assert index.update(20_098.0) == pytest.approx(200 / 3)  # after gains of 1, a loss of 1


# ----------------------------------------------------------------------------------------------- VWAP


def test_without_sizes_there_is_no_average_price() -> None:
    vwap = VWAP()
    assert [vwap.update(x, None) for x in (1.0, 2.0)] == [None, None]
    assert vwap.update(3.0, 0.0) is None
    assert vwap.update(4.0, 2.0) == 4.0
    assert vwap.update(9.0, None) == vwap.update(9.0, 0) == vwap.value == 4.0


@checked
@given(st.lists(st.tuples(prices, st.floats(1e-3, 1e6)), min_size=1, max_size=60))
def test_the_average_price_is_weighted_by_size(trades: list[tuple[float, float]]) -> None:
    vwap = VWAP()
    for price, size in trades:
        vwap.update(price, size)
    exact = sum(Fraction(p) * Fraction(s) for p, s in trades) / sum(Fraction(s) for _, s in trades)
    assert vwap.value == pytest.approx(float(exact), rel=0, abs=8 * max(p for p, _ in trades) * 2**-52)


def test_two_hundred_thousand_trades_do_not_drift() -> None:
    vwap = VWAP()
    vwap.update(100.0, 1e3)
    for _ in range(200_000):  # plain sums of these round one way
        vwap.update(150.1, 0.1)
    later = Fraction(0.1) * 200_000
    exact = (100_000 + Fraction(150.1) * later) / (1_000 + later)
    assert vwap.value == pytest.approx(float(exact), rel=0, abs=math.ulp(150.0))
