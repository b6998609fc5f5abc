"""A whole system with its dashboard on free ports, and a real browser in front of it.

with dashboard(tmp_path) as system, browser() as open_page:
    page = open_page(system.url)
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from runtime.status_socket import connect
from testing.harness import free_port, running, system_config, wait_until, write_config

CHROMIUM: Final = shutil.which("chromium")
QUIET: Final = (  # no sandbox: tests may run as root; nothing of the browser's own goes to the network
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)
OpenPage = Callable[..., Any]


class Dashboard:
    """A running system and where its dashboard answers."""

    def __init__(self, process: Any, tree: dict[str, Any], folder: Path) -> None:
        self.process = process
        self.tree = tree
        self.folder = folder
        self.url = f"http://127.0.0.1:{tree['Dashboard']['port']}"
        wait_until(
            lambda: self.api("state").get("ticks", 0) > 0, f"the dashboard to see ticks:\n{process.output}"
        )
        self.run_dir = folder / "runs" / str(self.api("state")["run_id"])
        wait_until(
            lambda: "paused" in self.status()["parts"]["gateway"], "the Gateway, started last, to report"
        )

    def api(self, path: str) -> Any:
        """The answer of a GET below /api; an empty object while nobody answers."""
        try:
            return httpx.get(f"{self.url}/api/{path}", timeout=10, trust_env=False).json()
        except httpx.TransportError:
            return {}

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """A POST below /api."""
        return httpx.post(f"{self.url}/api/{path}", json=body, headers=headers, timeout=20, trust_env=False)

    def status(self) -> dict[str, Any]:
        """The next status of main.py."""
        with connect(self.run_dir / "status.sock") as line, line.makefile() as lines:
            status: dict[str, Any] = json.loads(lines.readline())
            return status


@contextlib.contextmanager
def dashboard(folder: Path, **changes: Any) -> Iterator[Dashboard]:
    """A whole system with a dashboard; `changes` are of its configuration.

    In plain Python: what a page shows is the same, and to start takes half as long.
    """
    tree = system_config(folder, Recorder={"enabled": True})
    tree["Dashboard"] = {"enabled": True, "port": free_port(), **changes.pop("Dashboard", {})}
    for section, values in changes.items():
        tree[section] = {**tree[section], **values} if isinstance(values, dict) else values
    config = write_config(folder, tree)
    with running(["main.py", str(config)], folder, {"ALGOSIM_PURE_PYTHON": "1"}) as process:
        try:
            yield Dashboard(process, tree, folder)
        finally:
            process.stop()


@contextlib.contextmanager
def browser() -> Iterator[OpenPage]:
    """Opens pages; what a page's own scripts complain of fails the test at the end."""
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:

            def open_page(url: str, width: int = 1280, height: int = 720, **options: Any) -> Any:
                page = chromium.new_page(viewport={"width": width, "height": height}, **options)
                page.set_default_timeout(30_000)
                page.on("pageerror", lambda fault: faults.append(f"{page.url}: {fault}"))
                page.goto(url)
                return page

            yield open_page
        finally:
            chromium.close()
    assert not faults, "\n".join(faults)


def text(page: Any, selector: str) -> str:
    """What the first element of a page that a selector finds says."""
    return str(page.locator(selector).first.text_content())
