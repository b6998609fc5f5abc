"""Whatever a worker says, what is passed on of it is short."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from configuration.sections import MAX_STRATEGIES
from runtime.child import MAX_LINE
from Strategy.bounds import (
    DEPTH,
    ENTRIES,
    MOST,
    ROOM,
    SUMMARY_ROOM,
    TEXT,
    TEXT_BYTES,
    bounded,
    bounded_message,
)
from Strategy.messages import Failed, Status

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=50)
TEXT_FIELDS = (
    5  # of a strategy's status that user code has a say in: error, slow_at, last_error, diverged, version
)
NUMBERS = 1000  # bytes of the other fields of a strategy's status, with their names


def size(value: object) -> int:
    return len(msgspec.json.encode(value))


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(TREES, st.integers(0, 2000))
def test_whatever_it_is_fits_the_room_and_is_not_deep(tree: Any, room: int) -> None:
    found, _ = bounded({"x": [tree]}, room)
    assert size(found) <= size({"x": []}) + room
    assert depth(found["x"]) <= DEPTH


@given(st.dictionaries(st.text(max_size=20), st.integers(-MOST, MOST) | st.text(max_size=100), max_size=20))
def test_what_is_small_stays_as_it_is(table: dict[str, Any]) -> None:
    assert bounded({"why": table}, 1 << 16) == ({"why": table}, 0)


def test_what_finds_no_room_is_counted_and_what_was_first_stays() -> None:
    found, cut = bounded(
        {"a": {str(i): i for i in range(ENTRIES + 10)}, "b": list(range(ENTRIES + 5))}, 1 << 20
    )
    assert (len(found["a"]), len(found["b"]), cut) == (ENTRIES, ENTRIES, 15)
    found, cut = bounded({"first": [1, 2], "second": [3, 4], "count": 5}, 80)
    assert (found, cut) == ({"first": [1, 2], "second": [3], "count": 5}, 1)


@given(st.text(min_size=TEXT))
def test_a_long_text_is_cut_and_shows_it(text: str) -> None:
    for long in (text, text * 10):
        (found,) = bounded({"text": long}, 0)[0].values()
        assert size(found) <= TEXT_BYTES + 5
        assert found == long or (found.endswith("…") and long.startswith(found[:-1]))


def test_a_message_stays_one() -> None:
    assert bounded_message(Failed("x" * 9000)) == (Failed("x" * (TEXT - 1) + "…"), 0)
    status, cut = bounded_message(
        Status(ticks=10**900, why={"x" * 9000: 1}, indicators={"a": [[[[[[[[[1]]]]]]]]]})
    )
    assert (status.ticks, list(status.why), cut) == (MOST, ["x" * (TEXT - 1) + "…"], 1)


def test_the_status_of_as_many_strategies_as_there_may_be_fits_a_line_to_the_supervisor() -> None:
    assert ROOM + SUMMARY_ROOM + MAX_STRATEGIES * (TEXT_FIELDS * TEXT_BYTES + NUMBERS) < MAX_LINE
