"""Indicators of the last n values, against the plain definitions over a list of them."""

import itertools
import math
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.indicators import ROC, SMA, WMA, Bollinger, RollingMax, RollingMin, RollingStd, ZScore

checked = settings(deadline=None, derandomize=True, max_examples=200)
prices = st.floats(min_value=1e-4, max_value=1e6).map(lambda x: round(x, 4))
series = st.lists(prices, max_size=60)
windows = st.integers(1, 12)


def weighted(window: list[float]) -> float:
    """The average with weights 1, 2, … n, in exact arithmetic."""
    n = len(window)
    return float(sum(i * Fraction(x) for i, x in enumerate(window, 1)) / (n * (n + 1) // 2))


def run(made: Any, values: list[float]) -> list[Any]:
    return [made.update(x) for x in values]


def of_windows(definition: Callable[[list[float]], Any], n: int, values: list[float]) -> list[Any]:
    """The definition of each window of `n`, None before the first."""
    ends = range(1, len(values) + 1)
    return [definition(values[end - n : end]) if end >= n else None for end in ends]


@checked
@given(windows, series)
def test_minimum_and_maximum_are_those_of_the_window(n: int, values: list[float]) -> None:
    assert run(RollingMin(n), values) == of_windows(min, n, values)
    assert run(RollingMax(n), values) == of_windows(max, n, values)


@checked
@given(windows, series)
def test_the_weighted_average_is_that_of_the_window(n: int, values: list[float]) -> None:
    found = run(WMA(n), values)
    for i, (value, expected) in enumerate(zip(found, of_windows(weighted, n, values), strict=True)):
        if expected is None:
            assert value is None
        else:
            rounding = n * max(values[i + 1 - n : i + 1]) * 2**-51
            assert value == pytest.approx(expected, rel=0, abs=rounding)


@checked
@given(st.integers(2, 12), st.sampled_from([0, 1]), series)
def test_the_deviation_is_that_of_the_window(n: int, ddof: int, values: list[float]) -> None:
    definition = statistics.stdev if ddof else statistics.pstdev
    for found, exact in zip(run(RollingStd(n, ddof), values), of_windows(definition, n, values), strict=True):
        assert found == (None if exact is None else pytest.approx(exact, rel=n * n * 2**-51, abs=0))


@checked
@given(st.integers(2, 40), st.lists(st.integers(-30, 30), min_size=60, max_size=120), st.integers(0, 1000))
def test_a_deviation_of_a_thousandth_at_a_price_of_a_million_keeps_its_digits(
    n: int, steps: list[int], trend: int
) -> None:
    values = [1e6 + step * 1e-4 + i * trend * 1e-7 for i, step in enumerate(steps)]
    exact = of_windows(statistics.pstdev, n, values)
    for found, expected in zip(run(RollingStd(n), values), exact, strict=True):
        assert found == (None if expected is None else pytest.approx(expected, rel=n * n * 2**-51, abs=0))


@checked
@given(st.integers(2, 12), st.lists(st.integers(1, 10**6), max_size=60), st.sampled_from([0.0, 1e6]))
def test_the_z_score_is_that_of_the_windows_newest(n: int, steps: list[int], level: float) -> None:
    values = [level + step * 1e-4 for step in steps]

    def definition(window: list[float]) -> float | None:
        spread = statistics.pstdev(window)
        if not spread:
            return None
        exact = [Fraction(x) for x in window]
        return float(exact[-1] - sum(exact) / n) / spread

    found = run(ZScore(n), values)
    for score, expected in zip(found, of_windows(definition, n, values), strict=True):
        assert score == (None if expected is None else pytest.approx(expected, rel=1e-12, abs=1e-12))


@checked
@given(windows, st.floats(0.5, 4), series)
def test_bands_are_around_the_simple_average(n: int, k: float, values: list[float]) -> None:
    bands, average, deviation = Bollinger(n, k), SMA(n), RollingStd(n)
    for x in values:
        found, middle, spread = bands.update(x), average.update(x), deviation.update(x)
        if middle is None or spread is None:
            assert found is None
        else:
            assert found == (middle - k * spread, middle, middle + k * spread)
            assert found.lower <= found.middle <= found.upper


@checked
@given(windows, series)
def test_the_rate_of_change_is_against_the_value_n_before(n: int, values: list[float]) -> None:
    expected = [(x - values[i - n]) / values[i - n] if i >= n else None for i, x in enumerate(values)]
    assert run(ROC(n), values) == expected


def test_there_is_no_rate_of_change_from_zero() -> None:
    assert run(ROC(1), [0.0, 2.0, 3.0]) == [None, None, 0.5]


@pytest.mark.parametrize("n", [2, 5, 20])
def test_pandas_agrees(n: int) -> None:
    walk = pd.Series(100 + np.random.default_rng(5).normal(0, 0.1, 300).cumsum())
    weights = np.arange(1, n + 1)
    expected: list[tuple[Any, pd.Series]] = [
        (SMA(n), walk.rolling(n).mean()),
        (WMA(n), walk.rolling(n).apply(lambda w: float(np.average(w, weights=weights)), raw=True)),
        (RollingMin(n), walk.rolling(n).min()),
        (RollingMax(n), walk.rolling(n).max()),
        (RollingStd(n), walk.rolling(n).apply(np.std, raw=True)),  # its own std() loses digits
    ]
    for made, column in expected:
        found = pd.Series(run(made, walk.tolist()), dtype=float)
        pd.testing.assert_series_equal(found, column, rtol=1e-11, obj=made.name)


LONG = {
    "flat": lambda _: 1e6,
    "trending": lambda i: 1e6 + i * 1e-3,
    "wild": lambda i: 100 + 99.9 * math.sin(i * 0.7),
    "calm after a giant": lambda i: 1e12 if i == 1000 else 100 + 1e-3 * math.sin(i * 0.7),
}


@pytest.mark.parametrize("market", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    ("made", "definition", "rel"),
    [
        (SMA(7), statistics.fmean, 1e-14),
        (WMA(7), weighted, 1e-14),
        (RollingMin(7), min, 0),
        (RollingMax(7), max, 0),
        (RollingStd(7), statistics.pstdev, 49 * 2**-51),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_long_run_does_not_drift(
    made: Any, definition: Callable[[list[float]], float], rel: float, market: Callable[[int], float]
) -> None:
    made = type(made)(made.n)
    values = [market(i) for i in range(50_000)]
    found = run(made, values)
    for end in itertools.chain(range(2_000, len(values), 1_999), [len(values)]):
        window = values[end - made.n : end]
        assert found[end - 1] == pytest.approx(definition(window), rel=rel, abs=0)
