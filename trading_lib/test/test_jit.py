"""What warming kernels does to the process, and does not."""

import subprocess
import sys

import pytest

from testing.harness import ROOT
from trading_lib.jit import compiled

pytest.importorskip("scipy")
WARM: str = """
import sys
{before}
from trading_lib.jit import warm
from OrderBook.compiled_ingest import warm_up
warm("OrderBook", lambda _: None, warm_up)
print(any(name.startswith("scipy.linalg") for name in sys.modules))
import scipy.stats
print(scipy.stats.norm.cdf(0.0))
"""


@pytest.mark.skipif(not compiled(), reason="there are no kernels in plain Python")
@pytest.mark.parametrize("before", ["", "import scipy"])
def test_warming_kernels_imports_no_linear_algebra_and_leaves_scipy_usable(before: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WARM.format(before=before)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "0.5"]
