"""What all indicators have in common, and the simple average against its definition."""

import math
import sys
from collections import deque
from collections.abc import Callable, Sized
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib import indicators
from trading_lib.indicators import (
    EMA,
    MACD,
    ROC,
    RSI,
    SMA,
    VWAP,
    WMA,
    Bands,
    Bollinger,
    Convergence,
    RollingMax,
    RollingMin,
    RollingStd,
    ZScore,
)

checked = settings(deadline=None, derandomize=True, max_examples=200)
prices = st.floats(min_value=1e-4, max_value=1e6)


class Weighed:
    """A VWAP that is fed like the others, one unit at each price."""

    def __init__(self) -> None:
        self._vwap = VWAP()
        self.name = self._vwap.name

    @property
    def value(self) -> float | None:
        return self._vwap.value

    def update(self, x: float) -> float | None:
        return self._vwap.update(x, 1.0)


class Case(NamedTuple):
    """How to make one, its name, at which value it is warm, and what it says of a market flat at p."""

    make: Callable[[], Any]
    name: str
    warm: int
    flat: Callable[[float], Any]


CASES = {
    case.name: case
    for case in (
        Case(lambda: SMA(7), "SMA(7)", 7, lambda p: p),
        Case(lambda: EMA(7), "EMA(7)", 7, lambda p: p),
        Case(lambda: WMA(7), "WMA(7)", 7, lambda p: p),
        Case(lambda: RollingMin(7), "RollingMin(7)", 7, lambda p: p),
        Case(lambda: RollingMax(7), "RollingMax(7)", 7, lambda p: p),
        Case(lambda: RollingStd(7), "RollingStd(7)", 7, lambda _: 0.0),
        Case(lambda: RollingStd(7, ddof=1), "RollingStd(7,1)", 7, lambda _: 0.0),
        Case(lambda: Bollinger(7, 2.5), "Bollinger(7,2.5)", 7, lambda p: Bands(p, p, p)),
        Case(lambda: ROC(7), "ROC(7)", 8, lambda _: 0.0),
        Case(lambda: RSI(7), "RSI(7)", 8, lambda _: 50.0),
        Case(lambda: MACD(3, 5, 4), "MACD(3,5,4)", 8, lambda _: Convergence(0.0, 0.0, 0.0)),
        Case(Weighed, "VWAP", 1, lambda p: p),
    )
}
ZSCORE = Case(lambda: ZScore(7), "ZScore(7)", 7, lambda _: None)
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_case_and_zscore = pytest.mark.parametrize("case", [*CASES.values(), ZSCORE], ids=[*CASES, ZSCORE.name])


# ---------------------------------------------------------------------------------------- all of them


@every_case_and_zscore
def test_it_is_none_until_warm_and_value_is_what_update_gave(case: Case) -> None:
    made = case.make()
    assert made.value is None
    for i in range(1, 40):
        given_back = made.update(100 + math.sin(i))
        assert (given_back is None) == (i < case.warm)
        assert made.value is given_back


@every_case_and_zscore
def test_it_has_a_short_name(case: Case) -> None:
    assert case.make().name == case.name


@checked
@every_case
@given(price=prices)
def test_what_it_says_of_a_flat_market_is_exact(case: Case, price: float) -> None:
    made = case.make()
    found = [made.update(price) for _ in range(40)]
    assert found[case.warm - 1 :] == [case.flat(price)] * (41 - case.warm)


def test_a_market_that_became_flat_has_no_z_score() -> None:
    score = ZScore(4)
    values = [score.update(x) for x in [1.0, 2.0, 3.0, 4.0, *[0.1] * 10]]
    assert values[:3] == [None] * 3
    assert None not in values[3:7]
    assert values[7:] == [None] * 7


def sizes(made: object) -> dict[str, int]:
    """How many items each container in it has, those of the indicators in it included."""
    found = {}
    slots = {slot for kind in type(made).__mro__ for slot in getattr(kind, "__slots__", ())}
    for slot in slots:
        part = getattr(made, slot)
        if hasattr(part, "__slots__") and hasattr(part, "update"):
            found.update({f"{slot}.{name}": size for name, size in sizes(part).items()})
        elif isinstance(part, Sized):
            found[slot] = len(part)
    return found


@pytest.mark.parametrize(
    "made", [case.make() for case in (*CASES.values(), ZSCORE) if case.make is not Weighed]
)
def test_memory_does_not_grow(made: Any) -> None:
    for i in range(50):
        made.update(100 + i % 9)
    before = sizes(made)
    for i in range(1_000):
        made.update(100 + i % 9)
        assert all(size <= 20 for size in sizes(made).values())
    assert sizes(made).keys() == before.keys()
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize(
    "kind", [SMA, EMA, WMA, RollingMin, RollingMax, RollingStd, ZScore, Bollinger, ROC, RSI]
)
def test_a_window_that_cannot_be_is_refused(kind: Callable[[Any], object]) -> None:
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n must be at least [12], not {n}"):
            kind(n)
    with pytest.raises(TypeError):
        kind(2.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZScore(1), "n must be at least 2, not 1"),
        (lambda: RollingStd(1, ddof=1), "n must be at least 2, not 1"),
        (lambda: RollingStd(5, ddof=-1), "ddof must be at least 0, not -1"),
        (lambda: Bollinger(5, 0.0), "k must be above 0"),
        (lambda: Bollinger(5, math.nan), "k must be above 0"),
        (lambda: MACD(0), "fast must be at least 1, not 0"),
        (lambda: MACD(26, 26), "slow must be at least 27, not 26"),
        (lambda: MACD(signal=0), "signal must be at least 1, not 0"),
        (lambda: VWAP().update(1.0, -1.0), "size must be at least 0"),
        (lambda: VWAP().update(1.0, math.inf), "size must be at least 0"),
        (lambda: VWAP().update(1.0, math.nan), "size must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_indicator_is_exported_and_tested_here() -> None:
    kinds = {name for name in indicators.__all__ if hasattr(getattr(indicators, name), "update")}
    assert kinds == {case.name.partition("(")[0] for case in (*CASES.values(), ZSCORE)}


# ------------------------------------------------------------------------------- the simple average


def test_the_average_is_of_the_last_n() -> None:
    average = SMA(3)
    assert [average.update(x) for x in (1.0, 2.0, 3.0, 4.0, 8.0)] == [None, None, 2.0, 3.0, 5.0]


@pytest.mark.parametrize("kind", [SMA, EMA, WMA, RollingMin, RollingMax])
def test_a_window_of_one_is_the_value_itself(kind: Callable[[int], Any]) -> None:
    made = kind(1)
    values = [0.1, 0.2, 1e300, 1e-300, 0.3]
    assert [made.update(x) for x in values] == values


@checked
@given(st.integers(1, 12), st.lists(prices, max_size=60))
def test_every_value_is_the_mean_of_the_last_n(n: int, values: list[float]) -> None:
    average = SMA(n)
    window: deque[float] = deque(maxlen=n)
    for x in values:
        window.append(x)
        mean = average.update(x)
        if len(window) < n:
            assert mean is None
        else:
            assert mean == pytest.approx(
                math.fsum(window) / n, rel=0, abs=n * max(window) * sys.float_info.epsilon
            )


@checked
@given(prices, st.lists(prices, max_size=30), st.integers(1, 9), st.integers(10, 30))
def test_averages_of_a_market_that_became_flat_are_exactly_equal(
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
