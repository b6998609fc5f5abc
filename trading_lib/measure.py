"""What a measure of performance is: a value, or None and the reason why there is none."""

from collections.abc import Callable
from functools import update_wrapper
from math import isfinite
from typing import Final, Generic, NamedTuple, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
P = ParamSpec("P")

NO_SPREAD: Final = 64 * 2.0**-52  # a deviation of returns that rounding alone can make
LARGEST_RETURN: Final = 1e100  # squares of larger ones, summed, can leave the range of a float


class Undefined(ValueError):
    """A measure has no value here; the text says why."""


class Measure(NamedTuple):
    """A value, or None and the reason."""

    value: float | None
    why: str = ""


class Metric(Generic[P]):
    """A function that raises `Undefined`, as one that returns None; `explain` keeps the reason."""

    def __init__(self, function: Callable[P, float]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> float | None:
        return self.explain(*args, **kwargs).value

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Measure:
        """The value, or None and why."""
        try:
            value = float(self._function(*args, **kwargs))
        except Undefined as undefined:
            return Measure(None, str(undefined))
        return Measure(value) if isfinite(value) else Measure(None, "beyond the range of a float")


def series(times: ArrayLike, values: ArrayLike) -> tuple[Ints, Floats]:
    """Both as arrays. Raises ValueError when their lengths differ or time goes back, Undefined for NaN."""
    at, found = np.asarray(times, np.int64), np.asarray(values, np.float64)
    if at.shape != found.shape or at.ndim != 1:
        raise ValueError(f"{at.shape} times for {found.shape} values")
    if (np.diff(at) < 0).any():
        raise ValueError("times go back")
    if not np.isfinite(found).all():
        raise Undefined("a value that is not finite")
    return at, found
