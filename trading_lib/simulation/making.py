"""Models of symbols, from parameters and a seed."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from trading_lib.simulation.brownian import GeometricBrownian, JumpDiffusion
from trading_lib.simulation.generators import Exponentials, Floats, Normals, named_generator
from trading_lib.simulation.model import Model
from trading_lib.simulation.ornstein_uhlenbeck import OrnsteinUhlenbeck
from trading_lib.simulation.parameters import GBM, OU, Heston, Jump, Parameters, Regime
from trading_lib.simulation.regimes import RegimeSwitching
from trading_lib.simulation.stochastic_volatility import HestonModel

Named = Callable[[str], np.random.Generator]  # a generator of the symbol, by what it is for


def make_model(parameters: Parameters, seed: int, symbol: str) -> Model:
    """The model of one symbol: the same (seed, symbol) draws the same. Raises ValueError for bad parameters."""
    return make_models(parameters, [symbol], seed)[0]


def make_models(
    parameters: Parameters, symbols: Sequence[str], seed: int, correlation: ArrayLike | None = None
) -> list[Model]:
    """A model for each symbol, every one with its own state and its own copies of generators.

    `correlation`, shape (symbols, symbols), is of the price innovations: of the k-th steps of any two symbols
    (Heston: of what in them is independent of the variance). Symbol i mixes the normals named after the symbols
    up to i, by the row of the lower Cholesky factor: so one more symbol at the end changes none before
    it. Without it every symbol has its own. Raises ValueError for what cannot be meant.
    """
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"symbols: each once, not {', '.join(symbols)}")
    faults = parameters.check()
    if faults:
        raise ValueError("; ".join(faults))
    factor = None if correlation is None else _factor(correlation, len(symbols))
    models = []
    for row, symbol in enumerate(symbols):
        own = Normals.named(seed, "price", symbol)
        normals = own if factor is None else _mixed(seed, symbols, factor[row])
        models.append(_MAKERS[type(parameters)](parameters, normals, _names(seed, symbol)))
    return models


def _mixed(seed: int, symbols: Sequence[str], weights: Floats) -> Normals:
    pairs = [(symbol, weight) for symbol, weight in zip(symbols, weights.tolist(), strict=True) if weight]
    generators = [named_generator(seed, "price", symbol) for symbol, _ in pairs]
    return Normals(generators, [weight for _, weight in pairs])


def _factor(correlation: ArrayLike, count: int) -> Floats:
    """The lower Cholesky factor of a correlation matrix, shape (count, count)."""
    matrix = np.asarray(correlation, np.float64)
    if matrix.shape != (count, count):
        raise ValueError(f"correlation: must be {count} x {count}, one row a symbol, not {matrix.shape}")
    if not np.isfinite(matrix).all() or (matrix != matrix.T).any() or (matrix.diagonal() != 1).any():
        raise ValueError("correlation: must be symmetric, with 1 on the diagonal")
    try:
        factor: Floats = np.linalg.cholesky(matrix).astype(np.float64)
    except np.linalg.LinAlgError:
        raise ValueError("correlation: must be positive definite; no market has these") from None
    return factor


def _names(seed: int, symbol: str) -> Named:
    return lambda purpose: named_generator(seed, purpose, symbol)


def _jump(parameters: Jump, normals: Normals, named: Named) -> Model:
    return JumpDiffusion(parameters, normals, Normals([named("jump sizes")], [1.0]), named("jump times"))


def _regime(parameters: Regime, normals: Normals, named: Named) -> Model:
    return RegimeSwitching(parameters, normals, named("regime times"), named("regime choices"))


def _heston(parameters: Heston, normals: Normals, named: Named) -> Model:
    shocks, exponentials = Normals([named("variance")], [1.0]), Exponentials(named("variance jumps"))
    return HestonModel(parameters, normals, shocks, exponentials)


_MAKERS: Final[dict[type[Parameters], Callable[[Any, Normals, Named], Model]]] = {
    OU: lambda parameters, normals, _: OrnsteinUhlenbeck(parameters, normals),
    GBM: lambda parameters, normals, _: GeometricBrownian(parameters, normals),
    Jump: _jump,
    Regime: _regime,
    Heston: _heston,
}
