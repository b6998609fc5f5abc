"""What a reader expects of a source."""

import random

import pytest

from Strategy.rhythm import IN_VAIN, LATE_NS, MISS, PENANCE, SHORTEST_NS, SLACK_NS, SURE, SUREST, Rhythm

MS = 1_000_000
EARLY = 45_000
START = 1_735_828_200_000_000_000


def heard(rhythm: Rhythm, distances: list[int], last: int = START) -> int:
    """Tell of bursts so far apart; when the last one was due."""
    for distance in distances:
        last += distance
        rhythm.heard(last)
    return last


def steady(distance: int = MS) -> tuple[Rhythm, int]:
    """One that is just sure of a distance, and when the last burst was due."""
    rhythm = Rhythm(EARLY)
    return rhythm, heard(rhythm, [distance] * (SURE + 2))


@pytest.mark.parametrize("distance", [SHORTEST_NS, MS, 5 * MS, 1000 * MS])
def test_bursts_at_even_distances_are_expected(distance: int) -> None:
    rhythm, last = steady(distance)
    assert rhythm.watch(last) == (distance - EARLY, distance + LATE_NS)
    assert rhythm.watch(last + distance) == (-EARLY, LATE_NS)


def test_the_records_of_a_burst_are_one() -> None:
    rhythm = Rhythm(EARLY)
    last = heard(rhythm, [MS, 0, 0, 0] * (SURE + 2))
    assert rhythm.watch(last) is not None


def test_nothing_is_expected_before_it_is_sure() -> None:
    rhythm = Rhythm(EARLY)
    last = heard(rhythm, [MS] * (SURE + 1))
    assert rhythm.watch(last) is None
    rhythm.heard(last + MS)
    assert rhythm.watch(last + MS) is not None


def test_what_is_long_overdue_is_not_expected_any_more() -> None:
    rhythm, last = steady()
    assert rhythm.watch(last + MS + LATE_NS - 1) is not None
    assert rhythm.watch(last + MS + LATE_NS) is None


def test_bursts_that_come_all_the_time_are_not_waited_for() -> None:
    rhythm, last = steady(SHORTEST_NS - SLACK_NS)
    assert rhythm.watch(last) is None


def test_who_is_not_to_wake_early_never_does() -> None:
    rhythm = Rhythm(0)
    last = heard(rhythm, [MS] * 100)
    assert rhythm.watch(last) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_source_at_random_distances_is_hardly_ever_expected(seed: int) -> None:
    chance, rhythm, last, expected = random.Random(seed), Rhythm(EARLY), START, 0
    for _ in range(10_000):
        last = heard(rhythm, [round(chance.expovariate(1 / MS))], last)
        expected += rhythm.watch(last) is not None
    assert expected < 10


def test_a_pause_is_forgiven_and_another_pace_is_learned() -> None:
    rhythm, last = steady()
    last = heard(rhythm, [MS] * SURE, last)
    last = heard(rhythm, [300 * MS], last)
    assert rhythm.watch(last) == (MS - EARLY, MS + LATE_NS)
    last = heard(rhythm, [2 * MS] * (SURE + 10), last)
    assert rhythm.watch(last) == (2 * MS - EARLY, 2 * MS + LATE_NS)


def test_a_distance_that_drifts_is_followed() -> None:
    rhythm, last = steady()
    for step in range(200):
        last = heard(rhythm, [MS + step * 1000], last)
    found = rhythm.watch(last)
    assert found is not None and abs(found[0] + EARLY - (MS + 200_000)) < SLACK_NS


def test_who_has_looked_in_vain_twice_sleeps_for_a_while() -> None:
    rhythm, last = steady()
    for _ in range(10):
        rhythm.looked(found=False)
        rhythm.looked(found=True)
    assert rhythm.watch(last) is not None
    for _ in range(IN_VAIN):
        rhythm.looked(found=False)
    last = heard(rhythm, [MS] * (PENANCE - 1), last)
    assert rhythm.watch(last) is None
    last = heard(rhythm, [MS], last)
    assert rhythm.watch(last) is not None


@pytest.mark.parametrize(("before", "after"), [(MS, 2 * MS), (MS, 4 * MS), (2 * MS, MS), (10 * MS, 20 * MS)])
def test_a_source_that_goes_at_another_speed_is_learned_soon(before: int, after: int) -> None:
    rhythm, last = steady(before)
    last = heard(rhythm, [before] * SUREST, last)
    bursts = 0
    while rhythm.watch(last) != (after - EARLY, after + LATE_NS):
        found = rhythm.watch(last)
        if found is not None:  # as the host does
            rhythm.looked(found=after <= found[1])
        last = heard(rhythm, [after], last)
        bursts += 1
    assert bursts <= SUREST // MISS + SURE + 1
