"""The streaming standing says what the metrics say of the same accounts on the same grid."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib import metrics
from trading_lib.models import NS_PER_S, Account
from trading_lib.standing import CAPACITY, FEWEST, Rating, Standing

START = 1_700_000_000 * NS_PER_S + 123


def account(ts: int, equity: float, epoch: int = 0, initial: float = 1000.0) -> Account:
    return Account("x", epoch, 0, ts, "fill", "A", 1.0, {}, equity, 0.0, equity - initial, 0.0, equity)


def standing(rows: list[tuple[int, float]]) -> Standing:
    made = Standing()
    for ts, equity in rows:
        made.add(account(ts, equity))
    return made


gaps = st.one_of(
    st.integers(0, 3 * NS_PER_S),
    st.sampled_from([0, NS_PER_S, 2 * NS_PER_S, 86_400 * NS_PER_S, 400 * 86_400 * NS_PER_S]),
)
curves = st.lists(st.tuples(gaps, st.floats(500, 2000)), min_size=1, max_size=80)


@settings(max_examples=300, deadline=None)
@given(curves)
def test_the_samples_are_those_of_resampling_the_whole_curve(curve: list[tuple[int, float]]) -> None:
    times = (START + np.cumsum([0, *(gap for gap, _ in curve[1:])])).tolist()
    values = [equity for _, equity in curve]
    made = standing(list(zip(times, values, strict=True)))
    rating = made.now()
    _, expected = metrics.resample(times, values, rating.step_ns)
    assert made.samples() == expected.tolist()
    assert len(expected) <= CAPACITY
    year = metrics.year_basis(rating.step_ns, sessions=False).periods_per_year
    enough = len(expected) >= FEWEST
    assert rating.sharpe == (metrics.sharpe(expected, year) if enough else None)


@settings(max_examples=300, deadline=None)
@given(curves)
def test_the_drawdown_is_that_of_the_whole_curve(curve: list[tuple[int, float]]) -> None:
    values = [equity for _, equity in curve]
    rating = standing([(START + i, equity) for i, equity in enumerate(values)]).now()
    assert rating.drawdown == metrics.max_drawdown([1000.0, *values]).fraction


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * NS_PER_S), st.booleans()), min_size=1, max_size=40))
def test_the_exposure_is_that_of_the_positions_from_row_to_row(rows: list[tuple[int, bool]]) -> None:
    made = Standing()
    times = (START + np.cumsum([0, *(gap for gap, _ in rows[1:])])).tolist()
    held = [1.0 if holds else 0.0 for _, holds in rows]
    for ts, qty in zip(times, held, strict=True):
        made.add(msgspec.structs.replace(account(ts, 1000.0), positions={"A": qty} if qty else {}))
    assert made.now().exposure == metrics.exposure(times, held)


def test_the_step_is_a_second_until_there_are_too_many() -> None:
    made = standing([(START, 1000.0), (START + (CAPACITY - 1) * NS_PER_S, 1001.0)])
    assert made.now().step_ns == NS_PER_S and len(made.samples()) == CAPACITY
    made.add(account(START + CAPACITY * NS_PER_S, 1002.0))
    assert made.now().step_ns == 2 * NS_PER_S and len(made.samples()) == CAPACITY // 2 + 1


def test_an_epoch_begins_a_new_grid_and_a_new_drawdown() -> None:
    made = standing([(START, 1000.0), (START + 5 * NS_PER_S, 900.0)])
    made.add(account(100, 990.0, epoch=1))
    assert made.samples() == [990.0]
    assert made.now().drawdown == 0.0
    made.add(account(200, 891.0, epoch=1))
    assert made.now().drawdown == 0.1


def test_before_any_account_nothing_is_known() -> None:
    assert Standing().now() == Rating(None, None, NS_PER_S)


def test_a_time_that_goes_back_within_an_epoch_changes_the_value_alone() -> None:
    made = standing([(START, 1000.0), (START + 3 * NS_PER_S, 1001.0), (START + NS_PER_S, 1002.0)])
    assert made.samples() == [1000.0, 1000.0, 1000.0, 1002.0]
