"""What is in a file of prices, and the same rows in the canonical shape."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import ROOT
from Gateway.providers import DataError
from Gateway.providers.csv_rows import load_rows
from lab.data_files import import_file, inspect

SHIPPED = ROOT / "data" / "market_data-1.csv"


def file(folder: Path, *lines: str, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_inspection_names_shape_symbols_range_and_gaps() -> None:
    text = inspect(SHIPPED)
    assert "11,958 rows, 11,958 usable, 0 rejected" in text
    row = next(line for line in text.splitlines() if line.startswith("GOOG"))
    assert row.split() == [
        *("GOOG", "2,148", "2004-08-19", "21:00:00", "2013-03-01", "21:00:00"),
        *("1", "d", "50.1598", "404.6742"),
    ]


def test_bad_rows_are_counted_by_reason_and_shown_with_their_line(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,symbol,price", "1,A,2", "x,A,2", "3,A,-2", "2,A,3", "5,A,y", "6,A,z")
    text = inspect(path)
    assert "6 rows, 2 usable, 4 rejected" in text
    assert "2 × bad price" in text and "1 × bad timestamp" in text
    assert "line 3: bad timestamp: 'x'" in text
    assert "1 rows stand behind" not in text
    assert "1 rows" not in inspect(SHIPPED)


def test_rows_out_of_order_are_counted(tmp_path: Path) -> None:
    assert "1 rows stand behind later ones" in inspect(
        file(tmp_path, "timestamp,symbol,price", "2,A,2", "1,A,1")
    )


def test_prices_that_the_usual_tick_size_cannot_say_are_counted(tmp_path: Path) -> None:
    text = inspect(file(tmp_path, "timestamp,symbol,price", "1,A,0.00004", "2,A,0.00006", "3,B,1e12"))
    assert "1 prices are too small for a tick of 0.0001, and are rejected unless" in text
    assert "1 prices are too large for a tick of 0.0001" in text
    assert "rejected unless" not in inspect(SHIPPED)


def test_a_file_without_a_usable_row_is_bad_data_with_the_reasons(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,symbol,price", "x,A,2")
    with pytest.raises(DataError, match="line 2: bad timestamp"):
        inspect(path)
    with pytest.raises(DataError, match="line 2: bad timestamp"):
        import_file(path, tmp_path / "out.csv")
    assert not list(tmp_path.glob("*out*"))


def test_an_imported_file_has_the_rows_of_the_original(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.csv"
    assert import_file(SHIPPED, out) == 11_958
    before, after = load_rows(SHIPPED, None, False), load_rows(out, None, False)
    assert (before.times == after.times).all() and (before.prices == after.prices).all()
    assert [before.names[i] for i in before.ids] == [after.names[i] for i in after.ids]


def test_an_import_never_writes_over_a_file(tmp_path: Path) -> None:
    out = file(tmp_path, "precious", name="out.csv")
    with pytest.raises(FileExistsError):
        import_file(SHIPPED, out)
    assert out.read_text() == "precious\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_yahoo_file_becomes_its_adjusted_close_with_the_volume(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "Date,Open,High,Low,Close,Adj Close,Volume",
        "2025-01-03,1,2,1,2,1.75,100",
        "2025-01-02,1,2,1,2,1.5,300",
        name="ACME.csv",
    )
    import_file(path, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "timestamp,symbol,price,size",
        "2025-01-02 00:00:00,ACME,1.5,300",
        "2025-01-03 00:00:00,ACME,1.75,100",
    ]


def test_a_gzip_file_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"timestamp,symbol,price\n2025-01-02,A,1.5\n"))
    assert "1 rows, 1 usable" in inspect(path)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62),
            st.sampled_from(["A", "B", "X.BID"]),
            st.floats(1e-12, 1e12),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_is_imported_twice_is_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, float]]
) -> None:
    folder = tmp_path_factory.mktemp("twice")
    lines = [f"{np.datetime64(ts, 'ns')},{symbol},{price!r}" for ts, symbol, price in rows]
    path = file(folder, "timestamp,symbol,price", *lines)
    import_file(path, folder / "once.csv")
    import_file(folder / "once.csv", folder / "twice.csv")
    assert (folder / "once.csv").read_bytes() == (folder / "twice.csv").read_bytes()
    once = load_rows(folder / "once.csv", None, False)
    found = sorted(
        (ts, once.names[i], price) for ts, i, price in zip(once.times, once.ids, once.prices, strict=True)
    )
    assert found == sorted(rows)
