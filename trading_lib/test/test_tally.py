"""Trades counted while they are made are those that the portfolio matches."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.models import Report
from trading_lib.portfolio import Portfolio
from trading_lib.tally import UNKNOWN, Score, Tally, TallyState
from trading_lib.test.lane_scenarios import INSTRUMENTS, play, scenario

MULTIPLIERS = {symbol: instrument.multiplier for symbol, instrument in INSTRUMENTS.items()}
seeds = st.integers(0, 2**32)


def tally(reports: list[Report], made: Tally | None = None) -> Tally:
    made = made or Tally(MULTIPLIERS)
    for report in reports:
        made.add(report)
    return made


def reports_of(seed: int) -> list[Report]:
    made = scenario(seed, 150)
    return play(made.lane(), made).reports


@settings(deadline=None, max_examples=100)
@given(seeds)
def test_it_counts_the_trades_of_an_epoch_as_the_portfolio_matches_them(seed: int) -> None:
    reports, portfolio = reports_of(seed), Portfolio(0.0, MULTIPLIERS)
    for epoch in range(reports[-1].epoch + 1 if reports else 0):
        mine = [report for report in reports if report.epoch == epoch]
        for fill in (report.fill for report in mine):
            if fill is not None:
                portfolio.apply(fill)
        trades = portfolio.take_trades()
        score = tally([report for report in reports if report.epoch <= epoch]).now(epoch)
        assert score == (len(trades), sum(trade.net > 0 for trade in trades))


@settings(deadline=None, max_examples=100)
@given(seeds, st.floats(0, 1))
def test_one_that_was_saved_goes_on_as_if_nothing_had_happened(seed: int, part: float) -> None:
    reports = reports_of(seed)
    cut = int(len(reports) * part)
    saved: Any = msgspec.json.decode(msgspec.json.encode(tally(reports[:cut]).state()), type=TallyState)
    restored = tally(reports[cut:], Tally.from_state(saved, MULTIPLIERS))
    assert restored.state() == tally(reports).state()


def test_without_a_fill_there_is_no_trade_and_without_a_beginning_nothing_is_known() -> None:
    assert Tally({}).now(3) == Score(0, 0)
    unknown = Tally({}, known=False)
    assert unknown.now(0) == UNKNOWN == Tally.from_state(unknown.state(), {}).now(0)
    assert Tally.from_state(None, {}).now(0) == UNKNOWN
