"""A lane that is the host's and the ledger's at once says what the two say, however the records are cut."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from testing.strategies import every_kind
from trading_lib.broker import Terms
from trading_lib.engine import Engine
from trading_lib.lane import Lane, Record, Request
from trading_lib.models import NS_PER_S, Account, Kind, Report
from trading_lib.risk import Limits

SYMBOLS = ("AAPL", "MSFT")
START = 1_735_828_200 * NS_PER_S
kinds = st.sampled_from([Kind.TICK] * 20 + [Kind.NEWS, Kind.TIME, Kind.TIME, Kind.EPOCH, Kind.GAP])
steps = st.tuples(kinds, st.integers(0, 1), st.integers(-40, 40), st.integers(0, 90_000_000))
tapes = st.lists(steps, min_size=1, max_size=250)


def tape_of(moves: list[tuple[Kind, int, int, int]]) -> list[Record]:
    """Prices within a few ticks of 100, times that begin anew with an epoch, and an end."""
    records: list[Record] = [(0, START, 0.0, 0, 0, 0, int(Kind.EPOCH))]
    ts = START
    for seq, (kind, slot, move, later) in enumerate(moves, 1):
        ts = START if kind is Kind.EPOCH else ts + later
        value = 100 + move / 100 if kind is Kind.TICK else float(50 + move)
        records.append((seq, ts, value, 0, 0, slot if kind in (Kind.TICK, Kind.NEWS) else 0, int(kind)))
    return [*records, (len(records), ts, 0.0, 0, 0, 0, int(Kind.END))]


def lane(account_every: int) -> Lane:
    terms = Terms(latency_jitter_ns=20_000_000, partial_fills=0.3)
    return Lane("mine", terms, Limits(max_position=60), account_every=account_every)


def engine(own: Lane) -> Engine:
    module: Any = every_kind
    return Engine("mine", module, {"rate": 0.3}, SYMBOLS.__getitem__, lambda _: None, lane=own)


def one_lane(
    tape: list[Record], every: int, cuts: list[int]
) -> tuple[list[Report], list[Account], list[Request]]:
    """As an evaluation does it."""
    made = engine(lane(every))
    for start, stop in pairwise(sorted({0, len(tape), *(cut % len(tape) for cut in cuts)})):
        made.consume(tape[start:stop])
    return made.take_reports(), made.lane.accounts, made.take_requests()


def two_lanes(tape: list[Record], every: int) -> tuple[list[Report], list[Account], list[Request]]:
    """As a run does it: the host's lane keeps no accounts, the ledger's hears each request at its record."""
    host = engine(lane(0))
    host.consume(tape)
    ledger, requests, at = lane(every), host.take_requests(), 0
    for request in requests:
        ledger.advance(tape[at : request.cause_seq + 1], SYMBOLS)
        at = max(at, request.cause_seq + 1)
        ledger.submit(request)
    ledger.advance(tape[at:], SYMBOLS)
    assert host.take_reports() == ledger.reports
    return ledger.reports, ledger.accounts, requests


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tapes, st.integers(1, 40), st.lists(st.integers(0, 1000), max_size=20))
def test_one_lane_says_what_host_and_ledger_say_however_records_are_cut(
    moves: list[tuple[Kind, int, int, int]], every: int, cuts: list[int]
) -> None:
    tape = tape_of(moves)
    reports, accounts, requests = one_lane(tape, every, cuts)
    assert (reports, accounts, requests) == two_lanes(tape, every)
