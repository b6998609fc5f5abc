"""What reality cost: the same orders under other terms, the run's own among them."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Recorder.test.ledger_life import MS, NAMES, make_lane, make_requests, make_tape
from trading_lib.broker import Terms
from trading_lib.lane import Lane, Record, Request
from trading_lib.models import Kind, Order, Side
from trading_lib.refill import MAX_SLIPPAGE_BPS, Curve, Refill, Variant, terms_under, variants


def lane_under(variant: Variant) -> Lane:
    lane = make_lane("alpha", partial_fills=0.0)
    lane.broker.terms = terms_under(lane.broker.terms, variant)
    lane.set_latencies([(-1, lane.broker.terms.latency_ns)])
    return lane


def refill(
    variant: Variant,
    tape: Sequence[Record],
    requests: Sequence[Request],
    sizes: Sequence[int],
    idle: float = 0.0,
) -> Curve:
    """The tape in chunks of the given sizes, then the rest."""
    fan = Refill(variant, {"alpha": lane_under(variant)}, {"alpha": requests}, idle)
    at = 0
    for size in [*sizes, len(tape)]:
        fan.advance(tape[at : at + size], NAMES)
        at += size
    return fan.curve


def directly(tape: Sequence[Record], requests: Sequence[Request], variant: Variant) -> Lane:
    """A lane that is given each request behind its cause, record by record."""
    lane, queue = lane_under(variant), list(requests)
    for record in tape:
        lane.advance([record], NAMES)
        while queue and queue[0].cause_seq == record[0]:
            lane.submit(queue.pop(0))
    return lane


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 60), max_size=8), st.sampled_from([0.0, 50.0, 250.0]))
def test_a_curve_ends_where_a_ledger_under_its_terms_does_however_the_tape_is_cut(
    seed: int, sizes: list[int], latency_ms: float
) -> None:
    rng = random.Random(seed)
    tape = make_tape(rng, 200)
    requests = make_requests(rng, tape, 5)
    variant = Variant(latency_ms, 1.0)
    lane = directly(tape, requests, variant)
    curve = refill(variant, tape, requests, sizes)
    assert curve.equity[-1] == lane.equity()
    assert (curve.epoch[-1], curve.ts[-1]) == (lane.epoch, lane.ts)
    assert len(curve.ts) == len(curve.equity) == len(curve.epoch)


def test_costs_are_the_difference_between_their_factors() -> None:
    tape: list[Record] = [(0, 0, 0.0, 0, 0, 0, Kind.EPOCH)]
    tape += [(seq, seq * 100 * MS, 100.0, 0, 0, 0, Kind.TICK) for seq in range(1, 20)]
    orders = [
        Order("AAA", 10, 100.0, Side.BUY, 100 * MS, 1, 0),
        Order("AAA", 10, 100.0, Side.SELL, 500 * MS, 5, 0),
    ]
    ends = [refill(Variant(50.0, factor), tape, orders, []).equity[-1] for factor in (0.0, 1.0, 2.0)]
    assert ends[0] == 100_000.0  # the price never moved
    # 1 bp of slippage on 1,000 each way, and 0.5 bp of commission on what was paid and received
    assert ends[1] == pytest.approx(100_000 - 0.2 - 0.1, abs=1e-9)
    assert ends[2] == pytest.approx(100_000 - 0.4 - 0.2, abs=1e-9)


def test_a_later_arrival_meets_a_later_price() -> None:
    tape: list[Record] = [(0, 0, 0.0, 0, 0, 0, Kind.EPOCH)]
    tape += [(seq, seq * 100 * MS, 100.0 + seq, 0, 0, 0, Kind.TICK) for seq in range(1, 20)]
    order = Order("AAA", 10, 101.0, Side.BUY, 100 * MS, 1, 0)
    ends = [refill(Variant(latency, 0.0), tape, [order], []).equity[-1] for latency in (0.0, 50.0, 250.0)]
    assert ends == [100_000 + 10 * (119 - price) for price in (101, 101, 103)]


def test_money_of_strategies_without_orders_is_in_the_sum() -> None:
    tape = make_tape(random.Random(1), 20)
    assert refill(Variant(50.0, 1.0), tape, [], [], idle=5.0).equity[-1] == 100_005.0


def test_no_orders_and_no_lanes_give_an_empty_curve() -> None:
    fan = Refill(Variant(0.0, 0.0), {}, {})
    fan.advance(make_tape(random.Random(1), 20), NAMES)
    fan.advance([], NAMES)
    assert fan.curve.ts == []


def test_variants_are_every_pair_once_in_order() -> None:
    pairs = [(v.latency_ms, v.cost_factor) for v in variants((50.0, 0.0, 50.0), (1.0, 0.0))]
    assert pairs == [(0.0, 0.0), (0.0, 1.0), (50.0, 0.0), (50.0, 1.0)]


def test_terms_keep_what_a_variant_does_not_say_and_no_price_falls_below_zero() -> None:
    terms = Terms(slippage_bps=600.0, commission_bps=2.0, commission_fixed=1.0, fill="next", seed=7)
    changed = terms_under(terms, Variant(250.0, 2.0))
    assert changed.slippage_bps == MAX_SLIPPAGE_BPS
    assert (changed.latency_ns, changed.commission_bps, changed.commission_fixed) == (250 * MS, 4.0, 2.0)
    assert (
        msgspec.structs.replace(
            changed, latency_ns=terms.latency_ns, slippage_bps=600.0, commission_bps=2.0, commission_fixed=1.0
        )
        == terms
    )
