"""The report's table of fills; each row's first cell is a button that opens its arithmetic."""

from typing import Any, Final

from Recorder.report_text import count, escape, exact, instant, number, titled
from Recorder.report_timeline import Ints
from Recorder.report_trades import Arithmetic
from Recorder.run_files import Run
from trading_lib.models import Side

FILL_COLUMNS: Final = (
    *("#", "epoch", "time (UTC)", "strategy", "order", "symbol", "side", "quantity", "price"),
    *("commission", "slippage, bps", "latency, ms", "tag"),
)
NUMERIC: Final = frozenset({"quantity", "price", "commission", "slippage, bps", "latency, ms"})


def fills_table(run: Run, rows: Ints, money: str) -> str:
    """The rows of `trades` that are on the page."""
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


def headline(row: int, fill: Any) -> str:
    """A fill in one line, as plain text."""
    return f"#{row + 1} {fill.side} {exact(fill.qty)} {fill.symbol} @ {exact(fill.price)}"


def worked(run: Run, rows: Ints, money: str) -> dict[str, Any]:
    """Per fill on the page: its headline and its arithmetic, as plain text."""
    fills = run.trades.iloc[rows]
    work = Arithmetic(run, fills, money)
    return {
        str(row): [headline(row, fill), *work.lines(fill)]
        for row, fill in zip(rows, fills.itertuples(index=False), strict=True)
    }
