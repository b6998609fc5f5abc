"""Indicators against their definitions."""

import math
import sys
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.indicators import SMA

prices = st.floats(min_value=1e-4, max_value=1e6)


@pytest.mark.parametrize("n", [0, -1])
def test_a_window_below_one_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=str(n)):
        SMA(n)


def test_the_average_is_none_until_warm() -> None:
    average = SMA(3)
    assert average.value is None
    assert [average.update(x) for x in (1.0, 2.0, 3.0, 4.0, 8.0)] == [None, None, 2.0, 3.0, 5.0]
    assert average.value == 5.0


def test_a_window_of_one_is_the_value_itself() -> None:
    average = SMA(1)
    values = [0.1, 0.2, 1e300, 1e-300, 0.3]
    assert [average.update(x) for x in values] == values


@settings(deadline=None)
@given(st.integers(1, 12), st.lists(prices, max_size=60))
def test_every_value_is_the_mean_of_the_last_n(n: int, values: list[float]) -> None:
    average = SMA(n)
    window: deque[float] = deque(maxlen=n)
    for x in values:
        window.append(x)
        mean = average.update(x)
        assert average.value == mean
        if len(window) < n:
            assert mean is None
        else:
            assert mean == pytest.approx(
                math.fsum(window) / n, rel=0, abs=n * max(window) * sys.float_info.epsilon
            )


@settings(deadline=None)
@given(prices, st.lists(prices, max_size=30), st.integers(1, 9), st.integers(10, 30))
def test_averages_of_a_flat_market_are_exactly_equal(
    price: float, before: list[float], n: int, m: int
) -> None:
    short, long = SMA(n), SMA(m)
    for x in [*before, *[price] * 40]:
        short.update(x)
        long.update(x)
    assert short.value == long.value == price


def test_a_giant_that_left_the_window_leaves_nothing_behind() -> None:
    average = SMA(5)
    for x in [1.0, 1e300, 1.5, 2.5, 1e17, 0.1, 0.2, 0.3, 0.4, 0.5]:
        average.update(x)
    assert average.value == pytest.approx(0.3, rel=1e-15)


def test_two_hundred_thousand_values_do_not_drift() -> None:
    average = SMA(7)
    window: deque[float] = deque(maxlen=7)
    for i in range(200_000):
        x = 100.0 + 99.9 * math.sin(i * 0.7)
        window.append(x)
        average.update(x)
    assert average.value == pytest.approx(math.fsum(window) / 7, rel=1e-14)


def test_memory_does_not_grow() -> None:
    average = SMA(4)
    lists = [average._ring, average._older]
    for i in range(1_000):
        average.update(float(i))
    assert [len(values) for values in lists] == [4, 4]
    assert average._ring is lists[0]
    assert average._older is lists[1]
    assert not hasattr(average, "__dict__")
