"""The deflated Sharpe ratio: by hand, against SciPy, and against what chance does."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib import metrics
from trading_lib.overfitting import Moments, deflated_sharpe, deflated_sharpe_of, expected_best

returns_lists = st.lists(st.floats(-0.05, 0.05).map(lambda x: round(x, 6)), min_size=5, max_size=60)
ratio_lists = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


def reference(returns: list[float], trials: list[float]) -> float:
    """The paper's formulas, written down with SciPy."""
    r = np.array(returns)
    ratio = r.mean() / r.std(ddof=1)
    skew, kurtosis = scipy.stats.skew(r), scipy.stats.kurtosis(r, fisher=False)
    n = len(trials)
    gamma = np.euler_gamma
    best = np.std(trials, ddof=1) * (
        (1 - gamma) * scipy.stats.norm.ppf(1 - 1 / n) + gamma * scipy.stats.norm.ppf(1 - 1 / (n * math.e))
    )
    z = (ratio - best) * math.sqrt(len(r) - 1) / math.sqrt(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2)
    return float(scipy.stats.norm.cdf(z))


@settings(max_examples=300, deadline=None)
@given(returns_lists, ratio_lists)
def test_it_is_what_scipy_makes_of_the_formulas(returns: list[float], trials: list[float]) -> None:
    found = deflated_sharpe(returns, trials)
    if np.std(returns, ddof=1) < 1e-5:
        return  # a reference of rounding errors
    assert found is not None
    assert found == pytest.approx(reference(returns, trials), rel=1e-6, abs=1e-9)


def test_it_is_the_example_of_the_paper() -> None:
    """2.5 a year of 250 days, over 1,250 days; 100 tries whose ratios a year have a variance of 1/2."""
    ratio, n, skew, kurtosis = 2.5 / math.sqrt(250), 1250, -3.0, 10.0
    trials = [x * math.sqrt(0.5 / 250) for x in (-1, 1) * 50]
    trials = (np.array(trials) / np.std(trials, ddof=1) * math.sqrt(0.5 / 250)).tolist()
    assert expected_best(trials) == pytest.approx(0.1132, abs=5e-5)
    m2 = 1e-4 * (n - 1) / n
    mean = ratio * 1e-2
    m3, m4 = skew * m2**1.5, kurtosis * m2**2
    sums = (mean, m2 + mean**2, m3 + 3 * mean * m2 + mean**3)
    fourth = m4 + 4 * mean * m3 + 6 * mean**2 * m2 + mean**4
    sample = Moments(n, n * sums[0], n * sums[1], n * sums[2], n * fourth)
    assert deflated_sharpe_of(sample, trials) == pytest.approx(0.9004, abs=5e-4)


@settings(max_examples=200, deadline=None)
@given(returns_lists, returns_lists)
def test_moments_of_two_samples_add_up(first: list[float], second: list[float]) -> None:
    together, parts = Moments.of(first + second), Moments.of(first) + Moments.of(second)
    assert parts == pytest.approx(together, abs=1e-15)
    equity = np.cumprod([1.0, *(1 + r for r in first)])
    year = metrics.sharpe(equity, 1.0)
    if year is not None and np.std(first, ddof=1) > 1e-5:
        assert Moments.of(first).ratio == pytest.approx(year, rel=1e-6, abs=1e-9)


@given(ratio_lists)
def test_one_more_try_without_luck_never_helps(trials: list[float]) -> None:
    assert expected_best(trials) >= 0
    assert expected_best([0.5]) == 0


def test_the_best_of_many_tries_without_skill_is_what_chance_is_expected_to_give() -> None:
    generator = np.random.default_rng(7)
    returns = generator.normal(0, 0.01, (200, 100, 250))
    ratios = returns.mean(axis=2) / returns.std(axis=2, ddof=1)
    assert np.mean(ratios.max(axis=1)) == pytest.approx(
        np.mean([expected_best(row) for row in ratios]), rel=0.02
    )
    best = [deflated_sharpe(returns[i, ratios[i].argmax()], ratios[i]) for i in range(200)]
    assert sum(p is not None and p > 0.95 for p in best) < 20  # and 60 % of them look significant alone
    alone = [deflated_sharpe(returns[i, ratios[i].argmax()], [0.0]) for i in range(200)]
    assert sum(p is not None and p > 0.95 for p in alone) > 150


def test_where_there_is_no_sharpe_ratio_there_is_no_deflated_one() -> None:
    assert deflated_sharpe([0.01], [0.1, 0.2]) is None
    for same in (0.01, 0.1, 1 / 3, 1e-5):
        assert deflated_sharpe([same] * 7, [0.1, 0.2]) is None
    assert deflated_sharpe.explain([], []).why == "fewer than 3 points"
