"""report.html says what the files say, of any run, and needs nothing but itself."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from Recorder.report import reproduce, write_report
from Recorder.report_sampling import sampling_of
from Recorder.report_svg import axis
from Recorder.report_text import exact, number
from Recorder.report_timeline import DAY, S, Timeline, thinned
from Recorder.report_trades import MOST, Arithmetic
from Recorder.run_files import load_run
from Recorder.tables import COLUMNS, NotARun
from Recorder.test.synthetic import COMMISSION, LATENCY, START, config, manifest, write_run, write_table

VOID = {"meta", "link", "br"}
EXAMPLES = settings(deadline=None, max_examples=300)
HOSTILE = '<script>alert("1")</script>&\'"'


class Page(HTMLParser):
    """The rows of the table of fills, the text a reader sees, and whether every element is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.scripts: dict[str | None, str] = {}
        self.tags: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self._in_fills = False
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append((tag, names.get("id")))
        if tag == "table":
            self._in_fills = names.get("id") == "fills"
        if tag == "tr" and self._in_fills:
            self.rows.append([])
        if tag == "td" and self._in_fills:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is closed where it is opened."""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        self._in_fills = self._in_fills and tag != "table"

    def handle_data(self, data: str) -> None:
        tag, name = self._open[-1] if self._open else ("", None)
        if tag == "script":
            self.scripts[name] = data
        elif tag != "style":
            self.texts.append(data)
            if self._in_fills and self.rows and self.rows[-1]:
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def fills(self) -> list[list[str]]:
        return [row for row in self.rows if row]

    @property
    def arithmetic(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = json.loads(self.scripts["arithmetic"])
        return found


def report(folder: Path, extra: dict[str, Any] | None = None) -> Page:
    return Page(write_report(folder, extra))


def set_manifest(folder: Path, **keys: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest(("AAPL", "MSFT"), **keys)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), strategies=("mean", "sma_news"), epochs=2)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return report(folder)


def test_the_rows_of_the_page_are_the_rows_of_trades_csv(folder: Path, page: Page) -> None:
    trades = load_run(folder).trades
    assert len(page.fills) == len(trades) > 50
    for cells, fill in zip(page.fills, trades.itertuples(index=False), strict=True):
        number_, epoch, _, strategy, order, symbol, side, qty, price, *_, tag = cells
        assert (epoch, strategy, order) == (str(fill.epoch), fill.strategy_id, fill.client_order_id)
        assert (symbol, side, tag) == (fill.symbol, fill.side, fill.tag)
        assert float(qty.replace(",", "")) == fill.qty
        assert float(price.replace(",", "")) == fill.price
        assert page.arithmetic[str(int(number_) - 1)][0].startswith(f"#{number_} {side} {qty} {symbol}")


def test_every_fill_is_marked_on_its_symbols_chart(folder: Path, page: Page) -> None:
    marked = [int(row) for row in re.findall(r'<use [^>]*data-fill="(\d+)"', page.source)]
    assert sorted(marked) == list(range(len(load_run(folder).trades)))


def test_final_equity_is_the_one_of_equity_csv(folder: Path, page: Page) -> None:
    found = re.search(r'data-value="([^"]+)"', page.source)
    assert found is not None
    run = load_run(folder)
    last = run.equity.groupby("strategy_id")["equity"].last()
    assert float(found[1]) == pytest.approx(float(last.sum()), rel=1e-15)
    assert number(float(last.sum()), 2) in page.text


def test_equity_drawn_ends_at_the_final_equity(tmp_path: Path) -> None:
    page = report(write_run(tmp_path))
    points = json.loads(re.findall(r'<script type="application/json">(\{.*?\})</script>', page.source)[0])
    equity = load_run(tmp_path).equity
    assert points["value"][-1] == equity["equity"].iloc[-1]
    assert points["start"] + points["ms"][-1] == equity["ts"].iloc[-1] // 1_000_000


@pytest.mark.parametrize("strategies", [("one",), ("one", "two", "three")])
def test_no_number_is_nan_or_infinite(tmp_path: Path, strategies: tuple[str, ...]) -> None:
    page = report(write_run(tmp_path, ticks=60, strategies=strategies, epochs=2))
    assert not re.search(r"\b(nan|inf|infinity|none)\b", page.text, re.IGNORECASE)
    assert not re.search(r'="(nan|inf)|[MLV ](nan|inf)\b', page.source, re.IGNORECASE)


def test_the_page_needs_nothing_from_anywhere(page: Page) -> None:
    assert "http" not in page.source
    assert not re.search(r"""(src|href)=["'](?!data:,|#)""", page.source)
    assert not re.search(r"@import|url\(|fetch\(|import\(|XMLHttpRequest", page.source)


def test_foreign_text_is_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path, strategies=(HOSTILE,), why_not=[HOSTILE], comparable=False, run_id=HOSTILE)
    fill = (1, START, HOSTILE, HOSTILE, HOSTILE, "BUY", 1.0, 100.01, 0.005, 1.0, 50.0, HOSTILE)
    write_table(folder / "trades.csv", COLUMNS["trades"], [fill])
    plain, page = report(write_run(tmp_path / "plain")), report(folder)
    assert page.tags.count("script") - plain.tags.count("script") <= 1  # one more chart
    assert page.fills[0][3:6] == [HOSTILE] * 3
    assert page.fills[0][-1] == HOSTILE
    assert "</script>" not in page.scripts["arithmetic"]
    assert HOSTILE in page.arithmetic["0"][0]
    assert HOSTILE in page.text


def test_a_run_killed_before_its_first_row_gives_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    text = report(tmp_path).text
    assert "it was killed, or is still going on" in text
    assert "trades.csv is missing" in text
    assert "Not a single fill." in text
    assert "Take it as not comparable" in text


@pytest.mark.parametrize("key", sorted(manifest(("A",))))
def test_a_manifest_may_lack_any_key(tmp_path: Path, key: str) -> None:
    folder = write_run(tmp_path, ticks=60)
    found = manifest(("AAPL", "MSFT"))
    del found[key]
    (folder / "manifest.json").write_text(json.dumps(found))
    assert len(report(folder).fills) == len(load_run(folder).trades)


def test_a_run_without_fills_has_its_equity_and_reasons_for_what_is_undefined(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ticks=60, every=10**9)
    text = report(folder).text
    assert "Not a single fill." in text
    assert "no trades" in text
    assert "100,000.00" in text


def test_each_strategy_has_its_metrics_beside_those_of_all(tmp_path: Path) -> None:
    folder = write_run(tmp_path, strategies=("all", "other"))  # a strategy may be called that, too
    run = load_run(folder)
    fills = run.trades["strategy_id"].value_counts()
    row = re.search(r'<th scope="row">Fills</th>(.*?)</tr>', report(folder).source)
    assert row is not None
    cells = re.findall(r"<td[^>]*>([\d,]+)</td>", row[1])
    assert cells == [str(len(run.trades)), str(fills["all"]), str(fills["other"])]


def test_daily_data_is_sampled_on_its_days_and_a_year_has_252_of_them(tmp_path: Path) -> None:
    week = [START + day * DAY for day in range(70) if day % 7 not in (2, 3)]  # the first day is a Thursday
    set_manifest(tmp_path, median_gap_ns={"AAPL": DAY})
    write_table(tmp_path / "prices.csv", COLUMNS["prices"], [(1, ts, "AAPL", 100.0) for ts in week])
    equity = [(1, ts, "s", 0.0, 0.0, 0.0, float(k % 3), 0.0, 100.0 + k % 3) for k, ts in enumerate(week)]
    write_table(tmp_path / "equity.csv", COLUMNS["equity"], equity)
    run = load_run(tmp_path)
    sampling = sampling_of(run)
    assert sampling.basis.periods_per_year == 252
    assert sampling.of(run.equity).tolist() == [row[-1] for row in equity]
    assert "252 days a year" in report(tmp_path).text


def test_a_step_too_short_for_a_run_of_years_grows(tmp_path: Path) -> None:
    set_manifest(tmp_path, median_gap_ns={"AAPL": 1})
    ends = [(1, START + k * 10_000 * DAY, "s", 0.0, 0.0, 0.0, 0.0, 0.0, 100.0) for k in (0, 1)]
    write_table(tmp_path / "equity.csv", COLUMNS["equity"], ends)
    assert sampling_of(load_run(tmp_path)).step_ns == 100 * S


def test_a_run_of_any_length_gives_a_small_page(tmp_path: Path) -> None:
    symbols = tuple(f"S{k:02d}" for k in range(60))
    folder = write_run(tmp_path, ticks=30_000, every=2, symbols=symbols)
    run = load_run(folder)
    page = report(folder)
    assert len(run.trades) > 10_000
    assert len(page.source) < 3_000_000
    assert MOST / 2 < len(page.fills) <= MOST
    assert f"of {len(run.trades):,} fills are on this page" in page.text
    assert "20 more symbols in prices.csv" in page.text
    first, last = page.fills[0][0], page.fills[-1][0]
    assert (first, last) == ("1", str(len(run.trades)))


def test_the_arithmetic_of_a_fill_is_worked_from_the_tick_to_the_cash(tmp_path: Path) -> None:
    folder = tmp_path
    set_manifest(folder)
    write_table(
        folder / "prices.csv", COLUMNS["prices"], [(1, START, "AAPL", 200.0), (1, START + 1, "AAPL", 300.0)]
    )
    entry = (1, START, "s", "7.0", "AAPL", "BUY", 10.0, 200.02, 0.10001, 1.0, 50.0, "")
    exit_ = (1, START + 10**9, "s", "9.0", "AAPL", "SELL", 4.0, 299.97, 0.059994, 1.0, 50.0, "")
    write_table(folder / "trades.csv", COLUMNS["trades"], [entry, exit_])
    match = (1, "s", "AAPL", "BUY", 4.0, START, START + 10**9, 200.02, 299.97, 399.8, 399.700002)
    write_table(folder / "matched_trades.csv", COLUMNS["matched_trades"], [match])
    first, second = (dict(map(tuple, lines[1:])) for lines in report(folder).arithmetic.values())
    assert first["Order"] == "7.0: order 0 caused by tape record 7; 50 ms after it at the market"
    assert first["Tick used"] == "200, 2025-01-02 14:30:00 (0 s before the fill)"
    assert first["Price"] == "200 × (1 + 1/10⁴) = 200.02"
    assert first["Slippage"] == "1 bps to the worse side, cost 0.2000 USD"
    assert first["Notional"] == "10 × 200.02 = 2,000.20 USD"
    assert first["Commission"] == "0.5 bps of the notional = 0.1000 USD"
    assert first["Cash"] == "− notional − commission = −2,000.30 USD"
    assert first["Still open"] == "6 of 10, never closed"
    assert second["Price"] == "300 × (1 − 1/10⁴) = 299.97"
    assert second["Cash"] == "+ notional − commission = +1,199.82 USD"
    assert second["Closes"] == (
        "4 long, 200.02 → 299.97, held 1 s\n4 × (299.97 − 200.02) = +399.8000 USD\n"
        "net of both commissions +399.7000 USD"
    )


def test_every_fill_finds_the_very_tick_it_was_filled_against(folder: Path) -> None:
    run = load_run(folder)
    work = Arithmetic(run, run.trades, "USD")
    for fill in run.trades.itertuples(index=False):
        lines = dict(work.lines(fill))
        assert "before the fill" in lines["Tick used"]
        assert f"{COMMISSION} bps of the notional" in lines["Commission"]
        assert "as recorded" not in lines["Commission"]


def test_without_prices_the_reference_is_worked_back_from_the_price(folder: Path, tmp_path: Path) -> None:
    run = load_run(folder)
    expected = {
        (fill.epoch, fill.ts): dict(Arithmetic(run, run.trades, "").lines(fill))["Price"]
        for fill in run.trades.iloc[:20].itertuples(index=False)
    }
    for name in ("trades", "equity"):
        (tmp_path / f"{name}.csv").write_bytes((folder / f"{name}.csv").read_bytes())
    alone = load_run(tmp_path)
    for fill in alone.trades.iloc[:20].itertuples(index=False):
        lines = dict(Arithmetic(alone, alone.trades, "").lines(fill))
        assert lines["Price"] == expected[fill.epoch, fill.ts]
        assert "worked back from the price" in lines["Tick used"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"comparable": False, "why_not": ["gap at seq 5"]}, "No: gap at seq 5."),
        ({"comparable": False}, "the manifest does not say why"),
        ({"gaps": 1, "missed": 40}, "1 gap in the data, 40 records missed."),
        ({"dropped": {"plain client frames": 12}}, "plain client frames 12."),
        ({"waiting_at_end": 2}, "2 orders still waiting when the data ended"),
        ({"size_series": ["AAPL.SIZE"]}, "sum to at most its size: AAPL.SIZE"),
        ({"tape": "not replayable: from seq 9"}, "not replayable: from seq 9."),
        ({"median_gap_ns": {"AAPL": 10 * LATENCY + 1}}, "AAPL: filled at the signal's own price"),
    ],
)
def test_the_assumptions_say_what_the_manifest_says(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    set_manifest(tmp_path, **keys)
    assert said in report(tmp_path).text


def test_ticks_at_most_ten_latencies_apart_are_no_daily_data(tmp_path: Path) -> None:
    set_manifest(tmp_path, median_gap_ns={"AAPL": 10 * LATENCY})
    assert "signal's own price" not in report(tmp_path).text


def test_the_same_orders_at_other_costs_are_a_fan_with_the_run_in_it(folder: Path) -> None:
    def curve(latency: int, cost: int) -> dict[str, Any]:
        ts = [START, START + 10**9, START]  # back: a new epoch
        return {
            "latency_ms": latency,
            "cost_factor": cost,
            "ts": ts,
            "equity": [1.0, 2.0, 1000.0 * latency + cost],
        }

    extra = {
        "latency_ms": [0, 50],
        "cost_factor": [0, 1],
        "curves": [curve(a, b) for a in (0, 50) for b in (0, 1)],
    }
    page = report(folder, extra)
    assert len(re.findall(r'class="fan curve\d', page.source)) == 4
    assert page.source.count('curve3 own"') == 1
    assert '<td tabindex="0" data-curve="3" class=own>50,001.00</td>' in page.source


def test_without_refilled_orders_the_page_says_why_there_is_no_fan(page: Page) -> None:
    assert "Not computed for this page." in page.text


def test_the_command_runs_the_configuration_the_run_kept(folder: Path, tmp_path: Path) -> None:
    assert reproduce(load_run(folder)) == f"python main.py {(folder / 'config.json').resolve()}"
    spaced = tmp_path / "a run"
    spaced.mkdir()
    (spaced / "config.json").write_text(json.dumps(config(("A",))))
    assert reproduce(load_run(spaced)).endswith("a run/config.json'")


def test_a_report_is_written_anew_and_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ticks=60)
    first = write_report(folder).read_text()
    assert write_report(folder).read_text() == first
    assert {path.name for path in folder.iterdir() if "report" in path.name} == {"report.html"}


def test_what_is_no_run_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@EXAMPLES
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-1e6, 1e6)), min_size=1, max_size=400),
    st.integers(1, 40),
)
def test_a_thinned_line_keeps_both_ends_and_every_columns_extremes(
    points: list[tuple[float, float]], columns: int
) -> None:
    x, y = np.array(sorted(point[0] for point in points)), np.array([point[1] for point in points])
    rows = thinned(x, y, columns)
    assert len(rows) <= max(2 * columns + 2, 2)
    assert (rows[0], rows[-1]) == (0, len(x) - 1)
    assert (np.diff(rows) > 0).all()
    column = np.minimum((x * columns).astype(int), columns - 1)
    for k in np.unique(column):
        of_all, of_kept = y[column == k], y[rows[column[rows] == k]]
        assert (of_kept.min(), of_kept.max()) == (of_all.min(), of_all.max())


@EXAMPLES
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2**62)), min_size=1, max_size=50))
def test_epochs_stand_side_by_side(rows: list[tuple[int, int]]) -> None:
    rows.sort()
    table = pd.DataFrame(rows, columns=["epoch", "ts"])
    timeline = Timeline([table.iloc[::2], table.iloc[1::2]])
    x = timeline.x(table)
    assert ((x >= 0) & (x <= 1)).all()
    assert (np.diff(x) >= 0).all()
    new = np.diff(table["epoch"]) > 0
    assert (np.diff(x)[new] > 0).all()
    assert all(0 <= label.x <= 1 for label in timeline.labels())


@EXAMPLES
@given(
    st.integers(0, 2**62),
    st.integers(0, 10).flatmap(lambda k: st.integers(0, 10**k)),
    st.sampled_from([1, S, DAY]),
)
def test_an_axis_of_time_has_few_round_labels_in_order(first: int, length: int, unit: int) -> None:
    ts = [first, min(first + length * unit, 2**62)]
    assume(ts[0] <= ts[1])
    labels = Timeline([pd.DataFrame({"epoch": 1, "ts": ts})]).labels()
    assert len(labels) <= 12
    assert [label.x for label in labels] == sorted(label.x for label in labels)
    assert len({label.text for label in labels}) == len(labels)


@EXAMPLES
@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_the_marks_of_an_axis_lie_within_it_and_read_differently(low: float, length: float) -> None:
    y = axis(low, low + length)
    assert 1 <= len(y.marks) <= 8
    assert all(y.low <= mark <= y.high for mark in y.marks)
    assert len({y.text(mark) for mark in y.marks}) == len(y.marks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (1234567.0, "1,234,567"), (-0.5, "−0.5"), (1e-9, "1e−09"), (np.nan, "–"), (None, "–")],
)
def test_exact_loses_nothing(value: float | None, text: str) -> None:
    assert exact(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "0.00"), (-1234.5, "−1,234.50"), (float("inf"), "–"), (0, "0.00")]
)
def test_numbers_have_no_negative_zero(value: float, text: str) -> None:
    assert number(value) == text
