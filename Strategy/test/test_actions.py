"""A run's control.jsonl, followed while it is written."""

import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from Strategy.actions import ActionFollower
from trading_lib.control import HotReload, Params

LINES = (
    b'{"id":1,"ts_wall":"5","action":"params","strategy":"mine","params":{"n":1}}\n'
    b'{"id":2,"ts_wall":"6","action":"pause"}\n'
    b'{"id":3,"ts_wall":"7","action":"hot_reload","on":false}\n'
)


def test_a_file_that_is_not_there_yet_says_nothing(tmp_path: Path) -> None:
    follower = ActionFollower(tmp_path / "control.jsonl")
    assert follower.take() == {}
    (tmp_path / "control.jsonl").write_bytes(LINES)
    assert list(follower.take()) == [1, 3]
    follower.close()
    follower.close()


@given(st.lists(st.integers(0, len(LINES)), max_size=6))
def test_wherever_a_write_is_seen_every_action_is_taken_once_and_in_order(cuts: list[int]) -> None:
    with tempfile.NamedTemporaryFile() as file, closing(ActionFollower(Path(file.name))) as follower:
        found = []
        for begin, end in pairwise([0, *sorted(cuts), len(LINES)]):
            file.write(LINES[begin:end])
            file.flush()
            found += list(follower.take().items())
    assert found == [(1, Params(strategy="mine", params={"n": 1})), (3, HotReload(on=False))]
