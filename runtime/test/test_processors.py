"""Which processor a part stays on."""

import os
from pathlib import Path

import psutil
import pytest

from runtime.processors import processor_of
from testing.harness import running_part, system_config, write_config

STREAM = ("gateway", "orderbook", "strategy", "order_manager")


@pytest.mark.parametrize("available", [[0, 1], [2, 5], [0, 1, 2], list(range(16))])
def test_the_order_book_and_a_lone_strategy_share_a_processor_with_nobody_else(available: list[int]) -> None:
    place = {part: processor_of(part, available, 1) for part in STREAM}
    assert set(place.values()) <= set(available)
    assert place["orderbook"] == place["strategy"]
    assert place["orderbook"] not in (place["gateway"], place["order_manager"])


def test_the_gateway_and_the_order_manager_share_one_only_where_there_are_but_two() -> None:
    assert processor_of("gateway", [0, 1], 1) == processor_of("order_manager", [0, 1], 1)
    assert processor_of("gateway", [0, 1, 2], 1) != processor_of("order_manager", [0, 1, 2], 1)


def test_several_strategies_and_who_is_not_of_the_stream_run_anywhere() -> None:
    assert processor_of("strategy", [0, 1], 2) is None
    assert all(processor_of(part, [0, 1, 2], 1) is None for part in ("recorder", "dashboard", "keep_awake"))


def test_on_a_lone_processor_nobody_is_told_to_stay() -> None:
    assert [processor_of(part, [0], 1) for part in STREAM] == [None] * 4


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one processor"
)
@pytest.mark.parametrize("pin", [True, False])
def test_a_part_stays_where_run_pin_says_so(tmp_path: Path, pin: bool) -> None:
    available = sorted(os.sched_getaffinity(0))
    config = write_config(tmp_path, system_config(tmp_path, run={"pin": pin}))
    with running_part("OrderBook", config, tmp_path) as process:
        process.wait_for("ready")
        stays = [processor_of("orderbook", available, 1)] if pin else available
        assert psutil.Process(process.pid).cpu_affinity() == stays
        assert process.stop() == 0
