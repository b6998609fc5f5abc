"""What a person reads of a status: one plain line, or a table."""

import io
from typing import Any

import pytest
from rich.console import Console

from runtime.rates import Rates
from runtime.status_view import View, latency, plain_line, problems, table


def part(state: str = "ready", **counts: Any) -> dict[str, Any]:
    return {
        "state": state,
        "pid": 4711,
        "cpu_percent": 12.4,
        "rss_bytes": 64_000_000,
        "restarts": 0,
        "message": "on port 1",
        **counts,
    }


def status(**parts: dict[str, Any]) -> dict[str, Any]:
    everybody = {name: part() for name in ("orderbook", "order_manager", "strategy", "gateway")}
    return {"run_id": "20250102-1", "uptime_s": 12.34, "parts": {**everybody, **parts}}


LATENCY = {"tick→order": {"p50": 61.2, "p90": 80.0, "p99": 1201.0, "p99.9": 2000.0, "max": 3000.0, "n": 10}}


def shown(renderable: Any, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---------------------------------------------------------------------------------------------- problems


def test_nothing_wrong_is_nothing_said() -> None:
    assert problems(status()["parts"]) == ""
    assert problems({}) == ""


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"orderbook": part(gaps=2, missed=1500)}, "gaps 2, missed 1,500"),
        (
            {"orderbook": part(late=3, rejected={"bad price": 1, "bad symbol": 2})},
            "late 3, frames rejected 3",
        ),
        ({"strategy": part(missed=7, errors=9)}, "overrun 7, strategy errors 9"),
        (
            {"strategy": part(counters={"sessions refused": 2, "sent": 9}, zygote_restarts=1, status_cut=3)},
            "sessions refused 2, zygote restarted 1, status values cut 3",
        ),
        ({"order_manager": part(rejected={"bad side": 4})}, "orders rejected 4"),
        ({"keep_awake": part(wakers_died=2)}, "wakers died 2"),
        ({"gateway": part(dropped=12)}, "dropped for slow clients 12"),
        (
            {
                "order_manager": part(
                    ledger_counters={
                        "missed": 5,
                        "seen before": 4,
                        "refused: there is no such tape record yet": 2,
                        "refused: its time is not that of its tape record": 1,
                        "fdatasync in the thread": 99,
                    }
                )
            },
            "requests refused 3, requests seen before 4, missed by the ledger 5",
        ),
        (
            {
                "order_manager": part(
                    counters={"refused: no descriptor left": 1, "connected": 50},
                    event_counters={"refused: too many listeners": 2},
                ),
                "gateway": part(counters={"refused: too many clients": 3}),
            },
            "connections refused 6",
        ),
        ({"gateway": {**part(), "restarts": 1}, "strategy": {**part(), "restarts": 2}}, "restarts 3"),
    ],
)
def test_whatever_was_missed_dropped_or_rejected_is_named(parts: dict[str, Any], text: str) -> None:
    assert problems(status(**parts)["parts"]) == text


# ----------------------------------------------------------------------------------------------- latency


def test_a_latency_is_its_median_and_99th_percentile() -> None:
    parts = status(order_manager=part(latency_us=LATENCY))["parts"]
    assert latency(parts, "tick→order") == "p50 61  p99 1,201 µs"


def test_a_latency_nobody_has_measured_is_a_dash() -> None:
    empty = {"tick→order": {"p50": None, "p99": None, "n": 0}}
    assert latency(status(order_manager=part(latency_us=empty))["parts"], "tick→order") == "–"
    assert latency({}, "tick→order") == "–"


# ------------------------------------------------------------------------------------------ line and table


def test_the_plain_line_has_time_counts_rates_and_latency() -> None:
    rates = Rates()
    parts = {
        "orderbook": part(ticks=1000, news=10, status_at_s=11.3),
        "order_manager": part(orders=5, latency_us=LATENCY, last_orders=["Received Order 5: …"]),
    }
    plain_line(status(**parts), rates)
    parts["orderbook"] |= {"ticks": 2200, "status_at_s": 12.3}
    assert plain_line(status(**parts), rates).split("  ") == [
        "",
        "12.3 s",
        "ticks 2,200 (1,200/s)",
        "news 10",
        "orders 5",
        "tick→order p50 61",
        "p99 1,201 µs",
        "Received Order 5: …",
    ]


def test_the_plain_line_names_parts_that_are_not_ready_and_what_went_wrong() -> None:
    text = plain_line(status(gateway=part("restarting"), orderbook=part(gaps=1)), Rates())
    assert "gateway restarting" in text
    assert text.endswith("gaps 1")
    assert "strategy" not in text


def test_before_anything_is_known_there_is_a_line_already() -> None:
    nothing = {"run_id": "1", "uptime_s": 0.0, "parts": {}}
    assert "ticks 0 (0/s)" in plain_line(nothing, Rates())


def test_the_table_has_a_row_for_each_part_with_state_pid_load_memory_and_counts() -> None:
    text = shown(
        table(
            status(
                orderbook=part(ticks=12_345, prices={"AAPL": 173.2}),
                order_manager=part(orders=7, latency_us=LATENCY, last_orders=["Received Order 7: BUY"]),
                gateway={**part("starting"), "pid": None},
            ),
            Rates(),
        )
    )
    names = ["orderbook", "order_manager", "strategy", "gateway"]
    rows = {
        line.split()[0]: line for line in text.splitlines() if line.split()[:1] and line.split()[0] in names
    }
    assert list(rows) == names
    for expected in ("ready", "4711", "12", "64 MB", "12,345 ticks"):
        assert expected in rows["orderbook"]
    assert "7 orders" in rows["order_manager"]
    assert "starting" in rows["gateway"]
    for expected in (
        "run 20250102-1",
        "AAPL 173.20",
        "Received Order 7: BUY",
        "tick→order     p50 61  p99 1,201 µs",
        "no gaps, drops or rejections",
    ):
        assert expected in text


def test_the_table_names_what_went_wrong() -> None:
    assert "counted   orders rejected 4" in shown(
        table(status(order_manager=part(rejected={"bad side": 4})), Rates())
    )


# -------------------------------------------------------------------------------------------------- view


def test_without_a_terminal_each_status_is_a_line_of_its_own_and_messages_are_shown_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=80)
    with View(console) as view:
        view.say("gateway: [bold]not markup[/bold] " + "long " * 30)
        view.show(status())
        view.show(status())
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("gateway: [bold]not markup[/bold]")
    assert len(lines) == 3


def test_on_a_terminal_the_table_is_live_and_stays_at_the_end() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with View(console) as view:
        view.show(status(orderbook=part(ticks=1)))
        view.show(status(orderbook=part(ticks=2)))
    assert isinstance(console.file, io.StringIO)
    assert "2 ticks" in console.file.getvalue()


def test_a_screen_of_80_by_24_holds_the_table() -> None:
    orders = [f"Received Order {i}: SELL 20 LONG.NAMED=SYMBOL @ 12345.6789" for i in range(5)]
    big = part(ticks=123_456_789, prices={"AAPL": 173.2, "GOOG": 2173.2, "IBM": 84.1, "MSFT": 21.4})
    wide = table(
        status(
            orderbook=big,
            strategy=big,
            gateway=big,
            order_manager=part(orders=99, last_orders=orders),
            recorder=part(records=123_456_789),
            dashboard=part(message="http://127.0.0.1:8080"),
        ),
        Rates(),
    )
    console = Console(width=80, height=24, file=io.StringIO())
    lines = console.render_lines(wide)
    assert len(lines) <= 23
    text = shown(wide, width=80)
    assert "123,456,789 ticks" in text and "Ctrl-C stops" in text


def test_the_table_says_where_the_dashboard_is_while_it_is_there() -> None:
    address = "http://127.0.0.1:8080"
    there = shown(table(status(dashboard=part(message=address, listeners=3)), Rates()), width=80)
    assert f"dashboard {address}" in there and "3 listeners" in there
    gone = shown(table(status(dashboard=part("restarting", message=address)), Rates()), width=80)
    assert address not in gone
