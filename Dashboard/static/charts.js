// The charts of the Live page, drawn with ECharts at most five times a second from rings kept in the page.
import { color, fromNs, mounted, number, percent, price, quantity, setText, when } from "/static/page.js";
import { Painter, axisStyle, baseStyle, overPrice, timeAxis, tooltipStyle } from "/static/painting.js";

const CURVES_MS = 1000; // equity is told once a second, and after fills: three charts more often would only cost
const KEPT = 20000; // points of a price
const CURVE_KEPT = 6000; // points of an equity curve
const WINDOW = 1200; // of them in sight while following
const LEGEND_PX = 500; // on a narrower chart names would lie over the prices; a tap says them

export class PriceChart extends Painter {
  constructor(id) {
    super();
    this.following = true;
    this.strategy = "";
    this.fills = [];
    this.news = [];
    this.traces = new Map();
    this.clear();
    mounted(id, (element) => element.chart).then((element) => {
      this.chart = element.chart;
      this.chart.on("datazoom", () => {
        const { startValue, endValue } = this.chart.getOption().dataZoom[0];
        this.zoom = [startValue, endValue]; // in event time: as the axis grows, what is in sight stays
        this.follow(false);
        this.touch();
      });
      this.touch();
    });
  }

  ready() {
    return this.chart && this.symbol && this.ms.length;
  }

  clear() {
    this.ms = [];
    this.values = [];
    this.fills = [];
    this.news = [];
    this.traces.clear();
    this.touch();
  }

  show(symbol) {
    this.symbol = symbol;
    this.ms = [];
    this.values = [];
    this.follow(true);
  }

  filter(strategy) {
    this.strategy = strategy;
    this.touch();
  }

  follow(on) {
    this.following = on;
    document.getElementById("follow")?.setAttribute("aria-pressed", String(on));
    if (on) this.touch();
  }

  take(message) {
    if (message.begin) {
      if (this.epoch !== message.epoch) this.news = [];
      this.epoch = message.epoch;
      this.ms = message.ms;
      this.values = message.values;
    } else {
      this.ms.push(...message.ms);
      this.values.push(...message.values);
    }
    const surplus = this.ms.length - KEPT;
    if (surplus > KEPT / 10) {
      this.ms.splice(0, surplus);
      this.values.splice(0, surplus);
    }
    this.touch();
  }

  // Fills of another epoch are on another axis; what is held says where the position line ends.
  money(epoch, positions) {
    this.moneyEpoch = epoch;
    this.positions = positions;
  }

  own() {
    return this.fills.filter((fill) => fill.symbol === this.symbol && fill.epoch === this.moneyEpoch && (!this.strategy || fill.strategy === this.strategy));
  }

  takeFills(events) {
    this.fills.push(...events.map((event) => ({ ...event, ms: fromNs(event.ts) })));
    if (this.fills.length > 4000) this.fills.splice(0, this.fills.length - 4000);
    this.touch();
  }

  takeNews(events) {
    this.news.push(...events.map((event) => ({ ...event, ms: fromNs(event.ts) })));
    if (this.news.length > 2000) this.news.splice(0, this.news.length - 2000);
  }

  takeIndicators(message) {
    const known = this.traces.get(message.strategy);
    if (message.begin || !known) this.traces.set(message.strategy, { names: message.names, samples: message.samples });
    else known.samples.push(...message.samples);
    const trace = this.traces.get(message.strategy);
    if (trace.samples.length > KEPT) trace.samples.splice(0, trace.samples.length - KEPT);
    this.touch();
  }

  // The stretch of event time in sight.
  span() {
    const last = this.ms.length - 1;
    if (last < 0) return [0, 0];
    if (this.following) return [this.ms[Math.max(0, last - WINDOW)], this.ms[last]];
    return this.zoom;
  }

  indicators(from) {
    const lines = [];
    for (const [strategy, trace] of this.traces) {
      if (this.strategy && strategy !== this.strategy) continue;
      trace.names.forEach((name, at) => {
        const [first, ...rest] = name.split(" ");
        const own = first === this.symbol;
        if (!own && rest.length) return; // of another symbol
        const data = [];
        for (const [ms, values] of trace.samples) if (ms >= from && values[at] != null) data.push([ms, values[at]]);
        if (data.length) lines.push({ name: own ? rest.join(" ") : name, data });
      });
    }
    return lines.slice(0, 8);
  }

  // The price at an instant: the last one until then, or the first there is.
  priceAt(ms) {
    const at = lowerBound(this.ms, ms);
    return this.values[this.ms[at] === ms ? at : Math.max(0, at - 1)];
  }

  position(from, until) {
    const own = this.own();
    let held = 0;
    const steps = [];
    for (const fill of own) {
      held += (fill.side === "BUY" ? 1 : -1) * fill.qty;
      steps.push([fill.ms, held]);
    }
    const offset = (this.positions?.[this.symbol] ?? 0) - held; // fills from before this page
    const seen = steps.filter(([ms]) => ms >= from).map(([ms, value]) => [ms, value + offset]);
    const before = steps.filter(([ms]) => ms < from).at(-1);
    return [[from, (before ? before[1] : 0) + offset], ...seen, [until, held + offset]];
  }

  paint() {
    const [from, until] = this.span();
    const first = this.following ? lowerBound(this.ms, from) : 0;
    const line = [];
    for (let at = first; at < this.ms.length; at++) line.push([this.ms[at], this.values[at]]);
    const start = this.following ? from : (this.ms[0] ?? 0);
    const own = this.own().filter((fill) => fill.ms >= start);
    const marker = (side) => own.filter((fill) => fill.side === side).map((fill) => ({ value: [fill.ms, fill.price], fill }));
    const last = this.values.at(-1);
    const extra = [], over = [];
    for (const each of this.indicators(start)) {
      const [ms, value] = each.data.at(-1); // told once a second: the price may have gone far since
      (overPrice(value / this.priceAt(ms)) ? over : extra).push(each);
    }
    const low = line.length ? Math.min(...line.map((point) => point[1])) : 0;
    const news = this.news.filter((item) => item.symbol === this.symbol && item.ms >= start).map((item) => ({ value: [item.ms, low], item }));
    if (!this.styled || this.shape !== `${over.length} ${extra.length}`) this.lay(over, extra);
    this.chart.setOption({
      xAxis: [0, 1, ...(extra.length ? [2] : [])].map(() => (this.following ? { min: from, max: until } : { min: null, max: null })),
      dataZoom: [{ startValue: from, endValue: until }],
      series: [
        { id: "price", data: line }, { id: "buys", data: marker("BUY") }, { id: "sells", data: marker("SELL") }, { id: "news", data: news },
        { id: "position", data: this.position(start, this.ms.at(-1) ?? until) },
        ...over.map((each, at) => ({ id: `over${at}`, name: each.name, data: each.data })),
        ...extra.map((each, at) => ({ id: `extra${at}`, name: each.name, data: each.data })),
      ],
    }, { lazyUpdate: true, silent: true });
    setText("chart-last", price(last));
  }

  // Grids, axes and series: when the theme or the number of lines has changed.
  lay(over, extra) {
    this.styled = true;
    this.shape = `${over.length} ${extra.length}`;
    const shades = [color("accent"), color("muted"), color("buy"), color("sell")];
    const dashes = ["solid", "dashed", "dotted"];
    const line = (id, axis, at, name) => ({ id, name, type: "line", xAxisIndex: axis, yAxisIndex: axis, showSymbol: false, sampling: "lttb", animation: false, connectNulls: true, data: [],
      lineStyle: { width: 1.2, color: shades[at % 4], type: dashes[Math.floor(at / 4) % 3] }, itemStyle: { color: shades[at % 4] } });
    const scatter = (id, symbol, rotate, fill) => ({ id, type: "scatter", symbol, symbolRotate: rotate, symbolSize: 11, animation: false, data: [], z: 5,
      itemStyle: { color: fill, borderColor: color("paper"), borderWidth: 1 } });
    const grids = extra.length ? [["4%", "56%"], ["66%", "12%"], ["83%", "11%"]] : [["4%", "70%"], ["80%", "12%"]];
    this.chart.setOption({
      ...baseStyle(),
      legend: { show: this.chart.getWidth() >= LEGEND_PX, top: 0, right: 60, textStyle: { color: color("muted"), fontSize: 10 }, itemHeight: 8, itemWidth: 16, data: [...over, ...extra].map((each) => each.name) },
      grid: grids.map(([top, height]) => ({ top, height, left: 8, right: 56 })),
      xAxis: grids.map((_, at) => timeAxis({ gridIndex: at, axisLabel: { ...axisStyle().axisLabel, show: at === grids.length - 1 } })),
      yAxis: grids.map((_, at) => ({ type: "value", scale: at !== 1, position: "right", gridIndex: at, ...axisStyle(), splitNumber: at ? 2 : 5,
        ...(at === 1 ? { name: "position", nameLocation: "middle", nameGap: 38, nameTextStyle: { color: color("muted"), fontSize: 10 } } : {}) })),
      dataZoom: [{ type: "inside", xAxisIndex: grids.map((_, at) => at), filterMode: "none", minValueSpan: 0.01 }],
      tooltip: { trigger: "item", ...tooltipStyle(), formatter: (params) => explain(params) },
      axisPointer: { link: [{ xAxisIndex: "all" }] },
      series: [
        { ...line("price", 0, 0, "price"), lineStyle: { width: 1.4, color: color("ink") }, z: 3 },
        scatter("buys", "triangle", 0, color("buy")), scatter("sells", "triangle", 180, color("sell")),
        { ...scatter("news", "diamond", 0, color("muted")), symbolSize: 8 },
        { ...line("position", 1, 0, "position"), step: "end", sampling: undefined, areaStyle: { color: color("accent"), opacity: 0.2 } },
        ...over.map((each, at) => line(`over${at}`, 0, at, each.name)),
        ...extra.map((each, at) => line(`extra${at}`, 2, at, each.name)),
      ],
    }, { notMerge: true });
  }
}

function explain(params) {
  const { fill, item } = params.data ?? {};
  const escaped = (text) => String(text ?? "").replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  if (fill) return `<b>${fill.side} ${quantity(fill.qty)} ${escaped(fill.symbol)} @ ${price(fill.price)}</b><br>${escaped(fill.strategy)}${fill.tag ? ` · ${escaped(fill.tag)}` : ""}` +
    `<br>${when(fill.ms)}<br>commission ${number(fill.commission, 4)}${fill.reference ? `<br>tick ${price(fill.reference)}` : ""}`;
  if (item) return `news: sentiment <b>${item.sentiment}</b> of 100<br>${when(item.ms)}`;
  return `${escaped(params.seriesName)} <b>${price(params.value[1])}</b><br>${when(params.value[0])}`;
}

function lowerBound(values, wanted) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Equity, its drawdown, and how its returns are spread: of one strategy or of all together.
export class CurveCharts extends Painter {
  constructor(equity, drawdown, returns) {
    super(CURVES_MS);
    this.charts = {};
    this.name = "total";
    this.clear();
    for (const [name, id] of Object.entries({ equity, drawdown, returns }))
      mounted(id, (element) => element.chart).then((element) => {
        this.charts[name] = element.chart;
        this.styled = false;
        this.touch();
      });
  }

  ready() {
    return Object.keys(this.charts).length === 3;
  }

  clear() {
    this.curves = new Map();
    this.touch();
  }

  filter(name) {
    this.name = name;
    this.touch();
  }

  take(message) {
    for (const [name, { epoch, points }] of Object.entries(message.curves)) {
      const known = this.curves.get(name);
      if (message.begin || !known || known.epoch !== epoch) this.curves.set(name, { epoch, points: [...points] });
      else for (const point of points) append(known.points, point);
      const kept = this.curves.get(name).points;
      if (kept.length > CURVE_KEPT) this.curves.get(name).points = extremes(kept);
    }
    this.touch();
  }

  paint() {
    const points = this.curves.get(this.name)?.points ?? [];
    let peak = -Infinity;
    const falls = points.map(([ms, value]) => {
      peak = Math.max(peak, value);
      return [ms, peak > 0 ? (-100 * (peak - value)) / peak : 0];
    });
    if (!this.styled) this.lay();
    this.charts.equity.setOption({ series: [{ id: "equity", data: points }] }, { lazyUpdate: true, silent: true });
    this.charts.drawdown.setOption({ series: [{ id: "drawdown", data: falls }] }, { lazyUpdate: true, silent: true });
    const { labels, counts, step } = spread(points);
    this.charts.returns.setOption({ xAxis: { data: labels }, series: [{ id: "returns", data: counts }] }, { lazyUpdate: true, silent: true });
    setText("returns-step", step);
  }

  lay() {
    this.styled = true;
    const base = (extra) => ({ ...baseStyle(), grid: { top: 8, bottom: 20, left: 8, right: 62 },
      tooltip: { trigger: "axis", ...tooltipStyle(), ...extra } });
    const line = (id, shade, text) => ({
      ...base({ formatter: ([one]) => `${when(one.value[0])}<br><b>${text(one.value[1])}</b>` }),
      xAxis: timeAxis(), yAxis: { type: "value", scale: true, position: "right", ...axisStyle(), splitNumber: 3 },
      series: [{ id, type: "line", showSymbol: false, sampling: "lttb", animation: false, lineStyle: { width: 1.3, color: shade }, itemStyle: { color: shade },
                 areaStyle: { color: shade, opacity: 0.12, origin: id === "equity" ? "start" : "auto" }, data: [] }],
    });
    this.charts.equity.setOption(line("equity", color("accent"), (value) => number(value)), { notMerge: true });
    this.charts.drawdown.setOption(line("drawdown", color("sell"), (value) => percent(value / 100, 3)), { notMerge: true });
    this.charts.returns.setOption({ ...base({ formatter: ([one]) => `${one.name} bps: <b>${one.value}</b>` }), grid: { top: 8, bottom: 20, left: 8, right: 40 },
      xAxis: { type: "category", ...axisStyle() }, yAxis: { type: "value", position: "right", minInterval: 1, ...axisStyle(), splitNumber: 2 },
      series: [{ id: "returns", type: "bar", barCategoryGap: "8%", animation: false, data: [] }] }, { notMerge: true });
  }
}

// A point behind the others; one at the last one's time takes its place.
function append(points, point) {
  const last = points.at(-1);
  if (!last || point[0] > last[0]) points.push(point);
  else if (point[0] === last[0]) points[points.length - 1] = point;
}

// Of each four points the lowest and the highest, in their order; the last one stays.
function extremes(points) {
  const kept = [];
  for (let start = 0; start < points.length - 1; start += 4) {
    const own = points.slice(start, Math.min(start + 4, points.length - 1));
    const low = own.reduce((a, b) => (b[1] < a[1] ? b : a)), high = own.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low === high ? [low] : [low, high].sort((a, b) => a[0] - b[0])));
  }
  return [...kept, points.at(-1)];
}

const BINS = 25;
const MOST_STEPS = 240;

// Returns over equal stretches of event time, in basis points: how many fall into each bin.
function spread(points) {
  if (points.length < 8) return { labels: [], counts: [], step: "" };
  const steps = Math.min(MOST_STEPS, points.length - 1); // finer than what is known would only count zeros
  const start = points[0][0], length = (points.at(-1)[0] - start) / steps;
  if (!(length > 0)) return { labels: [], counts: [], step: "" };
  const returns = [];
  let at = 0, before = points[0][1];
  for (let step = 1; step <= steps; step++) {
    while (at + 1 < points.length && points[at + 1][0] <= start + step * length) at++;
    const now = points[at][1];
    if (before > 0) returns.push(1e4 * (now / before - 1));
    before = now;
  }
  const widest = [...returns].map(Math.abs).sort((a, b) => a - b)[Math.floor(returns.length * 0.99)] || 0;
  if (!widest) return { labels: [], counts: [], step: "" };
  const width = (2 * widest) / BINS;
  const counts = Array(BINS).fill(0);
  for (const value of returns) counts[Math.max(0, Math.min(BINS - 1, Math.floor((value + widest) / width)))]++;
  const labels = counts.map((_, bin) => number(-widest + (bin + 0.5) * width, widest < 1 ? 3 : 1));
  const sides = counts.map((count, bin) => ({ value: count, itemStyle: { color: color(bin < BINS / 2 - 0.5 ? "sell" : "buy") } }));
  return { labels, counts: sides, step: `per ${duration(length)}` };
}

function duration(ms) {
  for (const [unit, size] of [["d", 86400e3], ["h", 3600e3], ["min", 60e3], ["s", 1e3]]) if (ms >= size) return `${number(ms / size, ms / size < 10 ? 1 : 0)} ${unit}`;
  return `${number(ms, 0)} ms`;
}
