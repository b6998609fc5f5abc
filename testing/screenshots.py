"""The pictures in docs/screens/, made from a running system: `python -m testing.screenshots`.

Starts main.py on the shipped data with three strategies, on free ports and in a folder of its own, and looks at each
page with headless Chromium.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from Dashboard.test.browser import Dashboard, browser, dashboard
from testing.harness import ROOT

SCREENS: Final = ROOT / "docs/screens"
SIZE: Final = (1280, 720)
PHONE: Final = (390, 844)
MARKET_S: Final = 25  # so long the market runs before the first look
STRATEGIES: Final = [
    {"id": "sma_news", "path": "strategies/sma_news/strategy.py"},
    {"id": "mean_reversion", "path": "strategies/mean_reversion/strategy.py"},
    {"id": "momentum", "path": "strategies/momentum/strategy.py"},
]


def clock(page: Any) -> None:
    """Until the header has the market's time."""
    page.wait_for_function("document.getElementById('clock')?.textContent.length > 8")


def picture(page: Any, name: str, ready: str, settle_s: float = 3.0) -> None:
    """One page, when `ready` is on it and its charts have been drawn a few times."""
    page.locator(ready).first.wait_for()
    time.sleep(settle_s)
    SCREENS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png")
    page.close()
    print(f"docs/screens/{name}.png")


def look(system: Dashboard, open_page: Callable[..., Any]) -> None:
    """Every page."""
    url = system.url
    live = open_page(f"{url}/?symbol=AAPL&strategy=sma_news", *SIZE)
    clock(live)
    picture(live, "live", ".price canvas")
    picture(
        open_page(f"{url}/?symbol=MSFT&drawer=market", *SIZE, color_scheme="dark"), "live-dark", ".ag-row", 6
    )
    picture(open_page(f"{url}/?symbol=AAPL", *PHONE), "live-phone", ".price canvas")
    picture(open_page(f"{url}/lab", *SIZE), "lab", ".cm-editor")
    picture(open_page(f"{url}/system", *SIZE), "system", "canvas")
    picture(open_page(f"{url}/runs", *SIZE), "runs", ".ag-row")
    picture(open_page(f"{url}/runs/{system.run_dir.name}", *SIZE), "slider", "canvas", 8)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        strategy = {"strategies": STRATEGIES}
        with dashboard(Path(folder), Strategy=strategy) as running, browser() as opened:
            time.sleep(MARKET_S)
            look(running, opened)
