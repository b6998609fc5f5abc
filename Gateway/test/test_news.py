"""Seeded random news: where items stand, how many, and what they depend on."""

import numpy as np
import pytest

from Gateway.providers import Batch, NewsProvider, Passes, RandomWalkProvider
from Gateway.providers.provider import Provider, empty_batch, take, ticks
from trading_lib.models import Kind

TICKS = 20_000


def walk() -> RandomWalkProvider:
    return RandomWalkProvider(["A", "B", "C"], 0, seed=1, limit=TICKS)


class Fixed(Provider):
    """Ticks of the given symbols in turn, one a ns."""

    def __init__(self, symbols: tuple[str, ...], count: int) -> None:
        self.symbols, self.decimals = symbols, (2,) * len(symbols)
        turn = np.arange(count)
        self._all = ticks((turn % len(symbols)).astype(np.int32), turn + 1, turn)
        self._at = 0

    def read(self, limit: int) -> Batch:
        self._at += limit
        return self._all.slice(self._at - limit, self._at)

    def restart(self, seed: int | None = None) -> None:  # noqa: ARG002  # the same for every seed
        self._at = 0


def all_of(provider: Provider) -> Batch:
    return take(provider, 10**6)


def test_an_item_stands_right_after_its_tick_with_its_symbol_and_time() -> None:
    batch = all_of(NewsProvider(walk(), 10, seed=1))
    items = np.flatnonzero(batch.kinds == Kind.NEWS)
    assert items.shape[0] > 1000
    assert (batch.kinds[items - 1] == Kind.TICK).all()
    assert (batch.symbols[items] == batch.symbols[items - 1]).all()
    assert (batch.times[items] == batch.times[items - 1]).all()


def test_the_ticks_are_those_of_the_source() -> None:
    plain, merged = all_of(walk()), all_of(NewsProvider(walk(), 10, seed=1))
    is_tick = merged.kinds == Kind.TICK
    assert (merged.values[is_tick] == plain.values).all()
    assert (merged.symbols[is_tick] == plain.symbols).all()
    assert (merged.times[is_tick] == plain.times).all()


@pytest.mark.parametrize("every", [2, 12.5, 100])
def test_there_is_one_item_in_every_so_many_ticks(every: float) -> None:
    kinds = all_of(NewsProvider(walk(), every, seed=3)).kinds
    expected = TICKS / every
    assert abs(np.count_nonzero(kinds == Kind.NEWS) - expected) < 4 * expected**0.5


def test_sentiment_is_uniform_on_0_to_100() -> None:
    batch = all_of(NewsProvider(walk(), 1, seed=3))
    counts = np.bincount(batch.values[batch.kinds == Kind.NEWS], minlength=101)
    assert counts.shape == (101,)
    chi_square = float(((counts - TICKS / 101) ** 2 / (TICKS / 101)).sum())
    assert chi_square < 150  # 100 degrees of freedom: p = 0.001


def test_every_0_is_no_news() -> None:
    assert all_of(NewsProvider(walk(), 0, seed=1)).size == TICKS


def test_every_1_is_an_item_after_each_tick() -> None:
    kinds = all_of(NewsProvider(Fixed(("A",), 3), 1, seed=1)).kinds.tolist()
    assert kinds == [Kind.TICK, Kind.NEWS] * 3


@pytest.mark.parametrize("every", [-1, 0.5, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(every: float) -> None:
    with pytest.raises(ValueError, match="news every"):
        NewsProvider(walk(), every, seed=1)


def test_another_seed_is_other_news() -> None:
    one, other = (all_of(NewsProvider(walk(), 10, seed=seed)).kinds for seed in (1, 2))
    assert one.shape != other.shape or (one != other).any()


def test_how_often_does_not_change_the_sentiments() -> None:
    often, seldom = (all_of(NewsProvider(walk(), every, seed=1)) for every in (10, 40))
    of_often = often.values[often.kinds == Kind.NEWS]
    of_seldom = seldom.values[seldom.kinds == Kind.NEWS]
    assert (of_often[: of_seldom.shape[0]] == of_seldom).all()


def test_each_pass_has_the_same_news() -> None:
    source = Passes(NewsProvider(Fixed(("A", "B"), 50), 5, seed=1), loop=True)
    batch = take(source, 10**3)
    starts = np.flatnonzero(batch.kinds == Kind.EPOCH)
    first, second = (batch.slice(*starts[i : i + 2].tolist()) for i in (0, 1))
    assert (first.kinds == second.kinds).all()
    assert (first.values == second.values).all()


def test_only_ticks_draw() -> None:
    through = all_of(NewsProvider(Passes(Fixed(("A", "B"), 500), loop=False), 5, seed=1))
    direct = all_of(NewsProvider(Fixed(("A", "B"), 500), 5, seed=1))
    assert through.kinds[1:-1].tolist() == direct.kinds.tolist()


def test_a_series_beside_another_has_no_news_and_changes_none() -> None:
    prices_alone = all_of(NewsProvider(Fixed(("A",), 300), 5, seed=1))
    with_sizes = all_of(NewsProvider(Fixed(("A.SIZE", "A"), 600), 5, seed=1))
    kept = with_sizes.symbols == 1
    assert (with_sizes.symbols[with_sizes.kinds == Kind.NEWS] == 1).all()
    assert with_sizes.kinds[kept].tolist() == prices_alone.kinds.tolist()


def test_a_symbol_with_a_dot_of_its_own_has_news() -> None:
    batch = all_of(NewsProvider(Fixed(("BRK.B",), 100), 2, seed=1))
    assert (batch.kinds == Kind.NEWS).any()


def test_an_ended_source_is_an_ended_provider() -> None:
    provider = NewsProvider(Fixed(("A",), 0), 1, seed=1)
    assert provider.read(10).size == empty_batch().size == 0
