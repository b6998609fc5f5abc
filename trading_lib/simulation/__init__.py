"""Simulated markets: pure, seeded models of prices, and of when ticks arrive.

    model = make_model(OU(kappa=0.8, sigma=0.2), seed=42, symbol="AAPL")
    prices = model.steps(np.full(1000, 0.2))     # the price after each of the next 1000 steps of 0.2 s
    reverts_to = model.levels()                  # what AAPL.MODEL shows beside them
    model.change(theta=0.05)                     # from the next step on

| type | parameters | unit of rates | X.MODEL |
|---|---|---|---|
| `ou` | `OU` | per second | theta as a price: what X reverts to (while mu is 0) |
| `gbm` | `GBM` | per year | |
| `jump` | `Jump` | per year | |
| `regime` | `Regime` | per year; holding times in seconds | number of the regime, from 1 |
| `heston` | `Heston` | per year | volatility in percent |

A year is 365 days of 24 hours ("calendar") or 252 sessions of 6.5 hours ("sessions"). One step of any length has
the exact distribution (Heston: that of the quadratic-exponential scheme). Prices are not rounded to ticks.

Chance comes from generators named by seed, purpose and symbol, so that symbols do not disturb one another. The
k-th step draws the k-th innovation, whatever its length; jumps and regimes come at instants of their own. So
another schedule or other parameters change values, never what is drawn, and where one call of `steps` ends
and the next begins changes nothing.
"""

from trading_lib.simulation.arrivals import Arrivals, fixed, poisson
from trading_lib.simulation.generators import named_generator
from trading_lib.simulation.making import make_model, make_models
from trading_lib.simulation.model import Model, State
from trading_lib.simulation.parameters import (
    GBM,
    OU,
    TYPES,
    YEAR_S,
    Heston,
    Jump,
    MarketRegime,
    Parameters,
    Regime,
)

__all__ = [
    "Arrivals",
    "fixed",
    "poisson",
    "named_generator",
    "make_model",
    "make_models",
    "Model",
    "State",
    "Parameters",
    "OU",
    "GBM",
    "Jump",
    "Regime",
    "MarketRegime",
    "Heston",
    "TYPES",
    "YEAR_S",
]
