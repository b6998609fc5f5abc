"""What `load_run` gives back is what was written, and what it cannot give it says."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Recorder.run_files import load_run
from Recorder.tables import COLUMNS, INTEGERS, TEXTS, NotARun
from Recorder.test.synthetic import START, write_run, write_table

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["C"]), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), strategies=("a", "b"), epochs=2)


def test_columns_have_the_documented_types(folder: Path) -> None:
    run = load_run(folder)
    for name, columns in COLUMNS.items():
        table = getattr(run, name)
        assert len(table)
        for column in columns:
            expected = "int64" if column in INTEGERS else "str" if column in TEXTS else "float64"
            assert table[column].dtype == expected, (name, column)


def test_instants_are_the_nanoseconds_in_utc(folder: Path) -> None:
    prices = load_run(folder).prices
    assert prices["ts"].iloc[0] == START
    assert prices["utc"].iloc[0] == pd.Timestamp("2025-01-02 14:30", tz="UTC")
    assert (prices["utc"].astype("int64") == prices["ts"]).all()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(FLOATS, FLOATS, TEXT, st.integers(0, 2**63 - 1)), max_size=20))
def test_every_float_instant_and_tag_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    trades = [(1, ts % 2**62, "s", "1.0", "NA", "BUY", q, p, 0.0, 1.0, 50.0, tag) for q, p, tag, ts in rows]
    write_table(folder / "trades.csv", COLUMNS["trades"], trades)
    found = load_run(folder).trades
    assert found["qty"].tolist() == [q for q, _, _, _ in rows]
    assert found["price"].tolist() == [p for _, p, _, _ in rows]
    assert found["tag"].tolist() == [tag for _, _, tag, _ in rows]
    assert found["ts"].tolist() == [ts % 2**62 for _, _, _, ts in rows]
    assert found["symbol"].tolist() == ["NA"] * len(rows)


def test_total_equity_is_the_sum_of_what_each_strategy_last_had(folder: Path) -> None:
    run = load_run(folder)
    total = run.total_equity()
    assert not total.isna().any().any()
    last: dict[str, float] = {"a": 100_000.0, "b": 100_000.0}
    expected: dict[tuple[int, int], float] = {}
    rows = run.equity.sort_values(["epoch", "ts"], kind="stable")
    for epoch, ts, strategy, equity in rows[["epoch", "ts", "strategy_id", "equity"]].itertuples(index=False):
        last[strategy] = equity
        expected[epoch, ts] = sum(last.values())
    assert list(zip(total["epoch"], total["ts"], strict=True)) == list(expected)
    assert np.allclose(total["equity"], list(expected.values()), rtol=1e-14, atol=0)


def test_total_equity_of_one_strategy_is_its_own(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path))
    assert run.total_equity()["equity"].iloc[-1] == run.equity["equity"].iloc[-1]


def test_total_equity_without_a_row_is_empty(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert len(load_run(tmp_path).total_equity()) == 0


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_missing_file_is_an_empty_table_and_a_note(tmp_path: Path, name: str) -> None:
    (write_run(tmp_path) / f"{name}.csv").unlink()
    run = load_run(tmp_path)
    assert list(getattr(run, name)[list(COLUMNS[name])].columns) == list(COLUMNS[name])
    assert len(getattr(run, name)) == 0
    assert run.notes == (f"{name}.csv is missing",)


def test_an_empty_file_is_an_empty_table_and_a_note(tmp_path: Path) -> None:
    (write_run(tmp_path) / "trades.csv").write_bytes(b"")
    run = load_run(tmp_path)
    assert run.trades["ts"].dtype == "int64"
    assert run.notes == ("trades.csv is empty",)


def test_a_file_of_only_a_header_is_an_empty_table(tmp_path: Path) -> None:
    write_table(write_run(tmp_path) / "trades.csv", COLUMNS["trades"], [])
    run = load_run(tmp_path)
    assert len(run.trades) == 0
    assert run.trades["qty"].dtype == "float64"
    assert run.notes == ()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_was_never_finished_is_left_out_and_said(tmp_path: Path, cut: int) -> None:
    path = write_run(tmp_path) / "trades.csv"
    whole = load_run(tmp_path).trades
    path.write_bytes(path.read_bytes()[:-cut])
    run = load_run(tmp_path)
    pd.testing.assert_frame_equal(run.trades, whole.iloc[:-1])
    assert run.notes == ("the last line of trades.csv was never finished and is left out",)


def test_a_manifest_cut_in_half_is_a_note_and_the_configuration_is_read_beside_it(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "manifest.json"
    path.write_bytes(path.read_bytes()[:100])
    run = load_run(tmp_path)
    assert run.manifest == {}
    assert run.settings("OrderManager", "execution")["latency_ms"] == 50
    assert run.notes[0].startswith("manifest.json is not JSON")


def test_columns_of_a_later_version_are_kept(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "prices.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    write_table(path, (*rows[0], "venue"), [(*row, "NA") for row in rows[1:]])
    assert set(load_run(tmp_path).prices["venue"]) == {"NA"}


@pytest.mark.parametrize("price", ["", "nan", "inf"])
def test_a_row_without_a_number_is_left_out_and_said(tmp_path: Path, price: str) -> None:
    (tmp_path / "prices.csv").write_text(f"epoch,ts,symbol,price\n1,1,A,{price}\n1,2,A,2.5\n")
    run = load_run(tmp_path)
    assert run.prices["price"].tolist() == [2.5]
    assert "prices.csv: rows left out for want of a number: 1" in run.notes


def test_what_is_no_folder_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no such folder"):
        load_run(tmp_path / "nothing")


def test_a_folder_without_a_single_file_of_a_run_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"not a run: none of config\.json"):
        load_run(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "prices.csv", ("epoch", "ts", "symbol"), [(1, 2, "A")])
    with pytest.raises(NotARun, match=r"prices\.csv: column price is missing"):
        load_run(tmp_path)


@pytest.mark.parametrize("row", ["1,2,A,much", "1,now,A,3.0", "1,2,A,3.0,4,5"])
def test_a_field_that_is_no_number_is_an_error_that_names_the_file(tmp_path: Path, row: str) -> None:
    (tmp_path / "prices.csv").write_text(f"epoch,ts,symbol,price\n1,1,A,1.0\n{row}\n")
    with pytest.raises(NotARun, match=r"prices\.csv: "):
        load_run(tmp_path)


def test_a_notebook_shows_a_run_in_one_line(folder: Path) -> None:
    assert repr(load_run(folder)).startswith("<Run 20250102-143000-1 at ")
