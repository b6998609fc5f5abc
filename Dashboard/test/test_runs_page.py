"""The Runs page and the time slider, used as a person uses them: real runs, a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from Dashboard.run_jobs import DONE
from Dashboard.test.browser import Dashboard, OpenPage, dashboard, needs_browser, text
from lab import evaluate
from testing.harness import wait_until

pytestmark = needs_browser

DATA = "data/market_data-1.csv"
CROSSOVER = "strategies/sma_crossover/strategy.py"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A run that goes on, and two evaluations beside it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "runs").mkdir()
    evaluate(CROSSOVER, DATA, out=folder / "runs" / "slow", report=True)
    evaluate(CROSSOVER, DATA, params={"fast": 3}, out=folder / "runs" / "quick", report=False)
    with dashboard(folder) as running:
        yield running


@pytest.fixture
def page(system: Dashboard, open_page: OpenPage) -> Iterator[Any]:
    opened = open_page(f"{system.url}/runs")
    row(opened, "quick").wait_for()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def slider(system: Dashboard, open_page: OpenPage) -> Iterator[Any]:
    opened = open_page(f"{system.url}/runs/slow")
    opened.wait_for_function("document.getElementById('place')?.textContent.endsWith('of 1,000')")
    yield opened
    opened.close()


def row(page: Any, run: str) -> Any:
    return page.locator(f'.ag-center-cols-container [row-id="{run}"]')


def tick(page: Any, *runs: str) -> None:
    for run in runs:
        page.locator(f'[row-id="{run}"] .ag-checkbox-input').click()


def at(page: Any) -> int:
    """Which of the instants the slider stands at, from 0."""
    return int(text(page, "#place").split()[0].replace(",", "")) - 1


# ------------------------------------------------------------------------------------------ the list


def test_runs_are_listed_and_the_one_that_goes_on_is_marked(page: Any, system: Dashboard) -> None:
    assert text(page, "#runs-count") == "3"
    live = row(page, system.run_dir.name)
    assert "live-run" in (live.locator('[col-id="state"]').get_attribute("class") or "")
    assert row(page, "slow").locator('[col-id="state"]').text_content() == "evaluation"
    assert row(page, "slow").locator('[col-id="equity"]').text_content()[:3].replace(",", "").isdigit()


def test_a_run_is_found_and_a_reload_finds_it_again(page: Any) -> None:
    page.locator(".runs-find input").fill("quick")
    row(page, "slow").wait_for(state="detached")
    page.reload()
    row(page, "quick").wait_for()
    assert row(page, "slow").count() == 0
    page.locator(".runs-find input").fill("")
    row(page, "slow").wait_for()


def test_a_file_of_a_run_is_downloaded_as_it_is(page: Any, system: Dashboard) -> None:
    row(page, "slow").click()
    with page.expect_download() as expected:
        page.get_by_role("link", name="trades.csv", exact=True).click()
    download = expected.value
    assert download.suggested_filename == "slow-trades.csv"
    assert Path(download.path()).read_bytes() == (system.folder / "runs/slow/trades.csv").read_bytes()


def test_a_report_opens_as_a_page_that_is_nobody(page: Any) -> None:
    row(page, "slow").click()
    with page.context.expect_page() as expected:
        page.get_by_role("link", name="Open report").click()
    report = expected.value
    report.wait_for_load_state()
    assert report.locator("h1").text_content().startswith("Run ")
    assert report.evaluate("self.origin") == "null"
    assert report.evaluate("fetch('/api/state').then(() => 'read', () => 'refused')") == "refused"
    report.close()


def test_a_report_that_is_missing_is_written(page: Any, system: Dashboard) -> None:
    live = system.run_dir.name
    row(page, live).click()
    assert page.get_by_role("link", name="Open report").count() == 0
    page.get_by_role("button", name="Write report").click()
    page.get_by_role("link", name="Open report").wait_for()
    assert (system.run_dir / "report.html").stat().st_size > 0


def test_two_runs_stand_side_by_side_and_a_reload_keeps_them(page: Any) -> None:
    tick(page, "slow", "quick")
    page.locator("#compare-table td").first.wait_for()
    assert set(page.locator("#compare-table thead th").all_text_contents()) == {"", "slow", "quick"}
    assert "Final equity" in page.locator("#compare-table tbody th").all_text_contents()
    page.reload()
    page.locator("#compare-table td").first.wait_for()
    curves = page.evaluate(
        "getElement(window.algosim.compared).chart.getOption().series.map((one) => one.data.length)"
    )
    assert len(curves) == 2
    assert min(curves) > 10


# ---------------------------------------------------------------------------------------- the slider


def test_the_slider_shows_what_stood_at_its_instant(slider: Any, system: Dashboard) -> None:
    found = system.api("runs/slow/instants")
    slider.keyboard.press("Home")
    for keys, place in ((("End",), 999), (("ArrowLeft",), 998), (("PageUp", "Shift+ArrowLeft"), 938)):
        for key in keys:
            slider.keyboard.press(key)
        assert at(slider) == place
        instant = found["instants"][place]
        (strategy,) = instant["strategies"]
        assert text(slider, "#at-time").startswith(f"record{instant['seq']:,}")
        assert f"equity{strategy['equity']:,.2f}" in text(slider, "#at-strategy")
        for symbol, quantity in strategy["positions"].items():
            assert f"{symbol}{quantity:,.0f}".replace("-", "−") in text(slider, "#at-position")
        for name in strategy["indicators"]:
            assert name in text(slider, "#at-indicators")
        if strategy["why_seq"] > strategy["order_seq"]:
            assert strategy["why"] in text(slider, "#at-why")


def test_it_plays_as_fast_as_one_likes_and_pauses(slider: Any) -> None:
    slider.keyboard.press("Home")
    slider.select_option("#speed", "200")
    slider.locator("#slider").focus()
    slider.keyboard.press("Space")
    wait_until(lambda: at(slider) > 20, "it to play")
    assert slider.locator("#play").get_attribute("aria-label") == "pause"
    slider.locator("#play").click()
    assert slider.locator("#play").get_attribute("aria-label") == "play"
    stands = at(slider)
    slider.locator("#forward").click()
    assert at(slider) == stands + 1
    slider.keyboard.press("-")
    assert slider.locator("#speed").input_value() == "100"


def test_it_stops_at_the_end(slider: Any) -> None:
    slider.keyboard.press("End")
    slider.keyboard.press("PageUp")
    slider.select_option("#speed", "200")
    slider.locator("#play").click()
    wait_until(lambda: at(slider) == 999, "the end")
    wait_until(lambda: slider.locator("#play").get_attribute("aria-label") == "play", "it to stop")


def test_the_chart_and_the_knob_can_be_dragged(slider: Any) -> None:
    stage = slider.locator("#stage").bounding_box()
    middle = stage["y"] + stage["height"] / 3
    slider.mouse.move(stage["x"] + stage["width"] * 0.2, middle)
    slider.mouse.down()
    first = wait_until(lambda: (found := at(slider)) < 400 and found, "the chart's left")
    slider.mouse.move(stage["x"] + stage["width"] * 0.7, middle, steps=5)
    slider.mouse.up()
    wait_until(lambda: at(slider) > first + 300, "the chart's right")
    slider.locator("#slider").fill("123")
    assert at(slider) == 123


def test_a_reload_brings_the_run_the_symbol_and_the_instant_back(slider: Any) -> None:
    slider.select_option("#symbol", "IBM")
    slider.locator("#slider").fill("321")
    seen = text(slider, "#at-time")
    seq = seen.removeprefix("record").partition("event time")[0].replace(",", "")
    slider.wait_for_url(f"**at={seq}*")
    slider.reload()
    slider.wait_for_function("document.getElementById('place')?.textContent.startsWith('322 of')")
    assert slider.locator("#symbol").input_value() == "IBM"
    assert text(slider, "#at-time") == seen


def test_the_run_that_goes_on_has_a_slider_over_what_is_recorded_so_far(
    system: Dashboard, open_page: OpenPage
) -> None:
    name = system.run_dir.name
    page = open_page(f"{system.url}/runs/{name}")
    page.wait_for_function("document.getElementById('place')?.textContent.includes(' of ')")
    assert "so far" in text(page, "#run-state")
    records = system.api(f"runs/{name}/instants")["records"]

    def looked_again() -> bool:
        page.locator("#again").click()
        return bool(system.api(f"runs/{name}/instants").get("records", 0) > records)

    wait_until(looked_again, "more of it")
    page.close()


def test_a_run_that_is_none_says_so_whatever_it_is_called(system: Dashboard, open_page: OpenPage) -> None:
    page = open_page(f"{system.url}/runs/<img src=x onerror=alert(1)>")
    page.locator("main.empty").wait_for()
    assert text(page, "main.empty").startswith("<img src=x onerror=alert(1)>: no such run")
    page.close()


# ------------------------------------------------------------------------------------------- the API


def test_the_api_lists_runs_and_serves_only_what_it_names(system: Dashboard) -> None:
    assert {run["id"] for run in system.api("runs")["runs"]} == {"slow", "quick", system.run_dir.name}
    for path in (
        "slow/files/token",
        "..%2f/files/trades.csv",
        "%2e%2e/files/config.json",
        "nobody",
        "nobody/report",
    ):
        answer = httpx.get(f"{system.url}/api/runs/{path}", timeout=10, trust_env=False)
        assert answer.status_code == 404, path
    config = json.loads(
        httpx.get(f"{system.url}/api/runs/{system.run_dir.name}/files/config.json", trust_env=False).text
    )
    assert config["Dashboard"]["token"] is None


def test_a_page_elsewhere_cannot_have_a_run_replayed(system: Dashboard) -> None:
    answer = system.post("runs/quick/instants", {}, Origin="http://elsewhere.example")
    assert answer.status_code == 403
    assert system.api("runs/quick")["jobs"].get("instants") is None
    assert system.post("runs/quick/instants", {}).status_code == 202
    wait_until(lambda: system.api("runs/quick")["jobs"]["instants"]["state"] == DONE, "the instants")


def test_no_fewer_than_two_runs_are_compared(system: Dashboard) -> None:
    assert "two to 8" in system.api("runs/compare?id=slow&id=slow")["detail"]
