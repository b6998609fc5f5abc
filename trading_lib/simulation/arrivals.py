"""When ticks arrive: the gaps between them, in ns of event time.

poisson(150_000_000, named_generator(42, "arrivals")).take(1000)     # int64[1000], 150 ms on average
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Gaps = NDArray[np.int64]

LONGEST_MEAN_NS: Final = (
    2**56
)  # 2.3 years; an exponential is hardly ever 50 times its mean, so gaps fit an int64


class Arrivals(Protocol):
    """A source of gaps. Where one `take` ends and the next begins never changes them."""

    def take(self, n: int) -> Gaps:
        """The next n gaps in ns, each at least 1, shape (n,)."""

    def state(self) -> object:
        """Where it stands, for `restore`."""

    def restore(self, state: Any) -> None:
        """Back to a `state` of this source."""


class _Fixed:
    def __init__(self, dt_ns: int) -> None:
        self._dt_ns = dt_ns

    def take(self, n: int) -> Gaps:
        return np.full(n, self._dt_ns, np.int64)

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        """There is nothing to go back to."""


class _Poisson:
    def __init__(self, mean_ns: int, generator: np.random.Generator) -> None:
        self._mean_ns, self._generator = mean_ns, generator

    def take(self, n: int) -> Gaps:
        gaps = np.rint(self._generator.standard_exponential(n) * self._mean_ns)
        return np.maximum(gaps, 1).astype(np.int64)

    def state(self) -> Any:
        return self._generator.bit_generator.state

    def restore(self, state: Any) -> None:
        self._generator.bit_generator.state = state


def fixed(dt_ns: int) -> Arrivals:
    """Every `dt_ns`. Raises ValueError below 1."""
    if dt_ns < 1:
        raise ValueError(f"the time between two ticks must be at least 1 ns, not {dt_ns!r}")
    return _Fixed(dt_ns)


def poisson(mean_ns: int, generator: np.random.Generator) -> Arrivals:
    """A Poisson process: exponential gaps, `mean_ns` on average, rounded to ns.

    Another mean over the same generator stretches the same draws. Raises ValueError for a mean outside
    [1, LONGEST_MEAN_NS].
    """
    if not 1 <= mean_ns <= LONGEST_MEAN_NS:
        raise ValueError(
            f"the mean time between two ticks must be 1 to {LONGEST_MEAN_NS} ns, not {mean_ns!r}"
        )
    return _Poisson(mean_ns, generator)
