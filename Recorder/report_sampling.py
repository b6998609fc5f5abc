"""How equity becomes returns: at which instants it is looked at, and how many of those make a year.

A fixed grid of event time, 1 s or the longest of the symbols' median gaps if that is longer, the last value
carried. Daily data is looked at once a day, on the days that have a price: weekends are no returns of zero.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from Recorder.report_svg import bars
from Recorder.report_text import NS_PER_S, duration, number, plural
from Recorder.report_timeline import Floats, Ints
from Recorder.run_files import Run
from trading_lib.metrics import DAY_NS, MAX_GRID, Basis, Undefined, grid_step, resample, returns, year_basis

BINS: Final = 41
OUTSIDE: Final = 0.995  # the quantile of |return| at which the histogram ends
ROUND_THE_CLOCK: Final = 0.95  # of all days having a price: the market knows no weekends
FEWEST: Final = 2  # returns that make a histogram


class Sampling(NamedTuple):
    """`days` are the UTC days with a price, by epoch: only for daily data. `text` says it for the report."""

    step_ns: int
    days: dict[int, Ints] | None
    basis: Basis
    text: str

    def of(self, account: pd.DataFrame) -> Floats:
        """One epoch's equity at the instants."""
        ts: Ints = account["ts"].to_numpy(np.int64)
        equity: Floats = account["equity"].to_numpy(np.float64)
        if self.days is not None:
            ends = (self.days.get(int(account["epoch"].iloc[0]), ts[:0]) + 1) * DAY_NS - 1
            ends = ends[ends >= ts[0]]
            at_the_end: Floats = equity[np.searchsorted(ts, ends, side="right") - 1]
            return at_the_end
        return resample(ts, equity, self.step_ns)[1]


def sampling_of(run: Run) -> Sampling:
    """What suits the run's data."""
    step = _step(run)
    if DAY_NS <= step < 2 * DAY_NS and len(run.prices):
        days = {
            int(str(epoch)): np.unique(own["ts"].to_numpy(np.int64) // DAY_NS)
            for epoch, own in run.prices.groupby("epoch")
        }
        seen = sum(len(own) for own in days.values())
        spanned = sum(int(own[-1] - own[0]) + 1 for own in days.values())
        weekends = seen < ROUND_THE_CLOCK * spanned
        basis = year_basis(DAY_NS, sessions=weekends)
        return Sampling(DAY_NS, days, basis, "once a day (UTC), on the days with a price")
    while _longest(run) // step >= MAX_GRID:  # what is not data of seconds may be given less than them
        step *= 10
    return Sampling(
        step,
        None,
        year_basis(step, sessions=_within_a_session(run)),
        f"on a grid of {duration(step / NS_PER_S)}, last value carried",
    )


def returns_section(account: pd.DataFrame, sampling: Sampling) -> str:
    """The histogram of returns of equity, without the intervals in which it did not move."""
    pieces = []
    for _, own in account.groupby("epoch", sort=True):
        try:
            pieces.append(returns(sampling.of(own)))
        except Undefined:  # an epoch of a single instant has none
            continue
    found = np.concatenate(pieces) if pieces else np.empty(0)
    bps = found[found != 0] * 1e4
    if len(bps) < FEWEST:
        return '<p class="muted">Equity hardly moved: fewer than two returns to count.</p>'
    reach = float(np.quantile(np.abs(bps), OUTSIDE))
    edges = np.linspace(-reach, reach, BINS + 1)
    counts, _ = np.histogram(np.clip(bps, -reach, reach), edges)
    note = (
        f"Simple returns of equity {sampling.text}, in basis points: {plural(len(bps), 'interval')} of "
        f"{plural(len(found), 'interval')}, in the others it did not move. The outermost bars also hold what lies "
        f"beyond ±{number(reach)} bps. Mean {number(float(bps.mean()), 4)} bps, "
        f"lowest {number(float(bps.min()), 3)}, highest {number(float(bps.max()), 3)} bps."
    )
    return (
        bars(edges.tolist(), counts.tolist(), "bps", "Histogram of returns") + f'<p class="muted">{note}</p>'
    )


def _step(run: Run) -> int:
    """By the manifest's median gaps, else by the prices."""
    gaps = run.manifest.get("median_gap_ns")
    if isinstance(gaps, dict) and gaps:
        return max([NS_PER_S, *(int(gap) for gap in gaps.values() if gap)])
    return grid_step(own["ts"].to_numpy(np.int64) for _, own in run.prices.groupby(["epoch", "symbol"]))


def _within_a_session(run: Run) -> bool:
    """Whether a year's seconds are those of its sessions: the grid has no nights in it.

    Over several days it has, and then a year of all its seconds is the one that fits.
    """
    symbols = run.config.get("symbols") or ()
    if not symbols or not all(run.settings("instruments", symbol).get("session") for symbol in symbols):
        return False
    return _longest(run) < DAY_NS


def _longest(run: Run) -> int:
    """The length of the longest epoch, ns."""
    spans = run.equity.groupby("epoch")["ts"].agg(["min", "max"])
    return int((spans["max"] - spans["min"]).max()) if len(spans) else 0
