"""Geometric Brownian motion, alone and with jumps."""

import math

import numpy as np

from trading_lib.simulation.generators import Floats, Normals
from trading_lib.simulation.model import LogModel
from trading_lib.simulation.occurrences import Occurrences
from trading_lib.simulation.parameters import GBM, YEAR_S, Jump


class GeometricBrownian(LogModel[GBM]):
    """dS = mu S dt + sigma S dW: in D years ln S gains a normal of mean (mu - sigma^2/2) D, variance sigma^2 D."""

    def __init__(self, parameters: GBM, normals: Normals) -> None:
        super().__init__(parameters, (0.0,), [normals])
        self._normals = normals

    def _increments(self, dt_s: Floats) -> Floats:
        p = self._parameters
        return brownian_increments(p.mu, p.sigma, dt_s / YEAR_S[p.year], self._normals)


class JumpDiffusion(LogModel[Jump]):
    """Merton's: a GBM, and jumps of ln S by normals, at the instants of a Poisson process.

    The drift is mu - intensity (e^(m + s^2/2) - 1), m and s the jumps' mean and deviation. Source: Merton, Option
    pricing when underlying stock returns are discontinuous, J. of Financial Economics 3 (1976).
    """

    def __init__(
        self, parameters: Jump, normals: Normals, sizes: Normals, waits: np.random.Generator
    ) -> None:
        self._times = Occurrences(waits, _per_second(parameters))
        super().__init__(parameters, (0.0,), [normals, sizes, self._times])
        self._normals, self._sizes = normals, sizes

    def _increments(self, dt_s: Floats) -> Floats:
        p = self._parameters
        gained_by_jumps = p.intensity * math.expm1(p.jump_mean + p.jump_sd**2 / 2)
        years = dt_s / YEAR_S[p.year]
        diffusion = brownian_increments(p.mu - gained_by_jumps, p.sigma, years, self._normals)
        return diffusion + self._jumps(dt_s)

    def _jumps(self, dt_s: Floats) -> Floats:
        """The sum of the jumps in each step, shape (n,)."""
        p = self._parameters
        ends = self._times.ends(dt_s)
        rate = _per_second(p)
        instants = []
        while self._times.pending:
            instants.append(self._times.take(rate))
        sizes = p.jump_mean + p.jump_sd * self._sizes.take(len(instants))
        steps = np.searchsorted(ends, np.array(instants, np.int64))
        sums: Floats = np.bincount(steps, sizes, ends.shape[0]).astype(np.float64)  # of none, they are int64
        return sums

    def _adopt(self, parameters: Jump) -> None:
        super()._adopt(parameters)
        self._times.retime(_per_second(parameters))


def brownian_increments(mu: float, sigma: float, years: Floats, normals: Normals) -> Floats:
    """What ln S gains over each of n stretches of `years`, shape (n,)."""
    drift = (mu - sigma**2 / 2) * years
    gains: Floats = drift + sigma * np.sqrt(years) * normals.take(years.shape[0])
    return gains


def _per_second(parameters: Jump) -> float:
    return parameters.intensity / YEAR_S[parameters.year]
