"""The Live page, used as a person uses it: a real system, a real browser."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from Dashboard.test.browser import Dashboard, OpenPage, dashboard, needs_browser, text
from testing.harness import wait_until

pytestmark = needs_browser


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    endless = {"provider": "random_walk"}  # an epoch's end would take away what a test has just placed
    with dashboard(tmp_path_factory.mktemp("live"), Gateway=endless) as running:
        yield running


@pytest.fixture
def page(system: Dashboard, open_page: OpenPage) -> Iterator[Any]:
    opened = open_page(system.url)
    opened.wait_for_function("document.getElementById('clock')?.textContent.length > 8")
    yield opened
    opened.close()


def changes(page: Any, selector: str) -> None:
    """Until the text of an element is another one."""
    before = text(page, selector)
    wait_until(lambda: text(page, selector) != before, f"{selector} to change from {before!r}")


def notified(page: Any, words: str) -> None:
    page.locator(".q-notification", has_text=words).first.wait_for()


def test_prices_and_the_clock_move(page: Any) -> None:
    changes(page, "#clock")
    changes(page, "#chart-last")
    assert text(page, "#chart-symbol") in ("AAPL", "GOOG", "IBM", "MSFT")


def test_everything_is_in_sight_at_1280_by_720(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    for selector in (
        "#kpi-equity",
        "#kpi-trades",
        ".price canvas",
        ".tables .ag-root",
        ".curves canvas",
        "#kill",
    ):
        page.locator(selector).first.wait_for()


def test_equity_is_the_ledgers(system: Dashboard, page: Any) -> None:
    def shown() -> bool:
        tile, equity = text(page, "#kpi-equity").replace(",", ""), system.api("money")["total"]["equity"]
        return tile != "–" and equity is not None and abs(float(tile) - equity) < 1.0

    wait_until(shown, "the page's equity to be the ledger's")


def test_a_symbol_of_the_market_table_opens_its_chart_and_a_reload_keeps_it(page: Any) -> None:
    page.keyboard.press("m")
    page.locator("#market-drawer.open").wait_for()
    page.locator("#market-drawer .ag-row", has_text="MSFT").first.click()
    wait_until(lambda: text(page, "#chart-symbol") == "MSFT")
    changes(page, "#chart-last")
    assert "symbol=MSFT" in page.url
    page.reload()
    wait_until(lambda: text(page, "#chart-symbol") == "MSFT")
    assert page.locator("#market-drawer.open").is_visible()


def test_the_table_is_searched_and_enter_opens_the_first(page: Any) -> None:
    page.keyboard.press("m")
    page.locator("#market-drawer.open input").first.fill("IB")
    wait_until(lambda: page.locator("#market-drawer .ag-center-cols-container .ag-row").count() == 1)
    page.keyboard.press("Enter")
    wait_until(lambda: text(page, "#chart-symbol") == "IBM")


IN_SIGHT = """(({ startValue, endValue }) => [startValue, endValue])(
  algosimLive.charts.price.chart.getOption().dataZoom[0])"""


def test_a_zoomed_chart_stays_where_it_is_until_it_follows_again(page: Any) -> None:
    changes(page, "#chart-last")
    before = wait_until(lambda: (sight := page.evaluate(IN_SIGHT))[0] and sight)
    page.locator(".price canvas").hover()
    page.mouse.wheel(0, -400)
    page.locator("#follow[aria-pressed=false]").wait_for()
    zoomed = page.evaluate(IN_SIGHT)
    assert before[0] < zoomed[0] < zoomed[1] < before[1] + 1e12
    for _ in range(3):
        changes(page, "#clock")
        changes(page, "#chart-last")
    assert page.evaluate(IN_SIGHT) == zoomed
    page.keyboard.press("f")
    page.locator("#follow[aria-pressed=true]").wait_for()
    wait_until(lambda: page.evaluate(IN_SIGHT)[1] > zoomed[1])


LAID_OUT = """async ([prices, samples]) => {
  const { PriceChart } = await import("/static/charts.js");
  const own = new PriceChart(algosim.price);
  own.chart = algosimLive.charts.price.chart;
  own.show("A");
  own.take({ begin: true, epoch: 1, ms: prices.map(([ms]) => ms), values: prices.map(([, value]) => value) });
  own.takeIndicators({ begin: true, strategy: "s", names: ["A SMA(5)", "A RSI(9)"], samples });
  own.paint();
  return own.shape.split(" ").map(Number);
}"""


def test_an_indicator_of_the_price_stays_over_it_when_the_price_has_gone_far_since_its_last_sample(
    page: Any,
) -> None:
    prices = [[1, 100], [2, 104], [4, 300], [5, 900]]
    over, below = page.evaluate(LAID_OUT, [prices, [[1, [100, 0.4]], [3, [102, 0.5]]]])
    assert (over, below) == (1, 1)


def test_pause_holds_the_clock_and_resume_lets_it_go(page: Any) -> None:
    page.get_by_role("button", name="Pause").click()
    notified(page, "paused")
    wait_until(lambda: text(page, "#market-state") == "paused")
    held = text(page, "#clock")
    page.get_by_role("button", name="Resume").click()
    notified(page, "going on")
    wait_until(lambda: text(page, "#clock") != held)


def test_another_speed_is_seen_in_the_rate(page: Any) -> None:
    page.get_by_label("speed").click()
    page.locator(".q-menu .q-item", has_text="× 5").first.click()
    notified(page, "speed × 5")

    def rate() -> float:
        return float(text(page, "#rate").partition(" ")[0].replace(",", "") or 0)

    wait_until(lambda: rate() > 600, "1,000 ticks/s, from 200")
    page.get_by_label("speed").click()
    page.locator(".q-menu .q-item", has_text="× 1").filter(has_not_text="× 10").first.click()
    wait_until(lambda: 0 < rate() < 400)


def test_an_order_by_hand_asks_first_then_fills_and_is_manuals(system: Dashboard, page: Any) -> None:
    page.keyboard.press("t")
    ticket = page.locator("#ticket-drawer.open")
    ticket.locator(".ticket-symbol input").fill("AAPL")
    ticket.get_by_role("button", name="Review").click()
    page.get_by_text("BUY 10 AAPL at the market?").wait_for()
    assert not [fill for fill in system.api("fills") if fill["strategy"] == "manual"]
    page.get_by_role("button", name="Send").click()
    wait_until(lambda: [fill for fill in system.api("fills") if fill["strategy"] == "manual"])
    page.keyboard.press("Escape")
    page.locator(".tables .ag-row", has_text="manual").first.wait_for()


def test_a_limit_order_rests_among_the_open_orders_until_it_is_cancelled_there(
    system: Dashboard, page: Any
) -> None:
    page.keyboard.press("t")
    ticket = page.locator("#ticket-drawer.open")
    ticket.locator(".ticket-symbol input").fill("MSFT")
    ticket.get_by_role("button", name="limit").click()
    ticket.locator(".ticket-price input").fill("0.01")
    ticket.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Send").click()
    page.locator("#ticket-drawer .cell-button", has_text="close").click()
    page.get_by_role("tab", name="Open orders").click()
    row = page.locator(".tables .ag-row", has_text="0.01").first
    row.wait_for()
    key = row.get_attribute("row-id")
    page.locator(f'.tables [row-id="{key}"]').get_by_role("button", name="cancel").click()
    wait_until(lambda: not [order for order in system.api("orders/open") if order["strategy"] == "manual"])
    row.wait_for(state="detached")


def test_an_order_that_cannot_be_is_explained_not_sent(page: Any) -> None:
    page.keyboard.press("t")
    ticket = page.locator("#ticket-drawer.open")
    ticket.locator(".ticket-symbol input").fill("NOPE")
    ticket.get_by_role("button", name="Review").click()
    page.get_by_text("NOPE: there is none such in this market").wait_for()


def test_other_parameters_reach_the_strategy(system: Dashboard, page: Any) -> None:
    page.get_by_label("quantity").first.fill("3")
    page.get_by_role("button", name="apply parameters").click()
    notified(page, "quantity = 3")
    wait_until(lambda: system.api("strategies")["strategies"][0]["params"]["quantity"] == 3)


def parameter(page: Any, name: str) -> Any:
    return page.locator(".form").get_by_label(name)


def parameter_becomes(page: Any, name: str, value: str) -> None:
    wait_until(lambda: parameter(page, name).input_value() == value, f"{name} to be {value}")


def test_parameters_follow_whoever_changes_them_but_not_into_a_field_that_somebody_is_at(
    system: Dashboard, page: Any, open_page: OpenPage
) -> None:
    (strategy,) = system.api("strategies")["strategies"]
    parameter(page, "bullish_threshold").fill("77")
    other = open_page(system.url)
    parameter(other, "quantity").fill("4")
    other.get_by_role("button", name="apply parameters").click()
    parameter_becomes(page, "quantity", "4")
    changes = {"quantity": 6, "bullish_threshold": 61}
    action = {"action": "params", "strategy": strategy["strategy"], "params": changes}
    assert system.post("control", action).status_code == 200
    parameter_becomes(page, "quantity", "6")
    parameter_becomes(other, "quantity", "6")
    parameter_becomes(other, "bullish_threshold", "61")
    assert parameter(page, "bullish_threshold").input_value() == "77", "it waits for who has entered it"
    page.get_by_role("button", name="apply parameters").click()
    notified(page, "bullish_threshold = 77")
    parameter_becomes(other, "bullish_threshold", "77")
    other.close()


def test_a_killed_order_book_is_said_and_comes_back(system: Dashboard, page: Any) -> None:
    pid = system.status()["parts"]["orderbook"]["pid"]
    os.kill(pid, signal.SIGSTOP)  # silent for some seconds, and only then dead: the page must say so
    page.locator("#notice.shown", has_text="orderbook").wait_for()
    os.kill(pid, signal.SIGKILL)
    page.locator("#notice.shown").wait_for(state="hidden")
    changes(page, "#clock")
    assert system.status()["parts"]["orderbook"]["restarts"] >= 1


def test_a_dashboard_that_was_killed_comes_back_to_the_same_page(system: Dashboard, page: Any) -> None:
    ticks = system.api("state")["ticks"]
    os.kill(system.status()["parts"]["dashboard"]["pid"], signal.SIGKILL)
    page.locator("#notice.shown").wait_for()
    page.locator("#notice.shown").wait_for(state="hidden")
    changes(page, "#clock")
    assert system.api("fills"), "what was before it is still shown"
    assert system.api("state")["ticks"] >= min(ticks, 1)


def test_the_kill_switch_asks_and_nothing_trades_until_it_is_taken_back(system: Dashboard, page: Any) -> None:
    page.locator("#kill").click()
    page.locator("#kill-confirm").click()
    notified(page, "killed")
    wait_until(lambda: all(lane["killed"] for lane in system.api("money")["lanes"]))
    wait_until(lambda: text(page, "#killed").startswith("killed"))

    page.locator("#kill").click()
    page.locator("#kill-undo").click()
    notified(page, "trading again")
    wait_until(lambda: not any(lane["killed"] for lane in system.api("money")["lanes"]))
    wait_until(lambda: not text(page, "#killed"))


def test_on_a_phone_there_are_the_numbers_the_chart_and_the_kill_switch(
    system: Dashboard, open_page: OpenPage
) -> None:
    phone = open_page(system.url, 390, 800)
    phone.wait_for_function("document.getElementById('clock')?.textContent.length > 8")
    for selector in ("#kpi-equity", ".price canvas", "#kill"):
        phone.locator(selector).first.wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.close()


def test_without_a_run_the_page_says_what_to_do(tmp_path: Path, open_page: OpenPage) -> None:
    from testing.harness import free_port, running_part, segment_name, system_config, write_config

    tree = system_config(tmp_path, Dashboard={"enabled": True, "port": free_port()})
    tree["OrderBook"]["shared_memory_name"] = segment_name()
    with running_part("Dashboard", write_config(tmp_path, tree), tmp_path) as process:
        process.wait_for("ready")
        page = open_page(f"http://127.0.0.1:{tree['Dashboard']['port']}")
        page.locator("#notice.shown", has_text="make run").wait_for()
        page.close()


FAILS_ONCE_IT_HOLDS = """def on_tick(ctx, tick):
    if ctx.position():
        raise ValueError("what now?")
    ctx.place_market_order("BUY", 1)
"""


def test_a_strategy_that_has_traded_and_now_raises_at_every_tick_is_said_to_fail(
    tmp_path: Path, open_page: OpenPage
) -> None:
    file = tmp_path / "own" / "strategy.py"
    file.parent.mkdir()
    file.write_text(FAILS_ONCE_IT_HOLDS)
    own = {"strategies": [{"id": "own", "path": str(file)}]}
    with dashboard(tmp_path, symbols=["AAPL"], Gateway={"provider": "random_walk"}, Strategy=own) as system:
        page = open_page(system.url)
        page.locator("#strategy-error", has_text="what now?").wait_for()
        page.locator("#why", has_text="it fails: exceptions").wait_for()
        for _ in range(3):
            changes(page, "#why")
            assert text(page, "#why").startswith("it fails: exceptions")
        page.close()
