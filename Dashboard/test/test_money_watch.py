"""Orders, fills and money are what the event stream says, however often it begins again."""

import json
from typing import Any

import pytest

from Dashboard.frames import Frames, Place
from Dashboard.market_watch import MarketWatch
from Dashboard.money_watch import EVENTS_KEPT, MoneyWatch
from Dashboard.system_watch import SystemWatch

RUN = "run-1"


def lane(strategy: str = "s", **more: Any) -> dict[str, Any]:
    money = {"initial": 1000.0, "cash": 900.0, "realized": 5.0, "unrealized": -2.0, "commission": 1.0}
    return {
        "strategy_id": strategy,
        "epoch": 1,
        "equity": 1002.0,
        "positions": {},
        "killed": "",
        **money,
        **more,
    }


def snapshot(seq: int, *lanes: dict[str, Any], run: str = RUN) -> dict[str, Any]:
    return {"type": "snapshot", "seq": seq, "run_id": run, "lanes": list(lanes)}


def order(seq: int, number: str = "7.0", **more: Any) -> dict[str, Any]:
    told = {"symbol": "AAPL", "side": "BUY", "quantity": 10.0, "order_type": "LIMIT", "limit_price": 9.5}
    return {
        "type": "order",
        "seq": seq,
        "run_id": RUN,
        "ts": "1000",
        "strategy_id": "s",
        "tag": "why",
        "client_order_id": number,
        "stop_price": 0.0,
        **(told | more),
    }


def report(seq: int, status: str, number: str = "7.0", **more: Any) -> dict[str, Any]:
    told = {"symbol": "AAPL", "side": "BUY", "qty": 10.0, "leaves_qty": 10.0, "last_qty": 0.0, "last_px": 0.0}
    return {
        "type": "report",
        "seq": seq,
        "run_id": RUN,
        "ts": "2000",
        "strategy_id": "s",
        "status": status,
        "client_order_id": number,
        "reason": "",
        "tag": "",
        "epoch": 1,
        "exec_id": seq,
        "commission": 0.5,
        "reference": 9.4,
        **(told | more),
    }


def account(seq: int, ts: int, equity: float, epoch: int = 1, strategy: str = "s") -> dict[str, Any]:
    money = {
        "cash": 900.0,
        "realized": equity - 1000.0,
        "unrealized": 0.0,
        "commission": 0.0,
        "equity": equity,
    }
    return {
        "type": "account",
        "seq": seq,
        "run_id": RUN,
        "strategy_id": strategy,
        "epoch": epoch,
        "ts": str(ts * 1_000_000),
        "positions": {"AAPL": 1.0},
        **money,
    }


def told(*events: dict[str, Any]) -> MoneyWatch:
    money = MoneyWatch()
    for event in (snapshot(0, lane()), *events):
        money.take(event)
    return money


def test_an_order_is_open_until_its_report_says_it_is_done() -> None:
    money = told(order(1), report(2, "New"))
    (row,) = money.open.values()
    assert (row["status"], row["type"], row["limit"], row["tag"]) == ("New", "LIMIT", 9.5, "why")
    money.take(report(3, "Filled", leaves_qty=0.0, last_qty=10.0, last_px=9.4))
    assert not money.open
    (fill,) = money.fills.kept
    assert (fill["qty"], fill["price"], fill["tag"], fill["exec"]) == (10.0, 9.4, "why", 3)


def test_a_partly_filled_order_stays_open_with_what_it_leaves() -> None:
    money = told(order(1), report(2, "PartiallyFilled", leaves_qty=4.0, last_qty=6.0, last_px=9.4))
    (row,) = money.open.values()
    assert row["leaves"] == 4.0
    assert money.fills.count == 1


def test_a_stream_that_begins_again_says_nothing_twice_and_what_it_left_out_is_counted() -> None:
    money = told(order(1), report(2, "Filled", last_qty=1.0, last_px=1.0))
    money.take(snapshot(5, lane()))
    money.take(report(5, "Filled", "9.0", last_qty=1.0, last_px=1.0))
    money.take(report(6, "Filled", "11.0", last_qty=1.0, last_px=1.0))
    assert [fill["id"] for fill in money.fills.kept] == ["7.0", "11.0"]
    assert money.missed == 3


def test_open_orders_of_a_snapshot_are_there_for_who_joins_late() -> None:
    waiting = {"client_order_id": "3.0", "symbol": "IBM", "side": "SELL", "qty": 5.0, "leaves_qty": 2.0}
    money = told(
        snapshot(4, lane(orders=[{**waiting, "type": "STOP", "stop_price": 8.0, "status": "working"}]))
    )
    (row,) = money.open.values()
    assert (row["id"], row["leaves"], row["stop"], row["status"]) == ("3.0", 2.0, 8.0, "New")


def test_what_was_before_the_stream_changes_neither_lanes_nor_open_orders() -> None:
    money = told(snapshot(9, lane(equity=1100.0)))
    earlier = [
        order(1),
        report(2, "New"),
        account(3, 10, 990.0),
        report(4, "Filled", last_qty=1.0, last_px=1.0),
    ]
    money.take_backlog(earlier)
    assert money.lanes["s"]["equity"] == 1100.0
    assert not money.open
    assert money.fills.count == 1
    assert money.curves["s"].points == [(10.0, 990.0)]


def test_a_new_epoch_begins_the_curves_anew() -> None:
    money = told(account(1, 10, 1001.0), account(2, 20, 1002.0), account(3, 5, 1003.0, epoch=2))
    money.settle()
    assert money.curves["s"].points == [(5.0, 1003.0)]
    assert money.curves["total"].points == [(5.0, 1003.0)]


def test_another_run_begins_everything_anew() -> None:
    money = told(order(1), report(2, "New"))
    money.take(snapshot(0, lane("other"), run="run-2"))
    assert (list(money.lanes), money.open, money.orders.count) == (["other"], {}, 0)


def test_the_total_is_the_sum_and_manual_counts_once_it_trades() -> None:
    money = MoneyWatch()
    idle = lane("manual", equity=500.0, commission=0.0, realized=0.0)
    money.take(snapshot(1, lane("a"), lane("b", equity=2000.0), idle))
    assert money.total()["equity"] == 3002.0
    money.take_lanes([lane("manual", equity=500.0, commission=0.25)])
    assert money.total()["equity"] == 3502.0


def by_hand(seq: int, ts: int, equity: float, **more: Any) -> dict[str, Any]:
    return account(seq, ts, equity, strategy="manual") | more


def test_a_lane_that_trades_later_counts_from_the_beginning_and_the_totals_curve_does_not_jump() -> None:
    money = MoneyWatch()
    idle = lane("manual", equity=1000.0, commission=0.0, realized=0.0, unrealized=0.0)
    events = (snapshot(0, lane(), idle), account(1, 10, 990.0), account(2, 20, 1010.0))
    for event in (*events, by_hand(3, 30, 999.0), account(4, 40, 1011.0)):
        money.take(event)
        money.settle()
    assert money.curves["total"].points == [(10.0, 1990.0), (20.0, 2010.0), (30.0, 2009.0), (40.0, 2010.0)]
    assert money.curves["s"].points == [(10.0, 990.0), (20.0, 1010.0), (40.0, 1011.0)]
    assert money.total()["equity"] == 2010.0
    assert money.total()["drawdown"] == pytest.approx(10 / 2000)


def test_who_trades_later_changes_nothing_of_the_epochs_before_and_their_end_is_this_ones_peak() -> None:
    money = told(account(1, 10, 1100.0))
    money.settle()
    for event in (account(2, 5, 1050.0, epoch=2), by_hand(3, 6, 1000.0, epoch=2)):
        money.take(event)
        money.settle()
    assert money.curves["total"].points == [(5.0, 2050.0), (6.0, 2050.0)]
    assert money.total()["drawdown"] == pytest.approx(50 / 2100)


def test_points_that_became_others_are_told_as_a_version_and_another_run_has_none() -> None:
    money = told(account(1, 10, 1001.0))
    money.settle()
    before = money.version
    assert money.redrawn == 0
    money.take(by_hand(2, 20, 1000.0))
    money.settle()
    assert before < money.redrawn <= money.version
    money.take(snapshot(0, run="run-2"))
    assert money.redrawn == 0


def test_strategies_whose_first_accounts_come_one_by_one_from_a_backlog_make_no_steps() -> None:
    money = told(snapshot(9, lane("s"), lane("t")))
    money.take_backlog([account(1, 10, 1001.0), account(2, 20, 1002.0, strategy="t")])
    money.take_backlog([account(3, 30, 1003.0)])
    assert money.curves["total"].points == [(10.0, 2001.0), (20.0, 2003.0), (30.0, 2005.0)]


def test_manual_without_commission_stays_when_it_is_flat_again() -> None:
    money = told(by_hand(1, 10, 1007.0, positions={}), account(2, 20, 1001.0))
    assert money.total()["equity"] == 2008.0


def test_of_many_events_the_newest_are_kept_and_the_others_counted_for_who_lacks_them() -> None:
    money = told(
        *(report(at, "Filled", f"{at}.0", last_qty=1.0, last_px=1.0) for at in range(1, EVENTS_KEPT + 101))
    )
    kept, lost = money.fills.after(0)
    assert (len(kept), lost) == (EVENTS_KEPT, 100)
    assert money.fills.after(money.fills.count - 3)[0] == kept[-3:]


def test_the_total_of_several_is_of_the_newest_epoch_and_has_their_exposure_by_what_they_began_with() -> None:
    money = MoneyWatch()
    a = lane("a", exposure=0.2, initial=1000.0, positions={"AAPL": 2.0}, unrealized_by_symbol={"AAPL": -1.0})
    b = lane("b", exposure=0.8, initial=3000.0, positions={"AAPL": 1.0}, epoch=2)
    money.take(snapshot(1, a, b))
    total = money.total()
    assert (total["epoch"], total["exposure"]) == (2, pytest.approx(0.65))
    assert (total["positions"], total["unrealized_by_symbol"]) == ({"AAPL": 3.0}, {"AAPL": -1.0})


def test_a_status_that_comes_before_the_new_epochs_first_account_freezes_no_curve() -> None:
    money = told(account(1, 3600, 1001.0))
    money.take_lanes([lane(ts="0", epoch=2)])  # the epoch has begun, and no record of it was looked at
    money.mark()
    money.settle()
    for at in (2, 3, 4):
        money.take(account(at, at, 1000.0 + at, epoch=2))
        money.settle()
    expected = [(2.0, 1002.0), (3.0, 1003.0), (4.0, 1004.0)]
    assert (money.curves["s"].points, money.curves["total"].points) == (expected, expected)


def test_a_strategy_that_is_an_epoch_behind_adds_nothing_to_the_totals_new_one() -> None:
    money = MoneyWatch()
    events = (
        *(snapshot(0, lane("s"), lane("t")), account(1, 3600, 1000.0, strategy="t")),
        *(
            account(2, 1, 1001.0, epoch=2),
            account(3, 3601, 990.0, strategy="t"),
            account(4, 3, 1003.0, epoch=2),
        ),
    )
    for event in events:
        money.take(event)
        money.settle()
    assert money.curves["total"].epoch == 2
    assert [ms for ms, _ in money.curves["total"].points] == [1.0, 3.0]
    assert money.curves["t"].points == [(3600.0, 1000.0), (3601.0, 990.0)]


def test_a_new_run_reaches_a_listener_as_new_whichever_of_its_sources_is_first() -> None:
    market, money = MarketWatch("no such segment", None, 7200), told(order(1), account(2, 5000, 1001.0))
    market.run_id = RUN
    frames = Frames(market, money, SystemWatch())
    place = Place({"orders": None, "pnl": None})

    def hears() -> list[dict[str, Any]]:
        money.settle()
        frames.next()
        return [json.loads(text) for text in frames.since(place)]

    assert [message["topic"] for message in hears()] == ["hello", "orders", "pnl", "heartbeat"]
    market.run_id = "run-2"
    assert [message["topic"] for message in hears()] == ["hello", "heartbeat"], (
        "the old run's money is not its own"
    )
    money.take(snapshot(0, lane(), run="run-2"))
    money.take(order(1, "1.0", run_id="run-2"))
    hello, orders, pnl, _ = hears()
    assert (hello["run_id"], pnl["begin"], pnl["curves"]) == ("run-2", True, {})
    assert [event["id"] for event in orders["events"]] == ["1.0"]
