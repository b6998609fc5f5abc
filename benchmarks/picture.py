"""The picture: how late an order is, percentile by percentile, ours and pyzmq's, one panel a rate."""

from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt  # after the backend is chosen
from matplotlib.lines import Line2D

from benchmarks.pipeline import COMPILED, PIPELINES, PURE, PYZMQ, PYZMQ_BARE, RATES, RUNG, TUNED, merged, of
from benchmarks.results import TOTAL, Results
from trading_lib.histogram import Histogram

COLOURS: Final = {
    COMPILED: "#1b6ca8",
    RUNG: "#8e6bbf",
    TUNED: "#2e8b57",
    PURE: "#7fb3d5",
    PYZMQ: "#c0392b",
    PYZMQ_BARE: "#e59866",
}
LABELS: Final = {
    COMPILED: "algosim",
    RUNG: "algosim, not awake early",
    TUNED: "algosim, pinned and kept awake",
    PURE: "algosim, plain Python",
    PYZMQ: "pyzmq, the same work",
    PYZMQ_BARE: "pyzmq, messages only",
}
TICKS: Final = (1, 2, 10, 100, 1000)  # one in so many is slower: the axis, and what it says there
TICK_LABELS: Final = ("0", "50", "90", "99", "99.9")


def draw(found: Results, path: Path) -> None:
    """Write the picture."""
    figure, panels = plt.subplots(1, len(RATES), figsize=(12, 4), sharey=True, layout="constrained")
    for panel, rate in zip(panels, RATES, strict=True):
        for pipeline in PIPELINES:
            histogram = merged(of(found.cases, pipeline, rate), TOTAL)
            if histogram.total:
                panel.step(*curve(histogram), where="pre", color=COLOURS[pipeline], lw=1.6)
        panel.set(xscale="log", yscale="log", title=f"{rate:,} ticks/s", xlim=(1, 2000), xlabel="percentile")
        panel.set_xticks(TICKS, TICK_LABELS)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("tick due → order received, µs")
    lines = [Line2D([], [], color=COLOURS[pipeline], label=LABELS[pipeline]) for pipeline in PIPELINES]
    panels[0].legend(handles=lines, frameon=False, loc="upper left")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def curve(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Points (one in x orders is slower than y µs)."""
    xs: list[float] = []
    ys: list[float] = []
    seen = 0
    for edge, count in histogram.buckets():
        seen += count
        xs.append(histogram.total / max(histogram.total - seen, 0.5))
        ys.append(edge / 1000)
    return xs, ys
