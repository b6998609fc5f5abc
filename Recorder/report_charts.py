"""The report's charts over event time: equity, drawdown, prices with their fills."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_fills import headline
from Recorder.report_svg import Axis, Line, axis, chart, marker
from Recorder.report_text import count, escape, plural, titled
from Recorder.report_timeline import Ints, Timeline
from Recorder.run_files import Run, initial_cash
from trading_lib.models import Side

CURVE_COLUMNS: Final = 800  # of a chart at most …
EQUITY_COLUMNS: Final = 4000  # … of all equity charts together, shared evenly …
PRICE_COLUMNS: Final = 8000  # … and of all price charts
MOST_SYMBOLS: Final = 40  # with a price chart: those traded most, then those that moved most often
MOST_STRATEGIES: Final = 12  # with a curve of their own


class Choice(NamedTuple):
    """One of several views of which a selector shows one; `name` is HTML."""

    name: str
    body: str


def equity_charts(run: Run, total: pd.DataFrame, timeline: Timeline, money: str) -> list[Choice]:
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
    peak = np.maximum.accumulate(np.concatenate(([initial_cash(table)], equity)))[1:]
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


def charted(run: Run) -> tuple[list[str], int]:
    """The symbols that get a chart, those traded most first, and how many do not."""
    traded = run.trades["symbol"].value_counts()
    ticks = run.prices["symbol"].value_counts()
    symbols = sorted(
        set(ticks.index) | set(traded.index), key=lambda s: (-traded.get(s, 0), -ticks.get(s, 0), s)
    )
    return symbols[:MOST_SYMBOLS], max(len(symbols) - MOST_SYMBOLS, 0)


def price_charts(run: Run, timeline: Timeline, rows: Ints) -> list[Choice]:
    """A price chart with its fills for each symbol, those traded most first."""
    shown, others = charted(run)
    traded = run.trades["symbol"].value_counts()
    columns = min(PRICE_COLUMNS // max(len(shown), 1), CURVE_COLUMNS)
    fills = run.trades.iloc[rows].assign(row=rows)
    own_prices = dict(list(run.prices.groupby("symbol", sort=False)))
    choices = []
    for symbol in shown:
        prices = own_prices.get(symbol, run.prices.iloc[:0])
        own = fills[fills["symbol"] == symbol]
        body = _price_chart(prices, own, timeline, columns, symbol)
        name = f"{escape(symbol)} ({plural(int(traded.get(symbol, 0)), 'fill')})"
        choices.append(Choice(name, body + _left_out(len(own), int(traded.get(symbol, 0)), others)))
    return choices


def _left_out(marked: int, fills: int, others: int) -> str:
    """What the chart does not hold."""
    notes = []
    if marked < fills:
        notes.append(f"{count(marked)} of {count(fills)} fills are marked.")
    if others:
        notes.append(f"{plural(others, 'more symbol')} in prices.csv.")
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
        marker(px, py, fill.row, fill.side == Side.BUY, escape(headline(fill.row, fill)))
        for px, py, fill in zip(xs.tolist(), ys.tolist(), rows, strict=True)
    )
    over = f'<g class="marks">{marks}</g>'
    return chart(timeline, y, [line], columns, name=f"Price of {symbol}", over=over, digits=8)
