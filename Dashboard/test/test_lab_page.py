"""The Lab page, used as a person uses it: a real system, a real browser, strategy files of the test's own."""

import json
import secrets
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import psutil
import pytest

from Dashboard.strategy_files import FILE
from Dashboard.test.browser import Dashboard, OpenPage, dashboard, needs_browser
from runtime.versions import Version
from testing.harness import wait_until

pytestmark = needs_browser

LOOKS = 'def on_tick(ctx, tick):\n    ctx.no_trade("only looking")\n'
BUYS = """def on_tick(ctx, tick):
    if ctx.position() == 0:
        ctx.place_market_order("BUY", 3, tag="edited")
"""
TOKEN = secrets.token_urlsafe()
OU = {"type": "ou", "kappa": 0.8, "sigma": 0.05}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "strategies"
    for name in ("probe", "other"):
        (folder / name).mkdir(parents=True)
        (folder / name / FILE).write_text(LOOKS)
    return folder


@pytest.fixture(scope="module")
def system(files: Path) -> Iterator[Dashboard]:
    entries = [{"id": name, "path": str(files / name / FILE)} for name in ("probe", "other")]
    with dashboard(
        files.parent,
        symbols=["OU"],
        Gateway={
            "provider": "simulated",
            "model": OU,
            "pace": {"mode": "event"},
            "schedule": {"dt_fixed_ms": 20},
        },
        Strategy={"strategies": entries},
        Dashboard={"strategies_dir": str(files), "host": "0.0.0.0", "token": TOKEN},
    ) as running:
        yield running


@pytest.fixture
def page(system: Dashboard, files: Path, open_page: OpenPage) -> Iterator[Any]:
    """Lab with the file of `probe`, as it was in the beginning, in the editor."""
    file = files / "probe" / FILE
    file.write_text(LOOKS)
    wait_until(lambda: strategy(system)["version"] == Version(file).name, "the first version to run")
    opened = open_page(f"{system.url}/lab?file=probe")
    opened.wait_for_function("document.querySelectorAll('#leaders tbody tr').length === 2")
    opened.locator(".cm-content", has_text="def on_tick").wait_for()
    yield opened
    opened.close()


def says(page: Any, selector: str, words: str) -> None:
    page.locator(selector, has_text=words).first.wait_for()


def write(page: Any, source: str, save: str = "Control+s") -> None:
    """Put a text into the editor in place of what is there, and save it by a key; "": do not."""
    page.click(".cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(source)
    if save:
        page.keyboard.press(save)


def strategy(system: Dashboard, name: str = "probe") -> dict[str, Any]:
    found = system.api("strategies").get("strategies", [])
    return next((one for one in found if one["strategy"] == name), {"version": "", "state": "", "fills": 0})


def test_an_edit_that_is_saved_trades_and_one_that_is_broken_says_in_which_line(
    system: Dashboard, files: Path, page: Any
) -> None:
    says(page, "#why", "only looking")
    before = strategy(system)["version"]
    write(page, BUYS)
    says(page, ".q-notification", "saved, it takes over")
    assert (files / "probe" / FILE).read_text() == BUYS
    wait_until(lambda: strategy(system)["version"] not in ("", before), "another version to run")
    wait_until(
        lambda: any(fill["tag"] == "edited" for fill in system.api("fills")), "the new version to trade"
    )
    version = strategy(system)["version"]
    says(page, "#strategy-state", version[:8])
    write(page, BUYS.replace("== 0:", "== 0"))
    says(page, ".q-notification.bg-warning", "line 2: SyntaxError: expected ':'; the version before goes on")
    says(page, "#strategy-error", "line 2: SyntaxError")
    says(page, ".cm-line.failing", "if ctx.position() == 0")
    assert strategy(system)["version"] == version, "the old one goes on"
    write(page, LOOKS)
    page.wait_for_function("document.getElementById('strategy-error').textContent === ''")
    page.wait_for_function("document.querySelectorAll('.cm-line.failing').length === 0")


def test_without_hot_reload_what_is_saved_waits(system: Dashboard, files: Path, page: Any) -> None:
    version = strategy(system)["version"]
    page.click("#hot-reload")
    says(page, ".q-notification", "hot reload off")
    wait_until(lambda: system.api("system")["parts"]["strategy"]["hot_reload"] is False)
    write(page, f"# waits\n{LOOKS}", save="")
    page.click("#editor-save")
    page.wait_for_function(
        "[...document.querySelectorAll('.q-notification')].some(n => n.textContent.endsWith('saved'))"
    )
    assert strategy(system)["version"] == version
    page.click("#hot-reload")
    wait_until(
        lambda: strategy(system)["version"] not in ("", version), "it to run when reloading is on again"
    )


def test_a_file_that_somebody_else_has_changed_is_not_overwritten_unasked(files: Path, page: Any) -> None:
    file = files / "probe" / FILE
    theirs = f"# theirs\n{LOOKS}"
    file.write_text(theirs)
    says(page, ".cm-content", "# theirs")
    write(page, f"# mine\n{LOOKS}", save="")
    says(page, "#editor-note", "not saved")
    file.write_text(f"# theirs again\n{LOOKS}")
    says(page, "#editor-conflict", "changed on disk meanwhile")
    page.keyboard.press("Control+s")
    page.get_by_role("button", name="Take the one on disk").click()
    says(page, ".cm-content", "# theirs again")
    assert file.read_text() == f"# theirs again\n{LOOKS}"
    write(page, f"# mine\n{LOOKS}", save="")
    file.write_text(theirs)
    page.get_by_role("button", name="Save mine over it").click()
    wait_until(lambda: file.read_text() == f"# mine\n{LOOKS}", "mine to be saved")


def test_a_new_strategy_is_made_from_the_template_and_only_by_a_plain_name(files: Path, page: Any) -> None:
    page.click("#editor-new")
    for name, problem in (("../outside", "letters, digits"), ("probe", "there already")):
        page.fill("#new-name", name)
        page.click("#new-make")
        says(page, ".q-dialog .bad", problem)
    page.fill("#new-name", "fresh")
    page.keyboard.press("Enter")
    says(page, ".cm-content", "fresh: long above a moving average")
    says(page, "#strategy-state", "does not run")
    assert sorted(path.name for path in files.iterdir()) == ["fresh", "other", "probe"]
    assert not (files.parent / "outside").exists()


def test_model_costs_and_arrivals_change_while_it_runs(system: Dashboard, page: Any) -> None:
    page.fill("#model-sigma-field", "0.01")
    page.click("#model-apply")
    page.wait_for_function("document.getElementById('model-sigma').textContent === '0.01'")
    page.fill("#costs-slippage_bps-field", "7.5")
    page.click("#costs-apply")
    page.wait_for_function("document.getElementById('costs-slippage_bps').textContent === '7.5'")
    page.fill("#costs-slippage_bps-field", "-1")
    page.click("#costs-apply")
    says(page, ".q-notification", "expected a number at least 0")
    epoch = system.api("state")["epoch"]
    page.click("#arrivals-mode")
    page.get_by_role("option", name="Poisson").click()
    page.fill("#arrivals-ms", "15")
    page.click("#arrivals-apply")
    says(page, "#arrivals", "random, 15 ms on average")
    wait_until(lambda: system.api("state")["epoch"] > epoch, "another epoch")
    epoch = system.api("state")["epoch"]
    page.fill("#seed", "7")
    page.click("#seed-apply")
    wait_until(lambda: system.api("state")["epoch"] > epoch, "another epoch")
    says(page, "#model-sigma", "0.05")  # as configured
    elsewhere = {"action": "schedule", "mode": "fixed", "dt_ms": 25}
    assert system.post("control", elsewhere).status_code == 200
    wait_until(lambda: page.input_value("#arrivals-ms") == "25", "the field to follow")


def test_a_reset_without_a_seed_keeps_the_one_in_force(system: Dashboard, page: Any) -> None:
    def reset(seed: str) -> Any:
        before = len(control_lines(system))
        page.fill("#seed", seed)
        page.click("#seed-apply")
        wait_until(
            lambda: len(actions := control_lines(system)) > before and "reset" in actions[-1], "a reset"
        )
        wait_until(lambda: page.input_value("#seed") == "", "the field to be empty again")
        return json.loads(control_lines(system)[-1])

    assert reset("9")["seed"] == 9
    assert reset("").get("seed") is None


def control_lines(system: Dashboard) -> list[str]:
    return (system.run_dir / "control.jsonl").read_text().splitlines()


def ticks_come(system: Dashboard) -> None:
    counts: list[int] = []

    def counted_thrice() -> bool:
        """The second count may still be of ticks that came before: one a second is taken."""
        count = system.api("state").get("ticks", 0)
        if not counts or count > counts[-1]:
            counts.append(count)
        return len(counts) == 3

    wait_until(counted_thrice, "ticks to come")


def test_a_part_that_is_killed_is_seen_to_come_back(system: Dashboard, page: Any) -> None:
    for part in ("orderbook", "gateway"):
        page.click(f"[data-kill={part}]")
        says(page, "#happened", f"{part} killed")
        says(page, "#happened", f"{part} is ready again: it was gone for")
    ticks_come(system)  # there is a feed that can be dropped
    page.click("#drop-feed")
    says(page, "#happened", "feed dropped at record")
    ticks_come(system)


def test_the_runs_files_can_be_had(system: Dashboard, page: Any) -> None:
    with page.expect_download() as download:
        page.click("[data-export='config.json']")
    assert download.value.suggested_filename == f"{system.run_dir.name}-config.json"
    for name in ("trades.csv", "equity.csv", "events.jsonl", "manifest.json"):
        link = page.get_attribute(f"[data-export='{name}']", "href")
        assert page.request.get(f"{system.url}{link}").ok


def own_address() -> str:
    """An address of this machine by which it is somebody else to itself."""
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            if found.family == socket.AF_INET and not IPv4Address(found.address).is_loopback:
                return str(found.address)
    pytest.skip("this machine has no address beyond loopback")


def test_who_looks_on_from_elsewhere_sees_the_file_and_changes_nothing(
    system: Dashboard, files: Path, open_page: OpenPage
) -> None:
    elsewhere = system.url.replace("127.0.0.1", own_address())
    page = open_page(f"{elsewhere}/lab?token={TOKEN}")
    page.wait_for_function("document.querySelectorAll('#leaders tbody tr').length === 2")
    says(page, ".cm-content", "def on_tick")
    for gone in ("#editor-save", "#editor-new", "[data-kill]", "#model-apply", "#seed", "#costs-apply"):
        assert page.locator(gone).count() == 0
    before = {path: path.read_bytes() for path in files.rglob("*.py")}
    assert page.get_attribute(".cm-content", "contenteditable") == "false"
    page.keyboard.press("Control+s")
    assert page.request.post(f"{elsewhere}/api/parts/gateway/kill").status == 403
    assert {path: path.read_bytes() for path in files.rglob("*.py")} == before
    page.close()
