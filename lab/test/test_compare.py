"""Runs side by side as plain values: what the table says, and curves a chart can take."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import evaluate
from lab.compare import MOST_POINTS, compare, compare_rows, equity_curve
from Recorder.run_files import Run
from Recorder.tables import COLUMNS, NotARun
from trading_lib.models import NS_PER_S

CROSSOVER = "strategies/sma_crossover/strategy.py"
START = 951_944_400 * NS_PER_S


def run_of(rows: list[tuple[int, int, float]]) -> Run:
    """A run of one strategy with (epoch, ts, equity)."""
    empty = {name: pd.DataFrame(columns=list(columns)) for name, columns in COLUMNS.items()}
    equity = pd.DataFrame(rows, columns=["epoch", "ts", "equity"]).astype({"epoch": "int64", "ts": "int64"})
    equity["strategy_id"] = "a"
    for name in ("cash", "last_price", "unrealized", "realized", "commission"):
        equity[name] = 0.0
    tables: dict[str, Any] = empty | {"equity": equity}
    return Run(Path("any"), {}, {}, **tables, notes=())


STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 10**12), st.floats(-1e6, 1e6)), min_size=1, max_size=200
)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.integers(1, 20), st.integers(4, 60))
def test_a_curve_is_short_and_keeps_its_ends_and_extremes(
    steps: list[tuple[bool, int, float]], times: int, points: int
) -> None:
    rows: list[tuple[int, int, float]] = []
    epoch, ts, length = 1, START, 0
    for anew, step, equity in steps * times:
        if anew and rows:
            epoch, ts = epoch + 1, START
        else:
            ts += step
            length += step if rows else 0
        rows.append((epoch, ts, equity))
    curve = equity_curve(run_of(rows), points)
    assert len(curve.seconds) == len(curve.equity) <= points
    assert all(a <= b for a, b in pairwise(curve.seconds))
    values = [equity for *_, equity in rows]
    assert curve.equity[0] == values[0]
    assert curve.equity[-1] == values[-1]
    assert (min(curve.equity), max(curve.equity)) == (min(values), max(values))
    assert curve.seconds[0] == 0
    assert curve.seconds[-1] == pytest.approx(length / NS_PER_S)


def test_a_run_without_an_account_has_no_curve() -> None:
    assert equity_curve(run_of([])).seconds == []


def test_plain_values_are_those_of_the_table(tmp_path: Path) -> None:
    folders = [tmp_path / "small", tmp_path / "large"]
    for folder, quantity in zip(folders, (1, 50), strict=True):
        evaluate(CROSSOVER, "data/market_data-1.csv", params={"quantity": quantity}, out=folder, report=False)
    found = compare_rows(folders)
    assert found.heads == ["small", "large"]
    lines = compare(folders).splitlines()[2:]
    for (name, *values), line in zip(found.rows, lines, strict=True):
        assert line.startswith(name)
        assert all(value in line for value in values)
    assert found.caveats == []
    assert all(10 < len(curve.equity) <= MOST_POINTS for curve in found.curves)
    finals = {name: values for name, *values in found.rows}["Final equity"]
    assert finals == [f"{curve.equity[-1]:,.2f}" for curve in found.curves]
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_what_is_no_run_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        compare_rows([tmp_path / "nowhere"])
