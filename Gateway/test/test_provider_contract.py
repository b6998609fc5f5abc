"""What holds for every provider: one suite, whichever source or wrapper it is."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Gateway.providers import (
    Batch,
    CsvProvider,
    Faults,
    NewsProvider,
    Passes,
    Provider,
    RandomWalkProvider,
    SimulatedProvider,
    TimeMarks,
)
from Gateway.providers.provider import take
from trading_lib import wire
from trading_lib.models import Kind
from trading_lib.simulation import TYPES

START = 1_735_828_200_000_000_000
MOST = 700  # records looked at; the endless sources have more
CSV = "timestamp,symbol,price,size\n" + "".join(
    f"2025-01-{day:02d} 21:00:00,{symbol},{100 + day / 8 + shift},{day % 4}\n"
    for day in range(1, 29)
    for shift, symbol in enumerate(["AAPL", "BTC-USD", "MSFT"])
)


def csv_file(folder: Path) -> CsvProvider:
    path = folder / "prices.csv"
    path.write_text(CSV)
    return CsvProvider(path, sizes=True)


def walk(limit: int | None = None, dt_ms: float = 200) -> RandomWalkProvider:
    return RandomWalkProvider(["A", "B", "C"], START, seed=7, dt_ms=dt_ms, limit=limit)


def simulated(kind: str, limit: int | None = None, random_arrivals: bool = False) -> SimulatedProvider:
    return SimulatedProvider(
        ["A", "B"], START, TYPES[kind](), seed=7, limit=limit, random_arrivals=random_arrivals
    )


def of_model(kind: str) -> Callable[[Path], Provider]:
    return lambda _: simulated(kind)


PROVIDERS: dict[str, Callable[[Path], Provider]] = {
    "csv": csv_file,
    "endless random walk": lambda _: walk(),
    "random walk of 100 ticks": lambda _: walk(limit=100),
    "news over csv": lambda folder: NewsProvider(csv_file(folder), 3, seed=1),
    "news after every tick": lambda folder: NewsProvider(csv_file(folder), 1, seed=1),
    "news that follow returns": lambda folder: NewsProvider(csv_file(folder), 3, seed=1, follows=0.8),
    "news that follow returns, anew each pass": lambda _: NewsProvider(
        Passes(walk(limit=50), loop=True), 3, seed=1, follows=1
    ),
    "one pass": lambda folder: Passes(csv_file(folder), loop=False),
    "passes": lambda folder: Passes(csv_file(folder), loop=True),
    "time marks over a walk": lambda _: TimeMarks(walk(limit=200, dt_ms=70)),
    "time marks over dense ticks": lambda _: TimeMarks(walk(limit=200, dt_ms=10)),
    "everything, once": lambda folder: TimeMarks(
        Passes(NewsProvider(csv_file(folder), 5, seed=1), loop=False)
    ),
    "everything, looping": lambda _: TimeMarks(Passes(NewsProvider(walk(limit=50), 5, seed=1), loop=True)),
    **{f"{kind} model": of_model(kind) for kind in TYPES},
    "100 instants of a model": lambda _: simulated("ou", limit=100),
    "random arrivals": lambda _: simulated("gbm", random_arrivals=True),
    "everything over a model": lambda _: TimeMarks(
        NewsProvider(Passes(simulated("heston", random_arrivals=True), loop=False), 5, seed=1)
    ),
    "late ticks": lambda _: Faults(walk(dt_ms=1), jitter_ms=20, seed=1),
    "lost ticks": lambda _: Faults(walk(limit=300), drop=0.3, seed=1),
    "everything with faults": lambda _: TimeMarks(
        NewsProvider(Faults(Passes(walk(limit=50), loop=True), jitter_ms=300, drop=0.1, seed=1), 5, seed=1)
    ),
    "news drawn anew each pass": lambda _: NewsProvider(Passes(walk(limit=50), loop=True), 5, seed=1),
}


@pytest.fixture(params=PROVIDERS, ids=str, scope="module")
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return PROVIDERS[request.param](tmp_path_factory.mktemp("data"))


def rows(batch: Batch) -> list[tuple[int, ...]]:
    columns = (batch.kinds, batch.symbols, batch.values, batch.times)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def fresh(provider: Provider) -> Batch:
    provider.restart()
    return take(provider, MOST)


@given(limits=st.lists(st.integers(1, 40), min_size=1, max_size=30))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_where_a_read_stops_never_changes_the_records(provider: Provider, limits: list[int]) -> None:
    whole = rows(fresh(provider))
    provider.restart()
    pieces: list[tuple[int, ...]] = []
    for limit in cycle(limits):
        batch = provider.read(limit)
        assert batch.size <= limit
        pieces += rows(batch)
        if not batch.size or len(pieces) >= len(whole):
            break
    assert pieces[: len(whole)] == whole


def test_one_record_at_a_time_is_the_same_records(provider: Provider) -> None:
    whole = rows(fresh(provider))
    provider.restart()
    assert rows(take(provider, MOST, by=1)) == whole


def test_restart_gives_the_same_records_from_any_place(provider: Provider) -> None:
    whole = rows(fresh(provider))
    assert whole
    for read_before in (1, 30, MOST):
        provider.restart()
        take(provider, read_before, by=13)
        assert rows(fresh(provider)) == whole


def test_times_never_decrease_within_an_epoch(provider: Provider) -> None:
    batch = fresh(provider)
    steps = np.diff(batch.times)
    assert (steps[batch.kinds[1:] != Kind.EPOCH] >= 0).all()
    assert (batch.times >= 0).all()


def test_values_are_in_the_range_of_their_kind(provider: Provider) -> None:
    batch = fresh(provider)
    is_tick, is_news = batch.kinds == Kind.TICK, batch.kinds == Kind.NEWS
    assert set(batch.kinds.tolist()) <= set(Kind) - {Kind.CONTROL}
    assert (batch.values[is_tick] > 0).all()
    assert (batch.values[is_tick] < 10**15).all()
    assert ((batch.values[is_news] >= 0) & (batch.values[is_news] <= 100)).all()
    is_gap = batch.kinds == Kind.GAP
    assert (batch.values[is_gap] > 0).all()
    others = ~(is_tick | is_news | is_gap)
    assert not batch.values[others].any()
    assert not batch.symbols[others | is_gap].any()


def test_symbols_are_legal_distinct_and_what_records_refer_to(provider: Provider) -> None:
    assert [wire.parse_symbol(symbol) for symbol in provider.symbols] == list(provider.symbols)
    assert len(set(provider.symbols)) == len(provider.symbols) == len(provider.decimals)
    assert all(0 <= decimals <= 15 for decimals in provider.decimals)
    indices = fresh(provider).symbols
    assert ((indices >= 0) & (indices < len(provider.symbols))).all()


def test_columns_have_the_agreed_types_and_are_contiguous(provider: Provider) -> None:
    provider.restart()
    for _ in range(40):
        batch = provider.read(17)
        columns = (batch.kinds, batch.symbols, batch.values, batch.times)
        assert [column.dtype for column in columns] == [np.uint8, np.int32, np.int64, np.int64]
        assert all(column.shape == (batch.size,) and column.flags.c_contiguous for column in columns)


def test_what_has_ended_stays_ended_until_restart(provider: Provider) -> None:
    if fresh(provider).size == MOST:
        return  # endless, as far as we look
    assert [provider.read(10).size for _ in range(3)] == [0, 0, 0]
    provider.restart()
    assert provider.read(10).size > 0


def test_an_end_is_the_last_record(provider: Provider) -> None:
    ends = np.flatnonzero(fresh(provider).kinds == Kind.END)
    assert ends.tolist() in ([], [fresh(provider).size - 1])
