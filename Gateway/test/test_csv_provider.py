"""CSV replay: shapes are detected, prices are whole ticks, bad rows are counted and explained."""

import gzip
import runpy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Gateway.providers import CsvProvider, DataError
from Gateway.providers.provider import take

DATA = Path(__file__).parents[2] / "data"
DAY = 86_400 * 10**9
JAN_2 = 1_735_776_000_000_000_000  # 2025-01-02 00:00 UTC

Record = tuple[str, float, int]


def load(folder: Path, text: str | bytes, name: str = "prices.csv", **options: object) -> CsvProvider:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return CsvProvider(path, **options)  # type: ignore[arg-type]


def records(provider: CsvProvider) -> list[Record]:
    """(symbol, price, time) of all."""
    batch = take(provider, 10**7)
    return [
        (provider.symbols[symbol], value / 10 ** provider.decimals[symbol], time)
        for symbol, value, time in zip(
            batch.symbols.tolist(), batch.values.tolist(), batch.times.tolist(), strict=True
        )
    ]


# ------------------------------------------------------------------------------------------------ shapes


def test_timestamp_symbol_price(tmp_path: Path) -> None:
    provider = load(tmp_path, "timestamp,symbol,price\n2025-01-02,AAPL,173.2\n2025-01-03,MSFT,172.53\n")
    assert records(provider) == [("AAPL", 173.2, JAN_2), ("MSFT", 172.53, JAN_2 + DAY)]
    assert provider.symbols == ("AAPL", "MSFT")


def test_columns_may_have_any_order_and_other_names(tmp_path: Path) -> None:
    provider = load(tmp_path, "Last Price, Ticker ,note,DateTime\n1.5,A,x,2025-01-02\n")
    assert records(provider) == [("A", 1.5, JAN_2)]


def test_bars_give_their_close_at_their_own_time(tmp_path: Path) -> None:
    text = "timestamp,ticker,open,high,low,close,volume\n2025-01-02T00:00:00Z,SPY,1,4,0.5,2.5,1000\n"
    assert records(load(tmp_path, text)) == [("SPY", 2.5, JAN_2)]


def test_yahoo_gives_the_adjusted_close_of_the_files_name(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2025-01-02,1,4,1,3,1.5,10\n"
    provider = load(tmp_path, text, "BRK-B.csv")
    assert records(provider) == [("BRK-B", 1.5, JAN_2)]
    assert "'Adj Close'" in provider.report()


def test_yahoo_without_adjusted_close_gives_the_close(tmp_path: Path) -> None:
    provider = load(tmp_path, "Date,Open,High,Low,Close,Volume\n2025-01-02,1,4,1,3,10\n", "SPY.csv")
    assert records(provider) == [("SPY", 3.0, JAN_2)]
    assert "'Close'" in provider.report()


@pytest.mark.parametrize("unit", [10**6, 10**3], ids=["ms", "us"])
@pytest.mark.parametrize("best_match", ["", ",True"])
def test_binance_trades_without_header(tmp_path: Path, unit: int, best_match: str) -> None:
    text = f"26129,0.01633102,4.70443515,27781,27781,{JAN_2 // unit},true{best_match}\n"
    provider = load(tmp_path, text, "ETHBTC-aggTrades-2025-01.csv", tick_sizes={"ETHBTC": 1e-8})
    assert records(provider) == [("ETHBTC", 0.01633102, JAN_2)]


def test_binance_trades_with_header(tmp_path: Path) -> None:
    header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
    text = header + f"1,60000.5,0.1,1,1,{JAN_2 // 10**6},false\n"
    assert records(load(tmp_path, text, "BTCUSDT-aggTrades-2025.csv")) == [("BTCUSDT", 60000.5, JAN_2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("2025-01-02,AAPL,1.5\n", "no column for the timestamp.*known are"),
        ("timestamp,symbol,bid\n1,A,1\n", "no column for the price or close"),
        ("date,time,symbol,price\n", "'date', 'time' could all be the timestamp"),
        ("\x00\x01\x02\xff*\n", "no column for the timestamp"),
        ("timestamp,symbol,price\n", "no usable row of 0: there is only a header"),
        (
            "timestamp,symbol,price\nx,A,1\n2025-01-02,A,y\n",
            r"prices.csv: no usable row of 2: line 2: bad time.*'y'",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, text)


def test_a_symbol_that_no_column_and_no_name_gives_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no symbol column, and its name is none"):
        load(tmp_path, "Date,Close\n2025-01-02,1\n", "my prices (1).csv")


def test_a_missing_file_and_a_folder_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: No such file"):
        CsvProvider(tmp_path / "none.csv")
    with pytest.raises(DataError, match="directory"):
        CsvProvider(tmp_path)


# ------------------------------------------------------------------------------------------- tolerance

PLAIN = "timestamp,symbol,price\n2025-01-02,AAPL,1.5\n2025-01-03,AAPL,2.5\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\n\n \n").encode(),
        b"\n\n" + PLAIN.encode(),
        PLAIN.rstrip().encode(),
        PLAIN.replace(",", " , ").encode(),
        PLAIN.replace("AAPL", '"AAPL"').replace("1.5", '"1.5"').encode(),
        gzip.compress(PLAIN.encode()),
    ],
    ids=["BOM", "CRLF", "blank lines", "blank first", "no last newline", "spaces", "quotes", "gzip"],
)
def test_the_same_rows_in_other_clothes_are_the_same_records(tmp_path: Path, text: bytes) -> None:
    provider = load(tmp_path, text)
    assert records(provider) == [("AAPL", 1.5, JAN_2), ("AAPL", 2.5, JAN_2 + DAY)]
    assert provider.rejected == {}


def test_a_gzip_file_that_ends_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"prices\.csv\.gz: .*end"):
        load(tmp_path, gzip.compress(PLAIN.encode())[:-9], "prices.csv.gz")


def test_a_gzip_files_symbol_is_its_name_without_both_suffixes(tmp_path: Path) -> None:
    provider = load(tmp_path, gzip.compress(b"Date,Close\n2025-01-02,1\n"), "SPY.csv.gz")
    assert provider.symbols == ("SPY",)


# -------------------------------------------------------------------------------------------- bad rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2025-01-02,A", "missing fields"),
        ("junk", "missing fields"),
        ("2025-01-02,A,1,2", "too many fields"),
        ('2025-01-02,"A,1', "missing fields"),
        ("yesterday,A,1", "bad timestamp"),
        ("timestamp,symbol,price", "bad timestamp"),
        (",A,1", "bad timestamp"),
        ("-1,A,1", "negative time"),
        ("1969-07-20,A,1", "negative time"),
        ("2025-01-02,,1", "bad symbol"),
        ("2025-01-02,A B,1", "bad symbol"),
        ("2025-01-02,A*B,1", "bad symbol"),
        ("2025-01-02,ABCDEFGHIJKLMNOPQRSTUVWXY,1", "bad symbol"),
        ("2025-01-02,Ä,1", "bad symbol"),
        ("2025-01-02,A,", "bad price"),
        ("2025-01-02,A,abc", "bad price"),
        ("2025-01-02,A,1_000", "bad price"),
        ("2025-01-02,A,\u0661", "bad price"),
        ("2025-01-02,A,nan", "bad price"),
        ("2025-01-02,A,inf", "price not finite"),
        ("2025-01-02,A,1e999", "price not finite"),
        ("2025-01-02,A,0", "price not positive"),
        ("2025-01-02,A,-1.5", "price not positive"),
        ("2025-01-02,A,0.00004", "price rounds to 0"),
        ("2025-01-02,A,1e15", "price too large for its tick size"),
    ],
)
def test_a_bad_row_is_counted_with_its_line_and_reason_and_the_others_live(
    tmp_path: Path, row: str, reason: str
) -> None:
    text = f"timestamp,symbol,price\n2025-01-01,OK,1\n\n{row}\n2025-01-03,OK,2\n"
    provider = load(tmp_path, text)
    assert provider.rejected == {reason: 1}
    assert [price for _, price, _ in records(provider)] == [1.0, 2.0]
    assert provider.total == 3
    assert len(provider.details) == 1
    assert provider.details[0].startswith(f"line 4: {reason}: ")
    assert f"2 of 3 rows, 1 series; 1 rejected ({reason})\n  line 4" in provider.report()


def test_bytes_that_are_no_text_spoil_their_own_row(tmp_path: Path) -> None:
    provider = load(tmp_path, PLAIN.encode() + b"\xff\xfe\x00,\x80,\x01\n2025-01-04,AAPL,3\n")
    assert [price for _, price, _ in records(provider)] == [1.5, 2.5, 3.0]
    assert provider.rejected == {"bad symbol": 1}


def test_a_field_without_an_end_spoils_its_own_row(tmp_path: Path) -> None:
    provider = load(tmp_path, PLAIN + '2025-01-04,"' + "x" * 300_000 + "\n2025-01-05,AAPL,3\n")
    assert [price for _, price, _ in records(provider)] == [1.5, 2.5, 3.0]
    assert sum(provider.rejected.values()) == 1
    assert len(provider.report()) < 500


def test_only_the_first_details_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    provider = load(tmp_path, PLAIN + "junk\n" * 5000 + "2025-01-04,AAPL,0.00001\n")
    assert provider.rejected == {"missing fields": 5000, "price rounds to 0": 1}
    assert provider.details == [f"line {line}: missing fields: 'junk'" for line in range(4, 24)]


def test_line_numbers_hold_beyond_the_first_chunk(tmp_path: Path) -> None:
    provider = load(tmp_path, PLAIN + "2025-01-04,AAPL,3\n" * 50_000 + "2025-01-05,AAPL,x\n")
    assert provider.details == ["line 50004: bad price: 'x'"]


good_rows = st.tuples(st.integers(0, 50), st.sampled_from("ABC"), st.integers(1, 10**6))
bad_rows = st.sampled_from(
    ["junk", "2025-01-02,A", ",,", "2025-01-02,A,x", 'x"y,"A,1', "2025-01-02,A,1,1", "\0"]
)


@given(st.lists(st.one_of(good_rows, bad_rows), max_size=30))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_loaded_or_rejected(tmp_path: Path, rows: list[tuple[int, str, int] | str]) -> None:
    good = [row for row in rows if not isinstance(row, str)]
    lines = [row if isinstance(row, str) else f"{row[0]},{row[1]},{row[2]}e-4" for row in rows]
    text = "\n".join(["timestamp,symbol,price", "0,FIRST,1", *lines])
    provider = load(tmp_path, text)
    expected = sorted([(0, "FIRST", 10_000), *good], key=lambda row: row[0])
    assert records(provider) == [
        (symbol, value / 10**4, second * 10**9) for second, symbol, value in expected
    ]
    assert sum(provider.rejected.values()) == len(rows) - len(good)
    assert provider.total == len(rows) + 1


# -------------------------------------------------------------------------- order, symbols, ticks, sizes


def test_rows_back_in_time_are_sorted_stably_and_counted(tmp_path: Path) -> None:
    text = "timestamp,symbol,price\n20,A,1\n10,A,2\n20,B,3\n15,A,4\n20,A,5\n"
    provider = load(tmp_path, text)
    assert [price for _, price, _ in records(provider)] == [2, 4, 1, 3, 5]
    assert provider.reordered == 2
    assert "2 reordered by time" in provider.report()


def test_only_the_symbols_asked_for_are_emitted_in_their_order(tmp_path: Path) -> None:
    text = "timestamp,symbol,price\n1,A,1\n2,B,2\n3,C,3\n4, B ,4\n5,A,x\n"
    provider = load(tmp_path, text, symbols=["C", "NONE", "B"])
    assert provider.symbols == ("C", "NONE", "B")
    assert [(symbol, price) for symbol, price, _ in records(provider)] == [("B", 2), ("C", 3), ("B", 4)]
    assert (provider.ignored, provider.rejected, provider.missing) == (2, {}, ("NONE",))
    assert "2 of other symbols ignored; none of NONE" in provider.report()


def test_none_of_the_symbols_asked_for_is_an_error_that_shows_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all are of AAPL, and SPY, QQQ are asked for"):
        load(tmp_path, PLAIN, symbols=["SPY", "QQQ"])


def test_a_symbol_of_bad_rows_only_is_none(tmp_path: Path) -> None:
    provider = load(tmp_path, "timestamp,symbol,price\n1,A,x\n2,B,2\n3,C,0.00001\n4,D,4\n")
    assert provider.symbols == ("B", "D")
    assert records(provider) == [("B", 2.0, 2 * 10**9), ("D", 4.0, 4 * 10**9)]


def test_prices_go_to_their_symbols_tick(tmp_path: Path) -> None:
    text = "timestamp,symbol,price\n1,A,1.00005\n1,ES,5000.3\n1,N,100.07\n1,BTC,0.123456789\n"
    provider = load(tmp_path, text, tick_sizes={"ES": 0.25, "N": 0.05, "BTC": 1e-8})
    assert [price for _, price, _ in records(provider)] == [1.0, 5000.25, 100.05, 0.12345679]
    assert provider.decimals == (4, 2, 2, 8)


def test_a_bad_tick_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tick size"):
        load(tmp_path, PLAIN, tick_sizes={"AAPL": -1})


SIZED = "timestamp,symbol,price,size\n1,A,10,5\n2,B,20,0.25\n3,A,11,0\n4,A,12,x\n5,A,13,-1\n6,A,14,7\n"


def test_sizes_are_off_unless_asked_for(tmp_path: Path) -> None:
    provider = load(tmp_path, SIZED)
    assert provider.symbols == ("A", "B")
    assert provider.rejected == {}


def test_a_size_is_a_tick_of_its_own_series_before_its_price(tmp_path: Path) -> None:
    provider = load(tmp_path, SIZED, sizes=True)
    assert provider.symbols == ("A", "B", "A.SIZE", "B.SIZE")
    assert [(symbol, value) for symbol, value, _ in records(provider)] == [
        *(("A.SIZE", 5.0), ("A", 10.0)),
        *(("B.SIZE", 0.25), ("B", 20.0)),
        ("A", 11.0),
        *(("A.SIZE", 7.0), ("A", 14.0)),
    ]
    assert provider.rejected == {"bad size": 2}
    assert provider.without_size == 1


def test_the_tick_size_of_sizes_fits_the_largest_or_is_given(tmp_path: Path) -> None:
    text = "timestamp,symbol,price,volume\n1,A,1,90000000000\n1,B,1,0.00000001\n1,C,1,9e14\n1,D,1,2.5\n"
    provider = load(tmp_path, text, sizes=True, tick_sizes={"D.SIZE": 0.5})
    assert provider.decimals[4:] == (4, 8, 0, 1)
    sizes = [value for symbol, value, _ in records(provider) if symbol.endswith(".SIZE")]
    assert sizes == [9e10, 1e-8, 9e14, 2.5]


def test_sizes_follow_their_rows_when_rows_are_reordered(tmp_path: Path) -> None:
    provider = load(tmp_path, "timestamp,symbol,price,size\n2,A,20,2\n1,A,10,1\n", sizes=True)
    assert [value for _, value, _ in records(provider)] == [1, 10, 2, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN, "no size, quantity or volume column"),
        ("timestamp,symbol,price,size\n1,ABCDEFGHIJKLMNOPQRST,1,1\n", "no series ABCDEFGHIJKLMNOPQRST.SIZE"),
        ("timestamp,symbol,price,size\n1,A,1,1\n1,A.SIZE,1,1\n", "no series A.SIZE"),
    ],
)
def test_sizes_that_cannot_be_are_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, text, sizes=True)


# ------------------------------------------------------------------------------------ the shipped prices


def test_the_shipped_file_is_all_good() -> None:
    provider = CsvProvider(DATA / "market_data-1.csv", symbols=["AAPL", "GOOG", "IBM", "MSFT"])
    assert (provider.loaded, provider.total, provider.reordered) == (11_958, 11_958, 0)
    assert provider.rejected == {}
    assert records(provider)[0] == ("AAPL", 4.1867, 951_944_400_000_000_000)


def test_the_shipped_file_is_what_its_script_makes() -> None:
    pytest.importorskip("bokeh_sampledata", reason="the source of the prices is not installed")
    script = runpy.run_path(str(DATA / "make_market_data.py"))
    try:
        text = script["render"]()
    except script["OtherSource"] as fault:
        pytest.skip(str(fault))
    assert text.encode() == (DATA / "market_data-1.csv").read_bytes()
