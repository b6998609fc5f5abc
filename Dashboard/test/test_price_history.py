"""The decimated history says the same as all the ticks would, bucket by bucket."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from Dashboard.price_history import BUCKETS, Line, PriceHistory, thinned

STEP_NS = 2_000_000_000

tick = st.tuples(
    st.integers(0, 30_000),  # ms of wall time since the last
    st.integers(0, 5),  # slot
    st.floats(0.01, 1e6, allow_nan=False),
)


@given(st.lists(tick, min_size=1, max_size=80), st.integers(1, 20))
def test_each_bucket_has_the_lowest_and_the_highest_of_its_ticks_however_they_are_split(
    ticks: list[tuple[int, int, float]], split: int
) -> None:
    history = PriceHistory(BUCKETS * STEP_NS / 1e9, 1)
    wall = np.cumsum([gap for gap, _, _ in ticks]).astype(np.int64) * 1_000_000
    slots = np.array([slot for _, slot, _ in ticks], np.intp)
    values = np.array([value for _, _, value in ticks])
    for start in range(0, len(ticks), split):
        own = slice(start, start + split)
        history.add(wall[own], wall[own] + 7, slots[own], values[own])
    expected: dict[tuple[int, int], list[float]] = defaultdict(list)
    for at, slot, value in zip(wall.tolist(), slots.tolist(), values.tolist(), strict=True):
        expected[slot, at // STEP_NS].append(value)
    for slot in range(6):
        line = history.line(slot)
        found = [(low, high) for low, high in zip(line.values[::2], line.values[1::2], strict=True)]
        told = [(min(each), max(each)) for (own, _), each in sorted(expected.items()) if own == slot]
        assert found == told
        assert list(line.ms) == sorted(line.ms)


def test_the_oldest_buckets_make_room_for_the_newest() -> None:
    history = PriceHistory(BUCKETS * STEP_NS / 1e9, 1)
    wall = np.arange(BUCKETS + 10, dtype=np.int64) * STEP_NS
    history.add(wall, wall, np.zeros(len(wall), np.intp), np.arange(len(wall), dtype=float))
    line = history.line(0)
    assert len(line.values) == 2 * BUCKETS
    assert line.values[0] == 10


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=500), st.integers(2, 60))
def test_a_thinned_line_keeps_its_extremes_its_order_and_its_bound(values: list[float], most: int) -> None:
    line = Line(np.arange(len(values), dtype=float), np.array(values))
    thin = thinned(line, most)
    assert len(thin.values) <= max(most, 2)
    assert thin.values.min() == line.values.min()
    assert thin.values.max() == line.values.max()
    assert (np.diff(thin.ms) > 0).all()
