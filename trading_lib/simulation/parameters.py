"""The parameters of each model: frozen, with defaults, and checked by value.

    OU(kappa=0.8, theta=0.0, sigma=0.2).check()       # []: nothing to object to
    GBM(sigma=-1.0).check()                           # ["sigma: must be at least 0, not -1.0"]

`TYPES` has them by the name that a configuration uses. `labels` are the series published beside a price:
`("MODEL",)` is `AAPL.MODEL` beside `AAPL`.
"""

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Literal

import msgspec

YEAR_S: Final = {"calendar": 365 * 86_400.0, "sessions": 252 * 6.5 * 3600.0}  # seconds of a year
SHORTEST_HOLD_S: Final = 0.001  # of a regime: more switches than ticks could show would only cost time
MOST_JUMPS_PER_S: Final = 1000.0  # for the same reason
LARGEST: Final = 1e12  # of any number: squares, and products of some, must stay within a double
WIDEST_LOG: Final = 20.0  # a price 500 million times P0 is a mistake in the configuration

Year = Literal["calendar", "sessions"]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every model has: `P0` is the first price, before the first step.

    `labels` name the series published beside the price, `STARTING` the parameters that say where a model
    starts or in which units it counts: those cannot change while it runs.
    """

    labels: ClassVar[tuple[str, ...]] = ()
    STARTING: ClassVar[frozenset[str]] = frozenset({"P0", "x0", "v0", "price", "floor", "year"})

    P0: float = 100.0

    def check(self) -> list[str]:
        """What is wrong, `field: why` each; empty when nothing is."""
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        yield from _too_large(self)
        yield from self._above("P0", 0)

    def _above(self, field: str, low: float) -> Iterator[str]:
        value = getattr(self, field)
        if not low < value < math.inf:
            yield f"{field}: must be above {low:g}, not {value!r}"

    def _within(self, field: str, low: float, high: float = math.inf) -> Iterator[str]:
        value = getattr(self, field)
        if not (low <= value <= high and math.isfinite(value)):
            yield f"{field}: must be {_range(low, high)}, not {value!r}"

    def _one_of(self, field: str, names: Iterable[str]) -> Iterator[str]:
        value = getattr(self, field)
        if value not in names:
            yield f"{field}: must be one of {', '.join(names)}, not {value!r}"


def _too_large(numbers: msgspec.Struct, where: str = "") -> Iterator[str]:
    for field in numbers.__struct_fields__:
        value = getattr(numbers, field)
        if isinstance(value, float) and LARGEST < abs(value) < math.inf:
            yield f"{where}{field}: must be at most {LARGEST:g} in size, not {value!r}"


def _range(low: float, high: float) -> str:
    if low == -math.inf:
        return "finite"
    return f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"


class OU(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ornstein-Uhlenbeck: dX = (kappa (theta - X) + mu) dt + sigma dW, from x0.

    `kappa` per second, `sigma` per square root of a second, `mu` per second. The price is P0 e^X ("exp"), or
    P0 + X but never below `floor` ("add"); the state has no floor. X.MODEL is theta as a price.
    """

    labels: ClassVar[tuple[str, ...]] = ("MODEL",)

    kappa: float = 0.8
    theta: float = 0.0
    sigma: float = 0.2
    mu: float = 0.0
    x0: float = 0.0
    price: Literal["exp", "add"] = "exp"
    floor: float = 0.01

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        yield from self._one_of("price", ("exp", "add"))
        yield from self._within("kappa", 0)
        yield from self._within("sigma", 0)
        yield from self._within("mu", -math.inf)
        widest = WIDEST_LOG if self.price == "exp" else math.inf
        yield from self._within("theta", -widest, widest)
        yield from self._within("x0", -widest, widest)
        yield from self._above("floor", 0)
        if self.price == "add" and not self.floor <= self.P0:
            yield f"floor: must be at most P0 ({self.P0!r}), not {self.floor!r}"


class GBM(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Geometric Brownian motion: dS = mu S dt + sigma S dW. `mu` a year, `sigma` a square root of a year."""

    mu: float = 0.05
    sigma: float = 0.2
    year: Year = "calendar"

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        yield from self._within("mu", -math.inf)
        yield from self._within("sigma", 0)
        yield from self._one_of("year", YEAR_S)


class Jump(GBM, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merton's jump diffusion: a GBM whose logarithm jumps by a normal of `jump_mean` and `jump_sd`.

    `intensity` is jumps a year. The drift is lowered by what jumps add on average, so that E[S] grows
    with `mu`.
    """

    sigma: float = 0.15
    intensity: float = 500_000.0  # of a calendar year: one in about a minute
    jump_mean: float = 0.0
    jump_sd: float = 0.002

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        yield from self._within("intensity", 0, MOST_JUMPS_PER_S * YEAR_S.get(self.year, 0.0))
        yield from self._within("jump_mean", -WIDEST_LOG, WIDEST_LOG)
        yield from self._within("jump_sd", 0, WIDEST_LOG)


class MarketRegime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One regime: drift and volatility a year, and how many seconds it lasts on average."""

    mu: float
    sigma: float
    hold_s: float


CALM: Final = MarketRegime(mu=0.05, sigma=0.1, hold_s=60.0)
WILD: Final = MarketRegime(mu=-0.1, sigma=0.6, hold_s=20.0)


class Regime(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GBM whose drift and volatility switch between regimes; it begins in the first.

    A regime lasts an exponential time; then each of the others is equally likely. X.MODEL is the number of
    the regime, from 1.
    """

    labels: ClassVar[tuple[str, ...]] = ("MODEL",)

    regimes: tuple[MarketRegime, ...] = (CALM, WILD)
    year: Year = "calendar"

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        yield from self._one_of("year", YEAR_S)
        if len(self.regimes) < 2:
            yield f"regimes: must be at least 2, not {len(self.regimes)}"
        for number, regime in enumerate(self.regimes):
            where = f"regimes[{number}]"
            yield from _too_large(regime, f"{where}.")
            if not math.isfinite(regime.mu):
                yield f"{where}.mu: must be finite, not {regime.mu!r}"
            if not 0 <= regime.sigma < math.inf:
                yield f"{where}.sigma: must be at least 0, not {regime.sigma!r}"
            if not SHORTEST_HOLD_S <= regime.hold_s < math.inf:
                yield f"{where}.hold_s: must be at least {SHORTEST_HOLD_S:g}, not {regime.hold_s!r}"


class Heston(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Heston: dS = mu S dt + sqrt(v) S dW, dv = kappa (theta - v) dt + xi sqrt(v) dZ, corr(W, Z) = rho.

    All per year: v is a variance (0.04 is a volatility of 20 %). X.MODEL is the volatility in percent.
    """

    labels: ClassVar[tuple[str, ...]] = ("MODEL",)

    mu: float = 0.05
    v0: float = 0.04
    kappa: float = 2.0
    theta: float = 0.04
    xi: float = 0.3
    rho: float = -0.7
    year: Year = "calendar"

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        yield from self._within("mu", -math.inf)
        yield from self._within("v0", 0)
        for field in ("kappa", "theta", "xi"):
            yield from self._above(field, 0)
        yield from self._within("rho", -1, 1)
        yield from self._one_of("year", YEAR_S)


TYPES: Final[dict[str, type[Parameters]]] = {
    "ou": OU,
    "vasicek": OU,
    "gbm": GBM,
    "jump": Jump,
    "regime": Regime,
    "heston": Heston,
}
