"""What a strategy orders and what it is told: fills, denials, open orders, cancels, the end of an epoch.

An order placed at record n with `travel=1.5` arrives between n + 1 and n + 2, so that record n + 2 makes
it final, at the price of n + 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trading_lib import order_wire
from trading_lib.lane_state import restore, take_state
from trading_lib.models import CancelRequest, Kind, Order, OrderType, Side, TimeInForce
from trading_lib.risk import Limits
from trading_lib.test.engine_run import EPOCH, STEP, TS, Run, news, ticks

MakeRun = Callable[..., Run]

ON_FILL = """
    seen = []

    def on_tick(ctx, tick):
        seen.append(("tick", tick.seq, ctx.position()))
        if tick.seq == 100:
            ctx.place_market_order("BUY", 10, "entry")

    def on_fill(ctx, fill):
        price = fill.qty, fill.price, fill.ts
        seen.append(("fill", fill.symbol, str(fill.side), *price, fill.client_order_id, fill.tag))
        if fill.side == "BUY":
            seen.append(ctx.place_market_order("SELL", 10))
"""


@pytest.fixture
def run(tmp_path: Path) -> MakeRun:
    def make(source: str, **options: Any) -> Run:
        return Run(tmp_path, source, **options)

    return make


def on_tick_100(*statements: str) -> str:
    """A strategy that does something at its first record and then collects what it is told."""
    body = "\n".join(f"            {statement}" for statement in statements)
    return f"""
    seen = []

    def on_tick(ctx, tick):
        if tick.seq == 100:
{body}

    def on_fill(ctx, fill):
        seen.append(("fill", fill.client_order_id, fill.qty, fill.price))

    def on_reject(ctx, report):
        seen.append(("reject", report.client_order_id, report.reason))
"""


# ------------------------------------------------------------------------------------------------- fills


def test_a_fill_is_told_before_the_tick_that_made_it_final_and_its_orders_carry_that_record(
    run: MakeRun,
) -> None:
    made = run(ON_FILL, travel=1.5)
    requests = made.feed(ticks(10.0, 10.1, 10.2, 10.3, 10.4))
    assert made.seen == [
        ("tick", 100, 0),
        ("tick", 101, 10),
        ("fill", "AAPL", "BUY", 10, 10.1, TS + 101_500, "100.0", "entry"),
        "102.0",
        ("tick", 102, 0),  # the sale is on its way
        ("tick", 103, 0),
        ("fill", "AAPL", "SELL", 10, 10.3, TS + 103_500, "102.0", ""),
        ("tick", 104, 0),
    ]
    assert [(r.cause_seq, r.timestamp) for r in requests] == [(100, TS + 100_000), (102, TS + 102_000)]
    assert (made.engine.placed, made.engine.fills) == (2, 2)


def test_orders_from_on_fill_and_from_the_tick_after_it_share_one_numbering(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick): seen.append(ctx.place_market_order("BUY", 1))
        def on_fill(ctx, fill): seen.append(ctx.place_market_order("SELL", 1))
        """,
        travel=0.5,
    )
    made.feed(ticks(10.0, 10.0, 10.0))
    assert made.seen == ["100.0", "101.0", "101.1", "102.0", "102.1", "102.2"]


@pytest.mark.parametrize("mark", [Kind.TIME, Kind.CONTROL, Kind.END, Kind.NEWS])
def test_any_record_can_make_a_fill_final(run: MakeRun, mark: Kind) -> None:
    made = run(ON_FILL, travel=0.5)
    (_, sale) = made.feed([*ticks(10.0), (mark, 0, 50.0)])
    assert made.seen[1][:2] == ("fill", "AAPL")
    assert (sale.client_order_id, sale.timestamp) == ("101.0", TS + 101_000)


def test_on_fill_knows_the_price_of_the_record_that_made_the_fill_final_and_that_it_is_not_the_fills(
    run: MakeRun,
) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq == 100: ctx.place_market_order("BUY", 1)
        def on_fill(ctx, fill): seen.append((ctx.price("MSFT"), fill.price))
        """,
        travel=0.5,
    )
    made.feed([*ticks(10.0), *ticks(20.0, slot=1)])
    assert made.seen == [(20.0, 10.0)]


def test_without_a_symbol_on_fill_means_the_symbol_that_was_filled(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq == 100: ctx.place_market_order("BUY", 3)
        def on_fill(ctx, fill):
            seen.append((ctx.position(), ctx.price()))
            ctx.place_market_order("SELL", 1)
        """,
        travel=0.5,
    )
    requests = made.feed([*ticks(10.0), *ticks(20.0, slot=1)])
    assert made.seen == [(3, 10.0)]
    assert [r.symbol for r in requests if isinstance(r, Order)] == ["AAPL", "AAPL"]


def test_what_on_fill_raises_is_counted_and_the_tick_is_still_seen(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            seen.append(tick.seq)
            if tick.seq == 100: ctx.place_market_order("BUY", 1)
        def on_fill(ctx, fill): 1 / 0
        """,
        travel=0.5,
    )
    made.feed(ticks(10.0, 10.0))
    assert (made.seen, made.engine.errors) == ([100, 101], 1)
    assert "line 6: ZeroDivisionError" in made.engine.last_error


def test_a_strategy_without_on_fill_and_on_reject_is_filled_and_denied_all_the_same(run: MakeRun) -> None:
    made = run(
        "def on_tick(ctx, tick): ctx.place_market_order('BUY', 6)", travel=0.5, limits=Limits(max_position=10)
    )
    made.feed(ticks(10.0, 10.0, 10.0))
    assert (made.engine.fills, made.engine.denied, made.engine.errors) == (1, 1, 0)
    assert made.engine.lane.portfolio.position("AAPL") == 6


# ----------------------------------------------------------------------------------- denials, positions


def test_a_denial_is_told_with_the_rule_and_the_numbers_and_frees_the_position(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq == 100: ctx.place_market_order("BUY", 11)
            seen.append(ctx.position())
        def on_reject(ctx, report):
            seen.append((report.client_order_id, str(report.status), report.reason, ctx.position()))
        """,
        travel=0.5,
        limits=Limits(max_position=10),
    )
    made.feed(ticks(10.0, 10.0))
    first, (order_id, status, reason, then), last = made.seen
    assert (first, then, last) == (11, 0, 0)
    assert (order_id, status) == ("100.0", "Rejected")
    assert reason.startswith("max_position: 0 held")
    assert (made.engine.denied, made.engine.fills) == (1, 0)


def test_the_position_is_what_is_filled_and_what_travels_at_the_market_and_no_limit_order(
    run: MakeRun,
) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq == 100:
                ctx.place_market_order("BUY", 10)
                ctx.place_market_order("SELL", 4)
                ctx.place_limit_order("BUY", 100, 5.0)
                ctx.place_stop_order("SELL", 100, 5.0)
            seen.append((tick.seq, ctx.position(), ctx.position("MSFT")))
        """,
        travel=0.5,
    )
    made.feed(ticks(10.0, 10.0))
    assert made.seen == [(100, 6, 0), (101, 6, 0)]
    assert made.engine.lane.portfolio.position("AAPL") == 6


# -------------------------------------------------------------------------------------- limits and stops


def test_every_kind_of_order_says_what_it_is(run: MakeRun) -> None:
    made = run(
        on_tick_100(
            "ctx.place_limit_order('BUY', 1, 9.5, 'l')",
            "ctx.place_stop_order('SELL', 2, 9.0, tif='GTC')",
            "ctx.place_stop_limit_order('SELL', 3, 9.0, 8.9, symbol='AAPL')",
            "ctx.place_limit_order('BUY', 4, 11.0, tif='IOC')",
        )
    )
    limit, stop, stop_limit, ioc = (r for r in made.feed(ticks(10.0)) if isinstance(r, Order))
    assert (limit.type, limit.tif, limit.limit_price, limit.stop_price, limit.tag) == (
        OrderType.LIMIT,
        TimeInForce.ROD,
        9.5,
        0,
        "l",
    )
    assert (stop.type, stop.tif, stop.limit_price, stop.stop_price, stop.side) == (
        OrderType.STOP,
        TimeInForce.GTC,
        0,
        9.0,
        Side.SELL,
    )
    assert (stop_limit.type, stop_limit.limit_price, stop_limit.stop_price) == (
        OrderType.STOP_LIMIT,
        8.9,
        9.0,
    )
    assert (ioc.type, ioc.tif) == (OrderType.LIMIT, TimeInForce.IOC)
    assert [o.client_order_id for o in (limit, stop, stop_limit, ioc)] == ["100.0", "100.1", "100.2", "100.3"]


def test_a_resting_limit_order_is_filled_at_its_limit_by_the_tick_through_it(run: MakeRun) -> None:
    made = run(on_tick_100("ctx.place_limit_order('BUY', 1, 9.5)"), travel=0.5)
    made.feed(ticks(10.0, 9.6, 9.5, 9.4))
    assert made.seen == [("fill", "100.0", 1, 9.5)]


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("place_limit_order('BUY', 1, 0)", "limit price must be positive and finite"),
        ("place_limit_order('BUY', 1, float('nan'))", "limit price must be positive"),
        ("place_limit_order('BUY', 0, 9.5)", "quantity must be positive"),
        ("place_limit_order('BUY', 1, 9.5, tif='DAY')", "DAY"),
        ("place_stop_order('BUY', 1, -1)", "stop price must be positive"),
        ("place_stop_limit_order('BUY', 1, 9.5, float('inf'))", "limit price must be positive"),
        ("place_limit_order('BUY', 1, 9.5, 'a,b')", "bad tag"),
        ("cancel('nonsense')", "Rejected"),
        ("cancel('')", "Rejected"),
    ],
)
def test_a_request_that_cannot_be_is_an_error_of_the_strategy_and_moves_nothing(
    run: MakeRun, call: str, fault: str
) -> None:
    made = run(f"def on_tick(ctx, tick): ctx.{call}")
    assert made.feed(ticks(10.0)) == []
    assert (made.engine.errors, made.engine.placed, made.engine.lane.travelling) == (1, 0, 0)
    assert fault in made.engine.last_error


# --------------------------------------------------------------------------------- open orders, cancels


def test_open_orders_are_what_works_and_what_is_on_its_way(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq in (100, 102): ctx.place_limit_order("BUY", 2, 9.5, "mine")
            if tick.seq == 101: ctx.place_stop_order("SELL", 1, 15.0, symbol="MSFT")
            seen.append([(o.client_order_id, o.leaves, o.arrived) for o in ctx.open_orders()])
            seen.append([o.client_order_id for o in ctx.open_orders("MSFT")])
        """,
        travel=0.5,
    )
    made.feed([*ticks(10.0), *ticks(20.0, slot=1), *ticks(10.0, 9.4)])
    assert made.seen == [
        [("100.0", 2, False)],
        [],
        [("100.0", 2, True), ("101.0", 1, False)],
        ["101.0"],
        [("100.0", 2, True), ("101.0", 1, True), ("102.0", 2, False)],
        ["101.0"],
        [("101.0", 1, True)],  # 9.4 has filled 100.0, and 102.0 at 10 > 9.5 rested, then was filled too
        ["101.0"],
    ]
    assert made.engine.lane.portfolio.position("AAPL") == 4


def test_a_cancel_takes_as_long_as_an_order_and_ends_it(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            if tick.seq == 100: ctx.mine = ctx.place_limit_order("BUY", 2, 9.5)
            if tick.seq == 101: seen.append(ctx.cancel(ctx.mine))
            seen.append([o.client_order_id for o in ctx.open_orders()])
        """,
        travel=0.5,
    )
    requests = made.feed(ticks(10.0, 10.0, 10.0))
    assert made.seen == [["100.0"], "101.0", ["100.0"], []]
    assert requests[1] == CancelRequest("100.0", TS + 101_000, 101, 0)
    assert (made.engine.placed, made.engine.denied) == (1, 0)


def test_a_cancel_of_an_order_that_was_filled_meanwhile_is_denied(run: MakeRun) -> None:
    made = run(on_tick_100("ctx.place_market_order('BUY', 1)", "ctx.cancel('100.0')"), travel=0.5)
    made.feed(ticks(10.0, 10.0))
    assert made.seen == [
        ("fill", "100.0", 1, 10.0),
        ("reject", "100.1", "cancel: order 100.0 is not open"),
    ]


def test_a_host_that_takes_a_lane_over_has_its_position_and_its_open_orders(
    run: MakeRun, tmp_path: Path
) -> None:
    before = run(
        on_tick_100("ctx.place_market_order('BUY', 5)", "ctx.place_limit_order('BUY', 2, 9.0)"), travel=0.5
    )
    before.feed(ticks(10.0, 10.0))
    (tmp_path / "again").mkdir()
    after = Run(
        tmp_path / "again",
        """
        seen = []
        def on_tick(ctx, tick):
            seen.append((ctx.position("AAPL"), [o.client_order_id for o in ctx.open_orders()], ctx.price("AAPL")))
        """,
    )
    restore(after.engine.lane, take_state(before.engine.lane))
    after.number(ticks(0.0, 0.0))  # records it never sees
    after.feed(ticks(20.0, slot=1))
    assert after.seen == [(5, ["100.1"], 10.0)]


# ---------------------------------------------------------------------------------------- ends of epochs


def test_at_the_end_of_an_epoch_orders_expire_positions_are_closed_and_the_old_strategy_hears_nothing(
    run: MakeRun,
) -> None:
    made = run(
        """
        seen = []
        def init(ctx): seen.append(("init", ctx.position("AAPL"), ctx.open_orders()))
        def on_tick(ctx, tick):
            if tick.seq == 100:
                ctx.place_market_order("BUY", 5)
                ctx.place_limit_order("BUY", 2, 9.0)
        def on_fill(ctx, fill): seen.append(("fill", fill.client_order_id))
        def on_reject(ctx, report): seen.append(("reject", report.client_order_id))
        """,
        travel=0.5,
    )
    made.feed([*ticks(10.0, 11.0), EPOCH, *ticks(1.0)])
    assert made.seen == [("init", 0, []), ("fill", "100.0"), ("init", 0, [])]
    lane = made.engine.lane
    assert (lane.epoch, lane.portfolio.position("AAPL"), lane.open) == (1, 0, {})
    assert lane.portfolio.realized == pytest.approx(5.0)  # closed at 11, the old epoch's last price


def test_orders_of_the_new_epoch_are_not_taken_for_late(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def init(ctx): ctx.done = False
        def on_tick(ctx, tick):
            if not ctx.done: ctx.place_market_order("BUY", 1)
            ctx.done = True
        def on_fill(ctx, fill): seen.append(fill.client_order_id)
        """,
        travel=0.5,
    )
    made.feed([*ticks(10.0, 10.0), EPOCH, *ticks(10.0, 10.0)])
    assert made.seen == ["100.0", "103.0"]
    assert made.engine.denied == 0


# --------------------------------------------------------------------------------- for the ledger to say


def test_every_report_is_a_frame_for_the_ledger_to_say_again(run: MakeRun) -> None:
    made = run(ON_FILL, travel=1.5)
    made.feed([*ticks(10.0, 10.1, 10.2), news(50)])
    frames = made.engine.take_frames()
    reports = [order_wire.parse_report(frame) for frame in frames.split(b"*")[:-1]]
    assert [(r.exec_id, r.client_order_id, str(r.status)) for r in reports] == [
        (1, "100.0", "New"),
        (2, "100.0", "Filled"),
    ]
    assert b"".join(map(order_wire.encode_report, reports)) == frames
    assert made.engine.take_frames() == b""
    assert reports[1].latency_ns == 1.5 * STEP


def test_records_that_were_missed_leave_an_order_without_a_market(run: MakeRun) -> None:
    made = run(on_tick_100("ctx.place_market_order('BUY', 1)"), travel=1.5)
    made.feed(ticks(10.0))
    made.number(ticks(11.0, 12.0))
    made.engine.missed(103)
    made.feed(ticks(13.0))
    (report,) = (order_wire.parse_report(f) for f in made.engine.take_frames().split(b"*")[:-1])
    assert (str(report.status), report.reason) == ("Canceled", "no market record")
    assert made.engine.lane.position("AAPL") == 0
