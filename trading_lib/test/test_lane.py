"""The lane against an independent reference, its properties, and what its parts say to each other."""

import random
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.broker import Terms
from trading_lib.control import Action, AllowTrading, Cancel, Costs, KillSwitch, PlaceOrder
from trading_lib.lane import Lane, Request
from trading_lib.lane_state import restore, take_state
from trading_lib.models import (
    MANUAL,
    NS_PER_S,
    CancelRequest,
    Kind,
    Order,
    OrderStatus,
    OrderType,
    Report,
    Side,
    TimeInForce,
)
from trading_lib.risk import Limits
from trading_lib.sessions import SessionHours
from trading_lib.test.lane_scenarios import (
    CASH,
    INSTRUMENTS,
    MS,
    START,
    SYMBOLS,
    Scenario,
    feed,
    order,
    play,
    record_of,
    scenario,
)
from trading_lib.test.naive_lane import Event, NaiveLane, in_short, of

FILLS_PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "FILLS.md"
FINAL: Final = [status for status in OrderStatus if status.final]

seeds = st.integers(0, 2**32)
lengths = st.integers(1, 120)


def naive_of(made: Scenario) -> NaiveLane:
    multipliers = {symbol: instrument.multiplier for symbol, instrument in INSTRUMENTS.items()}
    ends = {s: SessionHours(i.session).end_after for s, i in INSTRUMENTS.items() if i.session}
    return NaiveLane("s", made.terms, made.limits, CASH, multipliers, ends, made.actions)


# ------------------------------------------------------------------------------------------- the reference


@settings(deadline=None, max_examples=300)
@given(seeds, lengths)
def test_the_lane_says_what_the_rules_looked_up_one_by_one_say(seed: int, length: int) -> None:
    made = scenario(seed, length)
    lane, naive = made.lane(), naive_of(made)
    for event in made.events:
        feed(lane, event)
        naive.feed(event)
        for request in made.caused(event.seq) if event.kind is not None else ():
            lane.submit(request)
            naive.submit(request)
    assert [in_short(report) for report in lane.reports] == [in_short(report) for report in naive.reports]
    assert lane.portfolio.positions == {symbol: float(naive.position(symbol)) for symbol in naive.held}
    assert lane.portfolio.cash == float(naive.cash)
    assert lane.portfolio.commission == float(sum(naive.commissions))
    assert lane.equity() == float(naive.equity)


# ---------------------------------------------------------------------------------------------- properties


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_the_result_depends_neither_on_batches_nor_on_when_a_request_is_submitted(
    seed: int, length: int
) -> None:
    """Within the rule: after its cause was processed, before the first record after its arrival."""
    made = scenario(seed, length, missed=False)
    whole = play(made.lane(account_every=5), made)
    lane, rng = made.lane(account_every=5), random.Random(seed)
    waiting: list[Request] = []
    batch: list[Event] = []

    def process() -> None:
        lane.advance([record_of(event) for event in batch], SYMBOLS)
        batch.clear()

    for event in made.events:
        special = event.kind in (Kind.EPOCH, Kind.CONTROL)
        if waiting and (special or event.ts > min(lane.arrival(request) for request in waiting)):
            process()
            for request in waiting:
                lane.submit(request)
            waiting.clear()
        batch.append(event)
        waiting += made.caused(event.seq)
        if special or rng.random() < 0.2:
            process()
    process()
    assert lane.reports == whole.reports[: len(lane.reports)]  # the last record's are still on their way
    assert lane.accounts == whole.accounts


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_a_request_may_even_come_before_its_cause(seed: int, length: int) -> None:
    made = scenario(seed, length)
    whole = play(made.lane(account_every=5), made)
    lane = made.lane(account_every=5)
    for request in made.requests:
        lane.submit(request)
    for event in made.events:
        feed(lane, event)
    lane.release(lane.seq + 1)  # those that the last record caused
    assert lane.reports == whole.reports
    assert lane.accounts == whole.accounts
    assert lane.travelling == whole.travelling


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_quantities_add_up_and_every_order_has_one_end_or_is_open(seed: int, length: int) -> None:
    made = scenario(seed, length)
    lane = play(made.lane(), made)
    histories: dict[str, list[Report]] = defaultdict(list)
    for report in lane.reports:
        histories[report.client_order_id].append(report)
    for client_order_id, history in histories.items():
        filled = Fraction(0)
        for report in history:
            filled += of(report.last_qty)
            assert of(report.cum_qty) == filled
            if not report.status.final:
                assert of(report.cum_qty) + of(report.leaves_qty) == of(report.qty)
            assert report.status is not OrderStatus.FILLED or filled == of(report.qty)
        ended = [report for report in history if report.status in FINAL]
        assert ended == history[-1:] if ended else client_order_id in lane.open
    assert [report.exec_id for report in lane.reports] == [*range(1, len(lane.reports) + 1)]
    travelling = {request.client_order_id for _, _, _, request in lane.due}
    cancels = {report.reason.removeprefix("by request ") for report in lane.reports}
    assert {r.client_order_id for r in made.requests} <= histories.keys() | travelling | cancels
    assert not travelling & histories.keys()


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_every_fill_is_at_a_real_tick_within_the_stated_slippage_or_at_the_limit(
    seed: int, length: int
) -> None:
    made = scenario(seed, length, missed=False)
    orders = {r.client_order_id: r for r in made.requests if isinstance(r, Order)}
    lane, slippage = made.lane(), made.terms.slippage_bps
    seen: set[tuple[str, float]] = set()
    for event in made.events:
        before = set(seen)
        if event.kind is Kind.TICK:
            seen.add((event.symbol, event.value))
        elif event.kind is Kind.EPOCH:
            seen.clear()
        feed(lane, event)
        for report in lane.reports:
            if report.last_qty and report.client_order_id in orders:
                sign, ask = report.side.sign, ".ASK" if report.side is Side.BUY else ".BID"
                symbols = (report.symbol, report.symbol + ask)
                assert any((symbol, report.reference) in before | seen for symbol in symbols)
                assert (report.last_px > 0 and report.ts <= event.ts) or event.kind is Kind.EPOCH
                made_at = orders[report.client_order_id]
                worst = of(report.reference) * (1 + sign * of(slippage) / 10_000)
                if made_at.limit_price:
                    assert sign * (made_at.limit_price - report.last_px) >= 0
                    at_limit = report.last_px == made_at.limit_price
                    assert at_limit or sign * (Fraction(report.last_px) - worst) <= Fraction(1, 10**9)
                else:
                    assert report.last_px == float(worst)
        lane.reports.clear()
        for request in made.caused(event.seq):
            lane.submit(request)
        slippage = lane.broker.terms.slippage_bps


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_fills_against_one_tick_sum_to_at_most_its_size(seed: int, length: int) -> None:
    made = scenario(seed, length, missed=False, quiet=True)
    lane = made.lane()
    size: dict[str, float] = {}
    ticks: dict[str, list[float]] = {}  # of each symbol's last tick: its size, what was filled against it
    for event in made.events:
        for symbol, taken in list(ticks.items()):  # what arrived before this record
            feed_first = event.kind is not Kind.TICK or event.symbol != symbol
            assert taken[1] <= taken[0] or not feed_first
        arrivals_end = len(lane.reports)
        lane.mark(event.seq, event.ts, int(Kind.TIME), 0.0)  # settles what is due, and nothing else
        for report in lane.reports[arrivals_end:]:
            if report.symbol in ticks:
                ticks[report.symbol][1] += report.last_qty
        if event.kind is Kind.TICK:
            if event.symbol.endswith(".SIZE"):
                size[event.symbol] = event.value
            elif event.symbol + ".SIZE" in size:
                ticks[event.symbol] = [size[event.symbol + ".SIZE"], 0.0]
        at_tick = len(lane.reports)
        feed(lane, event)
        for report in lane.reports[at_tick:]:
            if report.symbol in ticks:
                ticks[report.symbol][1] += report.last_qty
        for request in made.caused(event.seq):
            lane.submit(request)
        assert all(taken <= at_most + 1e-9 for at_most, taken in ticks.values())


@settings(deadline=None, max_examples=200)
@given(seeds, lengths)
def test_position_is_what_it_will_be_when_every_market_order_is_done(seed: int, length: int) -> None:
    made = scenario(seed, length)
    lane = made.lane()
    submitted: dict[str, Order] = {}
    for event in made.events:
        feed(lane, event)
        for request in made.caused(event.seq) if event.kind is not None else ():
            lane.submit(request)
            if isinstance(request, Order):
                submitted[request.client_order_id or ""] = request
        expected = {s: of(lane.portfolio.position(s)) for s in (*SYMBOLS, "Z")}
        cum = {r.client_order_id: r for r in lane.reports}
        for client_order_id, sent in submitted.items():
            last = cum.get(client_order_id)
            if sent.is_market and (last is None or not last.status.final):
                left = of(sent.quantity) - (of(last.cum_qty) if last else 0)
                expected[sent.symbol] += sent.side.sign * left
        assert all(lane.position(symbol) == float(qty) for symbol, qty in expected.items())


@settings(deadline=None, max_examples=150)
@given(seeds, lengths)
def test_another_orders_existence_never_changes_an_orders_chances(seed: int, length: int) -> None:
    """Without sizes and limits on the number of orders, orders share nothing but money."""
    made = scenario(seed, length, sizes=False)
    limits = Limits(max_position=1e9, max_orders_per_s=10**6, max_daily_loss=1.0, collar=9.0)
    made = made._replace(limits=limits)
    half: list[Request] = [r for r in made.requests if isinstance(r, Order) and r.quantity == 5.0]
    others: list[Request] = [r for r in made.requests if isinstance(r, Order) and r not in half]
    some = {r.client_order_id for r in half}

    def fates(lane: Lane) -> list[tuple[object, ...]]:
        return [
            (r.client_order_id, r.ts, r.seq, r.status, r.last_qty, r.last_px, r.latency_ns)
            for r in lane.reports
            if r.client_order_id in some
        ]

    alone = play(made.lane(), made._replace(requests=half))
    together = play(made.lane(), made._replace(requests=sorted(half + others, key=_id)))
    assert fates(alone) == fates(together)


def _id(request: Request) -> tuple[int, int]:
    return request.cause_seq, request.index


@settings(deadline=None, max_examples=100)
@given(seeds, lengths)
def test_each_of_several_strategies_gets_what_it_would_get_alone(seed: int, length: int) -> None:
    made, names = scenario(seed, length), ("s", "t", "u")
    rng = random.Random(seed)
    owner = {_id(request): rng.choice(names) for request in made.requests}
    own = {n: [r for r in made.requests if owner[_id(r)] == n] for n in names}
    alone = {n: play(made.lane(n), made._replace(requests=own[n])) for n in names}
    lanes = {n: made.lane(n) for n in names}
    for event in made.events:
        for name in rng.sample(names, len(names)):
            feed(lanes[name], event)
        for request in made.caused(event.seq) if event.kind is not None else ():
            lanes[owner[_id(request)]].submit(request)
    for name in names:
        assert lanes[name].reports == alone[name].reports
        assert lanes[name].equity() == alone[name].equity()


# ------------------------------------------------------------------------------------------------ examples


class Desk:
    """A lane with latency 50 ms and no costs, unless said otherwise, and a market of `A` at 100 ms a tick."""

    def __init__(
        self,
        terms: Terms | None = None,
        limits: Limits | None = None,
        strategy: str = "s",
        account_every: int = 0,
    ) -> None:
        plain = Terms(slippage_bps=0.0, commission_bps=0.0)
        self.actions: dict[int, Action] = {}
        self.made = Scenario(terms or plain, limits or Limits(), [], [], self.actions)
        self.lane = self.made.lane(strategy, account_every)
        self.now = Event(-1, START, Kind.TIME)
        self.mark(Kind.EPOCH)

    def tick(self, price: float, symbol: str = "A", after_ms: float = 100) -> Event:
        self.now = Event(self.now.seq + 1, self.now.ts + int(after_ms * MS), Kind.TICK, symbol, price)
        feed(self.lane, self.now)
        return self.now

    def mark(self, kind: Kind, value: float = 0.0, after_ms: float = 0) -> Event:
        self.now = Event(self.now.seq + 1, self.now.ts + int(after_ms * MS), kind, "", value)
        feed(self.lane, self.now)
        return self.now

    def control(self, action: Action) -> Event:
        self.actions[self.now.seq + 1] = action
        return self.mark(Kind.CONTROL, self.now.seq + 1)

    def order(self, side: Side = Side.BUY, quantity: float = 1.0, **changes: object) -> str:
        cause, index = self.lane.last_id
        changes.setdefault("index", index + 1 if cause == self.now.seq else 0)
        made = order(self.now, side, quantity, **changes)
        self.lane.submit(made)
        return made.client_order_id or ""

    def cancel(self, target: str) -> None:
        cause, index = self.lane.last_id
        self.lane.submit(
            CancelRequest(target, self.now.ts, self.now.seq, index + 1 if cause == self.now.seq else 0)
        )

    def said(self) -> list[str]:
        """The reports since the last call, for a person."""
        reports, self.lane.reports[:] = list(self.lane.reports), []
        return [
            f"{r.status} {r.last_qty:g} at {r.last_px:g}" if r.last_qty else f"{r.status} {r.reason}".strip()
            for r in reports
        ]


def test_an_order_is_final_only_when_a_later_record_is_there() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order()
    desk.tick(101.0, after_ms=50)
    assert desk.said() == []
    desk.mark(Kind.TIME, after_ms=1)
    assert desk.said() == ["New", "Filled 1 at 101"]


def test_what_waits_when_the_data_ends_is_not_filled() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order()
    desk.mark(Kind.END)
    assert desk.said() == [] and desk.lane.busy


def test_orders_caused_by_an_epochs_beginning_and_its_closings_have_different_ids() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order(quantity=3.0)
    desk.tick(100.0)
    desk.said()
    desk.mark(Kind.EPOCH)
    closing = desk.lane.reports[-1]
    assert (closing.tag, closing.last_qty, closing.commission) == ("epoch-close", 3.0, 0.0)
    assert desk.order(tag="mine") != closing.client_order_id == f"{desk.now.seq}.-1"
    desk.tick(90.0)
    desk.tick(90.0)
    assert desk.said()[1:] == ["Rejected no market record: no price of A"]


def test_an_order_on_its_way_ends_with_an_epoch_that_had_no_record() -> None:
    desk = Desk()
    desk.order()
    desk.mark(Kind.EPOCH)
    assert desk.said() == ["Expired its epoch has ended"]
    assert not desk.lane.busy and desk.lane.position("A") == 0.0


def test_after_missed_records_only_what_was_on_its_way_finds_no_market() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.lane.missed(50)
    desk.now = Event(49, desk.now.ts, Kind.TIME)
    desk.tick(100.0)
    desk.order()
    desk.tick(100.0)
    assert desk.said() == ["New", "Filled 1 at 100"]
    desk.order()
    desk.lane.missed(70)
    desk.now = Event(69, desk.now.ts, Kind.TIME)
    desk.tick(100.0)
    assert desk.said() == ["Canceled no market record"]


def test_a_position_whose_prices_were_missed_is_closed_at_the_last_one_known() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order()
    desk.tick(101.0)
    desk.tick(103.0)
    desk.lane.missed(50)
    desk.said()
    desk.now = Event(49, desk.now.ts, Kind.TIME)
    desk.mark(Kind.EPOCH)
    assert desk.said() == ["Filled 1 at 103"]
    assert desk.lane.portfolio.positions == {}


def test_when_time_went_back_among_missed_records_an_epoch_has_ended() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order()
    desk.tick(101.0)
    desk.order(type=OrderType.LIMIT, limit_price=90.0)
    desk.lane.missed(50)
    desk.said()
    desk.now = Event(49, START, Kind.TIME)
    desk.tick(80.0, after_ms=1)
    assert desk.said() == ["Expired its epoch has ended", "Filled 1 at 101"]
    assert desk.lane.epoch == 2 and desk.lane.prices == {"A": 80.0}


def test_an_order_that_comes_when_its_time_has_passed_is_rejected() -> None:
    desk = Desk()
    cause = desk.tick(100.0)
    desk.tick(100.0)
    desk.lane.submit(order(cause))
    assert desk.said() == ["Rejected late: its time had passed"]
    assert desk.lane.position("A") == 0.0


def test_a_cancel_that_arrives_first_wins_and_one_that_arrives_later_is_refused() -> None:
    desk = Desk()
    desk.tick(100.0)
    resting = desk.order(type=OrderType.LIMIT, limit_price=99.0)
    desk.tick(100.0)
    desk.cancel(resting)
    desk.tick(98.0, after_ms=51)
    assert desk.said() == ["New", f"Canceled by request {desk.now.seq - 1}.0"]
    desk.cancel(resting)
    desk.tick(98.0)
    assert desk.said() == [f"Rejected cancel: order {resting} is not open"]


def test_a_tick_at_the_cancels_own_time_comes_before_it() -> None:
    desk = Desk()
    desk.tick(100.0)
    resting = desk.order(type=OrderType.LIMIT, limit_price=99.0)
    desk.tick(100.0)
    desk.cancel(resting)
    desk.tick(98.0, after_ms=50)
    assert desk.said() == ["New", "Filled 1 at 99"]


def test_the_kill_switch_cancels_flattens_and_refuses() -> None:
    desk = Desk(Terms(slippage_bps=10.0), Limits(kill_switch_flatten=True))
    desk.tick(100.0)
    desk.order(quantity=2.0)
    desk.order(type=OrderType.LIMIT, limit_price=90.0)
    desk.tick(100.0)
    desk.order()
    desk.tick(99.5, "A.BID", after_ms=1)
    desk.said()
    desk.control(KillSwitch())
    assert desk.said() == ["Canceled kill switch", "Canceled kill switch", "Filled 2 at 99.4005"]
    desk.order()
    desk.tick(100.0)
    assert desk.said() == ["Rejected kill switch: by the operator"]


def test_a_kill_switch_that_is_taken_back_lets_orders_in_from_its_record_on() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.control(KillSwitch())
    desk.control(AllowTrading(strategy="other"))
    desk.order()
    desk.tick(100.0)
    assert desk.said() == ["Rejected kill switch: by the operator"]
    desk.control(AllowTrading())
    desk.order()
    desk.tick(100.0)
    assert desk.said() == ["New", "Filled 1 at 100"]


def test_an_operators_cancel_acts_at_its_place_on_the_tape_and_on_its_strategy_alone() -> None:
    desk = Desk()
    desk.tick(100.0)
    resting = desk.order(type=OrderType.LIMIT, limit_price=99.0)
    desk.tick(100.0)
    desk.control(Cancel(strategy="other", client_order_id=resting))
    desk.control(Cancel(strategy="s", client_order_id=resting))
    assert desk.said() == ["New", "Canceled by the operator"]


def test_an_operator_cancels_an_order_on_its_way_too() -> None:
    desk = Desk()
    desk.tick(100.0)
    order_id = desk.order()
    desk.control(Cancel(strategy="s", client_order_id=order_id))
    assert desk.said() == ["Canceled by the operator"]
    desk.tick(100.0)
    assert (desk.said(), desk.lane.position("A"), desk.lane.busy) == ([], 0.0, False)


def placed(**changes: Any) -> PlaceOrder:
    return msgspec.structs.replace(PlaceOrder(symbol="A", side=Side.BUY, qty=2.0, type="market"), **changes)


def test_an_operators_order_is_made_at_its_record_by_the_manual_lane_and_travels_like_any() -> None:
    desk = Desk(strategy=MANUAL)
    desk.tick(100.0)
    mark = desk.control(placed())
    (order,) = desk.lane.placed
    assert (order.client_order_id, order.timestamp, order.price) == (f"{mark.seq}.-1", mark.ts, 100.0)
    desk.tick(101.0, after_ms=50)
    assert desk.said() == []
    desk.tick(102.0, after_ms=1)
    assert desk.said() == ["New", "Filled 2 at 101"]
    assert desk.lane.position("A") == 2


def test_an_operators_limit_order_rests_where_he_says_and_he_can_cancel_it() -> None:
    desk = Desk(strategy=MANUAL)
    desk.tick(100.0)
    mark = desk.control(placed(type="limit", price=1.5))
    desk.tick(100.0)
    (working,) = desk.lane.open.values()
    assert (working.order.limit_price, working.order.tag) == (1.5, "operator")
    desk.control(Cancel(strategy=MANUAL, client_order_id=f"{mark.seq}.-1"))
    assert desk.said() == ["New", "Canceled by the operator"]


def test_an_operators_limit_order_ends_with_its_day_unless_it_is_good_till_cancelled() -> None:
    desk = Desk(strategy=MANUAL)
    desk.tick(100.0)
    desk.control(placed(type="limit", price=1.5))
    desk.control(placed(type="limit", price=1.5, tif="gtc"))
    desk.tick(100.0, after_ms=2 * 86_400_000)
    assert desk.said() == ["New", "New", "Expired its day has ended"]
    (working,) = desk.lane.open.values()
    assert working.order.tif is TimeInForce.GTC


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (placed(price=90.0), "Rejected collar: 90.0 is -10.00 % from the market's 100.0, 5 % allowed"),
        (placed(qty=1001.0), "Rejected max_position: "),
        (placed(symbol="NONE"), "Rejected no market record: no price of NONE"),
        (placed(symbol="NONE", type="limit", price=3.0), "Rejected no market record: no price of NONE"),
        (placed(qty=1e-15), "Rejected quantity: 1e-15 is below the smallest, 1e-12"),
    ],
)
def test_risk_looks_at_an_operators_order_as_at_any(wanted: PlaceOrder, said: str) -> None:
    desk = Desk(strategy=MANUAL)
    desk.tick(100.0)
    desk.control(wanted)
    desk.tick(100.0)
    assert [text[: len(said)] for text in desk.said()] == [said]


def test_the_manual_lane_has_accounts_from_its_first_fill_on_and_none_for_orders_that_are_not_filled() -> (
    None
):
    desk = Desk(strategy=MANUAL, account_every=1)
    desk.tick(100.0)
    desk.control(placed(price=90.0))
    desk.control(placed(type="limit", price=1.5))
    desk.tick(100.0)
    assert [text.split()[0] for text in desk.said()] == ["Rejected", "New"]
    desk.mark(Kind.EPOCH)
    desk.tick(100.0)
    assert (desk.lane.accounts, desk.lane.has_result) == ([], False)
    desk.control(placed())
    desk.tick(100.0)
    desk.tick(100.0)
    assert [account.cause for account in desk.lane.accounts] == ["fill", "interval", "interval"]
    restored = desk.made.lane(MANUAL, account_every=1)
    restore(restored, take_state(desk.lane))
    assert restored.has_result


def test_an_operators_order_is_nothing_to_a_strategys_lane() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.control(placed())
    desk.tick(100.0)
    assert (desk.said(), desk.lane.placed, desk.lane.busy) == ([], [], False)


def test_costs_change_from_their_record_on_and_the_latency_for_later_causes() -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order(tag="old latency")
    desk.control(Costs(slippage_bps=100.0, commission_fixed=2.0, latency_ms=250.0))
    desk.order(tag="new latency")
    desk.tick(100.0)
    desk.tick(100.0)
    desk.tick(100.0)
    fills = [r for r in desk.lane.reports if r.last_qty]
    assert [(r.tag, r.latency_ns // MS, r.last_px, r.commission) for r in fills] == [
        ("old latency", 50, 101.0, 2.0),
        ("new latency", 250, 101.0, 2.0),
    ]


def test_a_day_order_ends_at_its_sessions_end_before_any_later_tick() -> None:
    desk = Desk()
    desk.tick(100.0, "B")
    desk.order(symbol="B", type=OrderType.LIMIT, limit_price=99.0)
    desk.order(symbol="B", type=OrderType.LIMIT, limit_price=99.0, tif=TimeInForce.GTC)
    desk.tick(100.0, "B")
    desk.mark(Kind.TIME, after_ms=(23 * 3600 + 59 * 60) * 1000)
    desk.said()
    desk.tick(98.0, "B", after_ms=3600 * 1000)
    assert desk.said() == ["Expired its day has ended", "Filled 1 at 99"]


def test_an_order_that_arrives_exactly_at_its_sessions_end_has_one_look_at_the_market() -> None:
    desk = Desk()
    to_end_ms = (23 * 3600 + 59 * 60) * 1000 + 10_000  # 23:59 of the next day, from 23:59:50
    desk.tick(100.0, "B", after_ms=to_end_ms - 50)
    desk.order(symbol="B")
    desk.order(symbol="B", type=OrderType.LIMIT, limit_price=99.0)
    desk.tick(100.0, "B", after_ms=50)
    assert desk.said() == []
    desk.tick(98.0, "B", after_ms=1)
    assert desk.said() == ["New", "Filled 1 at 100", "New", "Expired its day has ended"]


def test_what_arrives_exactly_at_a_sessions_end_comes_before_it() -> None:
    desk = Desk()
    to_end_ms = (23 * 3600 + 59 * 60) * 1000 + 10_000
    desk.tick(100.0, "B")
    resting = desk.order(symbol="B", type=OrderType.LIMIT, limit_price=99.0)
    desk.tick(100.0, "B", after_ms=to_end_ms - 150)
    desk.cancel(resting)
    desk.tick(100.0, "B", after_ms=51)
    assert desk.said()[1].startswith("Canceled by request")


def test_an_order_that_arrives_at_midnight_belongs_to_the_new_day() -> None:
    desk = Desk(limits=Limits(max_daily_loss=0.01))
    desk.order()
    desk.tick(100.0, after_ms=0)
    desk.tick(40.0, after_ms=9_950)  # a loss of the old day: 150 of 10,000
    desk.order(price=40.0, type=OrderType.LIMIT, limit_price=39.0)
    desk.tick(40.0, after_ms=50)
    desk.tick(40.0, after_ms=86_400_000)
    desk.tick(38.0, after_ms=1)
    assert desk.said() == ["New", "Filled 1 at 100", "New", "Expired its day has ended"]


def test_the_day_begins_with_the_equity_before_its_first_tick() -> None:
    desk = Desk(limits=Limits(max_daily_loss=0.01))
    desk.order()
    desk.tick(100.0, after_ms=0)
    desk.tick(100.0, after_ms=1000)
    desk.tick(40.0, after_ms=9_000)  # at midnight: already a loss of the new day
    desk.order(price=40.0)
    desk.tick(40.0)
    assert desk.said()[-1].startswith(
        "Rejected max_daily_loss: equity 9850.00 is 150.00 below the day's first"
    )


def test_the_quantity_that_a_size_left_over_goes_on_at_the_market_not_at_a_far_limit() -> None:
    desk = Desk()
    desk.tick(5.0, "A.SIZE")
    desk.tick(100.0)
    desk.order(quantity=8.0, type=OrderType.LIMIT, limit_price=104.0)
    desk.tick(100.5)
    assert desk.said() == ["New", "PartiallyFilled 5 at 100", "Filled 3 at 100.5"]


def test_what_a_tick_gave_is_gone_although_nobody_rests_and_is_there_again_with_the_next() -> None:
    desk = Desk()
    desk.tick(5.0, "A.SIZE")
    desk.tick(100.0)
    desk.order(quantity=4.0, tif=TimeInForce.IOC)
    desk.order(quantity=4.0, tif=TimeInForce.IOC)
    desk.tick(7.0, "A.SIZE", after_ms=60)
    desk.order(quantity=1.0, tif=TimeInForce.FOK)
    desk.tick(100.0)
    desk.order(quantity=7.0, tif=TimeInForce.FOK)
    desk.tick(100.0)
    assert [text for text in desk.said() if text != "New"] == [
        "Filled 4 at 100",
        "PartiallyFilled 1 at 100",
        "Canceled IOC: no more to be had at once",
        "Canceled FOK: no more to be had at once",
        "Filled 7 at 100",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": 1e-13}, "quantity: 1e-13 is below the smallest, 1e-12"),
        ({"type": OrderType.LIMIT}, "limit_price: 0.0 is not a price"),
        ({"type": OrderType.LIMIT, "limit_price": -1.0}, "limit_price: -1.0 is not a price"),
        ({"type": OrderType.STOP}, "stop_price: 0.0 is not a price"),
        ({"symbol": "B"}, "no market record: no price of B"),
    ],
)
def test_an_order_that_cannot_be_worked_is_rejected(changes: dict[str, object], reason: str) -> None:
    desk = Desk()
    desk.tick(100.0)
    desk.order(**changes)  # type: ignore[arg-type]
    desk.tick(100.0)
    assert desk.said() == [f"Rejected {reason}"] and not desk.lane.busy


def test_the_latency_is_drawn_by_the_orders_id_alone() -> None:
    terms = Terms(latency_jitter_ns=40 * MS, seed=7)
    made = scenario(1, 40, missed=False, quiet=True)._replace(terms=terms)
    by_id = {r.client_order_id: r.latency_ns for r in play(made.lane(), made).reports if r.tag != "cancel"}
    fewer = made._replace(requests=made.requests[::2])
    again = {r.client_order_id: r.latency_ns for r in play(made.lane(), fewer).reports if r.tag != "cancel"}
    shared = by_id.keys() & again.keys()
    assert len(shared) > 5 and all(by_id[i] == again[i] for i in shared)
    assert all(50 * MS <= by_id[i] < 90 * MS for i in by_id) and len(set(by_id.values())) > 5


# ------------------------------------------------------------------------------------- the worked examples


def tables(heading: str) -> list[list[list[str]]]:
    """Every table below a heading of the page, as rows of cells without the head."""
    text = FILLS_PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [
        [[c.strip().strip("`") for c in row[1:-1].split("|")] for row in t.splitlines()[2:]] for t in found
    ]


def milliseconds(text: str) -> int:
    return START + int(text.removesuffix(" ms")) * MS


def test_the_ten_ticks_of_the_page_are_filled_as_the_page_says() -> None:
    ticks, fills = tables("Ten ticks")
    assert len(ticks) == 10 and {row[0] for row in fills} == {"50 ms", "100 ms", "150 ms", "250 ms"}
    events = [Event(0, START, Kind.EPOCH)]
    for seq, time, price in ticks:
        events.append(Event(int(seq), milliseconds(time), Kind.TICK, "A", float(price)))
    causes = {event.seq: event for event in events}
    for latency, rule, cause, side, tick, time, price, commission, final in fills:
        terms = Terms(latency_ns=int(latency.removesuffix(" ms")) * MS, fill=rule)  # type: ignore[arg-type]
        lane = Lane("s", terms, Limits())
        for event in events:
            lane.advance([record_of(event)], SYMBOLS)
            if event.seq == int(cause):
                lane.submit(order(causes[int(cause)], Side(side), 10.0))
        if final == "never":
            assert not any(report.last_qty for report in lane.reports) and lane.busy
            continue
        report = lane.reports[-1]
        assert (report.reference, report.ts) == (causes[int(tick)].value, milliseconds(time))
        assert (report.last_px, report.commission) == (float(price), float(commission))
        assert report.seq == int(final) and report.status is OrderStatus.FILLED


def test_the_denials_of_the_page_are_those_of_the_code() -> None:
    """Each of the page's texts is what its order, on a market at 100, is told."""
    (rows,) = tables("Risk")
    limits = Limits(max_position=30.0, max_order_qty=50.0, max_orders_per_s=2)
    said = []
    for make in (_too_large, _too_many, _too_far, _too_much_held, _after_a_loss, _after_the_kill_switch):
        desk = Desk(limits=limits)
        desk.tick(100.0)
        make(desk)
        said.append(desk.said()[-1].removeprefix("Rejected "))
    assert [text for _, _, text in rows] == said
    defaults = {name: repr(value) for name, value in msgspec.structs.asdict(Limits()).items()}
    assert {rule: default for rule, default, _ in rows if default} == {
        name: defaults[name] for name in defaults if name != "kill_switch_flatten"
    }


def _too_large(desk: Desk) -> None:
    desk.order(quantity=60.0)
    desk.tick(100.0)


def _too_many(desk: Desk) -> None:
    for _ in range(3):
        desk.order()
    desk.tick(100.0)


def _too_far(desk: Desk) -> None:
    desk.order(price=105.01)
    desk.tick(100.0)


def _too_much_held(desk: Desk) -> None:
    desk.order(quantity=20.0)
    desk.tick(100.0)
    desk.order(quantity=5.0, type=OrderType.LIMIT, limit_price=90.0)
    desk.tick(100.0, after_ms=2000)
    desk.order(quantity=10.0)
    desk.tick(100.0)


def _after_a_loss(desk: Desk) -> None:
    desk.order(quantity=30.0)
    desk.tick(100.0)
    desk.tick(84.0)
    desk.order(Side.SELL, 40.0, price=84.0)
    desk.tick(84.0)


def _after_the_kill_switch(desk: Desk) -> None:
    desk.control(KillSwitch())
    desk.order()
    desk.tick(100.0)


def test_the_collar_and_the_largest_position_are_allowed_exactly() -> None:
    desk = Desk(limits=Limits(max_position=0.3))
    desk.tick(173.2)
    desk.order(quantity=0.1, price=181.86)
    desk.tick(173.2)
    desk.order(quantity=0.2, price=164.54)
    desk.tick(173.2, after_ms=NS_PER_S / MS)
    assert [text for text in desk.said() if text != "New"] == ["Filled 0.1 at 173.2", "Filled 0.2 at 173.2"]
    assert desk.lane.position("A") == 0.3
