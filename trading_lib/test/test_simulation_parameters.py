"""Parameters: their defaults can be used, and what cannot be meant is named."""

import math

import msgspec
import pytest

from trading_lib.simulation import GBM, OU, TYPES, YEAR_S, Heston, Jump, MarketRegime, Parameters, Regime
from trading_lib.simulation.parameters import CALM


@pytest.mark.parametrize("name", TYPES)
def test_defaults_are_accepted_and_can_be_written_and_read(name: str) -> None:
    parameters = TYPES[name]()
    assert parameters.check() == []
    assert msgspec.json.decode(msgspec.json.encode(parameters), type=TYPES[name]) == parameters


def test_the_years_are_365_days_or_252_sessions() -> None:
    assert YEAR_S == {"calendar": 31_536_000.0, "sessions": 5_896_800.0}


@pytest.mark.parametrize("name", TYPES)
def test_a_misspelt_parameter_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="kapa"):
        msgspec.convert({"kapa": 1.0}, TYPES[name])


@pytest.mark.parametrize(
    ("parameters", "faults"),
    [
        (OU(P0=0.0), ["P0: must be above 0, not 0.0"]),
        (
            OU(kappa=-1.0, sigma=-2.0),
            ["kappa: must be at least 0, not -1.0", "sigma: must be at least 0, not -2.0"],
        ),
        (OU(mu=math.nan), ["mu: must be finite, not nan"]),
        (OU(theta=21.0), ["theta: must be -20 to 20, not 21.0"]),
        (OU(theta=21.0, price="add"), []),
        (OU(theta=math.inf, price="add"), ["theta: must be finite, not inf"]),
        (OU(price="add", P0=0.001), ["floor: must be at most P0 (0.001), not 0.01"]),
        (OU(floor=0.0), ["floor: must be above 0, not 0.0"]),
        (OU(price="log"), ["price: must be one of exp, add, not 'log'"]),  # type: ignore[arg-type]
        (GBM(sigma=1e200), ["sigma: must be at most 1e+12 in size, not 1e+200"]),
        (
            Regime(regimes=(CALM, MarketRegime(mu=-1e13, sigma=0.1, hold_s=60.0))),
            ["regimes[1].mu: must be at most 1e+12 in size, not -10000000000000.0"],
        ),
        (GBM(sigma=math.inf), ["sigma: must be at least 0, not inf"]),
        (GBM(year="leap"), ["year: must be one of calendar, sessions, not 'leap'"]),  # type: ignore[arg-type]
        (
            Jump(intensity=-1.0, jump_sd=-1.0),
            ["intensity: must be 0 to 3.1536e+10, not -1.0", "jump_sd: must be 0 to 20, not -1.0"],
        ),
        (Jump(jump_mean=-21.0), ["jump_mean: must be -20 to 20, not -21.0"]),
        (Regime(regimes=()), ["regimes: must be at least 2, not 0"]),
        (
            Regime(
                regimes=(
                    MarketRegime(mu=0.0, sigma=-1.0, hold_s=1.0),
                    MarketRegime(mu=math.inf, sigma=1.0, hold_s=0.0),
                )
            ),
            [
                "regimes[0].sigma: must be at least 0, not -1.0",
                "regimes[1].mu: must be finite, not inf",
                "regimes[1].hold_s: must be at least 0.001, not 0.0",
            ],
        ),
        (
            Heston(kappa=0.0, theta=0.0, xi=0.0),
            [f"{name}: must be above 0, not 0.0" for name in ("kappa", "theta", "xi")],
        ),
        (Heston(rho=-1.1, v0=-0.1), ["v0: must be at least 0, not -0.1", "rho: must be -1 to 1, not -1.1"]),
    ],
)
def test_every_fault_is_named_with_its_value(parameters: Parameters, faults: list[str]) -> None:
    assert parameters.check() == faults
