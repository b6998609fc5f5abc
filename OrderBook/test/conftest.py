"""What several tests of the OrderBook begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from OrderBook.test.control_room import Room, open_room
from shared_memory.segment import SHM_DIR
from testing.harness import segment_name, segments


@pytest.fixture
def name() -> Iterator[str]:
    """A name of this test's own; nothing may be left under it."""
    own = segment_name()
    yield own
    left = segments(own)
    for each in left:
        (SHM_DIR / each).unlink(missing_ok=True)
    assert left == []


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with open_room(tmp_path) as room:
        yield room
