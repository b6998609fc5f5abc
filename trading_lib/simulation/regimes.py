"""A GBM whose drift and volatility switch between regimes, at exact instants."""

import numpy as np
from numpy.typing import NDArray

from trading_lib.simulation.generators import Floats, GeneratorState, Normals
from trading_lib.simulation.model import LogModel
from trading_lib.simulation.occurrences import NS_PER_S, Instants, Occurrences
from trading_lib.simulation.parameters import YEAR_S, Regime


class Choices:
    """Uniform numbers that choose the next regime."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def other(self, current: int, count: int) -> int:
        """One of the numbers below `count` but `current`, each as likely."""
        choice = int(self._generator.random() * (count - 1))
        return choice + (choice >= current)

    def state(self) -> GeneratorState:
        """Where it stands."""
        return self._generator.bit_generator.state

    def restore(self, state: GeneratorState) -> None:
        """Back to a `state` of this one."""
        self._generator.bit_generator.state = state


class RegimeSwitching(LogModel[Regime]):
    """`value` is ln(S / P0) and the number of the regime, from 0.

    Given when the switches come, ln S gains in each step a normal whose mean and variance are the integrals of
    mu - sigma^2/2 and of sigma^2: exact also for steps with switches inside.
    """

    def __init__(
        self, parameters: Regime, normals: Normals, waits: np.random.Generator, choices: np.random.Generator
    ) -> None:
        self._switches = Occurrences(waits, 1 / parameters.regimes[0].hold_s)
        self._choices = Choices(choices)
        super().__init__(parameters, (0.0, 0), [normals, self._switches, self._choices])
        self._normals = normals

    def _increments(self, dt_s: Floats) -> Floats:
        ends = self._switches.ends(dt_s)
        instants, visited = self._visits()
        count = ends.shape[0]
        after = visited[np.searchsorted(instants, ends, side="right")]
        before = np.concatenate((visited[:1], after))[:count]
        steps = np.searchsorted(ends, instants)
        left_s = (ends[steps] - instants) / NS_PER_S
        self._levels = (after + 1).astype(np.float64)

        year = YEAR_S[self._parameters.year]
        sigmas2 = np.array([regime.sigma**2 for regime in self._parameters.regimes]) / year
        drifts = np.array([regime.mu for regime in self._parameters.regimes]) / year - sigmas2 / 2

        def integral(rates: Floats) -> Floats:
            """Of a regime's rate per second over each step: as if nothing switched, then what each switch changes."""
            changes = np.diff(rates[visited]) * left_s
            return rates[before] * dt_s + np.bincount(steps, changes, count)

        spread = np.sqrt(
            np.maximum(integral(sigmas2), 0.0)
        )  # a rounding below 0 where the last regime has none
        gains: Floats = integral(drifts) + spread * self._normals.take(count)
        return gains

    def _visits(self) -> tuple[Instants, NDArray[np.int64]]:
        """When it switches, up to the clock, shape (k,), and the regimes from the current one on, shape (k + 1,)."""
        regimes = self._parameters.regimes
        current = int(self._value[1])
        instants, visited = list[int](), [current]
        while self._switches.pending:
            current = self._choices.other(current, len(regimes))
            instants.append(self._switches.take(1 / regimes[current].hold_s))
            visited.append(current)
        self._value = (self._value[0], current)
        return np.array(instants, np.int64), np.array(visited, np.int64)

    def _adopt(self, parameters: Regime) -> None:
        if len(parameters.regimes) != len(self._parameters.regimes):
            raise ValueError("regimes: as many as there were, while it runs")
        super()._adopt(parameters)
        self._switches.retime(1 / parameters.regimes[int(self._value[1])].hold_s)
