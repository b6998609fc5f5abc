"""Metrics against closed forms and plain Python."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.metrics import (
    Closed,
    Drawdown,
    Measure,
    Undefined,
    average_hold,
    average_trade,
    exposure,
    grid_step,
    gross_exposure,
    max_drawdown,
    profit_factor,
    resample,
    returns,
    rolling_drawdown,
    rolling_sharpe,
    rolling_volatility,
    sharpe,
    sharpe_standard_error,
    sortino,
    turnover,
    volatility,
    win_rate,
    year_basis,
)
from trading_lib.models import NS_PER_S, Side
from trading_lib.portfolio import RoundTrip, Trade

DAY = 86_400 * NS_PER_S
YEAR = 252.0

whole = st.lists(st.integers(-3, 12), max_size=25)
curves = st.lists(st.integers(50, 150), min_size=3, max_size=30)
gaps = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=1, max_size=20)


def exact_returns(equity: list[int]) -> list[Fraction]:
    return [Fraction(after, before) - 1 for before, after in pairwise(equity)]


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction()) / len(values)


def deviation(values: list[Fraction]) -> float:
    middle = mean(values)
    return math.sqrt(sum((x - middle) ** 2 for x in values) / (len(values) - 1))


def timeline(steps: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Times that never go back, and a value at each."""
    times = np.cumsum([gap for gap, _ in steps]).tolist()
    return times, [value for _, value in steps]


def trade(net: float, entry_ts: int = 0, exit_ts: int = 0) -> Trade:
    return Trade("AAPL", Side.BUY, 1.0, entry_ts, exit_ts, 1.0, 1.0, net, net)


# ------------------------------------------------------------------------------------------------------ sharpe


@settings(deadline=None, max_examples=300)
@given(curves)
def test_sharpe_is_mean_over_deviation_by_the_root_of_the_periods(equity: list[int]) -> None:
    found = exact_returns(equity)
    spread = deviation(found)
    if spread == 0:
        assert sharpe(equity, YEAR) is None
    else:
        assert sharpe(equity, YEAR) == pytest.approx(float(mean(found)) / spread * math.sqrt(252), abs=1e-9)


def test_sharpe_of_two_returns_by_hand() -> None:
    # +10 % and −10 % less 0: mean 0; +10 % and +30 %: mean 0.2, deviation 0.2/√2
    assert sharpe([100, 110, 99], 1) == pytest.approx(0.0, abs=1e-15)
    assert sharpe([100, 110, 143], 1) == pytest.approx(math.sqrt(2))
    assert sharpe([100, 110, 143], 4) == pytest.approx(2 * math.sqrt(2))
    assert sharpe([100, 110, 143], 4, risk_free=0.4) == pytest.approx(math.sqrt(2))  # 0.1 a period


@settings(deadline=None)
@given(curves, st.integers(-6, 6))
def test_a_currency_with_more_zeros_has_the_same_sharpe(equity: list[int], power: int) -> None:
    assert sharpe([e * 2.0**power for e in equity], YEAR) == sharpe(equity, YEAR)


@pytest.mark.parametrize(
    ("equity", "why"),
    [
        ([], "fewer than 3 points"),
        ([1.0, 2.0], "fewer than 3 points"),
        ([1.0, 2.0, 0.0], "an equity that is not positive"),
        ([1.0, 2.0, -1.0], "an equity that is not positive"),
        ([1.0, 2.0, math.nan], "an equity that is not finite"),
        ([1.0, math.inf, 1.0], "an equity that is not finite"),
        ([5.0, 5.0, 5.0], "returns that do not vary"),
        ([100.0 * 1.001**i for i in range(1000)], "returns that do not vary"),  # but for rounding
        ([1e-300, 1e300, 1.0], "a return too large for statistics"),
    ],
)
def test_an_undefined_sharpe_is_none_and_says_why(equity: list[float], why: str) -> None:
    for metric in (sharpe, sharpe_standard_error):
        assert metric(equity, YEAR) is None
        assert metric.explain(equity, YEAR) == Measure(None, why)
    if why == "returns that do not vary":
        assert volatility(equity, YEAR) == pytest.approx(0.0, abs=1e-12)
    else:
        assert sortino.explain(equity, YEAR) == volatility.explain(equity, YEAR) == Measure(None, why)


def test_a_deviation_just_above_rounding_counts() -> None:
    def alternating(step: float) -> list[float]:
        return [1.0, 1.0 + step, 1.0, 1.0 + step]

    unit = 2.0**-52
    assert sharpe(alternating(16 * unit), YEAR) is None
    assert sharpe(alternating(128 * unit), YEAR) is not None


@settings(deadline=None)
@given(curves)
def test_the_standard_error_is_that_of_lo(equity: list[int]) -> None:
    ratio = sharpe(equity, 1.0)
    if ratio is None:
        assert sharpe_standard_error(equity, YEAR) is None
    else:
        n = len(equity) - 1
        wanted = math.sqrt((1 + ratio**2 / 2) / n) * math.sqrt(252)
        assert sharpe_standard_error(equity, YEAR) == pytest.approx(wanted)


def test_the_standard_error_is_what_many_samples_scatter() -> None:
    rng = np.random.default_rng(11)
    n, samples = 250, 2_000
    equity = np.cumprod(
        np.concatenate((np.ones((samples, 1)), 1 + rng.normal(0.005, 0.01, (samples, n))), 1), 1
    )
    ratios = [sharpe(curve, YEAR) for curve in equity]
    errors = [sharpe_standard_error(curve, YEAR) for curve in equity]
    assert np.std(np.array(ratios, float)) == pytest.approx(np.mean(np.array(errors, float)), rel=0.05)


@pytest.mark.parametrize("periods", [0.0, -1.0, math.nan, math.inf])
def test_a_year_without_periods_is_refused(periods: float) -> None:
    for metric in (sharpe, sharpe_standard_error, sortino, volatility):
        with pytest.raises(ValueError, match="periods per year"):
            metric([1.0, 2.0, 1.0], periods)


# ---------------------------------------------------------------------------------------- sortino and volatility


@settings(deadline=None, max_examples=300)
@given(curves, st.sampled_from([0.0, 0.01, -0.02]))
def test_sortino_takes_the_downside_over_all_returns(equity: list[int], mar: float) -> None:
    found = exact_returns(equity)
    acceptable = Fraction(repr(mar))
    downside = math.sqrt(mean([min(r - acceptable, Fraction()) ** 2 for r in found]))
    if downside < 1e-12:
        assert sortino.explain(equity, YEAR, mar) == Measure(
            None, "no return below the minimal acceptable one"
        )
    else:
        wanted = float(mean(found) - acceptable) / downside * math.sqrt(252)
        assert sortino(equity, YEAR, mar) == pytest.approx(wanted, abs=1e-9)


def test_a_downside_of_rounding_alone_is_none() -> None:
    assert sortino([1.0, 1.0 - 2.0**-53, 1.0, 1.0], YEAR) is None


@settings(deadline=None)
@given(curves)
def test_volatility_is_the_deviation_by_the_root_of_the_periods(equity: list[int]) -> None:
    wanted = deviation(exact_returns(equity)) * math.sqrt(252)
    assert volatility(equity, YEAR) == pytest.approx(wanted, abs=1e-12)


def test_returns_are_simple() -> None:
    assert returns([100.0, 110.0, 99.0]).tolist() == pytest.approx([0.1, -0.1])
    with pytest.raises(Undefined, match="fewer than 2"):
        returns([1.0])


# ---------------------------------------------------------------------------------------------------- drawdown


def drawdown_by_definition(equity: list[int]) -> Drawdown:
    """Every pair of a peak and a later trough."""
    peaks = [max(equity[: i + 1]) for i in range(len(equity))]
    falls = [(Fraction(p - e, p), -i) for i, (p, e) in enumerate(zip(peaks, equity, strict=True)) if p > 0]
    if not falls:
        return Drawdown(None, why="no peak is positive" if equity else "no equity")
    fraction, minus_trough = max(falls)
    trough = -minus_trough
    peak = equity.index(peaks[trough])
    recovery = next((i for i in range(trough, len(equity)) if equity[i] >= peaks[trough]), None)
    end = len(equity) - 1 if recovery is None else recovery
    longest = 0
    for start in range(len(equity)):
        if 0 < peaks[start] > equity[start]:
            back = next((i for i in range(start, len(equity)) if equity[i] >= peaks[start]), len(equity) - 1)
            longest = max(longest, back - start)
    return Drawdown(float(fraction), peak, trough, recovery, end - peak, longest)


@settings(deadline=None, max_examples=500)
@given(whole)
def test_the_maximum_drawdown_is_that_of_the_definition(equity: list[int]) -> None:
    assert max_drawdown(equity) == drawdown_by_definition(equity)


def test_the_first_of_two_equal_troughs_and_the_first_of_two_equal_peaks_count() -> None:
    assert max_drawdown([10, 10, 5, 10, 5, 10]) == Drawdown(0.5, 0, 2, 3, 3, 1)
    assert max_drawdown([10, 9, 20, 18, 17]) == Drawdown(0.15, 2, 4, None, 2, 1)


def test_a_curve_that_only_rises_has_no_drawdown() -> None:
    assert max_drawdown([1, 2, 2, 3]) == Drawdown(0.0, 0, 0, 0, 0, 0)


def test_a_fall_below_zero_is_more_than_the_whole() -> None:
    assert max_drawdown([-5, 10, -5])[:3] == (1.5, 1, 2)


def test_drawdown_times_are_in_ns_where_times_are_given() -> None:
    found = max_drawdown([10, 12, 9, 11, 12, 11], [0, 7, 8, 10, 20, 21])
    assert (found.peak_index, found.recovery_index) == (1, 4)
    assert (found.duration, found.longest_under_water) == (13, 12)


@pytest.mark.parametrize(
    ("equity", "why"),
    [
        ([], "no equity"),
        ([0.0, -1.0], "no peak is positive"),
        ([1.0, math.nan], "a value that is not finite"),
        ([1e-300, -1e300], "beyond the range of a float"),
    ],
)
def test_an_undefined_drawdown_says_why(equity: list[float], why: str) -> None:
    assert max_drawdown(equity) == Drawdown(None, why=why)


# ------------------------------------------------------------------------------------------------ fixed grid


@settings(deadline=None, max_examples=300)
@given(gaps, st.integers(1, 4))
def test_the_grid_carries_the_last_value(steps: list[tuple[int, int]], step: int) -> None:
    times, values = timeline(steps)
    grid, found = resample(times, values, step)
    assert grid.tolist() == list(range(times[0], times[-1] + 1, step))
    assert found.tolist() == [
        [v for t, v in zip(times, values, strict=True) if t <= at][-1] for at in grid.tolist()
    ]


def test_a_grid_of_nothing_is_empty_and_one_too_fine_is_refused() -> None:
    assert [part.tolist() for part in resample([], [], 1)] == [[], []]
    with pytest.raises(ValueError, match="at least 1 ns"):
        resample([0], [1.0], 0)
    with pytest.raises(ValueError, match="too many"):
        resample([0, 10 * DAY], [1.0, 2.0], 1)


def test_the_step_is_a_second_or_the_longest_median_gap() -> None:
    assert grid_step([]) == grid_step([[5]]) == grid_step([[0, 1, 2]]) == NS_PER_S
    assert grid_step([[0, DAY, 2 * DAY, 9 * DAY], [0, 1, 2]]) == DAY


def test_the_basis_of_a_year_is_stated() -> None:
    assert year_basis(NS_PER_S, sessions=True) == (
        252 * 6.5 * 3600,
        "252 × 6.5 × 3600 s a year, steps of 1 s",
    )
    assert year_basis(2 * NS_PER_S, sessions=False) == (365 * 43_200, "365 × 86400 s a year, steps of 2 s")
    assert year_basis(DAY, sessions=True) == (252, "252 days a year, steps of 1 d")
    assert year_basis(DAY, sessions=False).periods_per_year == 365


# ------------------------------------------------------------------------------------------ time in the market


@settings(deadline=None, max_examples=300)
@given(gaps, st.one_of(st.none(), st.integers(-2, 60)))
def test_exposure_is_the_share_of_time_with_a_position(steps: list[tuple[int, int]], end: int | None) -> None:
    times, positions = timeline(steps)
    last = times[-1] if end is None else end
    held = [
        max(v for t, v in [(-1, 0), *((t, i) for i, t in enumerate(times))] if t <= instant)
        for instant in range(times[0], last)  # one instant for each unit of time
    ]
    if not held:
        assert exposure.explain(times, positions, end) == Measure(None, "no time has passed")
        return
    assert exposure(times, positions, end) == sum(positions[i] != 0 for i in held) / len(held)
    gross = sum(abs(positions[i]) for i in held) / len(held) / 8
    assert gross_exposure(times, positions, 8.0, end) == pytest.approx(gross)


def test_exposure_by_hand_up_to_an_explicit_end() -> None:
    assert exposure([0, 10, 30], [0, 5, 0]) == 2 / 3
    assert exposure([0, 10, 30], [0, 5, 0], end=40) == 0.5
    assert exposure([0, 10, 30], [0, 5, 0], end=20) == 0.5
    assert gross_exposure([0, 10, 30], [0, -500, 0], 1000.0, end=40) == 0.25


def test_exposure_of_nothing_is_undefined() -> None:
    assert exposure.explain([], []) == Measure(None, "no values")
    assert exposure.explain([0, 5], [1.0, math.nan]) == Measure(None, "a value that is not finite")
    assert gross_exposure.explain([0, 5], [1, 1], 0.0) == Measure(None, "no initial cash")


def test_turnover_is_what_was_traded_over_initial_cash() -> None:
    assert turnover([500.0, -500.0, 1000.0], 1000.0) == 2.0
    assert turnover([], 1000.0) == 0.0
    assert turnover.explain([1.0], 0.0) == Measure(None, "no initial cash")
    assert turnover.explain([1e300], 1e-300) == Measure(None, "beyond the range of a float")


@pytest.mark.parametrize(
    "call",
    [
        lambda: exposure([0, 1], [1.0]),
        lambda: exposure([1, 0], [1.0, 1.0]),
        lambda: resample([0, 1], [1.0, 2.0, 3.0], 1),
        lambda: max_drawdown([1.0, 2.0], [1]),
        lambda: rolling_sharpe([1.0, 2.0], 1, YEAR),
        lambda: rolling_drawdown([1.0, 2.0], 0),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"times|at least"):
        call()


# ------------------------------------------------------------------------------------------------------ trades


def test_trade_statistics_by_hand() -> None:
    trades: list[Closed] = [trade(30.0, 0, 10), trade(-10.0, 5, 25), trade(0.0, 0, 0), trade(10.0, 1, 11)]
    assert win_rate(trades) == 0.5  # zero is not a win
    assert average_trade(trades) == 7.5
    assert average_hold(trades) == 10.0
    assert profit_factor(trades) == 4.0


def test_round_trips_are_measured_like_trades() -> None:
    trips = [RoundTrip("AAPL", Side.SELL, 3.0, 0, 4, 2.0, 1.0)]
    assert (win_rate(trips), average_trade(trips), average_hold(trips)) == (1.0, 1.0, 4.0)


def test_statistics_of_no_trades_are_undefined() -> None:
    for metric in (win_rate, average_trade, average_hold, profit_factor):
        assert metric([]) is None
        assert metric.explain([]).why == "no trades"
    assert profit_factor.explain([trade(1.0)]) == Measure(None, "no losing trades")
    assert profit_factor([trade(-1.0)]) == 0.0


# --------------------------------------------------------------------------------------------- rolling windows


@settings(deadline=None)
@given(st.lists(st.integers(-1, 20), max_size=20), st.integers(2, 5))
def test_a_rolling_metric_is_the_metric_of_each_window(values: list[int], window: int) -> None:
    equity = [float(v) for v in values]
    for rolling, metric in ((rolling_sharpe, sharpe), (rolling_volatility, volatility)):
        found = rolling(equity, window, YEAR)
        assert found[:window] == [None] * min(window, len(equity))
        assert found[window:] == [
            pytest.approx(metric(equity[i - window : i + 1], YEAR), abs=1e-9)
            for i in range(window, len(equity))
        ]
    falls = rolling_drawdown(equity, window)
    assert falls[: window - 1] == [None] * min(window - 1, len(equity))
    assert falls[window - 1 :] == [
        max_drawdown(equity[i - window + 1 : i + 1]).fraction for i in range(window - 1, len(equity))
    ]


def test_windows_in_many_blocks_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    equity = (100 + np.random.default_rng(3).normal(0, 1, 500).cumsum()).tolist()
    whole_at_once = rolling_sharpe(equity, 20, YEAR), rolling_drawdown(equity, 20)
    monkeypatch.setattr("trading_lib.rolling.BLOCK", 64)
    assert (rolling_sharpe(equity, 20, YEAR), rolling_drawdown(equity, 20)) == whole_at_once


def test_a_window_with_a_value_that_is_no_number_is_none_and_the_others_are_not() -> None:
    equity = [1.0, 2.0, 1.5, math.nan, 1.0, 2.0, 1.5, 1e-300, 1e300]
    assert [x is not None for x in rolling_sharpe(equity, 2, YEAR)] == [i in (2, 6, 7) for i in range(9)]
    assert [x is not None for x in rolling_drawdown(equity, 2)] == [i in (1, 2, 5, 6, 7, 8) for i in range(9)]
