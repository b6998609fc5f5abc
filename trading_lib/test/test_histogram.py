"""The latency histogram: never understated, within 0.8 %, and the sum of its parts."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.histogram import BUCKETS, Histogram
from trading_lib.jit import compiled

EXAMPLES = settings(deadline=None, max_examples=200)

values = st.one_of(st.integers(-5, 4100), st.integers(0, 10**6), st.integers(0, 2**62))
some_values = st.lists(values, min_size=1, max_size=200)
percents = st.one_of(st.sampled_from([50.0, 90.0, 99.0, 99.9, 100.0]), st.floats(0, 100))


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@EXAMPLES
@given(some_values, percents)
def test_a_percentile_is_the_sorted_lists_within_a_128th_and_never_below(
    values: list[int], percent: float
) -> None:
    exact = sorted(max(0, value) for value in values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    found = histogram_of(values).percentile(percent)
    assert found is not None
    assert exact <= found <= exact + exact / 128
    if exact < 256:
        assert found == exact


@EXAMPLES
@given(some_values)
def test_the_last_percentile_and_the_maximum_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.percentile(100) == histogram.max == max(0, *values)
    assert histogram.total == len(values)


@EXAMPLES
@given(some_values)
def test_percentiles_never_fall(values: list[int]) -> None:
    histogram = histogram_of(values)
    found = [histogram.percentile(percent) for percent in (0, 1, 50, 90, 99, 99.9, 100)]
    assert found == sorted(found, key=lambda edge: edge or 0)


@EXAMPLES
@given(some_values, some_values)
def test_merged_is_as_if_recorded_in_one(first: list[int], second: list[int]) -> None:
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    assert merged.to_dict() == histogram_of(first + second).to_dict()
    assert merged.total == len(first) + len(second)


def test_merging_leaves_the_other_as_it_was() -> None:
    first, second = histogram_of([1]), histogram_of([5000])
    first.merge(second)
    first.record(5000)
    assert second.total == 1
    assert sum(n for _, n in second.buckets()) == 1


@EXAMPLES
@given(st.lists(values, max_size=100))
def test_it_travels_as_json(values: list[int]) -> None:
    histogram = histogram_of(values)
    back = Histogram.from_dict(json.loads(json.dumps(histogram.to_dict())))
    assert (back.counts, back.total, back.max) == (histogram.counts, histogram.total, histogram.max)
    assert back.summary_us() == histogram.summary_us()


@EXAMPLES
@given(some_values)
def test_every_value_lies_in_the_bucket_it_is_counted_in(values: list[int]) -> None:
    edges = [edge for edge, _ in histogram_of(values).buckets()]
    assert edges == sorted(set(edges))
    assert sum(n for _, n in histogram_of(values).buckets()) == len(values)
    for value in values:
        edge = min(edge for edge in edges if edge >= value)
        assert histogram_of([value]).buckets() == [(edge, 1)]


@pytest.mark.parametrize("power", range(8, 63))
def test_edges_of_the_powers_of_two(power: int) -> None:
    for value in (2**power - 1, 2**power, 2**power + 1):
        ((edge, _),) = histogram_of([value]).buckets()
        assert value <= edge < value + value / 128


@pytest.mark.skipif(not compiled(), reason="there are no kernels in plain Python")
@EXAMPLES
@given(st.lists(st.one_of(values, st.sampled_from([2**63 - 1, -(2**63)])), max_size=50))
def test_a_kernel_counts_as_record_does(values: list[int]) -> None:
    from trading_lib.histogram_kernels import count_latency

    counts = np.zeros(BUCKETS, np.int64)
    for value in values:
        count_latency(counts, value)
    used = np.flatnonzero(counts).tolist()
    found = Histogram()
    found.add({bucket: int(counts[bucket]) for bucket in used}, max([0, *values]))
    expected = histogram_of(values)
    assert (found.counts, found.total, found.max) == (expected.counts, expected.total, expected.max)


def test_an_empty_one_has_no_percentiles() -> None:
    assert Histogram().percentile(50) is None
    assert Histogram().summary_us([50]) == {"p50": None, "max": None, "n": 0}
    assert Histogram().buckets() == []


def test_a_summary_is_in_microseconds() -> None:
    summary = histogram_of([1500] * 99 + [2_000_000]).summary_us()
    assert summary == {"p50": 1.5, "p90": 1.5, "p99": 1.5, "p99.9": 2000.0, "max": 2000.0, "n": 100}


def test_memory_is_bounded_by_the_layout_not_by_the_number_of_values() -> None:
    histogram = histogram_of([7**11 * i % 2**40 for i in range(100_000)])
    assert len(histogram.counts) <= 2048 + 29 * 1024
