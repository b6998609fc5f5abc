"""Ornstein-Uhlenbeck by its exact step: no time step is too long."""

import math

import numpy as np

from trading_lib.simulation.generators import Floats, Normals
from trading_lib.simulation.model import EMPTY, BaseModel, exponential_price
from trading_lib.simulation.parameters import OU
from trading_lib.simulation.paths import linear_path


class OrnsteinUhlenbeck(BaseModel[OU]):
    """dX = (kappa (theta - X) + mu) dt + sigma dW; `value[0]` is X.

    After D seconds X is normal, with the mean X e^(-kappa D) + (kappa theta + mu) h and the variance
    sigma^2 h2, where h = (1 - e^(-kappa D)) / kappa and h2 the same for 2 kappa; both are D at kappa = 0.
    Source: Gillespie, Exact numerical simulation of the Ornstein-Uhlenbeck process, Phys. Rev. E 54 (1996).
    """

    def __init__(self, parameters: OU, normals: Normals) -> None:
        super().__init__(parameters, (parameters.x0,), [normals])
        self._normals = normals
        self.steps(EMPTY)  # compiles what will be needed

    def steps(self, dt_s: Floats) -> Floats:
        """See Model."""
        p = self._parameters
        normals = self._normals.take(dt_s.shape[0])
        spacing = _common(dt_s)
        gain = (p.kappa * p.theta + p.mu) * _saturating(p.kappa, spacing)
        deviation = p.sigma * np.sqrt(_saturating(2 * p.kappa, spacing))
        factors = np.broadcast_to(np.exp(-p.kappa * spacing), dt_s.shape)
        path = linear_path(factors, gain + deviation * normals, self._value[0])
        if path.shape[0]:
            self._value = (float(path[-1]),)
        self._levels = np.full(path.shape, self._level())
        if p.price == "exp":
            return exponential_price(p.P0, path)
        return np.maximum(p.P0 + path, p.floor)

    def _level(self) -> float:
        p = self._parameters
        return p.P0 * math.exp(p.theta) if p.price == "exp" else max(p.P0 + p.theta, p.floor)


def _saturating(rate: float, dt_s: Floats) -> Floats:
    """(1 - e^(-rate dt)) / rate, and its limit dt where rate dt is 0."""
    exponents = rate * dt_s
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = -np.expm1(-exponents) / exponents
    result: Floats = np.where(exponents == 0, 1.0, shares) * dt_s
    return result


def _common(dt_s: Floats) -> Floats:
    """One step of shape (1,) if all n are equal, for work that is done once then; else all of them."""
    return dt_s[:1] if (dt_s == dt_s[:1]).all() else dt_s
