"""The best of many tries: how good it would look by chance alone.

    deflated_sharpe(returns, trials)     # the probability that the best's true Sharpe ratio is above 0

Sharpe ratios here are per period (one return), not a year's. Source of all formulas: Bailey and López de
Prado, The Deflated Sharpe Ratio, J. of Portfolio Management 40 (2014).
"""

from math import e, sqrt
from statistics import NormalDist, variance
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from trading_lib.measure import NO_SPREAD, Floats, Metric, Undefined

EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


class Moments(NamedTuple):
    """Sums of the powers of returns: those of several samples add up to those of all of them."""

    n: int
    s1: float
    s2: float
    s3: float
    s4: float

    @classmethod
    def of(cls, returns: ArrayLike) -> Self:
        """Of an array of returns, float64[n]."""
        r: Floats = np.asarray(returns, np.float64)
        return cls(len(r), *(float((r**k).sum()) for k in (1, 2, 3, 4)))

    def __add__(self, other: object) -> Self:
        if not isinstance(other, Moments):
            return NotImplemented
        return type(self)(self.n + other.n, *(a + b for a, b in zip(self[1:], other[1:], strict=True)))

    @property
    def mean(self) -> float:
        """Of at least one return."""
        return self.s1 / self.n

    def central(self) -> tuple[float, float, float]:
        """The second, third and fourth central moment: means over all n."""
        m, (m2, m3, m4) = self.mean, (s / self.n for s in (self.s2, self.s3, self.s4))
        spread = m2 - m * m
        return (
            spread if spread > NO_SPREAD * m2 else 0.0,  # what sums of powers can tell from 0
            m3 - 3 * m * m2 + 2 * m**3,
            max(0.0, m4 - 4 * m * m3 + 6 * m * m * m2 - 3 * m**4),
        )

    @property
    def ratio(self) -> float:
        """The Sharpe ratio per period: mean / s, s with ddof 1. Raises Undefined as `metrics.sharpe`."""
        if self.n < 2:
            raise Undefined("fewer than 3 points")
        spread = sqrt(self.central()[0] * self.n / (self.n - 1))
        if not spread > NO_SPREAD:
            raise Undefined("returns that do not vary")
        return self.mean / spread


def expected_best(trials: ArrayLike) -> float:
    """The Sharpe ratio per period that the best of N tries without any skill is expected to show.

    √V·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))), V the variance (ddof 1) of the N ratios that were found, γ
    Euler's constant; 0 for a single try. The tries count as independent: neighbours in a grid are not, so that
    this is the strict side.
    """
    found = [float(ratio) for ratio in np.asarray(trials, np.float64)]
    n = len(found)
    if n < 2:
        return 0.0
    best = (1 - EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / n)
    best += EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (n * e))
    return sqrt(variance(found)) * best


def _deflated(sample: Moments, trials: ArrayLike) -> float:
    ratio, (m2, m3, m4) = sample.ratio, sample.central()
    skew, kurtosis = m3 / m2**1.5, m4 / m2**2
    spread = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio * ratio
    if not spread > 0:
        raise Undefined("the error of the ratio has no estimate")
    return _NORMAL.cdf((ratio - expected_best(trials)) * sqrt(sample.n - 1) / sqrt(spread))


@Metric
def deflated_sharpe(returns: ArrayLike, trials: ArrayLike) -> float:
    """Φ((SR − SR₀)·√(n − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)): the probability of a true ratio above SR₀.

    SR is the ratio of the n `returns` (those of the best try), SR₀ `expected_best` of the `trials`, the ratios
    per period of all that were tried, the best among them; γ₃ skewness and γ₄ kurtosis (3 for a normal
    distribution) over all n. Undefined where SR is.
    """
    return _deflated(Moments.of(returns), trials)


@Metric
def deflated_sharpe_of(sample: Moments, trials: ArrayLike) -> float:
    """`deflated_sharpe` of returns of which only the moments are kept."""
    return _deflated(sample, trials)
