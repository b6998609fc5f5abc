"""Events at random instants: at which of them, to the nanosecond, whatever the steps are."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trading_lib.simulation.generators import Floats, GeneratorState

Instants = NDArray[np.int64]  # ns on a clock

NS_PER_S: Final = 1e9
NEVER: Final = 2**63 - 1  # ns; the year 2262


class OccurrencesState(NamedTuple):
    """Where an `Occurrences` stands."""

    now: int
    since: int
    wait: float
    rate: float
    chance: GeneratorState


class Occurrences:
    """A clock from 0 ns, and the next event: a unit exponential `wait`, run down at `rate` per second.

    Since the wait is drawn before the rate is applied to it, another rate changes when the events come but
    never which waits are drawn.
    """

    def __init__(self, generator: np.random.Generator, rate: float) -> None:
        self._generator = generator
        self._now = self._since = 0
        self._rate = rate
        self._wait = generator.standard_exponential()

    def ends(self, dt_s: Floats) -> Instants:
        """Where on the clock each of the next steps ends, ns, shape (n,). The clock goes on to the last."""
        ends: Instants = self._now + np.cumsum(np.rint(dt_s * NS_PER_S).astype(np.int64))
        if ends.shape[0]:
            self._now = int(ends[-1])
        return ends

    @property
    def pending(self) -> bool:
        """Whether an event has come up to the clock."""
        return self._due() <= self._now

    def take(self, rate: float) -> int:
        """When the pending event came, ns; from it on events come at `rate`."""
        self._since, self._rate = self._due(), rate
        self._wait = self._generator.standard_exponential()
        return self._since

    def retime(self, rate: float) -> None:
        """From now on events come at `rate`; what has passed of the wait has passed."""
        self._wait -= (self._now - self._since) / NS_PER_S * self._rate
        self._since, self._rate = self._now, rate

    def _due(self) -> int:
        wait_ns = self._wait / self._rate * NS_PER_S if self._rate else math.inf
        return self._since + max(math.ceil(wait_ns), 1) if wait_ns < NEVER else NEVER

    def state(self) -> OccurrencesState:
        """Where it stands."""
        chance = self._generator.bit_generator.state
        return OccurrencesState(self._now, self._since, self._wait, self._rate, chance)

    def restore(self, state: OccurrencesState) -> None:
        """Back to a `state` of this one."""
        self._now, self._since, self._wait, self._rate, chance = state
        self._generator.bit_generator.state = chance
