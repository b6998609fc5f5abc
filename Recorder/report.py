"""report.html: one page that says what a run did, what it rests on, and how to do it again.

    from Recorder.report import write_report

    write_report("runs/20260102-143000-1")

The page is whole by itself: no network, no other file, a few kB of script that only shows and hides. It
holds thinned curves and at most MOST fills, so that a run of any length gives a page one can mail.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

from config import ROOT
from Recorder.report_actions import Asked, done, operator_actions
from Recorder.report_assumptions import Fact, assumptions, comparable, ended, signal_priced
from Recorder.report_charts import Choice, charted, equity_charts, price_charts
from Recorder.report_fills import fills_table, worked
from Recorder.report_metrics import Summary, metrics_tables, summarize
from Recorder.report_reality import what_reality_cost
from Recorder.report_sampling import returns_section, sampling_of
from Recorder.report_text import count, embedded, escape, instant, number, percent, plural, titled
from Recorder.report_timeline import Timeline
from Recorder.report_trades import kept
from Recorder.run_files import Run, load_run

PAGE: Final = "report.html"
HERE: Final = Path(__file__).resolve().parent


def write_report(run_dir: str | Path, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `report.html` into a run's folder and return its path. Raises Recorder.tables.NotARun and OSError.

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
    rows = kept(run.trades, timeline, charted(run)[0])
    sampling = sampling_of(run)
    actions = operator_actions(run)
    return _template("report.html").substitute(
        title=escape(run.run_id),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        head=_head(run),
        warnings=_warnings(run),
        tiles=_tiles(run, summarize(total, sampling), money),
        equity=_choices("strategy", equity_charts(run, total, timeline, money)),
        metrics=_choices("epoch", [Choice(*each) for each in metrics_tables(run, total, sampling, money)]),
        assumptions=_facts(assumptions(run, money, actions)),
        prices=_choices("symbol", price_charts(run, timeline, rows)),
        fills=fills_table(run, rows, money),
        returns=returns_section(total, sampling),
        reality=what_reality_cost(run, extra, money, actions),
        command=escape(reproduce(run, actions)),
        worked=embedded(worked(run, rows, currency(run))),
    )


def currency(run: Run) -> str:
    """The one currency of the run's symbols; without a configuration none is claimed."""
    symbols = run.config.get("symbols") or ()
    found = {str(run.settings("instruments", symbol).get("currency", "USD")) for symbol in symbols}
    if len(found) > 1:
        return "(currencies not converted)"
    return found.pop() if found else ""


def reproduce(run: Run, actions: Sequence[Asked] = ()) -> str:
    """The command that does the run again, from the project's folder; what it leaves out, beside it."""
    config = (run.path / "config.json").resolve()
    if not config.exists():
        return "# this run kept no config.json"
    where = config.relative_to(ROOT) if config.is_relative_to(ROOT) else config
    command = f"python main.py {shlex.quote(str(where))}"
    if not (made := done(actions)):
        return command
    return "\n".join(
        (
            command,
            f"# That leaves out what an operator did ({plural(len(made), 'action')}), and so does sim run.",
            "# With it, but without orders by hand, over the recorded tape:",
            f"sim replay {shlex.quote(str(where.parent))}",
        )
    )


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
    tiles = [
        (titled("Final equity", money), number(summary.final), f"from {number(summary.initial)}"),
        (titled("Net result", money), number(result, sign=True), percent(summary.growth, 3, sign=True)),
        ("Max drawdown", percent(summary.drawdown, 3), "of the peak before it, whole run"),
        ("Sharpe, a year", summary.sharpe, summary.sharpe_basis),
        ("Fills", count(len(run.trades)), f"{plural(len(run.matched_trades), 'trade')} (FIFO matches)"),
        (titled("Commission", money), number(summary.commission), "paid, in the net result"),
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
