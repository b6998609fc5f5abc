"""A segment name for each test, and the proof that the test left nothing under it."""

from collections.abc import Iterator

import pytest

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
