"""The System page, as a person uses it: a real system, a real browser."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from Dashboard.test.browser import Dashboard, OpenPage, dashboard, needs_browser
from runtime import status_socket
from testing.harness import wait_until
from trading_lib.histogram import Histogram

PARTS = ["orderbook", "order_manager", "strategy", "gateway", "recorder", "dashboard"]
pytestmark = needs_browser


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def page(system: Dashboard, open_page: OpenPage) -> Iterator[Any]:
    with contextlib.closing(open_page(f"{system.url}/system")) as opened:
        opened.wait_for_selector("#parts tr.ready")
        yield opened


def cells(page: Any, table: str) -> list[list[str]]:
    rows = f"[...document.getElementById('{table}').tBodies[0].rows]"
    found: list[list[str]] = page.evaluate(f"{rows}.map(row => [...row.cells].map(cell => cell.textContent))")
    return found


def part(page: Any, name: str) -> list[str]:
    return next((row for row in cells(page, "parts") if row[0] == name), [])


def test_every_process_is_there_with_its_numbers_and_all_fits_the_screen(page: Any) -> None:
    wait_until(lambda: all(part(page, name)[1:2] == ["ready"] for name in PARTS), "six parts to be ready")
    row = part(page, "gateway")
    assert int(row[2]) > 0 and row[3].endswith("%") and row[4].endswith("MB") and row[5] == "0"
    assert row[6].endswith("s") and "ticks on 127.0.0.1" in row[8]
    sizes = page.evaluate(
        "[document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]"
    )
    assert sizes == [0, 0]


def test_rates_disk_and_latencies_are_those_of_the_run(page: Any, system: Dashboard) -> None:
    wait_until(lambda: page.inner_text("#tile-ticks") not in ("–", "0.0/s"), "a rate of ticks")
    assert page.inner_text("#tile-disk").endswith("GB")
    wait_until(
        lambda: any(row[0] == "tick→order" and row[6] != "0" for row in cells(page, "stages")), "a latency"
    )
    wait_until(
        lambda: page.evaluate("getElement(algosim.latency).chart.getOption()?.series?.[1]?.data?.length > 2"),
        "the picture",
    )
    wait_until(
        lambda: page.evaluate("getElement(algosim.ticks).chart.getOption()?.series?.[0]?.data?.length > 2"),
        "rates",
    )
    page.click("#stages tr:has-text('due→sent')")
    assert page.inner_text("#latency-stage").lower() == "due→sent"
    assert "stage=gateway" in page.url
    page.reload()
    page.wait_for_selector("#stages tr.chosen:has-text('due→sent')")


def test_percentiles_in_the_page_are_those_of_the_library(page: Any) -> None:
    rng = np.random.default_rng(5)
    before, after = Histogram(), Histogram()
    for value in rng.lognormal(11, 3, 4000).astype(np.int64).tolist():
        before.record(value)
        after.record(value)
    grown = Histogram()
    for value in [0, 1, 2047, 2048, 1 << 40, *rng.lognormal(12, 2, 3000).astype(np.int64).tolist()]:
        after.record(value)
        grown.record(value)
    found = page.evaluate(
        """async ([before, after]) => {
            const { Minute, summary } = await import("/static/latency.js");
            const minute = new Minute();
            minute.take(10, { part: { stage: before } });
            minute.take(70, { part: { stage: after } });
            const [counts, seconds] = minute.counts(70, "part", "stage", after.counts);
            const anew = minute.counts(70, "part", "stage", { 5: 1 });
            return [summary(after.counts, after.max), summary(counts), seconds, anew];
        }""",
        [before.to_dict(), after.to_dict()],
    )
    for own, ours in ((found[0], after), (found[1], grown)):
        assert own["n"] == ours.total
        for percent in (50, 90, 99, 99.9):
            edge = ours.percentile(percent)
            assert edge is not None and own[f"p{percent}"] == edge / 1000
    assert found[2] == 60
    assert found[3] == [{"5": 1}, None], "a part that begins anew has only what it has counted since"


def test_what_is_rejected_is_counted_by_reason_and_explained(page: Any, system: Dashboard) -> None:
    order(system, b"1,HOLD,3,AAPL,3*1,BUY,3,no symbol,3*")
    wait_until(
        lambda: {"rejected: bad side", "rejected: bad symbol"} <= {row[1] for row in cells(page, "counted")}
    )
    assert page.locator("#counted td[data-note='neither BUY nor SELL']").count() == 1
    rejected = system.status()["parts"]["order_manager"]["rejected"]
    wait_until(lambda: page.inner_text("#tile-rejected") == str(sum(rejected.values())))
    few = len(cells(page, "counted"))
    page.keyboard.press("a")
    wait_until(lambda: len(cells(page, "counted")) > few, "the counts of what is no trouble, too")
    page.keyboard.press("a")
    wait_until(lambda: len(cells(page, "counted")) <= few + 1)


def order(system: Dashboard, frames: bytes) -> None:
    with socket.create_connection(("127.0.0.1", system.tree["OrderManager"]["port"])) as orders:
        orders.sendall(frames)


def test_a_log_follows_and_is_searched_and_nothing_in_it_is_markup(page: Any, system: Dashboard) -> None:
    order(system, b"1,BUY,3,<b>no</b>,3*")
    page.select_option("#log-part", "order_manager")
    page.wait_for_selector("#log .line:has-text('Received Order')")
    last = page.locator("#log .line").last.text_content()
    wait_until(lambda: page.locator("#log .line").last.text_content() != last, "the next line")
    page.fill("#log-text", "BAD SYMBOL")
    wait_until(lambda: page.locator("#log .line:has-text('Received')").count() == 0, "the other lines to go")
    page.wait_for_selector("#log .warning:has-text('<b>no</b>')")
    page.fill("#log-text", "nobody ever wrote this")
    page.wait_for_selector("#log .empty:has-text('No such line')")
    page.reload()
    page.wait_for_selector("#log .empty:has-text('order_manager.log')")


def test_a_part_that_is_killed_is_seen_to_die_and_come_back(page: Any, system: Dashboard) -> None:
    before = part(page, "recorder")
    assert system.post("parts/recorder/kill", {}).status_code == 200
    wait_until(
        lambda: part(page, "recorder")[5] == "1" and part(page, "recorder")[1] == "ready", "its return"
    )
    assert part(page, "recorder")[2] != before[2]
    page.wait_for_selector("#counted tr.trouble:has-text('killed on request')")
    page.wait_for_selector("#log .line:has-text('recorder died')")


def test_while_the_dashboard_is_away_the_page_says_so_and_then_goes_on(page: Any, system: Dashboard) -> None:
    status_socket.ask(system.run_dir / "status.sock", {"kill": "dashboard"})
    page.wait_for_selector("#notice.shown:has-text('does not answer')")
    page.wait_for_selector("#notice:not(.shown)", state="attached")
    page.wait_for_selector(
        "#parts tr:has(td:first-child:text-is('dashboard')):has(td:nth-child(6):text-is('1'))"
    )


def test_on_a_phone_everything_is_in_one_column(system: Dashboard, open_page: OpenPage) -> None:
    with contextlib.closing(open_page(f"{system.url}/system", 390, 800)) as page:
        page.wait_for_selector("#parts tr.ready")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_metrics_of_a_running_system_can_be_read(system: Dashboard) -> None:
    def metrics() -> dict[str, float]:
        families = text_string_to_metric_families(httpx.get(f"{system.url}/metrics", trust_env=False).text)
        return {sample.name: sample.value for one in families for sample in one.samples}

    wait_until(lambda: metrics().get("algosim_ticks_total"), "the dashboard to hear of ticks")
    found = metrics()
    assert found["algosim_up"] == 1 and found["algosim_ticks_total"] > 0
    assert "algosim_latency_seconds_count" in found and found["algosim_runs_free_bytes"] > 0
