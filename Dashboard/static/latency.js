// Latency histograms as the parts send them: what happened in the last minute, percentiles, and a picture.
//
// Buckets are those of trading_lib/histogram.py: one each below 256 ns, above 128 in every power of two; what
// the server sends has two of them counted in the second.
import { color, mounted, number, quantity } from "/static/page.js";
import { Painter, axisStyle, baseStyle, tooltipStyle } from "/static/painting.js";

const LINEAR = 256, HALF = 128;
const BINS = 20; // of a decade, in the picture
const MINUTE_S = 60, SNAPSHOT_S = 5;
export const PERCENTS = [50, 90, 99, 99.9];

function upperEdge(bucket) {
  if (bucket < LINEAR) return bucket;
  const shift = Math.floor(bucket / HALF) - 1;
  return (bucket - shift * HALF + 1) * 2 ** shift - 1;
}

// [[upper edge in ns, count], …], ascending.
function edges(counts) {
  return Object.entries(counts).map(([bucket, count]) => [upperEdge(Number(bucket)), count]).sort((a, b) => a[0] - b[0]);
}

// What was counted since; null when the counts were begun anew in between.
function since(counts, before) {
  const grown = {};
  for (const [bucket, count] of Object.entries(counts)) if (count !== (before[bucket] ?? 0)) grown[bucket] = count - (before[bucket] ?? 0);
  const anew = Object.values(grown).some((count) => count < 0) || Object.keys(before).some((bucket) => !(bucket in counts));
  return anew ? null : grown;
}

// Of counts: how many, the percentiles and the largest, in µs (never understated).
export function summary(counts, largest = Infinity) {
  const rows = edges(counts);
  const n = rows.reduce((sum, row) => sum + row[1], 0);
  const found = { n, max: n ? Math.min(rows.at(-1)[0], largest) / 1000 : null };
  let seen = 0, at = 0;
  for (const percent of PERCENTS) {
    const wanted = Math.max(1, Math.ceil((n * percent) / 100));
    while (at < rows.length && seen + rows[at][1] < wanted) seen += rows[at++][1];
    found[`p${percent}`] = n ? Math.min(rows[at][0], largest) / 1000 : null;
  }
  return found;
}

// The histograms of the last minute, one every few seconds, so that two can be subtracted.
export class Minute {
  constructor() {
    this.kept = [];
  }

  begin(snapshots) {
    this.kept = snapshots;
  }

  take(uptime, histograms) {
    const last = this.kept.at(-1);
    if (last && uptime < last.uptime_s) this.kept = []; // another main.py
    if (!last || uptime - last.uptime_s >= SNAPSHOT_S) this.kept.push({ uptime_s: uptime, histograms });
    while (this.kept.length > 1 && uptime - this.kept[1].uptime_s >= MINUTE_S) this.kept.shift();
  }

  // [counts of the last minute, the seconds that they are of]
  counts(uptime, part, stage, counts) {
    const base = this.kept[0];
    const before = base?.histograms[part]?.[stage]?.counts;
    const grown = before && since(counts, before);
    return grown ? [grown, uptime - base.uptime_s] : [counts, null];
  }
}

// Three digits and a unit.
export function unit(us) {
  const [value, name] = us >= 1e6 ? [us / 1e6, "s"] : us >= 1000 ? [us / 1000, "ms"] : [us, "µs"];
  return `${quantity(Number(value.toPrecision(3)))} ${name}`;
}

// Shares of all values by latency, [[µs, %], …]; drawn as steps, so that every bin begins and ends at its edges.
function shape(counts) {
  const bins = new Map();
  let n = 0;
  for (const [edge, count] of edges(counts)) {
    const bin = Math.floor(BINS * Math.log10(Math.max(edge, 100) / 1000)); // below 0.1 µs it is all the same
    bins.set(bin, (bins.get(bin) ?? 0) + count);
    n += count;
  }
  if (!n) return [];
  const first = Math.min(...bins.keys()) - 1, last = Math.max(...bins.keys()) + 1;
  const points = [];
  for (let bin = first; bin <= last; bin++) points.push([10 ** (bin / BINS), (100 * (bins.get(bin) ?? 0)) / n]);
  return points;
}

// A line at each percentile; one for those that lie closer together than their names are long.
function marked(summary, apart) {
  const lines = [];
  for (const percent of PERCENTS) {
    const at = summary[`p${percent}`], last = lines.at(-1);
    if (!at) continue;
    if (last && Math.log10(at / last.xAxis) < apart * (last.first === last.last ? 1 : 2)) last.last = percent;
    else lines.push({ xAxis: at, first: percent, last: percent });
  }
  return lines.map(({ xAxis, first, last }) => ({ xAxis, label: { formatter: first === last ? `p${first}` : `p${first} – p${last}` } }));
}

export class LatencyChart extends Painter {
  constructor(id) {
    super();
    this.minute = [];
    this.start = [];
    this.marks = null;
    mounted(id, (element) => element.chart).then((element) => {
      this.chart = element.chart;
      this.touch();
    });
  }

  ready() {
    return this.chart && this.start.length;
  }

  show(minute, start, marks) {
    this.minute = shape(minute);
    this.start = shape(start);
    this.marks = marks;
    this.touch();
  }

  paint() {
    if (!this.styled) this.lay();
    const points = [...this.minute, ...this.start];
    const low = 10 ** Math.floor(Math.log10(Math.min(...points.map((point) => point[0])))), high = 10 ** Math.ceil(Math.log10(Math.max(...points.map((point) => point[0]))));
    const height = Math.max(...points.map((point) => point[1]));
    const lines = marked(this.marks, Math.log10(high / low) / 14);
    this.chart.setOption({
      xAxis: { min: low, max: high }, yAxis: { max: height * 1.1 },
      series: [{ id: "minute", data: this.minute, markLine: { data: lines } }, { id: "start", data: this.start }],
    }, { lazyUpdate: true, silent: true });
  }

  lay() {
    this.styled = true;
    const line = (id, name, shade, area) => ({ id, name, type: "line", step: "end", showSymbol: false, animation: false, data: [],
      lineStyle: { color: shade, width: 1.2, type: area ? "solid" : "dashed" }, itemStyle: { color: shade }, ...(area ? { areaStyle: { color: shade, opacity: 0.25 } } : {}) });
    this.chart.setOption({
      ...baseStyle(), grid: { top: 36, bottom: 20, left: 8, right: 40 },
      legend: { top: 0, left: 0, textStyle: { color: color("muted"), fontSize: 10 }, itemHeight: 3, itemWidth: 14, icon: "rect" },
      tooltip: { trigger: "axis", ...tooltipStyle(), formatter: (all) => all.map((one) => `${one.seriesName}: from ${unit(one.value[0])} <b>${number(one.value[1], 1)} %</b>`).join("<br>") },
      xAxis: { type: "log", ...axisStyle(), splitLine: { show: false }, axisLabel: { ...axisStyle().axisLabel, formatter: unit }, minorTick: { show: true, splitNumber: 9 } },
      yAxis: { type: "value", position: "right", ...axisStyle(), splitNumber: 3, axisLabel: { ...axisStyle().axisLabel, formatter: (value) => `${quantity(Math.round(value))} %`, showMaxLabel: false } },
      series: [
        { ...line("minute", "last minute", color("accent"), true),
          markLine: { silent: true, symbol: "none", animation: false, data: [], lineStyle: { color: color("muted"), width: 1, type: "solid" }, label: { color: color("ink"), fontSize: 10, position: "end" } } },
        line("start", "since the start", color("muted"), false),
      ],
    }, { notMerge: true });
  }
}
