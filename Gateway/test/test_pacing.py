"""Pacing: what is due follows from the schedule alone, and whatever the clock does no record is lost."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.lookahead import BUFFERED, Lookahead
from Gateway.pacing import HOPELESS_NS, Burst, EventTime, Pacer, TicksPerSecond, Unpaced
from Gateway.providers import Batch, Passes, TimeMarks
from Gateway.providers.provider import Int64Array, Provider, revised, ticks
from trading_lib.models import NS_PER_S, Kind

MS = 1_000_000
START = 5_000_000_000_000  # the pacer's clock has no known zero
TS0 = 1_735_828_200_000_000_000
Record = tuple[int, int, int]  # kind, value, time
MakePacer = Callable[[Provider], Pacer]


class Script(Provider):
    """The given records, `by` at a time at most."""

    symbols, decimals = ("A",), (0,)

    def __init__(self, records: Iterable[Record], by: int = BUFFERED) -> None:
        kinds, values, times = zip(*records, strict=True) if (records := list(records)) else ((), (), ())
        self._all = Batch(
            np.array(kinds, np.uint8),
            np.zeros(len(kinds), np.int32),
            np.array(values, np.int64),
            np.array(times, np.int64),
        )
        self._at, self._by = 0, by
        self.reads = 0

    def read(self, limit: int) -> Batch:
        self.reads += 1
        batch = self._all.slice(self._at, self._at + min(limit, self._by))
        self._at += batch.size
        return batch

    def restart(self, seed: int | None = None) -> None:  # noqa: ARG002  # the same for every seed
        self._at = 0


class Endless(Provider):
    """Ticks without end."""

    symbols, decimals = ("A",), (0,)

    def __init__(self) -> None:
        zeros = np.zeros(BUFFERED, np.int64)
        self._batch = ticks(zeros.astype(np.int32), zeros, zeros)

    def read(self, limit: int) -> Batch:
        return self._batch.slice(0, limit)

    def restart(self, seed: int | None = None) -> None:  # the same for every seed
        """The same at any time."""


def ticks_at(*times: int) -> list[Record]:
    """Ticks valued 1, 2, 3 … so many ns after TS0."""
    return [(Kind.TICK, value, TS0 + time) for value, time in enumerate(times, 1)]


def records_of(batch: Batch) -> list[Record]:
    return list(zip(batch.kinds.tolist(), batch.values.tolist(), batch.times.tolist(), strict=True))


def on_time(pacer: Pacer) -> list[Burst]:
    """All bursts, each taken at the instant it is due."""
    bursts = []
    while not pacer.ended:
        bursts.append(pacer.take(pacer.next_due()))
    return bursts


def dues(bursts: list[Burst]) -> list[tuple[int, int]]:
    """(records, ns after START) of each burst."""
    return [(burst.batch.size, burst.due - START) for burst in bursts]


# ---------------------------------------------------------------------------------------- ticks a second


@pytest.mark.parametrize(
    ("rate", "seconds"), [(1, 5000), (7, 1000), (200, 100), (1000, 20), (1500, 20), (100_000, 10)]
)
def test_over_a_long_time_the_rate_is_exact(rate: int, seconds: int) -> None:
    pacer = TicksPerSecond(Endless(), rate)
    pacer.start(START)
    sent = 0
    while (due := pacer.next_due()) < START + seconds * NS_PER_S:
        sent += pacer.take(due).batch.size
    assert sent == rate * seconds


@pytest.mark.parametrize("rate", [1, 7, 200, 1000])
def test_up_to_1000_a_second_ticks_leave_one_by_one_evenly(rate: int) -> None:
    pacer = TicksPerSecond(Endless(), rate)
    pacer.start(START)
    for i in range(3 * rate):
        batch, due = pacer.take(pacer.next_due())
        assert (batch.size, due) == (1, START + round(i * NS_PER_S / rate))


@pytest.mark.parametrize(("rate", "sizes"), [(1500, [1, 2]), (2000, [2, 2]), (100_000, [100, 100])])
def test_above_1000_a_second_each_millisecond_is_one_burst_due_at_its_instant(
    rate: int, sizes: list[int]
) -> None:
    pacer = TicksPerSecond(Endless(), rate)
    pacer.start(START)
    bursts = [pacer.take(pacer.next_due()) for _ in range(40)]
    assert dues(bursts) == [(sizes[i % 2], i * MS) for i in range(40)]


@given(st.floats(1e-6, 1e7), st.integers(1, 80))
@settings(deadline=None, max_examples=60)
def test_at_any_rate_no_burst_is_empty_and_bursts_are_in_order(rate: float, count: int) -> None:
    pacer = TicksPerSecond(Endless(), rate)
    pacer.start(START)
    bursts = [pacer.take(pacer.next_due()) for _ in range(count)]
    assert all(burst.batch.size for burst in bursts)
    assert all(a.due <= b.due for a, b in pairwise(bursts))


def test_a_burst_longer_than_what_is_read_ahead_comes_in_pieces_due_at_the_same_instant() -> None:
    pacer = TicksPerSecond(Endless(), 10_000_000)
    pacer.start(START)
    bursts = [pacer.take(START) for _ in range(20)]
    assert max(burst.batch.size for burst in bursts) < 2 * BUFFERED
    for instant in (START, START + MS, START + 2 * MS):
        assert sum(burst.batch.size for burst in bursts if burst.due == instant) == 10_000


def test_a_burst_is_whole_wherever_a_read_of_the_source_ends() -> None:
    pacer = TicksPerSecond(Script(ticks_at(*range(1000)), by=7), 10_000)
    pacer.start(START)
    assert dues(on_time(pacer)) == [(10, number * MS) for number in range(100)]


def test_the_source_is_read_on_before_a_burst_of_the_same_size_would_be_cut_short() -> None:
    source = Script(ticks_at(*range(20)), by=5)
    records = Lookahead(source)
    assert records.take_ticks(3)[1] == 3
    assert source.reads == 1
    assert not records.ended
    assert source.reads == 2
    assert records.take_ticks(3)[1] == 3
    assert source.reads == 2


def test_news_and_marks_go_with_the_tick_before_them() -> None:
    records = [
        (Kind.EPOCH, 0, 1),
        (Kind.TICK, 1, 1),
        (Kind.NEWS, 50, 1),
        (Kind.TICK, 2, 2),
        (Kind.NEWS, 51, 2),
        (Kind.END, 0, 2),
    ]
    pacer = TicksPerSecond(Script(records), 10)
    pacer.start(START)
    assert dues(on_time(pacer)) == [(3, 0), (3, NS_PER_S // 10)]


def test_however_late_we_are_due_times_follow_the_schedule() -> None:
    pacer = TicksPerSecond(Endless(), 100)
    pacer.start(START)
    bursts = [pacer.take(pacer.next_due() + HOPELESS_NS - (i % 2) * 900 * MS) for i in range(50)]
    assert dues(bursts) == [(1, i * 10 * MS) for i in range(50)]
    assert pacer.resyncs == 0


@pytest.mark.parametrize("behind", [HOPELESS_NS + 1, 3600 * NS_PER_S])
def test_more_than_a_second_behind_the_schedule_starts_anew_and_is_counted(behind: int) -> None:
    pacer = TicksPerSecond(Endless(), 100)
    pacer.start(START)
    pacer.take(START)
    now = pacer.next_due() + behind
    assert [pacer.take(now).due, pacer.next_due()] == [now, now + 10 * MS]
    assert pacer.resyncs == 1


def test_a_burst_can_be_taken_before_it_is_due() -> None:
    early, in_time = TicksPerSecond(Endless(), 1500), TicksPerSecond(Endless(), 1500)
    early.start(START)
    in_time.start(START)
    for _ in range(10):
        assert dues([early.take(START)]) == dues([in_time.take(in_time.next_due())])


# -------------------------------------------------------------------------------------------- event time


@pytest.mark.parametrize("speed", [0.5, 1, 2, 1000])
def test_event_time_passes_at_the_given_speed(speed: float) -> None:
    times = [0, 7 * MS, 7 * MS + 1, NS_PER_S, 86_400 * NS_PER_S]
    pacer = EventTime(Script(ticks_at(*times)), speed)
    pacer.start(START)
    seen = [(r[2] - TS0, b.due - START) for b in on_time(pacer) for r in records_of(b.batch)]
    assert [time for time, _ in seen] == times
    assert all(abs(due - time / speed) <= 1 for time, due in seen)


def test_records_of_one_instant_are_one_burst() -> None:
    pacer = EventTime(Script(ticks_at(0, 0, 0, 5 * MS, 5 * MS)), 1)
    pacer.start(START)
    assert dues([pacer.take(0), pacer.take(0)]) == [(3, 0), (2, 5 * MS)]


def test_who_is_late_gets_at_most_a_millisecond_at_once() -> None:
    pacer = EventTime(Script(ticks_at(*range(0, 10 * MS, MS // 4))), 1)
    pacer.start(START)
    assert dues([pacer.take(START + 900 * MS) for _ in range(3)]) == [
        (5, 0),
        (5, 5 * MS // 4),
        (5, 10 * MS // 4),
    ]
    assert pacer.resyncs == 0


def test_each_epoch_starts_when_the_last_record_of_the_one_before_was_due() -> None:
    source = Passes(Script(ticks_at(0, 3 * MS, 10 * MS)), loop=True)
    pacer = EventTime(source, 2)
    pacer.start(START)
    times = []
    for _ in range(9):  # bursts: EPOCH with the first tick, then two ticks
        batch, due = pacer.take(pacer.next_due() + 700 * MS)
        times += [due - START] * batch.size
    passes = [0, 0, 1.5 * MS, 5 * MS]
    assert times == [5 * MS * k + time for k in range(3) for time in passes]


def test_a_burst_never_reaches_into_the_next_epoch() -> None:
    records = [(Kind.EPOCH, 0, TS0), *ticks_at(0), (Kind.EPOCH, 0, TS0), *ticks_at(0)]
    pacer = EventTime(Script(records), 1)
    pacer.start(START)
    assert dues([pacer.take(START + MS), pacer.take(START + MS)]) == [(2, 0), (2, 0)]


def test_an_epoch_may_begin_at_any_earlier_or_later_time() -> None:
    records = [
        (Kind.EPOCH, 0, TS0),
        *ticks_at(0, MS),
        (Kind.EPOCH, 0, 0),
        (Kind.TICK, 9, 0),
        (Kind.TICK, 9, 2 * MS),
        (Kind.EPOCH, 0, 2 * TS0),
        (Kind.TICK, 9, 2 * TS0),
    ]
    pacer = EventTime(Script(records), 1)
    pacer.start(START)
    assert dues(on_time(pacer)) == [(2, 0), (1, MS), (2, MS), (1, 3 * MS), (2, 3 * MS)]


def test_time_marks_leave_at_their_own_time() -> None:
    pacer = EventTime(TimeMarks(Passes(Script(ticks_at(0, 50 * MS)), loop=False)), 10)
    pacer.start(START)
    left = [(Kind(kind).name, due - START) for batch, due in on_time(pacer) for kind in batch.kinds]
    marks = [("TIME", MS), ("TIME", 2 * MS), ("TIME", 4 * MS)]
    assert left == [("EPOCH", 0), ("TICK", 0), *marks, ("TICK", 5 * MS), ("END", 5 * MS)]


def test_more_than_a_second_behind_event_time_starts_anew_and_is_counted() -> None:
    pacer = EventTime(Script(ticks_at(0, 10 * MS, 20 * MS, 30 * MS)), 1)
    pacer.start(START)
    pacer.take(START)
    late = START + 10 * MS + HOPELESS_NS + 1
    assert dues([pacer.take(late)]) == [(1, late - START)]
    assert pacer.next_due() == late + 10 * MS
    assert pacer.resyncs == 1


def test_the_last_instant_of_int64_is_reached() -> None:
    pacer = EventTime(Script([(Kind.TICK, 1, TS0), (Kind.TICK, 2, 2**63 - 1)]), 1e9)
    pacer.start(START)
    assert [record[1] for burst in on_time(pacer) for record in records_of(burst.batch)] == [1, 2]


# --------------------------------------------------------------------------------------------- flat out


def test_flat_out_everything_is_due_now() -> None:
    pacer = Unpaced(Script(ticks_at(*range(10_000))))
    pacer.start(START)
    assert not pacer.paced
    bursts = [pacer.take(START + i) for i in range(3)]
    assert dues(bursts) == [(4096, 0), (4096, 1), (10_000 - 8192, 2)]
    assert pacer.ended


def test_paced_sources_say_so() -> None:
    assert TicksPerSecond(Endless(), 1).paced
    assert EventTime(Script(ticks_at(0)), 1).paced


# ----------------------------------------------------------------------------------------- any of them

steps = st.one_of(st.just(0), st.integers(0, 3 * MS), st.integers(0, 5 * NS_PER_S))


@st.composite
def scripts(draw: st.DrawFn) -> list[Record]:
    """Some epochs of ticks, news and marks, valued by their place."""
    records: list[Record] = []
    for _ in range(draw(st.integers(0, 4))):
        time = draw(st.integers(0, 2 * TS0))
        kinds = draw(st.lists(st.sampled_from([Kind.TICK, Kind.TICK, Kind.NEWS, Kind.TIME]), max_size=12))
        for kind in (Kind.EPOCH, *kinds):
            records.append((kind, len(records), time))
            time += draw(steps)
    return records


pacers = st.one_of(
    st.just(Unpaced),
    st.floats(0.1, 1e6).map(lambda rate: lambda source: TicksPerSecond(source, rate)),
    st.floats(0.01, 1e6).map(lambda speed: lambda source: EventTime(source, speed)),
)
clocks = st.lists(
    st.one_of(st.integers(0, 2 * MS), st.integers(0, 3 * NS_PER_S), st.just(-1)), min_size=1, max_size=20
)


@given(scripts(), st.integers(1, 20), pacers, clocks)
@settings(deadline=None, max_examples=300)
def test_whatever_the_clock_does_no_record_is_lost_repeated_or_out_of_place(
    records: list[Record], by: int, make: MakePacer, clock: list[int]
) -> None:
    pacer = make(Script(records, by))
    pacer.start(START)
    now, last_due, i = START, START, 0
    handed_out: list[Record] = []
    while not pacer.ended:
        step = clock[i % len(clock)]
        now = max(now, pacer.next_due()) if step < 0 else now + step
        resyncs, expected = pacer.resyncs, pacer.next_due()
        batch, due = pacer.take(now)
        assert batch.size
        assert due >= last_due
        if pacer.paced:
            assert due == (expected if pacer.resyncs == resyncs else now)
            assert now - due <= HOPELESS_NS
        handed_out += records_of(batch)
        last_due = due
        i += 1
    assert handed_out == records


def test_the_source_is_read_on_after_the_last_records_were_handed_out_not_before() -> None:
    source = Script(ticks_at(*range(10)), by=5)
    records = Lookahead(source)
    records.take_ticks(5)
    assert source.reads == 1
    assert not records.ended
    assert source.reads == 2


@pytest.mark.parametrize("make", [Unpaced, lambda s: TicksPerSecond(s, 5), lambda s: EventTime(s, 1)])
def test_a_source_without_records_has_ended_at_once(make: MakePacer) -> None:
    pacer = make(Script([]))
    pacer.start(START)
    assert pacer.ended


# ---------------------------------------------------------------------------------- held, faster, otherwise


@given(scripts(), st.integers(1, 20), pacers, st.lists(st.integers(0, 9 * NS_PER_S), min_size=1, max_size=9))
@settings(deadline=None, max_examples=200)
def test_what_was_held_is_due_exactly_so_much_later_and_is_no_resync(
    records: list[Record], by: int, make: MakePacer, holds: list[int]
) -> None:
    free, held = make(Script(records, by)), make(Script(records, by))
    free.start(START)
    held.start(START)
    total = i = 0
    while not free.ended:
        if held.paced:
            total += holds[i % len(holds)]
            held.delay(holds[i % len(holds)])
        expected, found = free.take(free.next_due()), held.take(held.next_due())
        assert found.due == expected.due + total
        assert records_of(found.batch) == records_of(expected.batch)
        i += 1
    assert held.ended
    assert held.resyncs == 0


def test_event_time_goes_on_from_where_it_stands_at_another_speed() -> None:
    pacer = EventTime(Script(ticks_at(0, 100 * MS, 200 * MS, 300 * MS)), 1)
    pacer.start(START)
    pacer.take(START)
    pacer.set_speed(2, START + 60 * MS)  # 40 ms of event time are left to the next one
    assert [burst.due - START for burst in on_time(pacer)] == [80 * MS, 130 * MS, 180 * MS]


def test_a_rate_goes_on_from_where_it_stands_at_another_speed() -> None:
    pacer = TicksPerSecond(Endless(), 10)
    pacer.start(START)
    pacer.take(START)
    pacer.set_speed(10, START + 60 * MS)  # 40 % of the way are left
    bursts = [pacer.take(pacer.next_due()) for _ in range(3)]
    assert [burst.due - START for burst in bursts] == [64 * MS, 74 * MS, 84 * MS]
    pacer.set_speed(1, START + 84 * MS)
    assert pacer.next_due() == START + 184 * MS


def test_a_speed_is_a_factor_on_the_configured_rate_not_on_the_last_speed() -> None:
    pacer = TicksPerSecond(Endless(), 1000)
    pacer.start(START)
    for speed, size in ((2, 2), (2, 2), (100, 100), (1, 1)):
        pacer.set_speed(speed, pacer.next_due())
        assert [pacer.take(pacer.next_due()).batch.size for _ in range(3)] == [size] * 3


@given(st.floats(1e-6, 1e9), st.floats(1e-6, 1e9), st.integers(0, HOPELESS_NS))
@pytest.mark.parametrize(
    "make", [partial(TicksPerSecond, Endless()), partial(EventTime, Script(ticks_at(0, 100 * MS, 200 * MS)))]
)
@settings(deadline=None, max_examples=150)
def test_what_is_late_stays_as_late_at_any_other_speed(
    make: Callable[[float], Pacer], before: float, after: float, late: int
) -> None:
    pacer = make(before)
    pacer.records.restart(None)
    pacer.start(START)
    pacer.take(START)
    due = pacer.next_due()
    pacer.set_speed(after, due + late)
    assert pacer.next_due() == due
    assert pacer.take(due + late).due == due
    assert pacer.resyncs == 0


def test_flat_out_there_is_no_speed() -> None:
    with pytest.raises(ValueError, match="as fast as it can"):
        Unpaced(Script(ticks_at(0))).set_speed(2, START)


class Rising(Script):
    """Ticks whose model adds `by` to every value from the change on, as a market with a model would."""

    def restart(self, seed: int | None = None) -> None:
        super().restart(seed)
        self.seed = seed

    def set_model(self, changes: Mapping[str, float], unsent: int = 0) -> Int64Array:
        by = int(changes["by"])
        if by < 0:
            raise ValueError("by must not be negative")
        first = self._at - unsent
        self._all = revised(self._all, self._all.values + by * (np.arange(self._all.size) >= first))
        return self._all.values[first : self._at]


@given(st.integers(0, 12), st.integers(1, 6), pacers)
def test_a_model_changes_from_the_next_record_handed_out_whatever_was_read_ahead(
    taken: int, by: int, make: MakePacer
) -> None:
    pacer = make(Rising(ticks_at(*range(0, 12 * 3 * MS, 3 * MS)), by))
    pacer.start(START)
    before: list[Record] = []
    while not pacer.ended and len(before) < taken:
        before += records_of(pacer.take(pacer.next_due()).batch)
    pacer.records.set_model({"by": 100})
    with pytest.raises(ValueError, match="negative"):
        pacer.records.set_model({"by": -1})
    after = [record for burst in on_time(pacer) for record in records_of(burst.batch)]
    values = [value for _, value, _ in before + after]
    assert values == [n if n <= len(before) else n + 100 for n in range(1, 13)]


@pytest.mark.parametrize("make", [Unpaced, lambda s: TicksPerSecond(s, 5), lambda s: EventTime(s, 1)])
def test_a_restart_forgets_what_was_read_ahead_also_after_the_end(make: MakePacer) -> None:
    source = Rising(ticks_at(0, MS, 2 * MS))
    pacer = make(source)
    pacer.start(START)
    for seed, count in ((None, 1), (7, 3)):
        for _ in range(count):
            if not pacer.ended:
                pacer.take(pacer.next_due())
        pacer.records.restart(seed)
        pacer.start(START)
        assert source.seed == seed
    assert [record for burst in on_time(pacer) for record in records_of(burst.batch)] == ticks_at(
        0, MS, 2 * MS
    )
