"""Curves and traces never grow beyond their bound, and keep what a person looks for."""

from hypothesis import given
from hypothesis import strategies as st

from Dashboard import curve, traces
from Dashboard.curve import Curve
from Dashboard.traces import Trace, Traces


def test_a_full_curve_keeps_its_lowest_its_highest_its_first_order_and_its_last_point() -> None:
    line = Curve(1)
    for at in range(1, 20_001):
        line.add(at * 1_000_000, 500.0 if at == 7_001 else -3.0 if at == 9_002 else float(at % 97))
    values = [value for _, value in line.points]
    assert 0.4 < len(values) / curve.CAPACITY <= 1
    assert sorted(values)[:: len(values) - 1] == [-3.0, 500.0]
    assert line.points[-1] == (20_000.0, float(20_000 % 97))
    assert [ms for ms, _ in line.points] == sorted({ms for ms, _ in line.points})


def test_a_second_point_at_the_same_time_replaces_the_first_and_an_earlier_one_is_not_taken() -> None:
    line = Curve(1)
    for ts, value in ((5_000_000, 1.0), (5_000_000, 2.0), (4_000_000, 3.0)):
        line.add(ts, value)
    assert line.points == [(5.0, 2.0)]


def status(*samples: tuple[int, float], names: tuple[str, ...] = ("SMA(5)",)) -> dict[str, object]:
    return {
        "strategy": "s",
        "trace_names": list(names),
        "trace": [[str(ts * 1_000_000), [value]] for ts, value in samples],
    }


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 59))
def test_who_comes_back_gets_exactly_what_it_lacks_or_is_told_to_begin_anew(
    sizes: list[int], at: int
) -> None:
    trace, ts, sent = Trace(["x"]), 0, []
    for size in sizes:
        step: list[tuple[float, list[float | None]]] = [(float(ts + k), [1.0]) for k in range(size)]
        ts += size
        trace.add(step)
        sent.append(step)
    at = min(at, len(sizes))
    found = trace.after(at)
    if len(sizes) - at > traces.STEPS:
        assert found is None
    else:
        assert found == [sample for step in sent[at:] for sample in step]


def test_a_trace_never_grows_beyond_its_bound() -> None:
    trace = Trace(["x"])
    for ts in range(3 * traces.CAPACITY):
        trace.add([(float(ts), [0.5])])
    assert len(trace.samples) <= traces.CAPACITY
    assert trace.samples[-1][0] == 3 * traces.CAPACITY - 1


def test_an_epoch_begins_a_trace_anew_with_what_stands_behind_the_step_back_in_time() -> None:
    known = Traces()
    known.take([status((10, 1.0), (20, 2.0))])
    known.take([status((30, 3.0), (1, 9.0), (2, 8.0))])
    assert known.by_strategy["s"].samples == [(1.0, [9.0]), (2.0, [8.0])]


def test_an_epoch_that_is_past_the_one_before_at_its_first_sample_begins_a_trace_anew() -> None:
    known = Traces()
    known.take([status((10, 1.0), (20, 2.0)) | {"epochs": 1}])
    known.take([status((50, 3.0)) | {"epochs": 2}])
    assert known.by_strategy["s"].samples == [(50.0, [3.0])]


def test_a_strategy_that_has_stopped_in_an_epoch_has_no_samples_in_the_next() -> None:
    known = Traces()
    gone, alive = status((10, 1.0)), status((10, 1.0)) | {"strategy": "alive"}
    known.take([gone, alive], book_epochs=1)
    before = known.by_strategy["s"]
    known.take([gone | {"trace": []}, status((20, 2.0)) | {"strategy": "alive"}], book_epochs=2)
    assert known.by_strategy["s"] is not before, "who listens begins anew"
    assert known.by_strategy["s"].samples == []
    assert [ms for ms, _ in known.by_strategy["alive"].samples] == [10.0, 20.0]


def test_samples_that_were_taken_before_are_not_taken_twice() -> None:
    known = Traces()
    known.take([status((10, 1.0), (20, 2.0))])
    known.take([status((20, 2.0), (30, 3.0))])
    assert [ms for ms, _ in known.by_strategy["s"].samples] == [10.0, 20.0, 30.0]


def test_one_more_indicator_has_no_values_before_it_was_made() -> None:
    known = Traces()
    known.take([status((10, 1.0))])
    trace = known.by_strategy["s"]
    number = trace.number
    known.take([{"strategy": "s", "trace_names": ["SMA(5)", "EMA(9)"], "trace": [["20000000", [2.0, 3.0]]]}])
    assert known.by_strategy["s"] is trace
    assert trace.samples == [(10.0, [1.0, None]), (20.0, [2.0, 3.0])]
    assert trace.after(number) is None, "who listens must learn the names"


def test_other_indicators_are_another_trace() -> None:
    known = Traces()
    known.take([status((10, 1.0))])
    known.take([status((20, 2.0), names=("EMA(5)",))])
    assert known.by_strategy["s"].names == ["EMA(5)"]
    assert len(known.by_strategy["s"].samples) == 1
