"""Rates: what a part has counted, over the time between its own statuses."""

from typing import Any

import pytest

from runtime.rates import QUIET_S, Rates


def status(uptime_s: float, ticks: int, at: float | None = None, **parts: Any) -> dict[str, Any]:
    book = {"ticks": ticks, "status_at_s": uptime_s if at is None else at}
    return {"uptime_s": uptime_s, "parts": {"orderbook": book, **parts}}


def ticks(rates: Rates, *statuses: tuple[float, int, float]) -> list[float]:
    """The rates at statuses of main.py: (when it was made, ticks, when the part had said them)."""
    return [rates.rate(status(*one), "orderbook", "ticks") for one in statuses]


def test_a_rate_is_what_was_added_per_second_since_the_status_before() -> None:
    assert ticks(Rates(), (1, 500, 1), (3, 900, 3), (4, 900, 4)) == [0, 200, 0]


def test_a_steady_part_has_a_steady_rate_however_its_statuses_fall_between_those_of_main() -> None:
    looks = [(1, 200, 1.0), (2, 400, 1.999), (3, 400, 1.999), (4, 800, 3.999), (5, 1000, 5.0), (6, 1000, 5.0)]
    assert ticks(Rates(), *looks)[1:] == pytest.approx([200] * 5, rel=0.01)


def test_a_status_that_comes_right_after_another_shows_the_same_rate() -> None:
    assert ticks(Rates(), (1, 0, 1), (2, 200, 2), (2.1, 260, 2.1), (3, 400, 3)) == [0, 200, 200, 200]


def test_a_count_that_a_restart_has_reset_is_rate_0() -> None:
    assert ticks(Rates(), (1, 500, 1), (2, 3, 2), (3, 203, 3)) == [0, 0, 200]


def test_a_part_that_has_gone_quiet_has_no_rate_until_it_says_something_again() -> None:
    late = 2 + QUIET_S + 1
    assert ticks(Rates(), (1, 0, 1), (2, 200, 2), (late, 200, 2), (late + 1, 800, late + 1)) == [
        0,
        200,
        0,
        pytest.approx(600 / (QUIET_S + 2)),
    ]


def test_each_count_has_its_own_rate() -> None:
    rates = Rates()
    for uptime_s, orders in ((1.0, 0), (2.0, 50)):
        now = status(uptime_s, int(uptime_s * 10), orders={"orders": orders})
        told = rates.rate(now, "orderbook", "ticks"), rates.rate(now, "orders", "orders")
    assert told == (10, 50)


def test_of_a_part_that_there_is_none_of_the_rate_is_0() -> None:
    assert Rates().rate({"uptime_s": 0.0, "parts": {}}, "orderbook", "ticks") == 0
