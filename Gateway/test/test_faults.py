"""Faults on purpose: how many ticks are lost, how late the others are, and what stays as it was."""

from typing import Any

import numpy as np
import pytest

from Gateway.providers import Batch, Faults, Passes, RandomWalkProvider
from Gateway.providers.provider import take
from trading_lib.models import Kind

TICKS = 20_000
MS = 1_000_000


def walk(dt_ms: float = 200) -> RandomWalkProvider:
    return RandomWalkProvider(["A", "B"], 10**18, seed=1, dt_ms=dt_ms, limit=TICKS)


def faulty(jitter_ms: float = 0, drop: float = 0, dt_ms: float = 200, seed: int = 1) -> Batch:
    return take(Faults(walk(dt_ms), jitter_ms=jitter_ms, drop=drop, seed=seed), 10**6)


def test_without_faults_nothing_changes() -> None:
    plain, same = take(walk(), 10**6), faulty()
    assert (same.kinds == plain.kinds).all()
    assert (same.symbols == plain.symbols).all()
    assert (same.values == plain.values).all()
    assert (same.times == plain.times).all()


def test_a_lost_tick_is_a_gap_of_one_at_its_place() -> None:
    plain, lossy = take(walk(), 10**6), faulty(drop=0.1)
    lost = lossy.kinds == Kind.GAP
    assert abs(np.count_nonzero(lost) - TICKS * 0.1) < 4 * (TICKS * 0.1 * 0.9) ** 0.5
    assert (lossy.values[lost] == 1).all()
    assert (lossy.values[~lost] == plain.values[~lost]).all()
    assert (lossy.times == plain.times).all()


def test_a_tick_is_late_by_up_to_the_jitter() -> None:
    late = faulty(jitter_ms=50).times - take(walk(), 10**6).times
    # the two symbols tick together, and the second is never earlier than the first
    assert late.min() >= 0
    assert late.max() <= 50 * MS
    assert late[::2].mean() == pytest.approx(25 * MS, rel=0.03)
    assert (late[1::2] >= late[::2]).all()


def test_late_ticks_never_overtake() -> None:
    times = faulty(jitter_ms=500, dt_ms=1).times
    assert (np.diff(times) >= 0).all()


def test_one_fault_does_not_change_the_other() -> None:
    alone, both = faulty(drop=0.1), faulty(drop=0.1, jitter_ms=20)
    assert (alone.kinds == both.kinds).all()
    late = both.times - take(walk(), 10**6).times
    kept = (both.kinds == Kind.TICK)[::2]
    assert (late[::2][kept] == (faulty(jitter_ms=20).times - take(walk(), 10**6).times)[::2][kept]).all()


def test_another_seed_is_other_faults_and_stays_after_a_restart() -> None:
    provider = Faults(walk(), drop=0.1, seed=1)
    provider.restart(2)
    other = take(provider, 500).kinds
    assert (other == faulty(drop=0.1, seed=2).kinds[:500]).all()
    assert (other != faulty(drop=0.1, seed=1).kinds[:500]).any()
    provider.restart()
    assert (take(provider, 500).kinds == other).all()


def test_an_epoch_may_begin_before_the_last_late_tick() -> None:
    looping = Passes(RandomWalkProvider(["A"], 10**18, seed=1, limit=10), loop=True)
    batch = take(Faults(looping, jitter_ms=1000, seed=1), 50)
    epochs = np.flatnonzero(batch.kinds == Kind.EPOCH)
    assert (batch.times[epochs] == 10**18).all()
    assert all((np.diff(part) >= 0).all() for part in np.split(batch.times, epochs))


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("jitter_ms", {"jitter_ms": -1}),
        ("jitter_ms", {"jitter_ms": float("nan")}),
        ("drop", {"drop": 1}),
        ("drop", {"drop": -0.1}),
    ],
)
def test_faults_that_cannot_be_meant_are_refused(message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        faulty(**arguments)
