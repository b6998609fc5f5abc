"""What the pages' tests share."""

from collections.abc import Iterator

import pytest

from Dashboard.test.browser import OpenPage, browser


@pytest.fixture(scope="module")
def open_page() -> Iterator[OpenPage]:
    """Opens pages in one browser for a module; what their scripts complain of fails it at its end."""
    with browser() as opened:
        yield opened
