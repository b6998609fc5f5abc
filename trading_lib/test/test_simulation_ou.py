"""Ornstein-Uhlenbeck against its closed forms, at many parameters. Bounds are 4 standard errors."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.simulation import OU, make_model
from trading_lib.simulation.generators import Floats

N = 40_000
MANY = [
    OU(kappa=kappa, theta=theta, sigma=sigma, mu=mu)
    for kappa, theta, sigma, mu in [
        (0.8, 0.0, 0.2, 0.0),
        (0.05, 0.3, 0.02, 0.0),
        (5.0, -0.5, 1.0, 0.3),
        (0.5, 0.1, 0.1, -0.2),
        (20.0, 0.0, 2.0, 1.0),
    ]
]
many = pytest.mark.parametrize("p", MANY, ids=lambda p: f"kappa {p.kappa:g}, sigma {p.sigma:g}")


def states(p: OU, dt_s: float | Floats, n: int = N) -> Floats:
    """X after each of n steps."""
    spacing = np.full(n, dt_s) if isinstance(dt_s, float) else dt_s
    return np.log(make_model(p, 7, "X").steps(spacing) / p.P0)


def independent(p: OU) -> float:
    """A spacing over which X forgets all but e^-8."""
    return 8 / p.kappa


@many
def test_stationary_mean_and_deviation(p: OU) -> None:
    x = states(p, independent(p))[1:]
    sd = p.sigma / math.sqrt(2 * p.kappa)
    assert x.mean() == pytest.approx(p.theta + p.mu / p.kappa, abs=4 * sd / math.sqrt(N) + 4e-4 * sd)
    assert x.std(ddof=1) == pytest.approx(sd, rel=4 / math.sqrt(2 * N))
    standard = (x - x.mean()) / x.std()
    assert scipy.stats.kstest(standard, "norm").pvalue > 1e-4


@many
def test_autocorrelation_decays_with_kappa(p: OU) -> None:
    step = 0.25 / p.kappa
    x = states(p, step, 4 * N)
    x = x[100:] - x[100:].mean()
    for lag in (1, 2, 4, 8):
        found = float((x[:-lag] * x[lag:]).mean() / (x * x).mean())
        assert found == pytest.approx(math.exp(-0.25 * lag), abs=4 * math.sqrt(8 / (4 * N)))


@many
@pytest.mark.parametrize("over", [0.05, 1.0])
def test_two_half_steps_are_one_step_in_distribution(p: OU, over: float) -> None:
    """Given X, what comes after D in one step or two: the same regression on X, the same residuals."""
    step = over / p.kappa
    found = []
    for x in (states(p, step), states(p, step / 2, 2 * N)[1::2]):
        fit = scipy.stats.linregress(x[:-1], x[1:])
        residuals = x[1:] - fit.intercept - fit.slope * x[:-1]
        found.append((fit, residuals))
    (one, after_one), (two, after_two) = found
    assert one.slope == pytest.approx(two.slope, abs=4 * math.hypot(one.stderr, two.stderr))
    assert one.slope == pytest.approx(math.exp(-over), abs=4 * one.stderr)
    assert scipy.stats.ks_2samp(after_one, after_two).pvalue > 1e-4


@pytest.mark.parametrize("p", [OU(), OU(kappa=2.0, theta=0.4, sigma=1.0), OU(kappa=0.3, sigma=0.3, P0=7.0)])
def test_the_mean_price_is_above_the_price_of_the_mean(p: OU) -> None:
    prices = make_model(p, 11, "X").steps(np.full(N, independent(p)))[1:]
    expected = p.P0 * math.exp(p.theta + p.sigma**2 / (4 * p.kappa))
    error = prices.std() / math.sqrt(N)
    assert prices.mean() == pytest.approx(expected, abs=4 * error)
    assert abs(prices.mean() - p.P0 * math.exp(p.theta)) > 4 * error


def test_without_reversion_it_is_a_random_walk_with_drift() -> None:
    p = OU(kappa=0.0, sigma=0.3, mu=0.1, theta=5.0, price="add", P0=1e6)
    dt_s = np.tile([0.2, 1.5], N // 2)
    gains = np.diff(make_model(p, 3, "X").steps(dt_s), prepend=1e6)
    normals = (gains - 0.1 * dt_s) / (0.3 * np.sqrt(dt_s))
    assert scipy.stats.kstest(normals, "norm").pvalue > 1e-4


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-6, 0), st.floats(0.001, 100.0))
def test_the_limit_of_little_reversion_is_none(exponent: float, dt_s: float) -> None:
    """Down to the smallest double: no step divides 0 by 0 or cancels."""
    spacing = np.full(5, dt_s)
    none = make_model(OU(kappa=0.0, mu=0.01, theta=0.5), 3, "X").steps(spacing)
    for kappa in (1e-12 * 10**exponent, 1e-300 * 10**exponent, 5e-324):
        p = OU(kappa=kappa, mu=0.01, theta=0.5)
        np.testing.assert_allclose(make_model(p, 3, "X").steps(spacing), none, rtol=1e-7)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.floats(0, 50),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.lists(st.floats(1e-4, 20), min_size=1, max_size=8),
)
def test_without_noise_it_is_the_equation_solved_however_it_is_stepped(
    kappa: float, theta: float, mu: float, x0: float, steps: list[float]
) -> None:
    p = OU(kappa=kappa, theta=theta, mu=mu, x0=x0, sigma=0.0)
    last = states(p, np.array(steps))[-1]
    assert last == pytest.approx(states(p, np.array([math.fsum(steps)]))[0], rel=1e-9, abs=1e-9)
    if kappa > 1e-3:
        rest = theta + mu / kappa
        assert last == pytest.approx(rest + (x0 - rest) * math.exp(-kappa * math.fsum(steps)), abs=1e-9)


def test_another_schedule_keeps_the_innovations() -> None:
    """At kappa = 0 an innovation is a gain by the root of its time."""
    p = OU(kappa=0.0, sigma=0.1)
    slow, quick = states(p, 1.0, 500), states(p, 0.25, 500)
    np.testing.assert_allclose(np.diff(slow), 2 * np.diff(quick), rtol=1e-6, atol=1e-12)


def test_the_floor_is_on_the_price_not_on_the_state() -> None:
    """A price that was at its floor comes back when the state does, not before."""
    p = OU(kappa=0.0, sigma=1.0, price="add", P0=1.0, floor=0.5)
    free = OU(kappa=0.0, sigma=1.0, price="add", P0=1e6)
    dt_s = np.full(1000, 0.2)
    prices = make_model(p, 2, "X").steps(dt_s)
    moved = make_model(free, 2, "X").steps(dt_s) - 1e6
    assert prices.min() == 0.5
    np.testing.assert_allclose(prices, np.maximum(1 + moved, 0.5), atol=1e-9)


@pytest.mark.parametrize(
    ("p", "level"),
    [
        (OU(theta=0.1), 100 * math.exp(0.1)),
        (OU(theta=5.0, price="add"), 105.0),
        (OU(theta=-200.0, price="add"), 0.01),
    ],
)
def test_the_level_is_theta_as_a_price(p: OU, level: float) -> None:
    model = make_model(p, 2, "X")
    model.steps(np.full(3, 0.2))
    levels = model.levels()
    assert levels is not None
    np.testing.assert_allclose(levels, level)
    model.change(theta=0.2)
    model.steps(np.full(2, 0.2))
    changed = model.levels()
    assert changed is not None
    assert changed.shape == (2,)
    assert changed[0] != levels[0]
