"""The seeded random walk: reproducible, in range, one generator a symbol."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers import RandomWalkProvider
from Gateway.providers.provider import Provider, take
from trading_lib.simulation.generators import named_generator

START = 1_735_828_200_000_000_000


def series(provider: Provider, symbol: str, count: int = 3000) -> npt.NDArray[np.int64]:
    """The first values of one symbol."""
    batch = take(provider, count * len(provider.symbols))
    values: npt.NDArray[np.int64] = batch.values[batch.symbols == provider.symbols.index(symbol)]
    return values


def test_every_symbol_ticks_in_turn_at_each_step() -> None:
    batch = RandomWalkProvider(["A", "B", "C"], START, seed=1, dt_ms=200).read(9)
    assert batch.symbols.tolist() == [0, 1, 2] * 3
    assert ((batch.times - START) // 200_000_000).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_it_starts_at_p0() -> None:
    provider = RandomWalkProvider(["A", "B"], START, seed=1, p0=17000, tick_sizes={"B": 1.0})
    assert provider.decimals == (4, 0)
    assert provider.read(2).values.tolist() == [170_000_000, 17_000]


@given(st.sets(st.sampled_from([f"S{i}" for i in range(400)]), max_size=300), st.integers(0, 2**63))
@settings(deadline=None, max_examples=15)
def test_adding_symbols_changes_none_of_the_others(more: set[str], seed: int) -> None:
    alone = RandomWalkProvider(["AAPL"], START, seed=seed)
    among = RandomWalkProvider([*sorted(more), "AAPL"], START, seed=seed)
    assert (series(alone, "AAPL", 200) == series(among, "AAPL", 200)).all()


def test_another_seed_or_symbol_is_another_walk() -> None:
    walks = [
        series(RandomWalkProvider(["A", "B"], START, seed=1), "A"),
        series(RandomWalkProvider(["A", "B"], START, seed=1), "B"),
        series(RandomWalkProvider(["A", "B"], START, seed=2), "A"),
    ]
    correlations = np.corrcoef(np.diff(np.log(np.array(walks))))
    assert np.abs(correlations[np.triu_indices(3, 1)]).max() < 0.1


def test_a_walk_is_the_sum_of_its_generators_draws_block_after_block() -> None:
    draws = named_generator(9, "random_walk", "A").standard_normal(4999) * 0.0001
    logs = np.cumsum(np.concatenate([[0.0], draws]))
    assert np.abs(logs).max() < 1  # far from where it is reflected
    values = series(RandomWalkProvider(["A"], START, seed=9, step=0.0001), "A", 5000)
    assert np.abs(values - 1_000_000 * np.exp(logs)).max() <= 0.5 + 1e-6


def test_steps_are_normal_and_relative() -> None:
    values = series(RandomWalkProvider(["A"], START, seed=5, step=0.001, p0=10_000), "A", 20_000)
    steps = np.diff(np.log(values))
    assert steps.std() == pytest.approx(0.001, rel=0.03)
    assert abs(steps.mean()) < 4 * 0.001 / 20_000**0.5
    assert np.mean(np.abs(steps) < 0.001) == pytest.approx(0.6827, abs=0.015)


def test_a_wild_walk_stays_within_a_factor_ten_of_p0() -> None:
    values = series(RandomWalkProvider(["A"], START, seed=5, step=0.5, tick_sizes={"A": 0.01}), "A")
    assert values.min() >= 1_000
    assert values.max() <= 100_000
    assert values.min() < 1_100
    assert values.max() > 90_000


def test_prices_are_whole_ticks() -> None:
    values = series(RandomWalkProvider(["A"], START, seed=5, tick_sizes={"A": 0.25}), "A")
    assert not (values % 25).any()
    assert np.unique(values).size > 3


def test_limit_is_a_number_of_ticks() -> None:
    assert take(RandomWalkProvider(["A", "B"], START, seed=1, limit=5001), 10**6).size == 5001
    assert RandomWalkProvider(["A"], START, seed=1, limit=0).read(1).size == 0


def test_it_ends_before_time_runs_over() -> None:
    last = 2**63 - 1
    batch = take(RandomWalkProvider(["A", "B"], last - 500_000_000, seed=1), 10**5)
    assert batch.times.tolist() == [last - 500_000_000 + i // 2 * 200_000_000 for i in range(6)]


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("symbols", {"symbols": []}),
        ("symbols", {"symbols": ["A", "A"]}),
        ("bad symbol", {"symbols": ["A B"]}),
        ("dt_ms", {"dt_ms": 0}),
        ("dt_ms", {"dt_ms": float("nan")}),
        ("step", {"step": -0.1}),
        ("start", {"start_ns": -1}),
        ("limit", {"limit": -1}),
        ("p0", {"p0": 0.0005}),
        ("p0", {"p0": float("nan")}),
        ("p0", {"p0": 1e12}),
        ("tick size", {"tick_sizes": {"A": 0}}),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=message):
        RandomWalkProvider(**{"symbols": ["A"], "start_ns": START, "seed": 1, **arguments})  # type: ignore[arg-type]
