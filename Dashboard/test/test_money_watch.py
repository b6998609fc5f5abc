"""Orders, fills and money are what the event stream says, however often it begins again."""

from typing import Any

from Dashboard.money_watch import EVENTS_KEPT, MoneyWatch

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
    assert money.curves["s"].points == [(5.0, 1003.0)]
    assert money.curves["total"].points == [(5.0, 1003.0)]


def test_another_run_begins_everything_anew() -> None:
    money = told(order(1), report(2, "New"))
    money.take(snapshot(0, lane("other"), run="run-2"))
    assert (list(money.lanes), money.open, money.orders.count) == (["other"], {}, 0)


def test_the_total_is_the_sum_and_manual_counts_once_it_trades() -> None:
    money = MoneyWatch()
    money.take(snapshot(1, lane("a"), lane("b", equity=2000.0), lane("manual", equity=500.0, commission=0.0)))
    assert money.total()["equity"] == 3002.0
    money.take_lanes([lane("manual", equity=500.0, commission=0.25)])
    assert money.total()["equity"] == 3502.0


def test_of_many_events_the_newest_are_kept_and_the_others_counted_for_who_lacks_them() -> None:
    money = told(
        *(report(at, "Filled", f"{at}.0", last_qty=1.0, last_px=1.0) for at in range(1, EVENTS_KEPT + 101))
    )
    kept, lost = money.fills.after(0)
    assert (len(kept), lost) == (EVENTS_KEPT, 100)
    assert money.fills.after(money.fills.count - 3)[0] == kept[-3:]
