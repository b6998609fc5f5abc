"""Chance, by name: what one stream draws never changes what another one does.

    normals = Normals.named(seed=42, symbol="AAPL")
    normals.take(3)                        # the same three in every run with this seed

Every source here draws one number after the other, so that taking 5 and then 3 is taking 8; `state` and
`restore` go back to where it was.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GeneratorState = Mapping[str, Any]  # what NumPy calls the state of a bit generator


def named_generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each name: what one draws never changes what another one does."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.random.default_rng([seed, *(int.from_bytes(digest, "little") for digest in digests)])


class Normals:
    """Standard normals, mixed from independent generators: sum of weight x normal over all of them.

    The weights' squares add up to 1. Two sources over the same named generators are as correlated, draw by
    draw, as the scalar product of their weights.
    """

    def __init__(self, generators: Sequence[np.random.Generator], weights: Sequence[float]) -> None:
        self._mixed = list(zip(generators, weights, strict=True))

    @classmethod
    def named(cls, seed: int, *names: str) -> Self:
        """Those of one generator."""
        return cls([named_generator(seed, *names)], [1.0])

    def take(self, n: int) -> Floats:
        """The next n, shape (n,)."""
        total = np.zeros(n)
        for generator, weight in self._mixed:
            total += weight * generator.standard_normal(n)
        return total

    def state(self) -> tuple[GeneratorState, ...]:
        """Where each generator stands."""
        return tuple(generator.bit_generator.state for generator, _ in self._mixed)

    def restore(self, state: tuple[GeneratorState, ...]) -> None:
        """Back to a `state` of this source."""
        for (generator, _), earlier in zip(self._mixed, state, strict=True):
            generator.bit_generator.state = earlier


class Exponentials:
    """Unit exponentials of one generator."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def take(self, n: int) -> Floats:
        """The next n, shape (n,)."""
        return self._generator.standard_exponential(n)

    def state(self) -> GeneratorState:
        """Where it stands."""
        return self._generator.bit_generator.state

    def restore(self, state: GeneratorState) -> None:
        """Back to a `state` of this source."""
        self._generator.bit_generator.state = state
