"""Charts as inline SVG that needs nothing from anywhere.

A chart fills whatever room it is given: lines live in a stretched 1000 × 1000 square with strokes that do not
stretch, labels and marks are placed in per cent. `report.js` reads a line's own points for its readout.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from Recorder.report_text import embedded, escape, number
from Recorder.report_timeline import Floats, Ints, Timeline, thinned

SIDE: Final = 1000  # of the square a line is drawn in
MS: Final = 1_000_000
BORDERS: Final = 60  # more epochs than this are not separated by lines


class Axis(NamedTuple):
    """The y axis: what stands at its bottom and top, and its marks.

    What is printed is value × `scale`; the unit belongs into the chart's heading and stands in its readout.
    """

    low: float
    high: float
    marks: tuple[float, ...]
    digits: int
    unit: str = ""
    scale: float = 1.0

    def y(self, values: Floats) -> Floats:
        """From the top, 0 to 1."""
        return (self.high - values) / (self.high - self.low)

    def text(self, value: float) -> str:
        """As printed beside a mark."""
        return number(value * self.scale, self.digits)


class Line(NamedTuple):
    """A line of points (epoch, ts, y), all finite."""

    epoch: Ints
    ts: Ints
    y: Floats
    style: str = "line"


def axis(low: float, high: float, unit: str = "", scale: float = 1.0, marks: int = 4) -> Axis:
    """Round marks for [low, high], printed as value × scale in `unit`. A flat line gets some room."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        room = abs(high) * 0.001 or 1.0 / scale
        low, high = low - room, high + room
    pad = (high - low) * 0.04
    step, digits = _step((high - low) * scale / marks)
    step /= scale
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low - pad, high + pad, tuple(k * step for k in range(first, last + 1)), digits, unit, scale)


def chart(
    timeline: Timeline,
    y: Axis,
    lines: Sequence[Line],
    columns: int,
    *,
    name: str,
    over: str = "",
    digits: int = 2,
    low: bool = False,
    area: bool = False,
) -> str:
    """Lines over event time, thinned to `columns`. The first one has a readout, of at most `digits` decimals.

    `name` is for who cannot see it, `over` SVG drawn on top; `low` makes it half as high, `area` fills
    between the first line and zero.
    """
    drawn = [_line(timeline, y, line, columns) for line in lines]
    filled = f'<path class="area" d="{_filled(drawn[0].path, y)}"/>' if area and drawn[0].path else ""
    paths = "".join(f'<path class="{escape(d.style)}" d="{d.path}"/>' for d in drawn if d.path)
    readout = next((d.points for d in drawn if d.points), "")
    empty = "" if paths else '<text class="empty" x="50%" y="50%">nothing to draw</text>'
    return (
        f'<div class="chart{" low" if low else ""}" data-digits="{digits}" '
        f'data-scale="{y.scale!r}" data-unit="{escape(y.unit)}">'
        f'<svg role="img" aria-label="{escape(name)}">{_grid(timeline, y)}'
        f'<svg viewBox="0 0 {SIDE} {SIDE}" preserveAspectRatio="none" width="100%" height="100%">'
        f"{filled}{paths}</svg>{over}{empty}</svg>{readout}</div>"
    )


def marker(x: float, y: float, index: int, buy: bool, what: str) -> str:
    """A fill on a chart, at shares of its room; `index` is the fill's row, `what` what it says."""
    return (
        f'<use href="#{"buy" if buy else "sell"}" x="{x * 100:.2f}%" y="{y * 100:.2f}%" '
        f'data-fill="{index}"><title>{what}</title></use>'
    )


def bars(edges: Sequence[float], counts: Sequence[int], unit: str, name: str) -> str:
    """A histogram; bars wholly below zero are drawn as losses."""
    most = max(counts)
    up = axis(0.0, float(most))._replace(low=0.0)
    low, high = edges[0], edges[-1]
    across = axis(low, high, unit, marks=6)
    parts = [_horizontal(up)]
    for left, right, n in zip(edges[:-1], edges[1:], counts, strict=True):
        x, width = (left - low) / (high - low), (right - left) / (high - low)
        height = n / up.high
        side = "loss" if right <= 0 else "gain"
        label = f"{number(left, across.digits + 1)} to {number(right, across.digits + 1, unit)}: {n:,}"
        parts.append(
            f'<rect class="{side}" x="{x * 100:.3f}%" y="{(1 - height) * 100:.3f}%" width="{width * 92:.3f}%" '
            f'height="{height * 100:.3f}%"><title>{label}</title></rect>'
        )
    for mark in across.marks:
        if low <= mark <= high:
            parts.append(_below((mark - low) / (high - low), f"{across.text(mark)} {unit}"))
    return f'<div class="chart"><svg role="img" aria-label="{escape(name)}">{"".join(parts)}</svg></div>'


class _Drawn(NamedTuple):
    style: str
    path: str
    points: str  # a script element with instants and values of the path's points


def _line(timeline: Timeline, y: Axis, line: Line, columns: int) -> _Drawn:
    x = timeline.place(line.epoch, line.ts)
    order = np.argsort(x, kind="stable")  # late rows of a file, if any
    rows = order[thinned(x[order], line.y[order], columns)]
    epoch, ts, values, x = line.epoch[rows], line.ts[rows], line.y[rows], x[rows]
    begins = np.diff(epoch, prepend=epoch[:1] - 1) != 0
    path = "".join(
        f"{'M' if begin else 'L'}{px:.1f} {py:.1f}"
        for px, py, begin in zip(x * SIDE, y.y(values) * SIDE, begins, strict=True)
    ).replace(".0", "")
    if not len(ts):
        return _Drawn(line.style, "", "")
    start = int(ts[0]) // MS
    points = {"start": start, "ms": (ts // MS - start).tolist(), "value": values.tolist()}
    return _Drawn(line.style, path, f'<script type="application/json">{embedded(points)}</script>')


def _filled(path: str, y: Axis) -> str:
    """The area between a line and zero, epoch by epoch."""
    base = f"{float(y.y(np.zeros(1))[0]) * SIDE:.1f}"
    pieces = []
    for piece in path.split("M")[1:]:
        points = piece.split("L")
        first, last = points[0].split(" ")[0], points[-1].split(" ")[0]
        pieces.append(f"M{first} {base}L{piece}L{last} {base}Z")
    return "".join(pieces)


def _grid(timeline: Timeline, y: Axis) -> str:
    borders = timeline.borders()
    lines = "".join(
        f'<line class="border" x1="{x * 100:.2f}%" x2="{x * 100:.2f}%" y1="0" y2="100%"/>'
        for x in (borders if len(borders) < BORDERS else ())
    )
    return (
        _horizontal(y)
        + lines
        + "".join(_below(label.x, label.text, k) for k, label in enumerate(timeline.labels()))
    )


def _horizontal(y: Axis) -> str:
    places: Iterable[float] = y.y(np.array(y.marks)).tolist() if y.marks else ()
    return "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{place * 100:.2f}%" y2="{place * 100:.2f}%"/>'
        f'<text class="y" x="100%" dx="8" y="{place * 100:.2f}%" dy=".32em">{y.text(mark)}</text>'
        for place, mark in zip(places, y.marks, strict=True)
    )


def _below(x: float, text: str, k: int = 0) -> str:
    anchor = "start" if x < 0.04 else "end" if x > 0.96 else "middle"
    css = "x odd" if k % 2 else "x"
    place = f'x="{x * 100:.2f}%" y="100%" dy="18" text-anchor="{anchor}"'
    return f'<text class="{css}" {place}>{escape(text)}</text>'


def _step(rough: float) -> tuple[float, int]:
    """The round number nearest above `rough` (1, 2, 2.5 or 5 times a power of ten), and its decimals."""
    power = math.floor(math.log10(rough))
    unit = 10.0**power
    factor = next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if rough <= factor * unit * (1 + 1e-9))
    return factor * unit, max(0, -power + (factor == 2.5) - (factor == 10.0))
