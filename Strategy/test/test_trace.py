"""Values of indicators on their way from a host to a chart."""

import re
from itertools import count
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from runtime.part import EXIT_OK
from Strategy.messages import TRACED, FromWorker, Traced
from Strategy.test.stage import TS, stage
from Strategy.trace import KEPT_OF_ALL, Trace, Tracer, interval

VALUES = st.floats() | st.integers() | st.text() | st.none()
NAMES = st.lists(st.text(max_size=3), max_size=20, unique=True)


class One:
    """An indicator of one number."""

    def __init__(self, value: object) -> None:
        self.value = value


class Two(One):
    """One of two."""

    parts = ("low", "high")


def sampled(tracer: Tracer, *values: dict[str, object]) -> Traced:
    for number, found in enumerate(values):
        tracer.sample(float(number), TS + number, found)
    traced = tracer.take()
    assert traced is not None
    return traced


def test_a_sample_is_due_when_its_time_has_come() -> None:
    tracer = Tracer(0.05)
    tracer.sample(10.0, TS, {"a": One(1.0)})
    assert tracer.due == 10.05


def test_the_more_strategies_there_are_the_rarer_are_the_samples_of_each() -> None:
    assert [interval(n) for n in (1, 10, 64)] == [0.05, 0.05, 0.32]


def test_an_indicator_keeps_its_place_and_is_none_while_it_is_not_there() -> None:
    traced = sampled(
        Tracer(0.05),
        {"a": One(None)},
        {"a": One(1), "b": One(2.5)},
        {"b": One(3.5)},
        {"c": Two((1, None)), "a": One("x")},
        {"c": Two(None)},
    )
    assert traced.names == ["a", "b", "c low", "c high"]
    assert [values for _, values in traced.samples] == [
        [None],
        [1.0, 2.5],
        [None, 3.5],
        [None, None, 1.0, None],
        [None, None, None, None],
    ]
    assert [ts for ts, _ in traced.samples] == [str(TS + n) for n in range(5)]


def test_nothing_is_sampled_without_an_indicator_or_a_time() -> None:
    tracer = Tracer(0.05)
    tracer.sample(1.0, TS, {})
    tracer.sample(2.0, 0, {"a": One(1.0)})
    assert tracer.take() is None


def test_of_many_indicators_the_first_are_traced_whole() -> None:
    tracer = Tracer(0.05)
    made: dict[str, object] = {f"b{n}": Two((n, n)) for n in range(7)} | {f"a{n}": One(n) for n in range(5)}
    traced = sampled(tracer, made)
    assert traced.names[13:] == ["b6 high", "a0", "a1"]
    assert traced.samples[0][1][13:] == [6.0, 0.0, 1.0]


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=100),
            st.builds(One, VALUES) | st.builds(Two, VALUES | st.tuples(VALUES, VALUES) | st.tuples(VALUES)),
        ),
        max_size=90,
    )
)
def test_whatever_a_strategy_makes_of_its_indicators_a_trace_is_bounded_and_arrives(
    found: list[dict[str, One]],
) -> None:
    tracer = Tracer(0.05)
    for number, values in enumerate(found):
        tracer.sample(0.0, TS + number, values)
    traced = tracer.take()
    named = next((number for number, values in enumerate(found) if values), len(found))
    if traced is None:
        assert named == len(found)
    else:
        assert len(traced.samples) + traced.dropped == len(found) - named
        arrived = msgspec.json.decode(msgspec.json.encode(traced), type=FromWorker)
        assert [ts for ts, _ in arrived.samples] == [ts for ts, _ in traced.samples]
        assert len(arrived.names) == len(arrived.samples[-1][1]) <= TRACED


@given(st.lists(st.tuples(NAMES, st.integers(0, 64)), max_size=8), st.integers(1, 64))
def test_every_sample_is_given_once_or_counted_and_has_a_value_for_each_name(
    chunks: list[tuple[list[str], int]], strategies: int
) -> None:
    trace, number = Trace(strategies), count()
    given_ = 0
    for names, samples in chunks:
        trace.add(Traced(names, [(str(next(number)), [1.0]) for _ in range(samples)], 0))
        if samples % 2:
            taken = trace.take()
            given_ += len(taken)
            assert all(len(values) == len(trace.names) for _, values in taken)
            assert len(taken) <= max(1, KEPT_OF_ALL // strategies)
    assert given_ + len(trace.take()) + trace.dropped == next(number)


def test_a_version_with_other_indicators_begins_anew() -> None:
    trace = Trace(1)
    trace.add(Traced(["SMA(5)"], [("1", [1.0])], 0))
    trace.add(Traced(["SMA(5)", "SMA(9)"], [("2", [2.0, None])], 0))
    trace.add(Traced(["SMA(8)"], [("3", [3.0])], 2))
    assert (trace.names, trace.take(), trace.dropped) == (["SMA(8)"], [("3", [3.0])], 4)


def test_the_status_has_what_the_indicators_were_with_their_event_times(tmp_path: Path) -> None:
    source = """
        def init(ctx): ctx.average = ctx.indicator.SMA(2)
        def on_tick(ctx, tick): ctx.average.update(tick.price)
    """
    with stage(tmp_path, source, "-vv") as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: f"'trace': [('{TS}', [None])]" in s.process.output)
        m.put(2.0, 4.0)
        s.until(lambda: f"'trace': [('{TS + 1}', [3.0])]" in s.process.output)
        assert "'trace_names': ['SMA(2)']" in s.process.output
        assert s.stop() == EXIT_OK
    assert len(re.findall(rf"'{TS + 1}', ", s.process.output)) == 1
