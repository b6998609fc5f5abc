"""The loops that cannot be vectorised, because each step needs the one before.

Written once: `recursion_kernels` compiles them. Without Numba they run as they stand, on lists, and give
the same bits (only + - x / sqrt, and the C library's log).
"""

import math
from typing import Any, Final

CERTAIN: Final = 2.0**-106  # a relative variance whose deviation is less than a double's last bit
SWITCH: Final = 1.5  # of psi; Andersen: any value from 1 to 2


def linear(factors: Any, terms: Any, value: float, path: Any) -> None:
    """path[k] = factors[k] x (path[k-1], at first `value`) + terms[k]. All of length n."""
    for k in range(len(path)):
        value = factors[k] * value + terms[k]
        path[k] = value


def variance(
    kept: Any, pulls: Any, linears: Any, constants: Any, normals: Any, logs: Any, value: float, path: Any
) -> None:
    """Heston's variance by the quadratic-exponential scheme, after each of n steps. All of length n.

    Given v, the next one has the mean m = kept v + pulls and the variance s2 = linears v + constants. Where
    psi = s2 / m^2 is at most SWITCH it is a (b + normals[k])^2, else 0 with probability p, and otherwise
    exponential; `logs` are ln(1 - U) of uniforms. Source: Andersen, Simple and efficient simulation of the
    Heston stochastic volatility model, J. of Computational Finance 11 (2008), section 3.2.
    """
    for k in range(len(path)):
        mean = kept[k] * value + pulls[k]
        spread = linears[k] * value + constants[k]
        if spread <= CERTAIN * mean * mean:
            value = mean
        elif spread <= SWITCH * mean * mean:
            inverse = 2.0 * (mean * mean / spread)
            b2 = inverse - 1.0 + math.sqrt(inverse * (inverse - 1.0))
            root = math.sqrt(b2) + normals[k]
            value = mean / (1.0 + b2) * root * root
        else:
            psi = spread / (mean * mean)
            log_rest = math.log(2.0 / (psi + 1.0))  # ln(1 - p), p = (psi - 1) / (psi + 1)
            excess = log_rest - logs[k]
            value = excess * mean * (psi + 1.0) / 2.0 if excess > 0.0 else 0.0
        path[k] = value
