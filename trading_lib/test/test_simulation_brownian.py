"""Geometric Brownian motion, its jumps and its correlations against closed forms. Bounds are 4 standard errors."""

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from trading_lib.simulation import GBM, YEAR_S, Jump, Parameters, make_model, make_models
from trading_lib.simulation.generators import Floats

N = 40_000
DAY_S = 86_400.0


def gains(p: Parameters, dt_s: float | Floats, n: int = N, seed: int = 7) -> Floats:
    """What ln S gains in each of n steps."""
    spacing = np.full(n, dt_s) if isinstance(dt_s, float) else dt_s
    return np.diff(np.log(make_model(p, seed, "X").steps(spacing) / p.P0), prepend=0.0)


@pytest.mark.parametrize("year", ["calendar", "sessions"])
@pytest.mark.parametrize(("mu", "sigma"), [(0.05, 0.2), (-3.0, 1.0), (20.0, 0.05)])
@pytest.mark.parametrize("dt_s", [0.2, 3600.0])
def test_gains_are_normals_of_the_closed_form(year: str, mu: float, sigma: float, dt_s: float) -> None:
    p = GBM(mu=mu, sigma=sigma, year=year)  # type: ignore[arg-type]
    years = dt_s / {"calendar": 31_536_000, "sessions": 5_896_800}[year]
    normals = (gains(p, dt_s, 20_000) - (mu - sigma**2 / 2) * years) / (sigma * math.sqrt(years))
    assert scipy.stats.kstest(normals, "norm").pvalue > 1e-4
    assert normals.mean() == pytest.approx(0, abs=4 / math.sqrt(20_000))
    assert normals.var() == pytest.approx(1, abs=4 * math.sqrt(2 / 20_000))


def test_the_mean_price_grows_with_mu() -> None:
    growth = np.exp(gains(GBM(mu=0.3, sigma=0.8), 30 * DAY_S))
    expected = math.exp(0.3 * 30 / 365)
    assert growth.mean() == pytest.approx(expected, abs=4 * growth.std() / math.sqrt(N))


@pytest.mark.parametrize(
    "p", [GBM(sigma=0.5), Jump(sigma=0.2, intensity=300.0, jump_mean=-0.02, jump_sd=0.05)]
)
def test_two_half_steps_are_one_step_in_distribution(p: Parameters) -> None:
    one, halves = gains(p, DAY_S), gains(p, DAY_S / 2, 2 * N, seed=8)
    assert scipy.stats.ks_2samp(one, halves[::2] + halves[1::2]).pvalue > 1e-4


def test_another_schedule_keeps_the_innovations() -> None:
    p = GBM(mu=0.0, sigma=0.2)
    slow, quick = gains(p, 4.0, 500), gains(p, 1.0, 500)
    drift = -(0.2**2) / 2 / YEAR_S["calendar"]
    np.testing.assert_allclose(slow - 4 * drift, 2 * (quick - drift), atol=1e-13)


JUMPS = [
    Jump(mu=0.1, sigma=0.2, intensity=50.0, jump_mean=-0.05, jump_sd=0.1),
    Jump(mu=0.0, sigma=0.0, intensity=1000.0, jump_mean=0.01, jump_sd=0.0),
    Jump(mu=0.0, sigma=0.4, intensity=5.0, jump_mean=0.0, jump_sd=0.3, year="sessions"),
    Jump(mu=0.5, sigma=0.3, intensity=0.0),
]


@pytest.mark.parametrize("p", JUMPS, ids=lambda p: f"{p.intensity:g} a year")
def test_cumulants_are_mertons(p: Jump) -> None:
    """Source: a compound Poisson sum has the cumulants intensity x E[J^k]; the diffusion adds to the first two."""
    years = DAY_S / YEAR_S[p.year]
    m, s2, rate = p.jump_mean, p.jump_sd**2, p.intensity
    raw = (m, m**2 + s2, m**3 + 3 * m * s2, m**4 + 6 * m**2 * s2 + 3 * s2**2)
    expected = [rate * moment * years for moment in raw]
    expected[0] += (p.mu - p.sigma**2 / 2 - rate * math.expm1(m + s2 / 2)) * years
    expected[1] += p.sigma**2 * years
    samples = gains(p, DAY_S, 60_000).reshape(60, 1000)
    for order, cumulant in enumerate(expected, 1):
        found = scipy.stats.kstat(samples, order, axis=1)
        assert found.mean() == pytest.approx(cumulant, abs=4 * found.std(ddof=1) / math.sqrt(60) + 1e-12)


@pytest.mark.parametrize("p", JUMPS, ids=lambda p: f"{p.intensity:g} a year")
def test_jumps_leave_the_growth_of_the_mean_price_alone(p: Jump) -> None:
    growth = np.exp(gains(p, DAY_S))
    expected = math.exp(p.mu * DAY_S / YEAR_S[p.year])
    assert growth.mean() == pytest.approx(expected, abs=4 * growth.std() / math.sqrt(N) + 1e-12)


def jumps_per_step(p: Jump, dt_s: Floats) -> NDArray[np.int64]:
    """How many jumps of 1 come in each step; nothing else moves."""
    drift = -p.intensity * math.expm1(1.0) * dt_s / YEAR_S[p.year]
    model = make_model(p, 5, "X")
    return np.rint(np.diff(np.log(model.steps(dt_s) / p.P0), prepend=0.0) - drift).astype(np.int64)


def test_jumps_come_as_a_poisson_process_at_instants_no_schedule_moves() -> None:
    """Jumps of 1 are counted; on any schedule the same number has come by the same time."""
    p = Jump(mu=0.0, sigma=0.0, intensity=0.1 * YEAR_S["calendar"], jump_mean=1.0, jump_sd=0.0)
    fine = jumps_per_step(p, np.full(2000, 0.5))
    coarse = jumps_per_step(p, np.full(100, 10.0))
    assert (fine.reshape(100, 20).sum(axis=1) == coarse).all()
    assert fine.sum() == pytest.approx(100, abs=4 * math.sqrt(100))
    assert coarse.var() == pytest.approx(1.0, abs=4 * math.sqrt(3 / 100))  # a Poisson's is its mean, here 1


def test_another_intensity_only_stretches_the_wait_for_the_same_jump() -> None:
    """A wait half over at one rate ends after the other half at the new one; none at 0."""
    slow = Jump(mu=0.0, sigma=0.0, intensity=0.001 * YEAR_S["calendar"], jump_mean=1.0, jump_sd=0.0)
    dt_s = np.full(200_000, 0.5)
    first, second = (np.flatnonzero(jumps_per_step(slow, dt_s))[:2] + 1) * 0.5
    model = make_model(slow, 5, "X")
    model.steps(np.array([first / 2]))
    model.change(intensity=0.0)
    assert np.ptp(model.steps(np.full(100, first))) == 0
    model.change(intensity=2 * slow.intensity)
    prices = np.log(model.steps(np.full(10_000, 0.5)))
    jumped = np.flatnonzero(np.diff(prices) > 0.5)[:2]
    instants = (jumped + 2) * 0.5
    assert instants == pytest.approx([first / 4, first / 4 + (second - first) / 2], abs=1.0)


def test_correlations_are_those_asked_for() -> None:
    matrix = np.array(
        [[1.0, 0.8, -0.3, 0.0], [0.8, 1.0, 0.1, 0.2], [-0.3, 0.1, 1.0, -0.4], [0.0, 0.2, -0.4, 1.0]]
    )
    models = make_models(GBM(sigma=0.3), ["A", "B", "C", "D"], 21, matrix)
    dt_s = np.full(N, 60.0)
    normals = np.diff(np.log([model.steps(dt_s) for model in models]), axis=1)
    error = (1 - matrix**2) / math.sqrt(N)
    assert (np.abs(np.corrcoef(normals) - matrix) <= 4 * error + 1e-12).all()


def test_without_correlation_symbols_are_independent() -> None:
    models = make_models(GBM(), [f"S{k}" for k in range(6)], 21)
    dt_s = np.full(N, 60.0)
    found = np.corrcoef(np.diff(np.log([model.steps(dt_s) for model in models]), axis=1))
    assert (np.abs(found - np.eye(6)) <= 4 / math.sqrt(N)).all()


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        ([[1.0]], "must be 2 x 2"),
        ([1.0, 0.0, 0.0, 1.0], "must be 2 x 2"),
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ([[1.0, 0.0], [0.0, 0.9]], "1 on the diagonal"),
        ([[1.0, math.nan], [math.nan, 1.0]], "symmetric"),
        ([[1.0, 1.1], [1.1, 1.0]], "positive definite"),
    ],
)
def test_a_matrix_that_is_no_correlation_is_refused(matrix: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=f"correlation: .*{why}"):
        make_models(GBM(), ["A", "B"], 1, matrix)
