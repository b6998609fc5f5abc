"""Run the dashboard alone: `python Dashboard/run.py [config.json]`."""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ["ALGOSIM_PURE_PYTHON"] = "1"  # it has no kernel to run: Numba would cost it 140 MB

from Dashboard.process import serve  # noqa: E402
from runtime.part import run_part  # noqa: E402

if __name__ == "__main__":
    sys.exit(run_part("dashboard", serve))
