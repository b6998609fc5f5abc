"""Named generators, mixed normals, arrivals."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.simulation import Arrivals, fixed, named_generator, poisson
from trading_lib.simulation.arrivals import LONGEST_MEAN_NS
from trading_lib.simulation.generators import Normals

N = 50_000
BOTH = {"fixed": lambda: fixed(7), "poisson": lambda: poisson(1000, named_generator(1, "arrivals"))}
both = pytest.mark.parametrize("kind", BOTH)


def test_generators_of_other_names_draw_other_numbers() -> None:
    names = [("price",), ("news",), ("price", "A"), ("price", "B"), ("A", "price"), ("priceA",)]
    drawn = {float(named_generator(42, *name).random()) for name in names}
    assert len(drawn) == len(names)
    assert float(named_generator(43, "price").random()) not in drawn
    assert float(named_generator(42, "price").random()) in drawn


def test_mixed_normals_are_standard_and_as_correlated_as_their_weights() -> None:
    one = Normals.named(1, "a").take(N)
    two = Normals([named_generator(1, "a"), named_generator(1, "b")], [0.6, 0.8]).take(N)
    assert two.var() == pytest.approx(1, abs=4 * math.sqrt(2 / N))
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(0.6, abs=4 * (1 - 0.36) / math.sqrt(N))


@pytest.mark.parametrize("mean_ns", [50_000, 150_000_000, LONGEST_MEAN_NS])
def test_gaps_of_a_poisson_process_are_exponential(mean_ns: int) -> None:
    gaps = poisson(mean_ns, named_generator(5, "arrivals")).take(N) / mean_ns
    assert gaps.mean() == pytest.approx(1, abs=4 / math.sqrt(N))
    assert gaps.std() == pytest.approx(1, abs=4 * math.sqrt(2 / N))
    assert scipy.stats.kstest(gaps, "expon").pvalue > 1e-4


def test_another_mean_stretches_the_same_draws() -> None:
    slow = poisson(4_000_000, named_generator(5, "arrivals")).take(1000)
    quick = poisson(1_000_000, named_generator(5, "arrivals")).take(1000)
    assert np.abs(slow - 4 * quick).max() <= 3


def test_fixed_gaps_are_all_the_same() -> None:
    gaps = fixed(200_000_000).take(5)
    assert gaps.dtype == np.int64
    assert gaps.tolist() == [200_000_000] * 5


def test_gaps_are_at_least_a_nanosecond() -> None:
    gaps = poisson(1, named_generator(5, "arrivals")).take(1000)
    assert gaps.min() == 1
    assert gaps.dtype == np.int64


@both
@settings(max_examples=100, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(0, 30), max_size=8))
def test_where_a_take_ends_changes_nothing(kind: str, sizes: list[int]) -> None:
    whole, pieces = BOTH[kind](), BOTH[kind]()
    taken = [gap for size in sizes for gap in pieces.take(size).tolist()]
    assert taken == whole.take(sum(sizes)).tolist()


@both
def test_restored_arrivals_come_again(kind: str) -> None:
    arrivals: Arrivals = BOTH[kind]()
    arrivals.take(3)
    state = arrivals.state()
    once = arrivals.take(10).tolist()
    arrivals.restore(state)
    assert arrivals.take(10).tolist() == once


@pytest.mark.parametrize("ns", [0, -1])
def test_a_gap_below_a_nanosecond_is_refused(ns: int) -> None:
    with pytest.raises(ValueError, match="at least 1 ns, not"):
        fixed(ns)
    with pytest.raises(ValueError, match=f"must be 1 to {LONGEST_MEAN_NS} ns, not {ns}"):
        poisson(ns, named_generator(1, "arrivals"))
