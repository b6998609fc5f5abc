"""report.html: one page that says what a run did, what it rests on, and how to do it again.

    from Recorder.report import write_report

    write_report("runs/20260102-143000-1")

The page is whole by itself: no network, no other file, a few kB of script that only shows and hides. It
holds thinned curves and at most MOST fills, so that a run of any length gives a page one can mail.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from config import ROOT
from Recorder.report_assumptions import Fact, assumptions, comparable, ended, signal_priced
from Recorder.report_metrics import Summary, metrics_tables, summarize
from Recorder.report_reality import what_reality_cost
from Recorder.report_sampling import returns_section, sampling_of
from Recorder.report_svg import Axis, Line, axis, chart, marker
from Recorder.report_text import count, embedded, escape, exact, instant, number, percent, plural, titled
from Recorder.report_timeline import Ints, Timeline
from Recorder.report_trades import Arithmetic, kept
from Recorder.run_files import Run, load_run
from trading_lib.models import Side

PAGE: Final = "report.html"
HERE: Final = Path(__file__).resolve().parent
CURVE_COLUMNS: Final = 800  # of a chart at most …
EQUITY_COLUMNS: Final = 4000  # … of all equity charts together, shared evenly …
PRICE_COLUMNS: Final = 8000  # … and of all price charts
MOST_SYMBOLS: Final = 40  # with a price chart: those traded most, then those that moved most often
MOST_STRATEGIES: Final = 12  # with a curve of their own

FILL_COLUMNS: Final = (
    *("#", "epoch", "time (UTC)", "strategy", "order", "symbol", "side", "quantity", "price"),
    *("commission", "slippage, bps", "latency, ms", "tag"),
)
NUMERIC: Final = frozenset({"quantity", "price", "commission", "slippage, bps", "latency, ms"})


class Choice(NamedTuple):
    """One of several views of which a selector shows one; `name` is HTML."""

    name: str
    body: str


def write_report(run_dir: str | Path, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `report.html` into a run's folder and return its path. Raises Recorder.run_files.NotARun.

    `extra` is the orders filled again at other latencies and costs (Recorder.report_reality), if there is one.
    """
    run = load_run(run_dir)
    path = run.path / PAGE
    unfinished = path.with_suffix(".html.new")
    unfinished.write_text(page(run, extra), encoding="utf-8")
    unfinished.replace(path)
    return path


def page(run: Run, extra: Mapping[str, Any] | None = None) -> str:
    """The whole page."""
    money = escape(currency(run))
    total = run.total_equity()
    timeline = Timeline((run.equity, run.prices, run.trades))
    rows = kept(run.trades, timeline)
    sampling = sampling_of(run)
    return _template("report.html").substitute(
        title=escape(run.run_id),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        head=_head(run),
        warnings=_warnings(run),
        tiles=_tiles(run, summarize(total, sampling), money),
        equity=_choices("strategy", _equity(run, total, timeline, money)),
        metrics=_choices("epoch", [Choice(*each) for each in metrics_tables(run, total, sampling, money)]),
        assumptions=_facts(assumptions(run, money)),
        prices=_choices("symbol", _prices(run, timeline, rows)),
        fills=_fills(run, rows, money),
        returns=returns_section(total, sampling),
        reality=what_reality_cost(run, extra, money),
        command=escape(reproduce(run)),
        worked=embedded(_worked(run, rows)),
    )


def currency(run: Run) -> str:
    """The one currency of the run's symbols; without a configuration none is claimed."""
    symbols = run.config.get("symbols") or ()
    found = {str(run.settings("instruments", symbol).get("currency", "USD")) for symbol in symbols}
    if len(found) > 1:
        return "(currencies not converted)"
    return found.pop() if found else ""


def reproduce(run: Run) -> str:
    """The command that does the run again, from the project's folder."""
    config = (run.path / "config.json").resolve()
    if not config.exists():
        return "# this run kept no config.json"
    where = config.relative_to(ROOT) if config.is_relative_to(ROOT) else config
    return f"python main.py {shlex.quote(str(where))}"


def _template(name: str) -> Template:
    return Template((HERE / name).read_text(encoding="utf-8"))


def _head(run: Run) -> str:
    started, stopped = run.manifest.get("started"), run.manifest.get("ended")
    when = f"{escape(started or 'start not recorded')} to {escape(stopped or 'no recorded end')} (wall clock)"
    spans = [table["ts"] for table in (run.prices, run.equity, run.trades) if len(table)]
    if spans:
        first, last = min(int(ts.min()) for ts in spans), max(int(ts.max()) for ts in spans)
        when += f"<br>{instant(first)} to {instant(last)} UTC (event time)"
    names = ", ".join(map(escape, run.strategies)) or "no strategy traded"
    return f'<p class="muted">{when}<br>{names}</p>'


def _warnings(run: Run) -> str:
    """What a reader must know before the first number."""
    facts = [fact for fact in (comparable(run.manifest), *ended(run)) if fact.warns]
    if rare := signal_priced(run):
        names = ", ".join(map(escape, rare[:3])) + (" …" if len(rare) > 3 else "")
        facts.append(Fact("Filled at the signal's own price", f"{names}: see Assumptions.", warns=True))
    return _facts(facts) if facts else ""


def _facts(facts: Sequence[Fact]) -> str:
    lines = (
        f"<dt{' class=warns' if fact.warns else ''}>{fact.name}</dt><dd>{fact.text}</dd>" for fact in facts
    )
    return f'<dl class="facts">{"".join(lines)}</dl>'


def _tiles(run: Run, summary: Summary, money: str) -> str:
    """The first numbers, each with its unit and what it stands on."""
    known = run.manifest.get("comparable")
    same = "yes" if known is True else "no" if known is False else "not recorded"
    result = None if summary.final is None or summary.initial is None else summary.final - summary.initial
    unit = money and f"<i>{money}</i>"
    tiles = [
        ("Final equity", number(summary.final, 2, unit), f"from {number(summary.initial)}"),
        ("Net result", number(result, 2, unit, sign=True), percent(summary.growth, 3, sign=True)),
        ("Max drawdown", percent(summary.drawdown, 3), "of the peak before it, whole run"),
        ("Sharpe, a year", summary.sharpe, summary.sharpe_basis),
        ("Fills", count(len(run.trades)), f"{plural(len(run.matched_trades), 'trade')} (FIFO matches)"),
        ("Commission", number(summary.commission, 2, unit), "paid, in the net result"),
        ("Comparable", same, "live equals evaluation"),
    ]
    final = "" if summary.final is None else f' data-value="{summary.final!r}"'
    texts = (f"<span>{name}</span><b>{value}</b><small>{note}</small>" for name, value, note in tiles)
    boxes = "".join(f'<div class="tile">{text}</div>' for text in texts)
    return f'<section class="tiles" aria-label="Summary"{final}>{boxes}</section>'


def _choices(what: str, choices: Sequence[Choice]) -> str:
    """The views, the first one shown; a selector when there are several."""
    if not choices:
        return '<p class="muted">Nothing recorded.</p>'
    views = "".join(
        f'<div class="view"{" hidden" if k else ""}>{choice.body}</div>' for k, choice in enumerate(choices)
    )
    if len(choices) == 1:
        return f'<div class="views">{views}</div>'
    options = "".join(f'<option value="{k}">{choice.name}</option>' for k, choice in enumerate(choices))
    return f'<div class="views"><label class="pick">{what} <select>{options}</select></label>{views}</div>'


def _equity(run: Run, total: pd.DataFrame, timeline: Timeline, money: str) -> list[Choice]:
    """Equity over drawdown, for the total and for each strategy."""
    if not len(total):
        return []
    names = run.strategies
    if len(names) == 1:
        return [Choice(escape(names[0]), _curve(total, timeline, CURVE_COLUMNS, money))]
    accounts = [(f"all {len(names)} together", total)]
    own = run.equity.groupby("strategy_id", sort=True)
    accounts += [(escape(name), account) for name, account in list(own)[:MOST_STRATEGIES]]
    columns = min(EQUITY_COLUMNS // len(accounts), CURVE_COLUMNS)
    return [Choice(name, _curve(account, timeline, columns, money)) for name, account in accounts]


def _curve(table: pd.DataFrame, timeline: Timeline, columns: int, money: str) -> str:
    epoch, ts = table["epoch"].to_numpy(np.int64), table["ts"].to_numpy(np.int64)
    equity = table["equity"].to_numpy(np.float64)
    peak = np.maximum.accumulate(equity)
    fall = np.divide(equity - peak, peak, out=np.zeros_like(equity), where=peak > 0)
    above = axis(float(equity.min()), float(equity.max()), money)
    below = axis(float(fall.min()), 0.0, "%", 100.0, marks=2)
    return (
        f"<h3>{titled('Equity', money)}</h3>"
        + chart(timeline, above, [Line(epoch, ts, equity)], columns, name="Equity")
        + "<h3>Drawdown, % of the peak before it</h3>"
        + chart(
            timeline,
            below,
            [Line(epoch, ts, fall)],
            columns,
            name="Drawdown",
            digits=3,
            low=True,
            area=True,
        )
    )


def _prices(run: Run, timeline: Timeline, rows: Ints) -> list[Choice]:
    """A price chart with its fills for each symbol, those traded most first."""
    traded = run.trades["symbol"].value_counts()
    ticks = run.prices["symbol"].value_counts()
    symbols = sorted(
        set(ticks.index) | set(traded.index), key=lambda s: (-traded.get(s, 0), -ticks.get(s, 0), s)
    )
    shown = symbols[:MOST_SYMBOLS]
    columns = min(PRICE_COLUMNS // max(len(shown), 1), CURVE_COLUMNS)
    fills = run.trades.iloc[rows].assign(row=rows)
    own_prices = dict(list(run.prices.groupby("symbol", sort=False)))
    choices = []
    for symbol in shown:
        prices = own_prices.get(symbol, run.prices.iloc[:0])
        own = fills[fills["symbol"] == symbol]
        body = _price_chart(prices, own, timeline, columns, symbol)
        name = f"{escape(symbol)} ({plural(int(traded.get(symbol, 0)), 'fill')})"
        choices.append(Choice(name, body + _left_out(symbols, len(own), int(traded.get(symbol, 0)))))
    return choices


def _left_out(symbols: Sequence[str], marked: int, fills: int) -> str:
    """What the chart does not hold."""
    notes = []
    if marked < fills:
        notes.append(f"{count(marked)} of {count(fills)} fills are marked.")
    if len(symbols) > MOST_SYMBOLS:
        notes.append(f"{count(len(symbols) - MOST_SYMBOLS)} more symbols are in prices.csv.")
    return f'<p class="muted">{" ".join(notes)}</p>' if notes else ""


def _price_chart(
    prices: pd.DataFrame, fills: pd.DataFrame, timeline: Timeline, columns: int, symbol: str
) -> str:
    price = prices["price"].to_numpy(np.float64)
    both = np.concatenate((price, fills["price"].to_numpy(np.float64)))
    both = both[np.isfinite(both)]
    y = axis(float(both.min()), float(both.max())) if len(both) else Axis(0.0, 1.0, (), 0)
    line = Line(prices["epoch"].to_numpy(np.int64), prices["ts"].to_numpy(np.int64), price, "line price")
    xs = timeline.x(fills)
    ys = y.y(fills["price"].to_numpy(np.float64))
    rows: Iterable[Any] = fills.itertuples(index=False)
    marks = "".join(
        marker(px, py, fill.row, fill.side == Side.BUY, escape(_headline(fill.row, fill)))
        for px, py, fill in zip(xs.tolist(), ys.tolist(), rows, strict=True)
    )
    over = f'<g class="marks">{marks}</g>'
    return chart(timeline, y, [line], columns, name=f"Price of {symbol}", over=over, digits=8)


def _fills(run: Run, rows: Ints, money: str) -> str:
    """The table of fills: each row's first cell is a button that opens its arithmetic."""
    trades = run.trades
    if not len(trades):
        return '<p class="muted">Not a single fill.</p>'
    note = ""
    if len(rows) < len(trades):
        note = (
            f"{count(len(rows))} of {count(len(trades))} fills are on this page: the first, the last, "
            "and some of every stretch between. All are in trades.csv."
        )
    many = trades["epoch"].nunique() > 1
    head = "".join(_heading(name, money) for name in FILL_COLUMNS)
    body = "".join(
        _fill_row(row, fill)
        for row, fill in zip(rows, trades.iloc[rows].itertuples(index=False), strict=True)
    )
    return (
        f'<p class="muted">{note} Choose a fill for its arithmetic: Enter opens it, ↑ and ↓ go on.</p>'
        f'<div class="scroll tall"><table id="fills"{"" if many else " class=one-epoch"}>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(name: str, money: str) -> str:
    text = titled(name, money) if name == "commission" else name
    return f'<th scope="col"{" class=n" if name in NUMERIC else ""}>{text}</th>'


def _fill_row(row: int, fill: Any) -> str:
    side = "buy" if fill.side == Side.BUY else "sell"
    cells: list[tuple[str, str]] = [
        ("", str(fill.epoch)),
        ("", instant(fill.ts)),
        ("", escape(fill.strategy_id)),
        ("", escape(fill.client_order_id)),
        ("", escape(fill.symbol)),
        (side, escape(fill.side)),
        ("n", exact(fill.qty)),
        ("n", exact(fill.price)),
        ("n", number(fill.commission, 4)),
        ("n", exact(fill.slippage_bps)),
        ("n", exact(fill.latency_ms)),
        ("", escape(fill.tag)),
    ]
    texts = "".join(f"<td class={css}>{text}</td>" if css else f"<td>{text}</td>" for css, text in cells)
    return f'<tr data-fill="{row}"><td><button type="button">{row + 1}</button></td>{texts}</tr>'


def _headline(row: int, fill: Any) -> str:
    return f"#{row + 1} {fill.side} {exact(fill.qty)} {fill.symbol} @ {exact(fill.price)}"


def _worked(run: Run, rows: Ints) -> dict[str, Any]:
    """Per fill on the page: its headline and its arithmetic, as plain text."""
    fills = run.trades.iloc[rows]
    work = Arithmetic(run, fills, currency(run))
    return {
        str(row): [
            _headline(row, fill),
            *work.lines(fill),
        ]
        for row, fill in zip(rows, fills.itertuples(index=False), strict=True)
    }
