"""The ledger: what it accepts, how far its lanes go, and what it says when to whom."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from OrderManager import records
from OrderManager.journal import JournalError, JournalReader
from OrderManager.ledger import REQUESTS_AT_ONCE, Ledger
from OrderManager.market import Market
from OrderManager.server import Hello, Received, SessionDenied
from OrderManager.test.ledger_room import (
    LOG,
    RUN_ID,
    STEP,
    TOKEN,
    Client,
    Room,
    Tape,
    cancel,
    limit,
    order,
    plain_lane,
    short,
    tape,
    ts_of,
)
from trading_lib.control import Action, Cancel, KillSwitch, PlaceOrder
from trading_lib.models import Account, Fill, Kind, Order, OrderStatus, Report, Side
from trading_lib.portfolio import Portfolio


@pytest.fixture
def market() -> Iterator[Tape]:
    with tape() as made:
        yield made


@pytest.fixture
def room(tmp_path: Path, market: Tape) -> Iterator[Room]:
    made = Room(tmp_path, market)
    yield made
    if not made.ledger.journal.broken:
        made.stop()
    else:
        made.ledger.close()
        made.market.close()


# -------------------------------------------------------------------------------- acknowledged, reported


def test_an_order_is_acknowledged_only_when_it_is_on_the_disk(room: Room, market: Tape) -> None:
    market.put(10.0)
    durable: list[int] = []

    def on_send(data: bytes) -> None:
        if data.startswith(b"!A,"):
            durable.append(room.ledger.journal.durable)

    client = room.join("sma", on_send=on_send)
    room.take(client, order(0), 1)
    assert client.acknowledged == []
    room.ledger.settle()
    assert client.acknowledged == [(0, 0)]
    (taken,) = (number for number, record in room.published if isinstance(record, records.Taken))
    assert durable[0] > taken


def test_a_report_is_told_only_when_it_is_in_the_journal(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    unwritten: list[Report] = []

    def on_send(_: bytes) -> None:
        reader = JournalReader(room.ledger.journal.path)
        written = [records.decode(payload) for _, payload in reader.read(10_000)]
        unwritten.extend(report for report in client.reports if report not in written)
        reader.close()

    client = room.join("sma", number=10, on_send=on_send)
    market.put(*[10.0] * 10)
    room.send(client, order(10), 20)
    room.ledger.settle()
    assert client.told == [("10.0", "New"), ("10.0", "Filled")]
    assert unwritten == []


def test_an_order_is_filled_at_the_price_prevailing_when_it_arrives(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma", number=1)
    market.put(10.1, 10.2, 10.3)
    room.send(client, order(0, qty=5), 4)
    filled = client.reports[-1]
    assert (filled.last_px, filled.last_qty, filled.ts, filled.seq) == (10.1, 5, ts_of(0) + STEP * 3 // 2, 2)
    assert room.lane("sma").portfolio.position("AAPL") == 5


def test_many_requests_of_one_read_are_acknowledged_once(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma")
    room.send(client, *(order(0, index) for index in range(50)), 1)
    assert client.acknowledged == [(0, 49)]


def test_what_a_client_does_not_hear_is_done_all_the_same(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 5)
    client = room.join("sma", mode="")
    room.take(client, order(4))
    room.leave(client)
    market.put(*[10.0] * 5)
    room.ledger.settle()
    assert client.acknowledged == []
    assert short(room.reports("sma")) == [("4.0", "New"), ("4.0", "Filled")]


# ------------------------------------------------------------------------------- duplicates, bad requests


def test_an_id_seen_before_is_answered_and_never_executed_again(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma", number=1)
    room.send(client, order(0), 1)
    market.put(*[10.0] * 9)
    room.send(client, order(0), 10)
    assert client.acknowledged == [(0, 0), (0, 0)]
    assert client.told == [("0.0", "New"), ("0.0", "Filled")]
    assert room.ledger.counters["seen before"] == 1
    assert [record for _, record in room.published if isinstance(record, records.Taken)] == [
        records.Taken("sma", 1, 7, order(0))
    ]


def test_an_order_cannot_claim_another_time_than_its_records(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    client = room.join("sma")
    early = Order("AAPL", 1, 10.0, Side.BUY, ts_of(3) - 1, 3, 0)
    room.send(client, early, 10)
    assert (client.acknowledged, client.reports) == ([], [])
    reason = "its time is not that of its tape record"
    assert client.errors == [f"!ERROR,a request is refused: {reason}"]
    assert client.hopeless  # the server hangs up: what is lost is not lost silently
    assert room.ledger.counters[f"refused: {reason}"] == 1


def test_an_order_cannot_name_a_record_that_is_not_there_yet(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    client = room.join("sma")
    room.send(client, order(10), 10)
    assert (client.acknowledged, client.reports) == ([], [])
    reason = "there is no such tape record yet"
    assert client.errors == [f"!ERROR,a request is refused: {reason}"]
    assert client.hopeless
    assert room.ledger.counters[f"refused: {reason}"] == 1


def test_progress_beyond_the_tapes_head_is_not_believed(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    client = room.join("sma")
    room.send(client, 11)
    market.put(*[10.0] * 10)
    room.ledger.settle()
    assert room.lane("sma").next_seq == client.next_seq


# ------------------------------------------------------------------------------------------ how far lanes go


def test_a_lane_goes_no_further_than_its_host_has_come(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    client = room.join("sma", number=10)
    assert client.next_seq == 10
    market.put(*[10.0] * 20)
    room.ledger.settle()
    assert room.lane("sma").next_seq == 10
    room.send(client, 17)
    assert room.lane("sma").next_seq == 17
    room.send(client, 12)  # old news
    assert room.lane("sma").next_seq == 17


def test_an_order_takes_its_lane_as_far_as_its_own_record(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 10)
    client = room.join("sma", number=10)
    market.put(*[10.0] * 10)
    room.send(client, order(14))
    assert room.lane("sma").next_seq == 15


def test_a_cancel_cannot_lose_to_a_tick_it_preceded(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma", number=1)
    market.put(*[10.0] * 9)  # up to record 9
    market.put(5.0)  # record 10 would fill the order, and the ledger could see it long before its host
    room.send(client, limit(1, 9.0), 2)
    room.ledger.settle()
    room.send(client, cancel("1.0", 7), 8)
    room.send(client, 11)
    assert client.told == [("1.0", "New"), ("1.0", "Canceled")]


def test_a_client_without_progress_has_its_orders_worked_as_the_tape_goes_on(
    room: Room, market: Tape
) -> None:
    market.put(10.0)
    client = room.join("mine", mode="")
    room.send(client, order(0))
    market.put(10.0, 10.0)
    room.ledger.settle()
    assert client.told == [("0.0", "New"), ("0.0", "Filled")]
    assert room.lane("mine").next_seq == 3


def test_a_host_that_says_farewell_holds_its_lane_back_no_longer(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 3)
    client = room.join("sma", number=3)
    market.put(*[10.0] * 5)
    room.send(client, order(3))
    busy = [room.ledger.busy]  # not while its host may still say something
    room.farewell(client)
    busy.append(room.ledger.busy)
    assert busy == [False, True]
    room.ledger.settle()
    assert client.told == [("3.0", "New"), ("3.0", "Filled")]


def test_a_lost_host_is_waited_for_and_then_its_lane_runs_on(
    room: Room, market: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.put(*[10.0] * 3)
    client = room.join("sma", number=3)
    room.send(client, order(2))
    room.leave(client)
    market.put(*[10.0] * 5)
    room.ledger.settle()
    assert room.lane("sma").next_seq == 3
    monkeypatch.setattr("OrderManager.lane_desk.GRACE_S", 0.0)
    room.ledger.settle()
    assert room.lane("sma").next_seq == 8
    assert ("sma", "host lost") in [
        (r.strategy_id, r.what) for _, r in room.published if isinstance(r, records.Note)
    ]
    with pytest.raises(SessionDenied, match="its lane has run on without it"):
        room.join("sma", "again", 0)


def test_a_lost_host_is_not_waited_for_until_the_tape_has_lapped_its_lane(tmp_path: Path) -> None:
    with tape(capacity=512) as market:
        room = Room(tmp_path, market)
        market.put(10.0)
        client = room.join("sma", number=1)
        room.leave(client)
        market.put(*[10.0] * 300)
        room.ledger.settle()
        assert room.lane("sma").next_seq == 301
        assert room.ledger.counters["missed"] == 0
        room.stop()


# ------------------------------------------------------------------------------------------ missed records


def test_orders_whose_market_was_missed_are_ended_and_the_others_go_on(tmp_path: Path) -> None:
    with tape(capacity=512) as market:
        room = Room(tmp_path, market)
        market.put(*[10.0] * 4)
        client = room.join("sma", number=0)
        room.send(client, order(3), 4)
        assert client.acknowledged == [(3, 0)]
        market.put(*[10.0] * 2000)  # the tape laps the lane, while its host is silent
        room.send(client, order(1000), 2004)  # of a record that is gone; its lane has not passed it yet
        tail = market.put(*[10.0] * 4) + 1
        room.send(client, tail)
        room.send(client, order(1001), tail)  # and this its lane has passed
        market.put(*[10.0] * 4)
        room.send(client, order(tail), tail + 4)
        reasons = [(r.client_order_id, str(r.status), r.reason) for r in client.reports]
        assert reasons == [
            ("3.0", "Canceled", "no market record"),
            ("1000.0", "Canceled", "no market record"),
            ("1001.0", "Rejected", "no market record"),
            (f"{tail}.0", "New", ""),
            (f"{tail}.0", "Filled", ""),
        ]
        assert client.acknowledged == [(3, 0), (1000, 0), (1001, 0), (tail, 0)]
        assert {note[:2] for note in room.notes} == {("manual", "missed"), ("sma", "missed")}
        room.stop()


def test_a_lane_that_was_lapped_does_not_run_past_its_host(tmp_path: Path) -> None:
    with tape(capacity=512) as market:
        room = Room(tmp_path, market)
        market.put(*[10.0] * 4)
        client = room.join("sma", number=4)
        market.put(*[10.0] * 2000)
        room.send(client, 100)
        assert room.lane("sma").next_seq == 100
        assert room.lane("sma").blind
        room.stop()


def test_what_a_host_has_missed_its_lane_does_not_see_either(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(3), 4)
    market.put(*[10.0] * 10)
    room.missed(client, 12)
    room.send(client, 14)
    assert [(str(r.status), r.reason) for r in client.reports] == [("Canceled", "no market record")]
    assert room.notes == [("sma", "missed", "8 records, by its host")]


# ------------------------------------------------------------------------------------------------ sessions


def test_two_strategies_have_lanes_of_their_own(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    a, b = room.join("a", number=4), room.join("b", number=4)
    room.send(a, order(3, qty=5), 4)
    room.send(b, order(3, qty=7, side=Side.SELL), 4)
    market.put(*[10.0] * 4)
    room.send(a, 8)
    assert room.lane("b").next_seq == 4
    room.send(b, 8)
    assert a.told == b.told == [("3.0", "New"), ("3.0", "Filled")]
    assert {r.strategy_id for r in a.reports} == {"a"}
    assert room.lane("a").portfolio.position("AAPL") == 5
    assert room.lane("b").portfolio.position("AAPL") == -7


def test_nobody_cancels_an_order_of_somebody_else(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    a, b = room.join("a", number=4), room.join("b", number=4)
    room.send(a, limit(3, 9.0), 4)
    room.send(b, cancel("3.0", 3), 4)
    market.put(*[10.0] * 4)
    room.send(a, 8)
    room.send(b, 8)
    assert a.told == [("3.0", "New")]
    assert [(r.client_order_id, r.reason) for r in b.reports] == [("3.0", "cancel: order 3.0 is not open")]


def test_a_newer_session_of_a_strategy_replaces_the_older_one(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    old = room.join("sma", number=4)
    new = room.join("sma", number=4)
    assert (old.hopeless, new.hopeless) == (True, False)
    room.send(old, order(3), 4)
    assert (old.acknowledged, room.lane("sma").travelling) == ([], 0)
    assert room.ledger.counters["ignored: from a session that was replaced"] == 2
    room.leave(old)  # which must not end the new one
    room.send(new, order(3), 4)
    assert new.acknowledged == [(3, 0)]


@pytest.mark.parametrize("token", ["", "another", "the token "])
def test_without_the_runs_token_there_is_no_session(room: Room, market: Tape, token: str) -> None:
    market.put(10.0)
    with pytest.raises(SessionDenied, match="wrong token"):
        room.join("sma", token=token)
    assert list(room.ledger.desks) == ["manual"]


def test_a_run_whose_token_is_gone_has_no_sessions(room: Room) -> None:
    (room.folder / "token").unlink()
    with pytest.raises(SessionDenied, match="wrong token"):
        room.join("sma", token="")


def test_nobody_speaks_for_the_plain_clients(room: Room) -> None:
    with pytest.raises(SessionDenied, match="manual is the strategy of plain clients"):
        room.join("manual")


def test_a_lane_cannot_begin_at_a_record_that_is_not_there_yet(room: Room, market: Tape) -> None:
    market.put(10.0)
    with pytest.raises(SessionDenied, match="there is no record 2 on the tape yet"):
        room.join("sma", number=2)


def test_who_was_never_here_cannot_come_back(room: Room) -> None:
    with pytest.raises(SessionDenied, match="there is no lane of this strategy"):
        room.join("sma", "again")


def test_who_comes_back_is_told_what_it_has_not_heard_after_its_welcome(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(3), 4)
    room.leave(client)
    market.put(*[10.0] * 4)
    back = room.join("sma", "again", 0)
    assert (back.next_seq, back.reports) == (4, [])
    room.send(back, order(3), 8)  # sent again, because it is not sure
    assert back.acknowledged == [(3, 0)]
    assert back.told == [("3.0", "New"), ("3.0", "Filled")]
    room.leave(back)
    again = room.join("sma", "again", 1)
    room.ledger.settle()
    assert [report.exec_id for report in again.reports] == [2]


def test_who_asks_for_reports_that_are_not_kept_any_more_must_start_anew(
    tmp_path: Path, market: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("OrderManager.lane_desk.REPORTS_KEPT", 3)
    room = Room(tmp_path, market)
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, *(order(3, index) for index in range(3)), 4)
    market.put(*[10.0] * 4)
    room.send(client, 8)
    assert len(client.reports) == 6
    with pytest.raises(SessionDenied, match="the reports after 2 are not kept any more"):
        room.join("sma", "again", 2)
    room.join("sma", "again", 3)
    room.stop()


def test_a_lane_begins_with_the_markets_last_prices(room: Room, market: Tape) -> None:
    market.put(10.0)
    market.put(20.0, symbol="MSFT")
    market.put(9.9, symbol="AAPL.BID")
    room.join("sma", number=3)
    assert room.lane("sma").prices == {"AAPL": 10.0, "MSFT": 20.0, "AAPL.BID": 9.9}
    assert room.lane("sma").broker.quotes == {"AAPL.BID": (9.9, ts_of(2))}


def test_more_requests_for_one_record_than_are_taken_at_once_leave_the_ledger_with_work(
    room: Room, market: Tape
) -> None:
    count = 2 * REQUESTS_AT_ONCE + 1
    market.put(10.0)
    client = room.join("sma", number=1)
    room.take(client, *(order(0, index) for index in range(count)), 1)
    behind = []
    for _ in range(3):
        room.ledger.settle()
        behind.append(room.ledger.behind)
    assert behind == [True, True, False]
    assert len(client.acknowledged) == 1
    assert room.lane("sma").travelling == count


def test_how_a_strategy_begins_is_noted_with_its_version(room: Room, market: Tape) -> None:
    market.put(10.0)
    for version, reload in (("a1", False), ("a1", False), ("b2", True)):
        room.ledger.welcome(Client(), Hello("sma", TOKEN, "new", 1, version, reload))
    room.ledger.settle()
    notes = [r for _, r in room.published if isinstance(r, records.Note)]
    assert [(n.what, n.detail) for n in notes] == [("started", "a1"), ("restart", "a1"), ("reload", "b2")]


def test_what_the_tape_had_lost_when_a_lane_began_is_counted_and_noted(tmp_path: Path) -> None:
    with tape(capacity=512) as market:
        room = Room(tmp_path, market)
        room.ledger.desks["manual"].limit = 0  # it lags
        market.put(*[10.0] * 2000)
        room.join("sma", number=2000)
        room.ledger.settle()
        lost = room.ledger.counters["missed"]
        assert 2000 - 512 <= lost < 2000
        assert room.notes == [("manual", "missed", f"{lost} records from 0, by the ledger")]
        room.stop()


def test_a_divergence_is_noted_and_nothing_holds_the_lane_back(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma", number=1)
    market.put(10.0)
    room.farewell(client, "the host thinks otherwise")
    room.ledger.settle()
    assert room.notes == [("sma", "diverged", "the host thinks otherwise")]
    assert room.lane("sma").next_seq == 2


# ------------------------------------------------------------------------------------------- plain clients


def plain(room: Room, *orders: Order) -> Client:
    client = Client()
    room.ledger.take(client, [Received(i + 1, o, "manual", 7) for i, o in enumerate(orders)])
    room.ledger.settle()
    return client


def test_plain_orders_take_the_tape_heads_time_whatever_they_say(room: Room, market: Tape) -> None:
    market.put(10.0, 10.0)
    said = Order("AAPL", 5, 10.0, Side.BUY, 1)
    client = plain(room, said, said)
    market.put(10.1, 10.2, 10.3)
    room.ledger.settle()
    reports = room.reports("manual")
    assert short(reports) == [("1.0", "New"), ("1.0", "Filled"), ("1.1", "New"), ("1.1", "Filled")]
    assert [r.last_px for r in reports if r.last_qty] == [10.1, 10.1]
    assert {r.ts for r in reports} == {ts_of(1) + STEP * 3 // 2}
    assert (client.acknowledged, client.reports) == ([], [])


def test_plain_orders_before_any_record_are_refused_and_counted(room: Room) -> None:
    plain(room, Order("AAPL", 5, 10.0, Side.BUY, 1))
    assert room.ledger.counters["refused: nothing on the tape yet"] == 1
    assert room.reports("manual") == []


def test_all_plain_clients_share_one_series_of_ids(room: Room, market: Tape) -> None:
    market.put(10.0)
    said = Order("AAPL", 5, 10.0, Side.BUY, 1)
    for _ in range(3):
        plain(room, said)
    market.put(10.0)
    plain(room, said)
    taken = [r.request.client_order_id for _, r in room.published if isinstance(r, records.Taken)]
    assert taken == ["0.0", "0.1", "0.2", "1.0"]


# ------------------------------------------------------------------------------------ an operator's orders


def place(room: Room, market: Tape, action: Action) -> int:
    """Put an operator's action on the tape; its record."""
    number = len(room.actions) + 1
    room.actions[number] = action
    return market.put(float(number), kind=Kind.CONTROL)


WANTED = PlaceOrder(symbol="AAPL", side=Side.BUY, qty=5, type="limit", price=9.0)


def test_an_operators_order_is_taken_numbered_and_durable_before_anything_is_told_of_it(
    room: Room, market: Tape
) -> None:
    market.put(10.0)
    plain(room, Order("AAPL", 1, 10.0, Side.BUY, 1))
    mark = place(room, market, WANTED)
    market.put(10.0, 10.0, 10.0)
    room.ledger.settle()
    told = [r for _, r in room.published if isinstance(r, records.Taken | Report)]
    taken = [r for r in told if isinstance(r, records.Taken)]
    assert [(t.number, t.request.client_order_id, t.by_operator) for t in taken] == [
        (1, "0.0", False),
        (2, f"{mark}.-1", True),
    ]
    assert [type(r).__name__ for r in told] == ["Taken", "Taken", "Report", "Report", "Report"]
    assert short(room.reports("manual")) == [("0.0", "New"), ("0.0", "Filled"), (f"{mark}.-1", "New")]
    assert room.ledger.orders == 2


def test_manual_has_no_standing_and_no_accounts_before_something_is_filled(room: Room, market: Tape) -> None:
    market.put(10.0)
    place(room, market, WANTED)
    place(room, market, msgspec.structs.replace(WANTED, qty=1e-15))
    market.put(*[10.0] * 200)
    room.ledger.settle()
    assert short(room.reports("manual")) == [("1.-1", "New"), ("2.-1", "Rejected")]
    assert room.ledger.summary(500)[0]["drawdown"] is None
    market.put(8.9, 8.9)
    room.ledger.settle()
    assert room.ledger.summary(500)[0]["drawdown"] is not None
    assert [r.cause for _, r in room.published if isinstance(r, Account)] == ["fill"]


def test_an_operators_order_and_those_of_plain_clients_have_ids_of_their_own(
    room: Room, market: Tape
) -> None:
    market.put(10.0)
    mark = place(room, market, WANTED)
    room.ledger.take(Client(), [Received(1, Order("AAPL", 1, 10.0, Side.BUY, 1), "manual", 7)])
    later = place(room, market, WANTED)  # met after a plain order whose cause is younger was taken
    room.ledger.take(Client(), [Received(2, Order("AAPL", 1, 10.0, Side.BUY, 1), "manual", 7)])
    market.put(10.0, 10.0)
    room.ledger.settle()
    arrived = [r.client_order_id for r in room.reports("manual") if r.status is OrderStatus.NEW]
    assert arrived == [f"{mark}.-1", f"{mark}.0", f"{later}.-1", f"{later}.0"]


def test_an_operator_cancels_his_limit_order(room: Room, market: Tape) -> None:
    market.put(10.0)
    mark = place(room, market, WANTED)
    market.put(10.0, 10.0)
    place(room, market, Cancel(strategy="manual", client_order_id=f"{mark}.-1"))
    room.ledger.settle()
    assert short(room.reports("manual")) == [(f"{mark}.-1", "New"), (f"{mark}.-1", "Canceled")]


def test_an_action_for_a_strategy_without_a_lane_is_said(
    room: Room, market: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    market.put(10.0)
    room.join("sma", number=1)
    for strategy in ("sma", None, "manual", "smaa"):
        place(room, market, KillSwitch(strategy=strategy))
    room.ledger.settle()
    said = "action 4 is for 'smaa', who has no lane: nothing is done"
    assert room.notes == [("manual", "no lane", said)]
    assert said in caplog.messages
    assert room.ledger.counters["actions for no strategy"] == 1


def test_an_operators_order_placed_while_the_order_manager_was_down_is_made_when_it_is_back(
    tmp_path: Path, market: Tape
) -> None:
    market.put(10.0)
    room = Room(tmp_path, market)
    room.ledger.settle()
    room.kill()
    mark = place(room, market, WANTED)
    market.put(10.0, 10.0)
    room.open()
    room.ledger.settle()
    assert short(room.reports("manual")) == [(f"{mark}.-1", "New")]
    room.stop()


# ---------------------------------------------------------------------------------------- a broken journal


def test_when_the_journal_cannot_be_written_nothing_is_acknowledged(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(0), 4)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, room.ledger.journal._fd)
    os.close(full)
    room.take(client, order(1))
    with pytest.raises(JournalError, match="cannot be written"):
        room.ledger.settle()
    assert client.acknowledged == [(0, 0)]
    for _ in range(2):  # and never again
        with pytest.raises(JournalError):
            room.send(client, order(2))
    assert client.acknowledged == [(0, 0)]


def test_a_journal_of_another_run_is_refused(room: Room, tmp_path: Path) -> None:
    room.ledger.settle()
    room.ledger.close()
    text = (tmp_path / "journal.bin").read_bytes()
    assert RUN_ID.encode() in text
    (tmp_path / "other").mkdir()
    with tape() as market:
        market_of_another_run = Tape(f"{market.name}-other", run_id="run-2")
        try:
            (tmp_path / "other" / "journal.bin").write_bytes(text)
            with pytest.raises(JournalError, match="is of run run-1"):
                Room(tmp_path / "other", market_of_another_run)
        finally:
            market_of_another_run.close()
    room.ledger.journal.broken = room.ledger.journal.broken or JournalError(tmp_path, "closed")


# ------------------------------------------------------------------------------------------------- its end


def test_at_the_end_every_lane_is_at_the_tapes_head_and_durable(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(3), 4)
    market.put(*[10.0] * 4)
    room.ledger.finish()
    journal = room.ledger.journal
    assert {desk.lane.next_seq for desk in room.ledger.desks.values()} == {8}
    assert journal.durable == journal.next_record
    horizons = [r.seq for _, r in room.published if isinstance(r, records.Horizon)]
    assert horizons[-1] == 8


def test_the_summary_says_each_lanes_money(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(3, qty=10), limit(3, 9.0, 1), 4)
    market.put(*[10.5] * 4)
    room.send(client, 8)
    manual, mine = room.ledger.summary(500)
    assert manual["strategy_id"] == "manual"
    assert (mine["strategy_id"], mine["positions"], mine["open_orders"]) == ("sma", {"AAPL": 10}, 1)
    assert mine["equity"] == 100_000 + mine["unrealized"] + mine["realized"] - mine["commission"]
    assert mine["tape_seq"] == 8
    assert mine["initial"] == manual["initial"] == 100_000
    assert (mine["drawdown"], mine["sharpe"], mine["step_ns"]) == (0.0, None, 1_000_000_000)
    assert (manual["drawdown"], manual["exposure"]) == (None, None)
    assert mine["costs"].keys() == {"slippage_bps", "commission_bps", "commission_fixed", "latency_ms"}


def test_the_summary_says_what_each_position_cost_and_how_many_trades_were_won(
    room: Room, market: Tape
) -> None:
    market.put(*[10.0] * 4)
    market.put(20.0, symbol="MSFT")
    client = room.join("sma", number=5)
    room.send(client, order(4, qty=10), order(4, 1, qty=3, symbol="MSFT"), 5)
    market.put(10.5, 10.5, 10.5)
    room.send(client, order(7, qty=4, side=Side.SELL), 8)
    market.put(11.0, 12.0, 12.0)
    room.send(client, order(10, qty=1, side=Side.SELL, symbol="MSFT"), 11)
    market.put(*[12.0] * 4)
    room.send(client, 15)
    manual, mine = room.ledger.summary(500)
    assert mine["positions"] == {"AAPL": 6, "MSFT": 2}
    assert mine["average_prices"] == {"AAPL": 10.5, "MSFT": 20}
    assert mine["unrealized_by_symbol"] == {"AAPL": 9.0, "MSFT": 0.0}
    assert mine["realized_by_symbol"] == {"AAPL": 2.0}
    assert (mine["trades"], mine["wins"]) == (2, 1)
    assert (manual["trades"], manual["wins"]) == (0, 0)


def test_the_summary_lists_orders_that_work_and_that_travel(room: Room, market: Tape) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, limit(3, 9.0, qty=2), 4)
    market.put(10.0, 10.0)
    room.send(client, order(5, side=Side.SELL), cancel("3.0", 5, 1), 6)
    (_, mine) = room.ledger.summary(500)
    assert (mine["open_orders"], mine["travelling"]) == (1, 2)
    assert mine["orders"] == [
        {
            "client_order_id": "3.0",
            "order_id": 1,
            "symbol": "AAPL",
            "side": "BUY",
            "qty": 2.0,
            "leaves_qty": 2.0,
            "type": "LIMIT",
            "limit_price": 9.0,
            "stop_price": None,
            "status": "working",
            "tag": "",
        },
        {
            "client_order_id": "5.0",
            "order_id": None,
            "symbol": "AAPL",
            "side": "SELL",
            "qty": 1.0,
            "leaves_qty": 1.0,
            "type": "MARKET",
            "limit_price": None,
            "stop_price": None,
            "status": "travelling",
            "tag": "",
        },
    ]


def test_a_summary_shows_so_many_orders_in_all_and_of_one_lane_no_more_than_200(
    room: Room, market: Tape
) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, *[limit(3, 9.0, index) for index in range(300)], 4)
    shown = [len(lane["orders"]) for in_all in (10, 100_000) for lane in room.ledger.summary(in_all)]
    assert shown == [0, 5, 0, 200]
    assert room.ledger.summary(1)[1]["travelling"] == 300


def test_who_wins_is_not_known_of_a_lane_that_began_with_positions(tmp_path: Path, market: Tape) -> None:
    market.put(*[10.0] * 4)
    held = Portfolio(1000.0)
    held.apply(Fill("AAPL", Side.BUY, 5, 10.0, 0.0, 1))
    ledger_market = Market(market.name)
    (tmp_path / "token").write_text(TOKEN)
    for _ in range(2):  # as it begins, and recovered
        ledger = Ledger(tmp_path, ledger_market, plain_lane, LOG, lambda *_: None, {"manual": held.state()})
        ledger.finish()
        (manual,) = ledger.summary(500)
        assert manual["positions"] == {"AAPL": 5}
        assert (manual["trades"], manual["wins"]) == (None, None)
        ledger.close()
    ledger_market.close()


def test_the_records_of_a_lane_begin_with_its_opening_and_each_commit_ends_with_its_head(
    room: Room, market: Tape
) -> None:
    market.put(*[10.0] * 4)
    client = room.join("sma", number=4)
    room.send(client, order(3), 4)
    market.put(*[10.0] * 4)
    room.send(client, 8)
    mine = [r for _, r in room.published if getattr(r, "strategy_id", "") == "sma"]
    kinds = [type(r).__name__ for r in mine]
    assert kinds[:3] == ["Opened", "Note", "Taken"]
    assert kinds[3:] == ["Report", "Report", "Account", "LaneHead"]


def test_a_fall_between_two_accounts_is_in_the_standing_that_a_status_shows(room: Room, market: Tape) -> None:
    market.put(10.0)
    client = room.join("sma", number=1)
    room.send(client, order(0, qty=100))
    market.put(*[10.0] * 3)
    room.send(client, 4)
    market.put(4.0, 4.0)
    room.send(client, 6)
    (fallen,) = (lane for lane in room.ledger.summary(0) if lane["strategy_id"] == "sma")
    market.put(10.0, 10.0)
    room.send(client, 8)
    (recovered,) = (lane for lane in room.ledger.summary(0) if lane["strategy_id"] == "sma")
    assert fallen["drawdown"] > 0.005
    assert recovered["drawdown"] == fallen["drawdown"]
