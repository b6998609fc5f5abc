"""An address that names what is not there: the page says so or shows what there is, and goes on."""

from collections.abc import Iterator

import pytest

from Dashboard.test.browser import Dashboard, OpenPage, browser, dashboard, needs_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("addresses"), Gateway={"provider": "random_walk"}) as running:
        yield running


@pytest.fixture(scope="module")
def open_page() -> Iterator[OpenPage]:
    with browser() as opened:
        yield opened


def test_a_symbol_that_is_not_in_the_market_is_said_and_another_one_shown(
    system: Dashboard, open_page: OpenPage
) -> None:
    page = open_page(f"{system.url}/?symbol=NOPE")
    page.locator(".q-notification", has_text="NOPE is not in this market").wait_for()
    symbols = system.tree["symbols"]
    page.wait_for_function(f"{symbols}.includes(document.getElementById('chart-symbol').textContent)")
    page.wait_for_function("!location.search.includes('NOPE')")
    page.close()


def test_a_strategy_that_does_not_run_is_as_none(system: Dashboard, open_page: OpenPage) -> None:
    page = open_page(f"{system.url}/?strategy=nobody")
    page.wait_for_function("document.getElementById('kpi-equity').textContent !== '–'")
    assert page.get_by_label("strategy").first.input_value() == "all"
    page.close()


def test_a_file_that_is_none_is_as_none(system: Dashboard, open_page: OpenPage) -> None:
    page = open_page(f"{system.url}/lab?file=../../etc/passwd")
    page.locator(".cm-content", has_text="on_tick").wait_for()
    page.close()


def test_a_log_that_is_none_is_as_none(system: Dashboard, open_page: OpenPage) -> None:
    page = open_page(f"{system.url}/system?log=nobody&level=LOUD")
    page.locator("#log-note", has_text="every second").wait_for()
    assert page.locator("#log-part").input_value() == "main"
    page.close()
