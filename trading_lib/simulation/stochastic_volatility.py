"""Heston's stochastic volatility, by Andersen's quadratic-exponential scheme with martingale correction."""

from typing import Final, NamedTuple

import numpy as np

from trading_lib.simulation.generators import Exponentials, Floats, Normals
from trading_lib.simulation.model import EMPTY, LogModel
from trading_lib.simulation.parameters import YEAR_S, Heston
from trading_lib.simulation.paths import variance_path
from trading_lib.simulation.recursions import CERTAIN, SWITCH

LOWEST_LEVEL: Final = 0.01  # percent: what a variance of 0 is shown as, since a published level is above 0


class Moments(NamedTuple):
    """Of the next variance, given v: its mean is `kept` v + `pulls`, its variance `linears` v + `constants`."""

    kept: Floats
    pulls: Floats
    linears: Floats
    constants: Floats


class HestonModel(LogModel[Heston]):
    """dS = mu S dt + sqrt(v) S dW, dv = kappa (theta - v) dt + xi sqrt(v) dZ; `value` is ln(S / P0) and v.

    The normals drive what of W is independent of Z. The discretised price, discounted by mu, is a martingale.
    Source: Andersen, Simple and efficient simulation of the Heston stochastic volatility model, J. of
    Computational Finance 11 (2008), sections 3.2 and 4, with gamma1 = gamma2 = 1/2.
    """

    def __init__(
        self, parameters: Heston, normals: Normals, shocks: Normals, exponentials: Exponentials
    ) -> None:
        super().__init__(parameters, (0.0, parameters.v0), [normals, shocks, exponentials])
        self._normals, self._shocks, self._exponentials = normals, shocks, exponentials
        self.steps(EMPTY)  # compiles what will be needed

    def _increments(self, dt_s: Floats) -> Floats:
        p = self._parameters
        count = dt_s.shape[0]
        years = dt_s / YEAR_S[p.year]
        moments = variance_moments(p, years)
        logs = -self._exponentials.take(count)  # ln(1 - U) of a uniform U
        after = variance_path([*moments, self._shocks.take(count), logs], self._value[1])
        before = np.concatenate(([self._value[1]], after))[:count]
        if count:
            self._value = (self._value[0], float(after[-1]))
        self._levels = np.maximum(100 * np.sqrt(after), LOWEST_LEVEL)

        tilt = years / 2 * (p.kappa * p.rho / p.xi - 0.5)
        k1, k2 = tilt - p.rho / p.xi, tilt + p.rho / p.xi
        k3 = years / 2 * (1 - p.rho**2)  # and k4 the same
        k0 = _correction(p, years, moments, before, k1 + k3 / 2, k2 + k3 / 2)
        noise = np.sqrt(k3 * (before + after)) * self._normals.take(count)
        gains: Floats = p.mu * years + k0 + k1 * before + k2 * after + noise
        return gains


def variance_moments(p: Heston, years: Floats) -> Moments:
    """Mean and variance of the variance after each of n stretches of `years`: exact, those of the CIR process."""
    kept, lost = np.exp(-p.kappa * years), -np.expm1(-p.kappa * years)
    linears = p.xi**2 / p.kappa * kept * lost
    return Moments(kept, p.theta * lost, linears, p.theta * p.xi**2 / (2 * p.kappa) * lost**2)


def _correction(
    p: Heston, years: Floats, moments: Moments, v: Floats, linear: Floats, tilt: Floats
) -> Floats:
    """Andersen's K0*, shape (n,): with it E[e^gain] = 1 in every step, whatever v is (his proposition 9).

    It is -ln E[e^(A v')] - linear v, with A = `tilt` and v' the variance after the step. Where the expectation
    does not exist (rho > 0 and very long steps) it is his plain K0.
    """
    mean = moments.kept * v + moments.pulls
    spread = moments.linears * v + moments.constants
    plain = -p.rho * p.kappa * p.theta / p.xi * years
    with np.errstate(all="ignore"):  # every branch for every step; only the right one is chosen
        psi = spread / mean**2
        inverse = 2 / psi
        b2 = inverse - 1 + np.sqrt(inverse * (inverse - 1))
        shrunk = tilt * mean / (1 + b2)
        quadratic = b2 * shrunk / (1 - 2 * shrunk) - np.log1p(-2 * shrunk) / 2
        beta = 2 / (mean * (psi + 1))
        exponential = np.log((psi - 1) / (psi + 1) + 2 / (psi + 1) * beta / (beta - tilt))
    certain = spread <= CERTAIN * mean**2
    quadratically = spread <= SWITCH * mean**2
    exists = np.where(quadratically, 2 * shrunk < 1, tilt < beta)
    log_expected = np.where(certain, tilt * mean, np.where(quadratically, quadratic, exponential))
    return np.where(certain | exists, -log_expected - linear * v, plain)
