"""Two recorded runs for every test of the lab that looks at one."""

from pathlib import Path

import pytest

from lab.test.live import market, recorded


@pytest.fixture(scope="session", params=[3, 11], ids=["seed 3", "seed 11"])
def live_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: three strategies on one market, market, limit and stop orders, denials, `on_fill`."""
    return recorded(tmp_path_factory.mktemp("live"), **market(request.param))
