"""Simulated markets as a provider: series, instants, whole ticks, and parameters that change while it runs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers import (
    Batch,
    Faults,
    Limit,
    NewsProvider,
    Passes,
    Provider,
    RandomWalkProvider,
    SimulatedProvider,
    TimeMarks,
)
from Gateway.providers.provider import concatenate, made, revised, take
from Gateway.providers.simulated import HISTORY
from trading_lib.models import Kind
from trading_lib.simulation import (
    GBM,
    OU,
    TYPES,
    Heston,
    Jump,
    MarketRegime,
    Parameters,
    Regime,
    make_model,
    named_generator,
    poisson,
)
from trading_lib.simulation.parameters import CALM as CALM_REGIME
from trading_lib.simulation.parameters import LARGEST

START = 1_735_828_200_000_000_000
CALM = OU(kappa=0.5, sigma=0.01)
EXAMPLES = settings(deadline=None, max_examples=60)


def market(
    parameters: Parameters = CALM, symbols: tuple[str, ...] = ("A", "B"), **more: Any
) -> SimulatedProvider:
    return SimulatedProvider(symbols, START, parameters, **{"seed": 7, **more})


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, column), getattr(other, column))
        for column in ("kinds", "symbols", "values", "times")
    )


# ------------------------------------------------------------------------------------------ series and instants


def test_what_a_model_shows_stands_beside_each_price() -> None:
    assert market().symbols == ("A", "A.MODEL", "B", "B.MODEL")
    assert market(GBM()).symbols == ("A", "B")
    assert market().read(8).symbols.tolist() == [0, 1, 2, 3] * 2


def test_all_symbols_tick_at_the_same_instants_from_the_start_on() -> None:
    batch = market(GBM(), dt_ms=250).read(6)
    assert ((batch.times - START) // 250_000_000).tolist() == [0, 0, 1, 1, 2, 2]


def test_the_first_price_is_p0() -> None:
    assert market(GBM(P0=70.0), tick_sizes={"B": 0.5}).read(2).values.tolist() == [700_000, 700]
    assert market(OU(P0=70.0, x0=np.log(2))).read(1).values.tolist() == [1_400_000]


def test_prices_are_the_models_rounded_to_ticks() -> None:
    batch = take(market(CALM, ("A",)), 20_000)
    model = make_model(CALM, 7, "A")
    prices = model.steps(np.concatenate([[0.0], np.full(9999, 0.2)]))
    assert np.abs(batch.values[::2] / 10_000 - prices).max() <= 0.00005 * 1.0001
    assert set(batch.values[1::2].tolist()) == {1_000_000}


def test_random_arrivals_are_those_of_their_own_generator() -> None:
    batch = take(market(GBM(), ("A",), dt_ms=150, random_arrivals=True), 10_000)
    gaps = poisson(150_000_000, named_generator(7, "arrivals")).take(9_999)
    assert (np.diff(batch.times) == gaps).all()


def test_more_symbols_change_none_of_those_before() -> None:
    alone, among = take(market(symbols=("A",)), 2000), take(market(symbols=("A", "B", "C")), 6000)
    assert (among.values[among.symbols < 2] == alone.values).all()


def test_correlated_returns_are_correlated_at_the_same_instants() -> None:
    matrix = [[1.0, 0.8], [0.8, 1.0]]
    batch = take(market(GBM(sigma=1.0), correlation=matrix, random_arrivals=True), 20_000)
    returns = np.diff(np.log(batch.values.reshape(-1, 2)), axis=0)
    assert np.corrcoef(returns.T)[0, 1] == pytest.approx(0.8, abs=0.02)


def test_a_price_is_never_below_one_tick_nor_beyond_what_text_can_say() -> None:
    ruin = take(market(GBM(mu=-1e9, sigma=1e-3), ("A",), tick_sizes={"A": 0.25}), 5000)
    boom = take(market(GBM(mu=1e9, sigma=1e-3), ("A",), tick_sizes={"A": 0.25}), 5000)
    assert ruin.values.min() == 25
    assert 10**15 - 100 < boom.values.max() < 10**15
    assert not (boom.values % 25).any()


EXTREMES: list[Parameters] = [
    GBM(sigma=LARGEST),
    GBM(mu=LARGEST),
    GBM(mu=-LARGEST),
    OU(sigma=LARGEST, kappa=0.0),
    OU(sigma=LARGEST, kappa=LARGEST, mu=LARGEST),
    OU(theta=LARGEST, price="add"),
    OU(kappa=1e-300),
    Jump(jump_sd=20.0, jump_mean=20.0, intensity=3e10),
    Regime(regimes=(MarketRegime(mu=LARGEST, sigma=LARGEST, hold_s=0.001), CALM_REGIME)),
    Heston(xi=LARGEST, rho=1.0),
    Heston(kappa=LARGEST, xi=LARGEST, theta=LARGEST, v0=LARGEST, rho=-1.0),
    Heston(theta=1e-300, v0=0.0, kappa=1e-200, xi=1e-200),
]


@pytest.mark.parametrize("parameters", EXTREMES, ids=repr)
def test_whatever_is_allowed_gives_prices(parameters: Parameters) -> None:
    values = take(market(parameters, ("A",)), 9000).values
    assert values.shape == (9000,)
    assert 1 <= values.min() <= values.max() < 10**15


def test_it_ends_before_event_time_does() -> None:
    late = SimulatedProvider(["A"], 2**63 - 2**34, GBM(), seed=1, dt_ms=200)
    times = take(late, 10**6).times
    assert 40 < times.size < 50
    assert (np.diff(times) == 200_000_000).all()
    assert take(SimulatedProvider(["A"], 0, GBM(), seed=1, dt_ms=1e12), 100).size == 10


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("symbols", {"symbols": ()}),
        ("each once", {"symbols": ("A", "A")}),
        ("each once", {"symbols": ("A", "A.MODEL")}),
        ("bad symbol", {"symbols": ("A B",)}),
        ("bad symbol", {"symbols": ("X" * 19,)}),
        ("dt_ms", {"dt_ms": 0}),
        ("limit", {"limit": -1}),
        ("sigma", {"parameters": GBM(sigma=-1.0)}),
        ("correlation", {"correlation": [[1.0]]}),
        ("P0", {"parameters": GBM(P0=0.00001)}),
        ("P0", {"parameters": GBM(P0=1e12)}),
        ("tick size", {"tick_sizes": {"A": 0}}),
    ],
)
def test_what_cannot_be_meant_is_refused(message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        market(**arguments)


# ------------------------------------------------------------------------------------- while it runs


def read_with_change(provider: Provider, before: int, after: int, by: int, ahead: int) -> Batch:
    """`before` records, the change, `after` more; at the change `ahead` of those before are not sent yet."""
    first = take(provider, before, by)
    sent, unsent = first.slice(0, before - ahead), first.slice(before - ahead, before)
    values = provider.set_model({"kappa": 3.0, "theta": 0.1, "sigma": 0.05}, made(unsent).shape[0])
    return concatenate([sent, revised(unsent, values), take(provider, after, by)])


@EXAMPLES
@given(st.integers(0, 9000), st.integers(0, 300), st.integers(1, 5000), st.booleans())
def test_a_change_begins_with_the_next_instant_whatever_was_read_ahead(
    sent: int, ahead: int, by: int, random_arrivals: bool
) -> None:
    def changed(ahead: int, by: int) -> Batch:
        provider = market(random_arrivals=random_arrivals)
        return read_with_change(provider, sent + ahead, 9500 - sent - ahead, by, ahead)

    plain = take(market(random_arrivals=random_arrivals), 9500)
    at_once, later = changed(0, 4096), changed(ahead, by)
    assert same(at_once, later)
    assert (at_once.kinds == plain.kinds).all()
    assert (at_once.times == plain.times).all()
    begun = -(-sent // 4) * 4
    assert (at_once.values[:begun] == plain.values[:begun]).all()
    levels = at_once.values[(at_once.symbols == 1)][begun // 4 :]
    assert set(levels.tolist()) == {round(1_000_000 * np.exp(0.1))}


def everything(source: Provider | None = None) -> Provider:
    source = Faults(Passes(source or market(dt_ms=70), loop=False), drop=0.2, jitter_ms=5, seed=1)
    return TimeMarks(Limit(NewsProvider(source, 3, seed=1), ticks=4000))


@settings(EXAMPLES, max_examples=25)
@given(st.integers(1, 3000), st.integers(0, 200), st.integers(1, 700))
def test_a_change_reaches_what_wrappers_have_kept(sent: int, ahead: int, by: int) -> None:
    one = read_with_change(everything(), sent, 1000, by=1, ahead=0)
    other = read_with_change(everything(), sent + ahead, 1000 - ahead, by=by, ahead=ahead)
    assert same(one, other)


def test_two_changes_one_after_the_other() -> None:
    one, other = market(), market()
    take(one, 400)
    one.set_model({"theta": 0.1})
    one.set_model({"kappa": 3.0})
    take(other, 500)
    other.set_model({"theta": 0.1}, 100)
    other.set_model({"kappa": 3.0}, 100)
    take(one, 100)
    assert same(take(one, 20_000), take(other, 20_000))


def test_innovations_stay_as_they_were_when_parameters_change() -> None:
    plain, louder = market(GBM(sigma=0.2, mu=0.0), ("A",)), market(GBM(sigma=0.2, mu=0.0), ("A",))
    louder.set_model({"sigma": 20.0})
    one, other = (np.diff(np.log(take(m, 5000).values)) for m in (plain, louder))
    assert np.corrcoef(one, other)[0, 1] > 0.9  # one tick is a third of the quieter one's steps


@pytest.mark.parametrize("changes", [{"nonsense": 1.0}, {"sigma": -1.0}, {"P0": 50.0}, {"price": 1.0}])
def test_a_change_that_cannot_be_is_refused_and_nothing_has_changed(changes: dict[str, float]) -> None:
    provider, plain = market(), take(market(), 5000)
    first = take(provider, 1001)
    with pytest.raises(ValueError, match=next(iter(changes))):
        provider.set_model(changes, 500)
    assert same(concatenate([first, take(provider, 3999)]), plain)


def test_other_arrivals_are_those_of_a_market_made_with_them() -> None:
    changed = everything(market(dt_ms=70))
    made_with = changed.settings()["model"]
    assert changed.settings() == {"model": made_with, "mode": "fixed", "dt_ms": 70.0}
    take(changed, 500)
    changed.set_schedule(30, random_arrivals=True)
    changed.set_model({"sigma": 3.0})
    assert changed.settings()["model"]["sigma"] == 3.0
    changed.restart()
    assert same(take(changed, 3000), take(everything(market(dt_ms=30, random_arrivals=True)), 3000))
    with pytest.raises(ValueError, match="dt_ms"):
        changed.set_schedule(0, random_arrivals=False)
    with pytest.raises(ValueError, match="mean time"):
        changed.set_schedule(1e12, random_arrivals=True)
    assert changed.settings() == {"model": made_with, "mode": "poisson", "dt_ms": 30.0}


def test_a_source_without_a_model_says_so() -> None:
    with pytest.raises(ValueError, match="no model"):
        NewsProvider(RandomWalkProvider(["A"], START, seed=1), seed=1).set_model({"sigma": 1.0})
    assert RandomWalkProvider(["A"], START, seed=1).settings() == {}


def test_more_than_was_kept_cannot_be_revised() -> None:
    provider = market()
    take(provider, HISTORY * 3)
    assert provider.set_model({"theta": 0.1}, HISTORY).shape == (HISTORY,)
    with pytest.raises(ValueError, match="more than can be revised"):
        provider.set_model({"theta": 0.2}, HISTORY * 3)


@pytest.mark.parametrize("kind", TYPES)
def test_restart_forgets_changes_and_keeps_the_seed_it_was_given(kind: str) -> None:
    provider = NewsProvider(market(TYPES[kind]()), 5, seed=7)
    plain = take(provider, 5000)
    if kind != "regime":
        provider.set_model({"mu": 0.01})
    provider.restart()
    assert same(take(provider, 5000), plain)
    provider.restart(8)
    other = take(provider, 5000)
    assert same(other, take(NewsProvider(market(TYPES[kind](), seed=8), 5, seed=8), 5000))
    assert not same(other, plain)
    provider.restart()
    assert same(take(provider, 5000), other)
    assert (other.kinds == Kind.NEWS).any()
