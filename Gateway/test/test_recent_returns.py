"""News that follow returns: what a mood is, whose it is, and how it mixes with chance."""

import math

import numpy as np
import pytest

from Gateway.providers import Batch, NewsProvider, Passes, RandomWalkProvider, SimulatedProvider
from Gateway.providers.provider import take
from Gateway.providers.recent_returns import WINDOW, RecentReturns, mood
from trading_lib.models import Kind
from trading_lib.simulation import GBM


def walk(limit: int = 50_000) -> RandomWalkProvider:
    return RandomWalkProvider(["A", "B"], 0, seed=1, limit=limit)


def phi(z: float) -> float:
    return (1 + math.erf(z / 2**0.5)) / 2


@pytest.mark.parametrize(
    ("prices", "z"),
    [
        ([100], 0),
        ([100, 100, 100], 0),
        ([100, 110], 1),
        ([110, 100], -1),
        ([100, 110, 121], 2**0.5),
        ([100, 200, 100], 0),
    ],
)
def test_a_mood_is_the_normal_share_of_the_returns_sum_over_their_size(prices: list[int], z: float) -> None:
    assert mood(np.array(prices, np.int64)) == pytest.approx(phi(z), abs=1e-12)


def test_moods_of_a_walk_are_about_uniform() -> None:
    batch = take(walk(), 10**6)
    chosen = np.arange(100, batch.size, 41)
    moods = RecentReturns(2).moods(batch, chosen)
    assert moods.mean() == pytest.approx(0.5, abs=0.03)
    assert moods.std() == pytest.approx(12**-0.5, abs=0.02)


def test_a_mood_is_of_the_last_returns_of_its_own_symbol_up_to_its_tick() -> None:
    batch = take(walk(1000), 1000)
    chosen = np.array([0, 1, 7, 600, 603, 999])
    moods = RecentReturns(2).moods(batch, chosen)
    for place, found in zip(chosen.tolist(), moods.tolist(), strict=True):
        own = batch.values[place % 2 : place + 1 : 2]
        assert found == mood(own[-WINDOW - 1 :])


def test_an_epoch_forgets() -> None:
    batch = take(Passes(walk(100), loop=True), 202)
    second = int(np.flatnonzero(batch.kinds == Kind.EPOCH)[1])
    again = RecentReturns(2).moods(batch, np.array([second + 1, second + 5]))
    assert again.tolist() == RecentReturns(2).moods(batch, np.array([1, 5])).tolist()


def sentiments(
    follows: float, source_seed: int = 1
) -> tuple[Batch, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    source = SimulatedProvider(["A", "B"], 0, GBM(sigma=5.0), seed=source_seed, limit=10_000)
    batch = take(NewsProvider(source, 10, seed=1, follows=follows), 10**6)
    return batch, batch.values[batch.kinds == Kind.NEWS]


def test_at_one_the_sentiment_is_the_mood_alone_and_chance_moves_nothing_else() -> None:
    (by_chance, drawn), (by_return, followed) = sentiments(0), sentiments(1)
    assert (by_chance.kinds == by_return.kinds).all()
    assert (by_chance.symbols == by_return.symbols).all()
    places = np.flatnonzero(by_return.kinds == Kind.NEWS) - 1
    moods = RecentReturns(2).moods(by_return, places)
    assert (followed == np.minimum(np.floor(moods * 101), 100)).all()
    _, mixed = sentiments(0.5)
    assert np.abs(mixed - (drawn + followed) / 2).max() <= 1.5


@pytest.mark.parametrize("follows", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(follows: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        NewsProvider(walk(), seed=1, follows=follows)
