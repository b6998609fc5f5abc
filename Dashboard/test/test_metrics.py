"""/metrics: what a Prometheus server reads there."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from config import parse_config
from Dashboard import metrics
from Dashboard.counted import MOST_REASONS, NUMBERS, OF_EVERY_PART
from Dashboard.desk import Desk
from Dashboard.metrics import MOST_STRATEGIES, MOST_SYMBOLS, Snapshot, exposition
from Dashboard.test.statuses import histogram, status
from testing.harness import ROOT, segment_name

NOT_NAMED = {  # in the docs: what ARCHITECTURE.md's counters are called here, and what explains itself
    *(f"algosim_{name}_total" for names in (*NUMBERS.values(), OF_EVERY_PART) for name in names),
    "algosim_positions_not_shown",
}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def desk() -> Iterator[Desk]:
    name = segment_name().encode()
    desk = Desk(parse_config(b'{"symbols": ["A"], "OrderBook": {"shared_memory_name": "%s"}}' % name), None)
    yield desk
    desk.close()


def samples(desk: Desk) -> Samples:
    """By name and labels; parsing fails where the text is not as it should be."""
    found: Samples = {}
    for family in text_string_to_metric_families(exposition(Snapshot(desk)).decode()):
        assert family.documentation and family.type != "unknown", family.name
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def lane(strategy: str, **more: Any) -> dict[str, Any]:
    money = {"equity": 101_000.5, "cash": 100_000.0, "realized": 1.0, "unrealized": -2.0, "commission": 0.5}
    return {
        "strategy_id": strategy,
        "epoch": 1,
        "initial": 100_000.0,
        "positions": {"AAPL": -10.0},
        **money,
        **more,
    }


def test_the_status_is_told_as_counters_and_gauges(desk: Desk) -> None:
    desk.system.take(status(ticks=12_345, orders=7, strategy={"restarts": 2}))
    found = samples(desk)
    assert value(found, "algosim_up") == 1
    assert value(found, "algosim_ticks_total") == 12_345
    assert value(found, "algosim_orders_total") == 7
    assert value(found, "algosim_part_up", part="gateway") == 1
    assert value(found, "algosim_restarts_total", part="strategy") == 2
    assert value(found, "algosim_cpu_ratio", part="strategy") == 0.125
    assert value(found, "algosim_resident_memory_bytes", part="orderbook") == 50_000_000
    assert value(found, "algosim_lag_records", part="strategy") == 5
    assert value(found, "algosim_lag_seconds", part="strategy") == 0.0015
    assert value(found, "algosim_gaps_total", part="orderbook") == 1
    assert value(found, "algosim_dropped_total", part="gateway") == 0
    assert value(found, "algosim_rejected_total", part="orderbook", reason="bad price") == 2
    assert value(found, "algosim_orders_denied_total", part="order_manager", reason="collar") == 4
    assert value(found, "algosim_reports_total", status="Filled") == 6


def test_a_latency_histogram_has_its_values_below_the_edges_that_they_do_not_exceed(desk: Desk) -> None:
    desk.system.take(status(order_manager={"histograms": {"tick→order": histogram(900, 61_500, 2_500_000)}}))
    found = samples(desk)
    stage = {"part": "order_manager", "stage": "tick_to_order"}
    below = {
        float(dict(labels)["le"]): count
        for (name, labels), count in found.items()
        if name == "algosim_latency_seconds_bucket"
    }
    assert (
        below[1e-6] == 1 and below[5e-5] == 1 and below[1e-4] == 2 and below[2e-3] == 2 and below[5e-3] == 3
    )
    assert below[float("inf")] == value(found, "algosim_latency_seconds_count", **stage) == 3
    assert list(below.values()) == sorted(below.values())
    total = value(found, "algosim_latency_seconds_sum", **stage)
    assert 0.0025624 <= total <= 0.0025624 * (1 + 1 / 128)
    assert value(found, "algosim_latency_quantile_seconds", **stage, quantile="0.99") == 0.00012


def test_money_is_told_by_strategy(desk: Desk) -> None:
    desk.money.take_lanes([lane("sma_news"), lane("other", positions={})])
    found = samples(desk)
    assert value(found, "algosim_equity", strategy="sma_news") == 101_000.5
    assert value(found, "algosim_unrealized", strategy="other") == -2
    assert value(found, "algosim_position", strategy="sma_news", symbol="AAPL") == -10


def test_before_there_is_a_run_there_is_a_valid_page_that_says_so(desk: Desk) -> None:
    assert value(samples(desk), "algosim_up") == 0


def test_what_is_written_is_of_the_moment_when_it_was_asked_for(desk: Desk) -> None:
    desk.system.take(status(ticks=1))
    desk.money.take_lanes([lane("sma_news", positions={"AAPL": 1.0})])
    snapshot = Snapshot(desk)
    before = exposition(snapshot)
    desk.system.take(status(ticks=2))
    desk.money.take_lanes([lane("sma_news", positions={"IBM": 2.0}), lane("other")])
    assert _without_the_disk(exposition(snapshot)) == _without_the_disk(before)


def _without_the_disk(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if b"free_bytes" not in line]


def test_hostile_names_stay_names(desk: Desk) -> None:
    reason = 'he said "no"\\ \n# TYPE algosim_up counter\nalgosim_up 7'
    desk.system.take(status(order_manager={"refused": {reason: 3}}))
    assert value(samples(desk), "algosim_orders_refused_total", part="order_manager", reason=reason) == 3


def test_the_number_of_series_is_bounded_whatever_the_run_is_made_of(desk: Desk) -> None:
    desk.system.take(status(order_manager={"refused": {f"reason {i}": 1 for i in range(5000)}}))
    many = {f"S{i}": 1.0 for i in range(5000)}
    desk.money.take_lanes([lane(f"strategy {i}", positions=many) for i in range(2 * MOST_STRATEGIES)])
    desk.market.symbols = tuple(many)
    desk.market.prices = desk.market.prices.repeat(5000)
    desk.market.prices[:] = 1.5
    found = samples(desk)
    by_name: dict[str, int] = {}
    for name, _ in found:
        by_name[name] = by_name.get(name, 0) + 1
    assert by_name["algosim_price"] == by_name["algosim_position"] == MOST_SYMBOLS
    assert by_name["algosim_equity"] == MOST_STRATEGIES
    assert by_name["algosim_orders_refused_total"] == MOST_REASONS + 1
    assert value(found, "algosim_positions_not_shown") == 5000 * MOST_STRATEGIES - MOST_SYMBOLS


def test_every_metric_that_the_docs_name_is_there(desk: Desk) -> None:
    desk.system.take(status(gateway={"rows_rejected": {"no price": 1}}))
    desk.money.take_lanes([lane("sma_news")])
    desk.market.symbols, desk.market.prices = ("AAPL",), np.full(1, 1.5)
    page = (ROOT / "docs" / "DASHBOARD.md").read_text().partition("## Metrics")[2].partition("## Bounds")[0]
    named = set(re.findall(r"`(algosim_\w+)`", page))
    there = {name for name, _ in samples(desk)} | {"algosim_latency_seconds"}
    tables = {f"{name}_total" for name, _ in metrics.COUNTS.values()}  # there with their first count
    assert len(named) > 30 and named <= there | tables
    assert {name for name in there if not name.startswith("algosim_latency")} - named <= NOT_NAMED
