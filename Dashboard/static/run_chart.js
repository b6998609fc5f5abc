// The chart of a recorded run: price and indicators, position, equity, over its records; and where the slider stands.
import { color, fromNs, mounted, number, price, quantity, when } from "/static/page.js";
import { axisStyle, baseStyle, overPrice, tooltipStyle } from "/static/painting.js";

const MOST_LINES = 8; // indicators
const RIGHT = 70;

// The place of the first instant at a record or behind it; of the last if there is none.
export function placeFrom(instants, seq) {
  let low = 0, high = instants.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (instants[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class RunChart {
  constructor(id, stage, cursor, onPoint) {
    this.stage = stage;
    this.cursor = cursor;
    mounted(id, (element) => element.chart).then((element) => {
      this.chart = element.chart;
      const zr = this.chart.getZr();
      const point = (event) => this.instants?.length && onPoint(this.chart.convertFromPixel({ xAxisIndex: 0 }, event.offsetX));
      zr.on("mousedown", (event) => (this.dragging = true) && point(event));
      zr.on("mousemove", (event) => this.dragging && point(event));
      window.addEventListener("mouseup", () => (this.dragging = false));
      new ResizeObserver(() => {
        this.chart.resize();
        this.place();
      }).observe(stage);
      this.draw();
    });
  }

  // `strategies`: places of those that are shown together.
  show(found, symbol, strategies) {
    this.instants = found.instants;
    this.slot = found.symbols.indexOf(symbol);
    this.symbol = symbol;
    this.strategies = strategies;
    this.draw();
  }

  // The record under the slider.
  point(seq) {
    this.seq = seq;
    this.place();
  }

  place() {
    if (!this.chart || !this.instants?.length || this.seq === undefined) return;
    const left = this.chart.convertToPixel({ xAxisIndex: 0 }, this.seq);
    this.cursor.hidden = !Number.isFinite(left);
    this.cursor.style.transform = `translateX(${left}px)`;
  }

  line(value) {
    return this.instants.map((instant) => [instant.seq, value(instant)]);
  }

  // An epoch begins elsewhere: no line leads there.
  broken(data) {
    return data.flatMap((point, index) => (index && this.instants[index].epoch !== this.instants[index - 1].epoch ? [[point[0] - 0.5, null], point] : [point]));
  }

  sum(instant, value) {
    const known = this.strategies.map((at) => instant.strategies[at]).filter((one) => one);
    return known.length ? known.reduce((total, one) => total + value(one), 0) : null;
  }

  // Every number of every indicator of the symbol, as a line.
  indicators() {
    if (this.strategies.length !== 1) return [];
    const lines = new Map();
    this.instants.forEach((instant, index) => {
      for (const [label, value] of Object.entries(instant.strategies[this.strategies[0]]?.indicators ?? {})) {
        const [first, ...rest] = label.split(" ");
        if (rest.length && first !== this.symbol) continue;
        const name = rest.length ? rest.join(" ") : label;
        const parts = Array.isArray(value) ? value.map((part, at) => [`${name} ${at + 1}`, part]) : [[name, value]];
        for (const [part, number] of parts) {
          if (typeof number !== "number") continue; // not warm
          if (!lines.has(part)) lines.set(part, this.instants.map((each) => [each.seq, null]));
          lines.get(part)[index][1] = number;
        }
      }
    });
    return [...lines].slice(0, MOST_LINES).map(([name, data]) => ({ name, data }));
  }

  draw() {
    if (!this.chart || !this.instants?.length) return;
    const prices = this.line((instant) => instant.prices[this.slot] ?? null);
    const over = [], extra = [];
    for (const each of this.indicators()) {
      const at = each.data.findLastIndex(([, value], index) => value !== null && prices[index][1] !== null);
      const ratio = at < 0 ? 1 : each.data[at][1] / prices[at][1];
      (overPrice(ratio) ? over : extra).push(each);
    }
    const position = this.line((instant) => this.sum(instant, (one) => one.positions[this.symbol] ?? 0));
    const equity = this.line((instant) => this.sum(instant, (one) => one.equity));
    this.chart.resize();
    this.chart.setOption(this.option(prices, over, extra, position, equity), { notMerge: true });
    this.place();
  }

  option(prices, over, extra, position, equity) {
    const rooms = extra.length ? [["7%", "42%"], ["52%", "11%"], ["66%", "10%"], ["79%", "16%"]] : [["7%", "51%"], ["61%", "12%"], ["76%", "19%"]];
    const at = { price: 0, extra: 1, position: rooms.length - 2, equity: rooms.length - 1 };
    const names = { [at.price]: this.symbol, [at.position]: "position", [at.equity]: "equity" };
    const axis = axisStyle();
    const shades = [color("accent"), color("muted"), color("buy"), color("sell")];
    const line = (id, room, shade, name, data, more = {}) => ({ id, name, type: "line", xAxisIndex: room, yAxisIndex: room, showSymbol: false, animation: false, sampling: "lttb", data,
      itemStyle: { color: shade }, ...more, lineStyle: { width: 1.3, color: shade, ...more.lineStyle } });
    const indicator = (room, each, index) => line(`${room} ${each.name}`, room, shades[index % 4], each.name, this.broken(each.data), { lineStyle: { type: ["solid", "dashed", "dotted"][Math.floor(index / 4) % 3] } });
    const epochs = this.instants.filter((instant, index) => index && instant.epoch !== this.instants[index - 1].epoch);
    const mark = { silent: true, symbol: "none", animation: false, lineStyle: { color: color("muted"), type: "dotted" }, label: { show: true, formatter: ({ name }) => name, color: color("muted"), fontSize: 10 },
                   data: epochs.map((instant) => ({ xAxis: instant.seq, name: `epoch ${instant.epoch}` })) };
    return {
      ...baseStyle(),
      legend: { show: true, top: 0, right: RIGHT, textStyle: { color: color("muted"), fontSize: 10 }, itemHeight: 8, itemWidth: 16, data: [...over, ...extra].map((each) => each.name) },
      grid: rooms.map(([top, height]) => ({ top, height, left: 8, right: RIGHT })),
      xAxis: rooms.map((_, room) => ({ type: "value", gridIndex: room, min: this.instants[0].seq, max: Math.max(this.instants.at(-1).seq, this.instants[0].seq + 1), ...axis, splitLine: { show: false },
        axisLabel: { ...axis.axisLabel, show: room === rooms.length - 1, showMinLabel: false, showMaxLabel: false, formatter: (seq) => this.label(seq) }, axisPointer: { label: { formatter: ({ value }) => this.label(value) } } })),
      yAxis: rooms.map((_, room) => ({ type: "value", scale: room !== at.position, position: "right", gridIndex: room, ...axis, splitNumber: room ? 2 : 5,
        name: names[room] ?? "", nameLocation: "middle", nameGap: 52, nameTextStyle: { color: color("muted"), fontSize: 10 } })),
      axisPointer: { link: [{ xAxisIndex: "all" }] },
      tooltip: { trigger: "axis", renderMode: "richText", ...tooltipStyle(), formatter: (params) => this.explain(params) },
      series: [
        line("price", at.price, color("ink"), this.symbol, this.broken(prices), { z: 3, markLine: mark }),
        ...over.map((each, index) => indicator(at.price, each, index)), ...extra.map((each, index) => indicator(at.extra, each, index)),
        line("position", at.position, color("accent"), "position", position, { step: "end", sampling: undefined, areaStyle: { color: color("accent"), opacity: 0.2 } }),
        line("equity", at.equity, color("accent"), "equity", equity),
      ],
    };
  }

  // Event time of a record, in ms.
  time(seq) {
    return fromNs(this.instants[placeFrom(this.instants, seq)].ts);
  }

  // The same in words, as exactly as the run is long.
  label(seq) {
    const length = fromNs(this.instants.at(-1).ts) - fromNs(this.instants[0].ts);
    const text = when(this.time(seq));
    return Math.abs(length) > 3 * 86400e3 ? text.slice(0, 10) : text.slice(11, 19);
  }

  explain(params) {
    const seq = params[0]?.axisValue ?? params[0]?.value[0];
    const lines = params.filter((one) => one.value[1] !== null && one.value[1] !== undefined)
      .map((one) => `${one.seriesName}  ${one.seriesId === "equity" ? number(one.value[1]) : one.seriesId === "position" ? quantity(one.value[1]) : price(one.value[1])}`);
    return [`record ${quantity(seq)}`, when(this.time(seq)), ...new Set(lines)].join("\n");
  }
}
