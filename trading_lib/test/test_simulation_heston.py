"""Heston by the quadratic-exponential scheme: the variance's moments, the martingale, prices of options."""

import cmath
import functools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from trading_lib.simulation import YEAR_S, Heston, Model, make_model
from trading_lib.simulation.generators import Floats

YEAR = YEAR_S["calendar"]
PATHS = 16_000
MARKETS = [  # usual; far from Feller's condition, as in foreign exchange; variance starts low; no correlation
    Heston(mu=0.05, v0=0.04, kappa=2.0, theta=0.04, xi=0.3, rho=-0.7),
    Heston(mu=0.0, v0=0.04, kappa=0.5, theta=0.04, xi=1.0, rho=-0.9),
    Heston(mu=0.02, v0=0.01, kappa=1.5, theta=0.09, xi=0.6, rho=0.4),
    Heston(mu=-0.1, v0=0.2, kappa=5.0, theta=0.05, xi=1.2, rho=0.0),
]
every_market = pytest.mark.parametrize("p", MARKETS, ids=["usual", "often at 0", "rising", "falling"])


@functools.cache
def after_a_year(p: Heston, steps: int) -> tuple[Floats, Floats]:
    """Price and variance, float64[PATHS] each, after a year in so many steps, on independent paths from P0 and v0."""
    model: Model = make_model(p, 17, "X")
    start = model.state()
    dt_s = np.full(steps, YEAR / steps)
    prices, variances = np.empty(PATHS), np.empty(PATHS)
    for path in range(PATHS):
        model.restore(start._replace(chance=model.state().chance))
        prices[path] = model.steps(dt_s)[-1]
        variances[path] = model.state().value[1]
    return prices, variances


def cir_moments(p: Heston, years: float) -> tuple[float, float]:
    """Mean and variance of the variance. Source: Cox, Ingersoll, Ross, Econometrica 53 (1985), equation 19."""
    kept = math.exp(-p.kappa * years)
    mean = p.v0 * kept + p.theta * (1 - kept)
    spread = p.v0 * p.xi**2 / p.kappa * (kept - kept**2) + p.theta * p.xi**2 / (2 * p.kappa) * (1 - kept) ** 2
    return mean, spread


def call_price(p: Heston, strike: float, years: float) -> float:
    """The undiscounted E[max(S - strike, 0)], by Lewis's integral of the characteristic function.

    Sources: Lewis, Option Valuation under Stochastic Volatility (2000), chapter 2; the function in the form of
    Albrecher and others, The little Heston trap, Wilmott Magazine (2007), whose logarithm stays on one branch.
    """
    forward = p.P0 * math.exp(p.mu * years)

    def integrand(u: float) -> float:
        z = u - 0.5j
        b = p.kappa - p.rho * p.xi * 1j * z
        d = cmath.sqrt(b * b + p.xi**2 * (z * z + 1j * z))
        g = (b - d) / (b + d)
        decay = cmath.exp(-d * years)
        c = p.kappa * p.theta / p.xi**2 * ((b - d) * years - 2 * cmath.log((1 - g * decay) / (1 - g)))
        function = cmath.exp(c + p.v0 / p.xi**2 * (b - d) * (1 - decay) / (1 - g * decay))
        moneyness = math.log(forward / strike)
        return (cmath.exp(1j * u * moneyness) * function).real / (u * u + 0.25)

    integral = scipy.integrate.quad(integrand, 0, np.inf, limit=400, epsabs=1e-9)[0]
    return float(forward - math.sqrt(forward * strike) / math.pi * integral)


def test_the_reference_is_black_scholes_where_the_variance_is_constant() -> None:
    p = Heston(mu=0.03, v0=0.04, theta=0.04, xi=1e-4, kappa=1.0, rho=0.0)
    forward, deviation = 100 * math.exp(0.03 * 2), 0.2 * math.sqrt(2)
    for strike in (80.0, 100.0, 130.0):
        d1 = math.log(forward / strike) / deviation + deviation / 2
        normal = scipy.stats.norm.cdf
        black = forward * normal(d1) - strike * normal(d1 - deviation)
        assert call_price(p, strike, 2.0) == pytest.approx(black, abs=1e-6)


@every_market
@pytest.mark.parametrize("steps", [1, 32])
def test_the_variance_has_the_moments_of_its_process(p: Heston, steps: int) -> None:
    """However it is stepped. The standard error of a variance is that of the mean squared deviation."""
    found = after_a_year(p, steps)[1]
    mean, spread = cir_moments(p, 1.0)
    assert found.mean() == pytest.approx(mean, abs=4 * math.sqrt(spread / len(found)))
    squares = (found - mean) ** 2
    assert squares.mean() == pytest.approx(spread, abs=4 * squares.std() / math.sqrt(len(found)))
    assert found.min() >= 0


@every_market
def test_on_ticks_the_variance_has_the_moments_of_its_process(p: Heston) -> None:
    """Steps of 200 ms, in a process so fast that they matter: 30 million times a year's."""
    fast = Heston(v0=p.v0, kappa=p.kappa * 3e7, theta=p.theta, xi=p.xi * math.sqrt(3e7), rho=p.rho)
    model = make_model(fast, 5, "X")
    model.steps(np.full(400_000, 0.2))
    found = model.levels()
    assert found is not None
    v = (found / 100) ** 2
    mean, spread = cir_moments(fast, 1.0)
    seconds = 2 * YEAR / fast.kappa  # of v one independent sample in this time
    samples = 400_000 * 0.2 / seconds
    assert v.mean() == pytest.approx(mean, abs=4 * math.sqrt(spread / samples))
    squares = (v - mean) ** 2
    assert squares.mean() == pytest.approx(spread, abs=4 * squares.std() / math.sqrt(samples / 2))


@every_market
def test_prices_are_a_martingale_and_options_cost_what_the_integral_says(p: Heston) -> None:
    prices, _ = after_a_year(p, 32)
    forward = p.P0 * math.exp(p.mu)
    assert prices.mean() == pytest.approx(forward, abs=3 * prices.std() / math.sqrt(PATHS))
    for strike in (80.0, 100.0, 120.0):
        payoffs = np.maximum(prices - strike, 0)
        error = payoffs.std() / math.sqrt(PATHS)
        assert payoffs.mean() == pytest.approx(call_price(p, strike, 1.0), abs=3 * error)


QUICK = [
    Heston(v0=0.5, theta=0.5, kappa=20.0, xi=1.0, rho=-0.9),
    Heston(v0=0.5, theta=0.5, kappa=20.0, xi=1.0, rho=0.9),
]


@pytest.mark.parametrize("p", [*MARKETS, *QUICK])
def test_the_correction_makes_one_long_step_a_martingale(p: Heston) -> None:
    """Without it, the mean price of the quick ones would be off by a third after this step of a year."""
    prices, _ = after_a_year(p, 1)
    error = prices.std() / math.sqrt(len(prices))
    assert prices.mean() == pytest.approx(p.P0 * math.exp(p.mu), abs=4 * error)


def test_a_step_too_long_for_the_correction_has_a_price() -> None:
    p = Heston(rho=0.99, xi=20.0, kappa=0.1, v0=1.0, theta=1.0)
    prices = make_model(p, 5, "X").steps(np.full(20, 5 * YEAR))
    assert not np.isnan(prices).any()


def test_returns_fall_when_the_variance_rises() -> None:
    p = Heston(rho=-0.7)
    model = make_model(p, 5, "X")
    gains = np.diff(np.log(model.steps(np.full(40_000, 60.0))))
    found = model.levels()
    assert found is not None
    moves = np.diff(found**2)
    assert np.corrcoef(gains, moves)[0, 1] == pytest.approx(-0.7, abs=4 * (1 - 0.49) / math.sqrt(40_000))


def test_the_level_is_the_volatility_in_percent_and_never_0() -> None:
    model = make_model(Heston(v0=0.09), 5, "X")
    model.steps(np.full(10, 0.2))
    found = model.levels()
    assert found is not None
    assert found == pytest.approx(30, abs=0.1)
    model = make_model(Heston(v0=0.0, theta=0.001, kappa=0.1, xi=3.0), 5, "X")
    model.steps(np.full(100, YEAR / 12))
    low = model.levels()
    assert low is not None
    assert low.min() == 0.01
