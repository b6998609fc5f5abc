"""The metrics of a run, per epoch, for all strategies together and for each; and its returns.

What is undefined is "–" with the reason beside it. Formulas and conventions are those of
`trading_lib.metrics`.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_svg import bars
from Recorder.report_text import NS_PER_S, UNDEFINED, count, duration, number
from Recorder.report_timeline import Floats
from Recorder.run_files import Run

BINS: Final = 41
MOST_EPOCHS: Final = 20  # with a table of metrics
MOST_POINTS: Final = 10_000_000  # of a grid
BASE_STEP: Final = NS_PER_S


class Summary(NamedTuple):
    """The whole run in a few numbers; None or "–" where it has none. `returns` are those of the grid."""

    final: float | None
    result: float | None
    growth: float | None
    drawdown: float | None
    commission: float | None
    sharpe: str
    sharpe_basis: str
    basis: str
    returns: Floats
    step_ns: int


def summarize(run: Run, total: pd.DataFrame) -> Summary:
    """The whole run, over all epochs and strategies."""
    step = grid_step(run)
    if not len(total):
        nothing = np.empty(0)
        return Summary(
            None, None, None, None, None, UNDEFINED, "no equity recorded", "no equity recorded", nothing, step
        )
    equity = total["equity"].to_numpy(np.float64)
    end = total.iloc[-1]
    initial = float(end["equity"] - end["realized"] - end["unrealized"] + end["commission"])
    peak = np.maximum.accumulate(np.concatenate(([initial], equity)))
    drawdown = float(((peak[1:] - equity) / peak[1:]).max()) if (peak > 0).all() else None
    final = float(equity[-1])
    return Summary(
        final,
        final - initial,
        (final - initial) / initial if initial else None,
        drawdown,
        float(end["commission"]),
        UNDEFINED,
        "",
        f"from {number(initial)} initial cash",
        returns_of(total, step),
        step,
    )


def grid_step(run: Run) -> int:
    """1 s, or the longest of the symbols' median gaps if that is longer (ns)."""
    gaps = run.manifest.get("median_gap_ns")
    known = [int(gap) for gap in gaps.values() if gap] if isinstance(gaps, dict) else []
    return max([BASE_STEP, *known])


def returns_of(total: pd.DataFrame, step: int) -> Floats:
    """Simple returns of equity on a fixed grid, epoch by epoch, last value carried."""
    pieces = []
    for _, own in total.groupby("epoch", sort=True):
        ts, equity = own["ts"].to_numpy(np.int64), own["equity"].to_numpy(np.float64)
        points = (int(ts[-1]) - int(ts[0])) // step + 1
        if points > MOST_POINTS:
            return np.empty(0)
        grid = ts[0] + np.arange(points, dtype=np.int64) * step
        sampled = equity[np.searchsorted(ts, grid, side="right") - 1]
        if (sampled > 0).all():
            pieces.append(np.diff(sampled) / sampled[:-1])
    return np.concatenate(pieces) if pieces else np.empty(0)


def returns_section(summary: Summary) -> str:
    """The histogram of returns, without the intervals in which nothing moved."""
    moved = summary.returns[summary.returns != 0]
    grid = duration(summary.step_ns / NS_PER_S)
    if len(moved) < 2:
        return f'<p class="muted">Equity moved in fewer than two intervals of {grid}: nothing to count.</p>'
    bps = moved * 1e4
    reach = float(np.quantile(np.abs(bps), 0.995)) or float(np.abs(bps).max())
    edges = np.linspace(-reach, reach, BINS + 1)
    counts, _ = np.histogram(np.clip(bps, -reach, reach), edges)
    note = (
        f"Simple returns of total equity on a grid of {grid}, in basis points: {count(len(moved))} of "
        f"{count(len(summary.returns))} intervals; in the others it did not move. The outermost bars hold what "
        f"lies beyond ±{number(reach)} bps. Mean {number(float(bps.mean()), 4)} bps, "
        f"lowest {number(float(bps.min()), 3)}, highest {number(float(bps.max()), 3)} bps."
    )
    return (
        bars(edges.tolist(), counts.tolist(), "bps", "Histogram of returns") + f'<p class="muted">{note}</p>'
    )


def metrics_tables(_run: Run, _total: pd.DataFrame, _money: str) -> list[tuple[str, str]]:
    """(name of the epoch, table) for each epoch."""
    return []
