"""The end of a run with a duration: exactly so many ticks, or so much event time, then one END."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers import Batch, Limit, Passes
from Gateway.providers.provider import Provider, take
from trading_lib.models import Kind

Record = tuple[str, int]  # kind, time


class Script(Provider):
    """The given records."""

    symbols, decimals = ("A",), (0,)

    def __init__(self, records: list[Record]) -> None:
        kinds = np.array([Kind[kind] for kind, _ in records], np.uint8)
        zeros = np.zeros(len(records), np.int64)
        times = np.array([time for _, time in records], np.int64)
        self._all = Batch(kinds, zeros.astype(np.int32), zeros, times)
        self._at = 0
        self.closed = False

    def read(self, limit: int) -> Batch:
        batch = self._all.slice(self._at, self._at + limit)
        self._at += batch.size
        return batch

    def restart(self, seed: int | None = None) -> None:  # noqa: ARG002  # the same for every seed
        self._at = 0

    def close(self) -> None:
        self.closed = True


def ticks(*times: int) -> list[Record]:
    return [("TICK", time) for time in times]


def shown(provider: Provider, by: int = 3, count: int = 1000) -> list[Record]:
    batch = take(provider, count, by)
    return [(Kind(kind).name, time) for kind, time in zip(batch.kinds, batch.times.tolist(), strict=True)]


def test_after_so_many_ticks_comes_the_end_at_the_last_records_time() -> None:
    assert shown(Limit(Script(ticks(5, 6, 7, 8)), ticks=3)) == [*ticks(5, 6, 7), ("END", 7)]


@pytest.mark.parametrize("by", [1, 2, 3, 100])
def test_what_stands_between_the_last_tick_and_the_next_goes_with_the_last(by: int) -> None:
    records = [("TICK", 5), ("NEWS", 5), ("TIME", 6), ("TICK", 7), ("NEWS", 7)]
    assert shown(Limit(Script(records), ticks=1), by) == [*records[:3], ("END", 6)]


@pytest.mark.parametrize("by", [1, 2, 3, 4, 5, 6, 100])
def test_a_run_that_ends_with_a_pass_begins_no_other_epoch(by: int) -> None:
    one_pass = [("EPOCH", 5), *ticks(5, 8)]
    assert shown(Limit(Passes(Script(ticks(5, 8)), loop=True), ticks=4), by) == [*one_pass * 2, ("END", 8)]
    assert shown(Limit(Passes(Script(ticks(5, 8)), loop=True), ticks=3), by) == [
        *one_pass,
        *one_pass[:2],
        ("END", 5),
    ]


@pytest.mark.parametrize("by", [1, 2, 100])
@pytest.mark.parametrize("limit", [{"ticks": 2}, {"ticks": 3}, {"duration_ns": 1000}])
def test_a_source_that_ends_first_has_one_end(limit: dict[str, int], by: int) -> None:
    records = [("EPOCH", 5), *ticks(5, 8), ("END", 8)]
    assert shown(Limit(Passes(Script(ticks(5, 8)), loop=False), **limit), by) == records


def test_no_ticks_at_all_is_an_end() -> None:
    assert [kind for kind, _ in shown(Limit(Script(ticks(5)), ticks=0))] == ["END"]


def test_a_duration_ends_before_the_record_at_its_last_instant() -> None:
    assert shown(Limit(Script(ticks(100, 105, 110, 111)), duration_ns=10)) == [*ticks(100, 105), ("END", 105)]


@pytest.mark.parametrize("by", [1, 2, 3, 100])
def test_event_time_adds_up_over_epochs(by: int) -> None:
    limited = Limit(Passes(Script(ticks(100, 104, 110)), loop=True), duration_ns=25)
    one_pass = [("EPOCH", 100), *ticks(100, 104, 110)]
    assert shown(limited, by) == [*one_pass * 2, *one_pass[:3], ("END", 104)]


def test_a_duration_may_reach_beyond_the_end_of_time() -> None:
    last = 2**63 - 1
    assert shown(Limit(Script(ticks(last - 9)), duration_ns=9 * 10**18)) == ticks(last - 9)


@given(
    st.lists(st.sampled_from(["TICK", "NEWS", "TIME", "EPOCH"]), max_size=20),
    st.integers(0, 12),
    st.integers(1, 7),
)
@settings(deadline=None, max_examples=150)
def test_where_reads_stop_changes_nothing(kinds: list[str], count: int, by: int) -> None:
    records = [(kind, time) for time, kind in enumerate(kinds)]
    for limit in ({"ticks": count}, {"duration_ns": count}):
        whole = shown(Limit(Script(records), **limit), by=1000)
        assert shown(Limit(Script(records), **limit), by) == whole
        assert sum(kind == "END" for kind, _ in whole) <= 1
        body = [record for record in whole if record[0] != "END"]
        assert body == records[: len(body)]
    assert sum(kind == "TICK" for kind, _ in shown(Limit(Script(records), ticks=count))) == min(
        count, kinds.count("TICK")
    )


def test_restarted_it_gives_the_same_again() -> None:
    limited = Limit(Passes(Script(ticks(5, 8)), loop=True), ticks=3)
    first = shown(limited)
    limited.restart()
    assert shown(limited) == first


def test_closing_it_closes_its_source() -> None:
    source = Script([])
    Limit(source, ticks=1).close()
    assert source.closed


@pytest.mark.parametrize("limits", [{}, {"ticks": 1, "duration_ns": 1}])
def test_exactly_one_limit_is_to_be_given(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either ticks or duration_ns"):
        Limit(Script([]), **limits)
