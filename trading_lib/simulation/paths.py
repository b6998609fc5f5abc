"""Paths of a recursion: the compiled loop where there is one, the same loop over lists where not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from trading_lib.jit import compiled
from trading_lib.simulation import recursions
from trading_lib.simulation.generators import Floats


def linear_path(factors: Floats, terms: Floats, value: float) -> Floats:
    """x[k] = factors[k] x[k-1] + terms[k] from x[-1] = `value`; all of shape (n,)."""
    if compiled():
        from trading_lib.simulation import recursion_kernels

        return _path(recursion_kernels.linear, [factors, terms], value)
    return _listed(recursions.linear, [factors, terms], value)


def variance_path(columns: list[Floats], value: float) -> Floats:
    """The path of `recursions.variance`, shape (n,); `columns` are its six arrays, in its order."""
    if compiled():
        from trading_lib.simulation import recursion_kernels

        return _path(recursion_kernels.variance, columns, value)
    return _listed(recursions.variance, columns, value)


def _path(loop: Callable[..., None], columns: list[Floats], value: float) -> Floats:
    path = np.empty(columns[0].shape[0])
    loop(*(np.ascontiguousarray(column) for column in columns), value, path)
    return path


def _listed(loop: Callable[..., None], columns: list[Floats], value: float) -> Floats:
    path: list[Any] = [0.0] * columns[0].shape[0]  # a list's floats are ten times as quick as an array's
    loop(*(column.tolist() for column in columns), value, path)
    return np.array(path, np.float64)
