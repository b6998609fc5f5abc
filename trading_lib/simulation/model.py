"""What a model of prices is, and what all of ours share.

A model's state lives in `value`, a few floats, and in its sources of chance. `steps` advances it one step
after the other: where one call ends and the next begins never changes a value.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from trading_lib.simulation.generators import Floats
from trading_lib.simulation.parameters import Parameters

P = TypeVar("P", bound=Parameters)
EMPTY: Final = np.empty(0)


class State(NamedTuple):
    """All that a model's future depends on."""

    parameters: Parameters
    value: tuple[float, ...]
    chance: tuple[Any, ...]


class Model(Protocol):
    """The price of one symbol, step by step."""

    def steps(self, dt_s: Floats) -> Floats:
        """The price after each of the next n steps of `dt_s` seconds (not negative), both of shape (n,).

        inf, or 0, where a price is beyond a double. Before any step it is the parameters' P0 (OU: at x0).
        """

    def levels(self) -> Floats | None:
        """What X.MODEL shows after each of the last call's steps, shape (n,) and above 0; None: nothing."""

    def change(self, **parameters: object) -> None:
        """Other parameters from the next step on; state and innovations go on.

        Raises ValueError, and changes nothing, for those that cannot be meant or only say how to start.
        """

    def state(self) -> State:
        """A cheap copy of where it stands."""

    def restore(self, state: State) -> None:
        """Back to a `state` of this model, parameters included."""


class Source(Protocol):
    """Where chance comes from."""

    def state(self) -> Any:
        """Where it stands."""

    def restore(self, state: Any) -> None:
        """Back to there."""


class BaseModel(ABC, Generic[P]):
    """Parameters, a state of floats, sources of chance: and how to keep and change them."""

    def __init__(self, parameters: P, value: tuple[float, ...], sources: Sequence[Source]) -> None:
        self._parameters = parameters
        self._value = value
        self._sources = tuple(sources)
        self._levels: Floats | None = None

    @abstractmethod
    def steps(self, dt_s: Floats) -> Floats:
        """See Model."""

    def levels(self) -> Floats | None:
        """See Model."""
        return self._levels

    def change(self, **parameters: object) -> None:
        """See Model."""
        self._adopt(changed(self._parameters, parameters))

    def _adopt(self, parameters: P) -> None:
        self._parameters = parameters

    def state(self) -> State:
        """See Model."""
        return State(self._parameters, self._value, tuple(source.state() for source in self._sources))

    def restore(self, state: State) -> None:
        """See Model."""
        assert isinstance(state.parameters, type(self._parameters))
        self._parameters, self._value = state.parameters, state.value
        for source, earlier in zip(self._sources, state.chance, strict=True):
            source.restore(earlier)


class LogModel(BaseModel[P]):
    """A price P0 e^x whose logarithm makes a step of its own in each step; `value[0]` is x."""

    @abstractmethod
    def _increments(self, dt_s: Floats) -> Floats:
        """What x gains in each of the next n steps, shape (n,)."""

    def steps(self, dt_s: Floats) -> Floats:
        """See Model."""
        gains = self._increments(dt_s)
        path = np.add.accumulate(
            np.concatenate(([self._value[0]], gains))
        )  # one after the other, not pairwise
        self._value = (float(path[-1]), *self._value[1:])
        return exponential_price(self._parameters.P0, path[1:])


def exponential_price(first: float, path: Floats) -> Floats:
    """first e^path, shape of `path`; inf or 0 where a double ends."""
    with np.errstate(over="ignore", under="ignore"):
        prices: Floats = first * np.exp(path)
    return prices


def changed(parameters: P, changes: dict[str, object]) -> P:
    """`parameters` with some of them changed. Raises ValueError with every reason why not."""
    starting = sorted(parameters.STARTING & changes.keys() & set(parameters.__struct_fields__))
    if starting:
        raise ValueError("; ".join(f"{field}: says how to start, and it runs" for field in starting))
    unknown = changes.keys() - set(parameters.__struct_fields__)
    if unknown:
        known = [field for field in parameters.__struct_fields__ if field not in parameters.STARTING]
        raise ValueError(f"no parameter {min(unknown)!r}, only {', '.join(known)}")
    fields = msgspec.to_builtins(parameters) | msgspec.to_builtins(changes)
    try:
        new = msgspec.convert(fields, type(parameters))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    faults = new.check()
    if faults:
        raise ValueError("; ".join(faults))
    return new
