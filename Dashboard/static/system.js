// The System page: a status a second, applied to plain tables; rates and latencies as charts.
import { LatencyChart, Minute, PERCENTS, summary, unit } from "/static/latency.js";
import { LogTail } from "/static/logs.js";
import { NONE, address, bytes, color, mounted, number, onTheme, quantity, setText, showState } from "/static/page.js";
import { Painter, axisStyle, baseStyle, timeAxis, tooltipStyle } from "/static/painting.js";
import { Stream } from "/static/stream.js";

const GREW_MS = 5000; // a count that has grown is marked for so long
const WAITING = "waiting for main.py’s status …";
const RATES = 600; // statuses in the charts of rates: ten minutes
const ids = window.algosim;
await mounted(ids.latency, () => true); // the page's elements are there now

const state = { connection: "lost", run: "", system: null, stage: address.get("stage", "order_manager tick→order"), all: address.get("counts") === "all" };
const minute = new Minute();
const latency = new LatencyChart(ids.latency);
const grown = new Map(); // of a count: [its value, when it last grew]

class RateChart extends Painter {
  constructor(id, shade) {
    super();
    this.points = [];
    this.shade = shade;
    mounted(id, (element) => element.chart).then((element) => {
      this.chart = element.chart;
      this.touch();
    });
  }

  ready() {
    return Boolean(this.chart);
  }

  begin(points) {
    this.points = points;
    this.touch();
  }

  add(ms, value) {
    if (this.points.length && ms <= this.points.at(-1)[0]) return;
    this.points.push([ms, value]);
    if (this.points.length > RATES) this.points.shift();
    this.touch();
  }

  paint() {
    if (!this.styled) this.lay();
    this.chart.setOption({ series: [{ id: "rate", data: this.points }] }, { lazyUpdate: true, silent: true });
  }

  lay() {
    this.styled = true;
    this.chart.setOption({
      ...baseStyle(), grid: { top: 6, bottom: 18, left: 6, right: 44 },
      tooltip: { trigger: "axis", ...tooltipStyle(), formatter: ([one]) => `${new Date(one.value[0]).toLocaleTimeString()}<br><b>${number(one.value[1], 1)}/s</b>` },
      xAxis: timeAxis({ splitNumber: 2 }), yAxis: { type: "value", position: "right", min: 0, ...axisStyle(), splitNumber: 2 },
      series: [{ id: "rate", type: "line", showSymbol: false, sampling: "lttb", animation: false, data: [], lineStyle: { color: color(this.shade), width: 1.2 },
                 itemStyle: { color: color(this.shade) }, areaStyle: { color: color(this.shade), opacity: 0.15 } }],
    }, { notMerge: true });
  }
}

const rates = { ticks: new RateChart(ids.ticks, "accent"), orders: new RateChart(ids.orders, "buy") };

const stream = new Stream({
  state(now) {
    state.connection = now;
    refreshHeader();
  },
  hello(message) {
    state.run = message.run_id;
    grown.clear();
    recent();
    refreshHeader();
  },
  system(message) {
    state.system = message;
    minute.take(message.uptime_s, message.histograms);
    refreshHeader();
    refreshRates(message);
    refreshParts(message);
    refreshLatency(message);
    refreshCounted(message);
    refreshTiles(message);
  },
});
stream.want("system");

// What this page was not there for.
async function recent() {
  const response = await fetch("/api/system/recent");
  if (!response.ok) return;
  const { rates: past, snapshots } = await response.json();
  minute.begin(snapshots);
  rates.ticks.begin(past.map(([ms, ticks]) => [ms, ticks]));
  rates.orders.begin(past.map(([ms, , orders]) => [ms, orders]));
  if (state.system) refreshLatency(state.system);
}

function refreshHeader() {
  showState(state.connection, state.run, state.system);
  document.querySelector("main.system").classList.toggle("old", state.connection !== "open" || state.system?.live === false);
}

// ------------------------------------------------------------------------------------------- tables

// Rows by key, each a list of texts; cells are made once and written only when they change.
function fill(id, rows, empty) {
  const body = document.getElementById(id).tBodies[0];
  const present = new Set(rows.map((row) => row.key));
  for (const element of [...body.rows]) if (!present.has(element.dataset.key)) element.remove();
  rows.forEach((row, at) => {
    let element = [...body.rows].find((one) => one.dataset.key === row.key);
    if (!element) {
      element = body.insertRow(at);
      element.dataset.key = row.key;
      const kinds = [...document.getElementById(id).tHead.rows[0].cells].map((cell) => cell.className);
      for (const kind of kinds) element.insertCell().className = kind;
    }
    row.cells.forEach((text, column) => {
      const cell = element.cells[column];
      if (cell.textContent !== text) cell.textContent = cell.title = text;
    });
    if (row.chosen !== undefined) Object.assign(element, { tabIndex: 0, ariaCurrent: String(row.chosen) });
    if (row.note && element.dataset.note !== row.note) element.dataset.note = element.cells[1].dataset.note = row.note;
    row.classes = row.classes ?? "";
    if (element.className !== row.classes) element.className = row.classes;
  });
  document.getElementById(id).hidden = !rows.length;
  const note = document.getElementById(`${id}-empty`);
  note.hidden = rows.length > 0;
  if (note.textContent !== empty) note.textContent = empty;
}

function duration(seconds) {
  if (!(seconds > 0)) return NONE;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function refreshParts({ parts }) {
  const rows = Object.entries(parts).map(([name, part]) => ({
    key: name,
    classes: part.state === "ready" ? "ready" : part.state === "waiting" || part.state === "starting" ? "" : "bad",
    cells: [name, part.state, part.pid ? String(part.pid) : NONE, `${number(part.cpu_percent, 0)} %`, bytes(part.rss_bytes), quantity(part.restarts), duration(part.uptime_s),
            part.lag === undefined ? NONE : quantity(part.lag), part.stopped || part.broken || part.message || ""],
  }));
  fill("parts", rows, WAITING);
}

function refreshCounted({ counted, parts }) {
  const now = performance.now();
  const rows = [];
  for (const [part, what, reason, count, trouble, meaning] of counted) {
    const key = `${part}\n${what}\n${reason}`;
    const known = grown.get(key);
    if (!known || known[0] !== count) grown.set(key, [count, known && count > known[0] ? now : -Infinity]);
    if (!state.all && !trouble) continue;
    const fresh = now - grown.get(key)[1] < GREW_MS;
    rows.push({ key, classes: `${trouble ? "trouble" : ""}${fresh ? " grew" : ""}`, cells: [part, name(what, reason), quantity(count)], note: meaning });
  }
  fill("counted", rows, Object.keys(parts).length ? "Nothing was dropped, missed or rejected." : WAITING);
}

const WORDS = { rows_rejected: "rejected", denials: "denied", asked_kills: "killed on request", counters: "", event_counters: "", ledger_counters: "" };
function name(what, reason) {
  const word = WORDS[what] ?? what.replaceAll("_", " ");
  return [word, reason].filter(Boolean).join(": ");
}

// -------------------------------------------------------------------------------------- the numbers

function refreshRates({ parts, rate }) {
  if (!rate) return ["ticks", "orders"].forEach((key) => tile(key, NONE));
  const [ms, ticks, orders] = rate;
  for (const [key, perSecond, count] of [["ticks", ticks, parts.orderbook?.ticks], ["orders", orders, parts.order_manager?.orders]]) {
    rates[key].add(ms, perSecond);
    tile(key, `${number(perSecond, perSecond < 100 ? 1 : 0)}/s`, quantity(count));
  }
}

function tile(key, value, note = "") {
  setText(`tile-${key}`, value);
  setText(`tile-${key}-note`, note);
}

function refreshTiles({ parts, counted }) {
  const { strategy = {}, orderbook = {}, dashboard = {} } = parts;
  if (!Object.keys(parts).length) return ["lag", "gaps", "rejected", "disk", "listeners"].forEach((key) => tile(key, NONE));
  tile("lag", strategy.lag === undefined ? NONE : `${quantity(strategy.lag)} rec.`, strategy.lag_ms === undefined ? "" : `${number(strategy.lag_ms, 1)} ms`);
  tile("gaps", quantity(orderbook.gaps), `${quantity(orderbook.missed)} records`);
  const rejected = counted.filter(([, what]) => ["rejected", "rows_rejected", "denials", "refused"].includes(what));
  tile("rejected", quantity(rejected.reduce((sum, row) => sum + row[3], 0)), rejected.length ? `${rejected.length} reasons` : "");
  tile("disk", dashboard.runs_free_bytes ? bytes(dashboard.runs_free_bytes) : NONE, dashboard.runs_total_bytes ? `of ${bytes(dashboard.runs_total_bytes)}` : "");
  tile("listeners", quantity(dashboard.listeners), `${quantity((dashboard.counters?.["frames missed"] ?? 0) + stream.missedFrames)} missed`);
}

const micros = (value) => (value === null || value === undefined ? NONE : number(value, value < 100 ? 1 : 0));

function refreshLatency({ parts, histograms, uptime_s: uptime }) {
  const rows = [];
  for (const [part, status] of Object.entries(parts))
    for (const [stage, whole] of Object.entries(status.latency_us ?? {})) {
      const key = `${part} ${stage}`;
      const own = histograms[part]?.[stage];
      const [counts, seconds] = own ? minute.counts(uptime, part, stage, own.counts) : [null, null];
      const told = counts ? summary(counts, own.max) : whole;
      const doubled = Object.values(parts).filter((one) => one.latency_us?.[stage]).length > 1;
      rows.push({ key, chosen: own ? key === state.stage : undefined, classes: own ? `pick${key === state.stage ? " chosen" : ""}` : "whole",
                  cells: [doubled ? `${stage} (${part === "order_manager" ? "of orders" : "of all"})` : stage, ...PERCENTS.map((percent) => micros(told[`p${percent}`])), micros(told.max), quantity(told.n)] });
      if (key === state.stage && own) showStage(stage, counts, own.counts, seconds, told.n ? told : whole);
      if (key === "order_manager tick→order") tile("latency", told.n ? `p50 ${unit(told.p50)}` : NONE, told.n ? `p99 ${unit(told.p99)}` : "no order in a minute");
    }
  fill("stages", rows, Object.keys(parts).length ? "No tick has come this far yet." : WAITING);
}

function showStage(stage, recent, whole, seconds, marks) {
  setText("latency-stage", stage);
  setText("latency-window", seconds === null ? "since the start" : `last ${Math.round(seconds)} s`);
  latency.show(recent, whole, marks);
}

// ------------------------------------------------------------------------------------- mouse and keys

const logs = new LogTail();
const countAll = document.getElementById("count-all");

function showAll(on) {
  state.all = on;
  address.set("counts", on ? "all" : "");
  countAll.setAttribute("aria-pressed", String(on));
  if (state.system) refreshCounted(state.system);
}
showAll(state.all);
countAll.addEventListener("click", () => showAll(!state.all));
function chooseStage(event) {
  const row = event.target.closest("tr.pick");
  if (!row || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  state.stage = row.dataset.key;
  address.set("stage", state.stage);
  if (state.system) refreshLatency(state.system);
}
for (const kind of ["click", "keydown"]) document.getElementById("stages").addEventListener(kind, chooseStage);
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) {
    if (event.key === "Escape") event.target.blur?.();
    return;
  }
  if (event.key === "/") document.getElementById("log-text").focus();
  else if (event.key === "f") logs.follow(!logs.following);
  else if (event.key === "a") showAll(!state.all);
  else return;
  event.preventDefault();
});
onTheme(() => [latency, ...Object.values(rates)].forEach((chart) => chart.restyle()));
