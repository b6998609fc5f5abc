"""A lane's state goes out and comes back; from a journal it is rebuilt, whenever its process was killed."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.lane import Lane, Request
from trading_lib.lane_state import (
    LaneHead,
    LaneState,
    replay,
    restore,
    set_head,
    set_prices,
    take_head,
    take_state,
)
from trading_lib.models import Account, Kind, OrderType, Report
from trading_lib.risk import Limits
from trading_lib.test.lane_scenarios import (
    CASH,
    MS,
    START,
    Scenario,
    feed,
    play,
    record_of,
    scenario,
)
from trading_lib.test.lane_scenarios import order as an_order
from trading_lib.test.naive_lane import Event

EVERY = 7  # records between two rows of equity
seeds = st.integers(0, 2**32)
lengths = st.integers(1, 100)


def through_json(value: Any, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def comparable(lane: Lane) -> tuple[Any, ...]:
    """All of a lane's state that the future depends on, and its money."""
    state, portfolio = take_state(lane), lane.portfolio
    money = (portfolio.cash, portfolio.realized, portfolio.commission, portfolio.positions, lane.equity())
    rest = msgspec.structs.replace(state, portfolio=lane.portfolio.state(), arrivals=[])
    now = [at for at in state.arrivals if at > lane.ts - 10**9]
    fields = [getattr(rest, name) for name in rest.__struct_fields__ if name != "portfolio"]
    return *fields, now, money, lane.unfilled, lane.travelling


# -------------------------------------------------------------------------------------------- whole states


@settings(deadline=None, max_examples=200)
@given(seeds, lengths, st.integers(0, 100))
def test_a_lane_restored_at_any_point_goes_on_the_same(seed: int, length: int, cut: int) -> None:
    made = scenario(seed, length)
    whole = play(made.lane(account_every=EVERY), made)
    lane = made.lane(account_every=EVERY)
    reports: list[Report] = []
    accounts: list[Account] = []
    for place, event in enumerate(made.events):
        feed(lane, event)
        for request in made.caused(event.seq) if event.kind is not None else ():
            lane.submit(request)
        if place == cut % len(made.events):
            reports, accounts = lane.reports, lane.accounts
            state = through_json(take_state(lane), LaneState)
            lane = made.lane(account_every=EVERY)
            restore(lane, state)
            assert through_json(take_state(lane), LaneState) == state
    assert reports + lane.reports == whole.reports
    assert accounts + lane.accounts == whole.accounts
    assert comparable(lane) == comparable(whole)


@settings(deadline=None, max_examples=100)
@given(seeds, lengths, st.integers(0, 100))
def test_requests_that_wait_for_their_cause_are_part_of_the_state(seed: int, length: int, cut: int) -> None:
    made = scenario(seed, length)
    whole, lane = made.lane(), made.lane()
    for request in made.requests:
        whole.submit(request)
        lane.submit(request)
    reports: list[Report] = []
    for place, event in enumerate(made.events):
        feed(whole, event)
        feed(lane, event)
        if place == cut % len(made.events):
            reports, state = lane.reports, through_json(take_state(lane), LaneState)
            lane = made.lane()
            restore(lane, state)
    for one in (lane, whole):
        one.release(one.seq + 1)  # those that the last record caused
    assert reports + lane.reports == whole.reports
    assert comparable(lane) == comparable(whole)


def test_a_lane_with_rows_of_equity_and_one_without_can_take_each_others_state() -> None:
    made = scenario(5, 30, quiet=True, missed=False)
    with_rows, without = play(made.lane(account_every=EVERY), made), play(made.lane(), made)
    there, back = made.lane(), made.lane(account_every=EVERY)
    restore(there, take_state(with_rows))
    restore(back, take_state(without))
    tick = Event(without.next_seq, without.ts + MS, Kind.TICK, "A", 100.0)
    for lane in (there, back):
        lane.advance([record_of(tick)], made.names)
    assert there.accounts == [] and back.accounts[-1].cause == "interval"


# ------------------------------------------------------------------------------------------------- journals


class Desk:
    """A lane as its ledger drives it: requests are journaled when they come and submitted at their place."""

    def __init__(self, made: Scenario, journal: list[bytes]) -> None:
        self.made, self.journal = made, journal
        self.lane = made.lane(account_every=EVERY)
        self.queue: deque[Request] = deque()
        self.reports: list[Report] = []
        self.head: LaneHead | None = None

    def accept(self, request: Request) -> None:
        self.journal.append(b"Q" + msgspec.json.encode(request))
        self.queue.append(request)

    def pump(self, limit: int) -> None:
        """Bring the lane to `limit`, then journal what it has made."""
        while self.queue and self.queue[0].cause_seq < limit:
            self._bring(self.queue[0].cause_seq + 1)
            self.lane.submit(self.queue.popleft())
        self._bring(limit)
        if self.lane.reports:
            self.journal.extend(b"R" + msgspec.json.encode(report) for report in self.lane.reports)
            self.journal.append(b"H" + msgspec.json.encode(take_head(self.lane)))
            self.reports += self.lane.reports
            self.lane.reports.clear()

    def checkpoint(self) -> None:
        self.journal.append(b"C" + msgspec.json.encode((take_state(self.lane), list(self.queue))))

    def _bring(self, limit: int) -> None:
        lane = self.lane
        for event in self.made.events:
            done = event.seq <= lane.next_seq if event.kind is None else event.seq < lane.next_seq
            if not done and event.seq < limit:
                feed(lane, event)

    def recover(self, entries: list[bytes]) -> None:
        """Rebuild from what a kill left of a journal; reports without a head behind them do not count."""
        waiting: list[Report] = []
        for entry in entries:
            kind, text = entry[:1], entry[1:]
            if kind == b"Q":
                self.queue.append(msgspec.json.decode(text, type=Request))
            elif kind == b"R":
                waiting.append(msgspec.json.decode(text, type=Report))
            elif kind == b"H":
                self._commit(waiting, msgspec.json.decode(text, type=LaneHead))
            else:
                state, queue = msgspec.json.decode(text, type=tuple[LaneState, list[Request]])
                self.lane = self.made.lane(account_every=EVERY)
                restore(self.lane, state)
                self.queue = deque(queue)
                self.head = None
        if self.head is not None:
            set_prices(self.lane, *prices_at(self.made, self.head.next_seq))

    def _commit(self, reports: list[Report], head: LaneHead) -> None:
        for report in reports:
            self._submit(report.seq + 1)
            replay(self.lane, report)
            assert take_state(self.lane).executions == report.exec_id
        self._submit(head.next_seq)
        set_head(self.lane, head)
        assert not self.lane.reports
        reports.clear()
        self.head = head

    def _submit(self, before: int) -> None:
        while self.queue and self.queue[0].cause_seq < before:
            self.lane.submit(self.queue.popleft())


def prices_at(made: Scenario, next_seq: int) -> tuple[dict[str, float], dict[str, int]]:
    """The last prices and their times before a record, since the epoch began and nothing was missed."""
    prices: dict[str, float] = {}
    times: dict[str, int] = {}
    for event in made.events:
        if event.seq > next_seq or (event.seq == next_seq and event.kind is not None):
            break
        if event.kind is Kind.TICK:
            prices[event.symbol], times[event.symbol] = event.value, event.ts
        elif event.kind in (None, Kind.EPOCH):
            prices.clear()
            times.clear()
    return prices, times


def steps(rng: random.Random, made: Scenario) -> Iterator[tuple[int, list[Request]]]:
    """How far the host has come, and the requests that have come from it until then."""
    coming = deque(made.requests)
    limit, end = 0, made.events[-1].seq + 1
    while limit < end:
        limit = min(end, limit + rng.randrange(1, 25))
        arrived = []
        while coming and coming[0].cause_seq < limit:
            arrived.append(coming.popleft())
        yield limit, arrived


def journaled(made: Scenario, rng: random.Random, *, checkpoints: bool = True) -> list[bytes]:
    """What a run that is not interrupted writes."""
    desk = Desk(made, [])
    for limit, arrived in steps(rng, made):
        for request in arrived:
            desk.accept(request)
        desk.pump(limit)
        if checkpoints and rng.random() < 0.1:
            desk.checkpoint()
    return desk.journal


def recovered(made: Scenario, entries: list[bytes], rng: random.Random) -> tuple[Desk, int, int]:
    """A ledger killed after it wrote `entries`, restarted, run to the end; where it took up the lane."""
    desk = Desk(made, [])
    desk.recover(entries)
    taken_up, next_seq = desk.lane.executions, desk.lane.next_seq
    last = max([desk.lane.last_id, *((r.cause_seq, r.index) for r in desk.queue)])
    for limit, arrived in steps(rng, made):
        for request in arrived:
            if (request.cause_seq, request.index) > last:
                desk.accept(request)
        desk.pump(limit)
    return desk, taken_up, next_seq


def check_recovery(made: Scenario, seed: int, choose: Callable[[random.Random, int], int]) -> None:
    rng = random.Random(seed)
    whole = play(made.lane(account_every=EVERY), made)
    entries = journaled(made, rng)
    for _ in range(3):
        desk, taken_up, next_seq = recovered(made, entries[: choose(rng, len(entries))], rng)
        assert desk.reports == whole.reports[taken_up:]
        rows = [row for row in whole.accounts if row.seq >= next_seq]
        assert desk.lane.accounts[len(desk.lane.accounts) - len(rows) :] == rows
        assert comparable(desk.lane) == comparable(whole)


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_a_ledger_killed_at_any_instant_goes_on_from_its_journal_as_if_nothing_had_been(
    seed: int, length: int
) -> None:
    check_recovery(scenario(seed, length), seed, lambda rng, entries: rng.randrange(entries + 1))


@settings(deadline=None, max_examples=100)
@given(seeds, lengths)
def test_a_journal_written_to_its_end_gives_the_lane_that_wrote_it(seed: int, length: int) -> None:
    check_recovery(scenario(seed, length), seed, lambda _, entries: entries)


@settings(deadline=None, max_examples=150)
@given(seeds, lengths)
def test_requests_that_came_too_late_are_refused_once_and_so_again_in_a_recovery(
    seed: int, length: int
) -> None:
    made, rng = scenario(seed, length), random.Random(seed)
    desk, coming = Desk(made, []), deque(made.requests)
    recover_at = rng.randrange(1, 12)
    for turn, limit in enumerate(range(0, made.events[-1].seq + 20, 13)):
        while coming and coming[0].cause_seq < limit - rng.choice((0, 0, 9, 30)):
            desk.accept(coming.popleft())
        desk.pump(limit)
        if turn == recover_at:
            again = Desk(made, [])
            again.recover(desk.journal)
            again.pump(limit)
            assert not again.reports
            assert comparable(again.lane) == comparable(desk.lane)


def test_a_request_of_a_new_epoch_that_began_without_a_report_is_not_late_in_a_recovery() -> None:
    """Its cause is earlier in event time than where the journal's last head stands."""
    first, second = START + 10_000 * MS, START
    events = [
        Event(0, first, Kind.EPOCH),
        Event(1, first, Kind.TICK, "A", 100.0),
        Event(2, first + 100 * MS, Kind.TICK, "A", 100.0),
        Event(3, second, Kind.EPOCH),
        Event(4, second, Kind.TICK, "A", 100.0),
        Event(5, second + 60 * MS, Kind.TICK, "A", 100.0),
        Event(6, second + 200 * MS, Kind.TICK, "A", 100.0),
    ]
    requests: list[Request] = [
        an_order(events[1], quantity=1e9),  # denied, so that there is a head, but no position
        an_order(events[4]),
        an_order(events[5]),
    ]
    made = Scenario(scenario(0, 1).terms, Limits(), events, requests, {})
    made = made._replace(terms=msgspec.structs.replace(made.terms, latency_ns=50 * MS, fill="prevailing"))
    whole = play(made.lane(account_every=EVERY), made)
    entries: list[bytes] = []
    desk, coming = Desk(made, entries), deque(requests)
    for limit in (3, 5, 6, 7):
        while coming and coming[0].cause_seq < limit:
            desk.accept(coming.popleft())
        desk.pump(limit)
    for cut in range(len(entries) + 1):
        desk, taken_up, _ = recovered(made, entries[:cut], random.Random(cut))
        assert desk.reports == whole.reports[taken_up:]


def test_a_recovery_keeps_no_day_end_for_each_order_it_replays() -> None:
    made = scenario(3, 60, quiet=True)
    desk = Desk(made, [])
    desk.recover(journaled(made, random.Random(3), checkpoints=False))
    assert len(desk.lane.ends) <= 4


def test_scenarios_have_everything_in_them() -> None:
    """Or the tests above would show little."""
    reports = []
    for seed in range(60):
        made = scenario(seed, 100)
        reports += play(made.lane(), made).reports
    reasons = {report.reason.partition(":")[0].partition(" ")[0] for report in reports}
    assert reasons >= {"triggered", "FOK", "IOC", "by", "its", "kill", "no", "max_daily_loss", "collar"}
    assert {report.status for report in reports if report.tag in ("", "t")} == set(type(reports[0].status))
    assert {OrderType.STOP_LIMIT} <= {r.type for r in made.requests if hasattr(r, "type")} and CASH
