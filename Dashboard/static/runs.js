// The Runs page: the list, what is known of the run that is chosen, and several side by side.
import { NONE, address, bytes, cells, color, gain, make, mounted, number, onTheme, post, quantity, say, setText, showState } from "/static/page.js";
import { axisStyle, baseStyle, tooltipStyle } from "/static/painting.js";
import { Stream } from "/static/stream.js";

const ids = window.algosim;
await mounted(ids.runs, () => true);
const LIST_MS = 10000; // the list is asked for so often while somebody looks
const WORK_MS = 400;
const MOST_COMPARED = 8;
const state = { runs: [], chosen: [], shown: 0, connection: "lost", run: "", system: null };

const stream = new Stream({
  state(now) {
    state.connection = now;
    showState(state.connection, state.run, state.system);
  },
  hello(message) {
    state.run = message.run_id;
    showState(state.connection, state.run, state.system);
    list();
  },
  system(message) {
    state.system = message;
    showState(state.connection, state.run, state.system);
  },
});
stream.want("system");

// ------------------------------------------------------------------------------------------- words

function lasting(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, name] of units) if (seconds >= 2 * size) return `${number(seconds / size, seconds < 20 * size ? 1 : 0)} ${name}`;
  return `${number(seconds, seconds > 0 && seconds < 20 ? 1 : 0)} s`;
}

const instant = (iso) => (iso ? iso.slice(0, 19).replace("T", " ") : NONE);
const yes = (value) => ({ true: "yes", false: "no" })[value] ?? NONE;
const length = (run) => (run.epochs > 1 ? `${run.epochs} epochs` : lasting(run.duration_s));
const path = (id) => `/api/runs/${encodeURIComponent(id)}`;

window.algosimCells = {
  ...cells,
  began: (params) => instant(params.value),
  length: (params) => length(params.data),
  gain: (params) => gain(params.value),
  yes: (params) => yes(params.value),
  stateClass: (params) => (params.value === "live" ? "live-run" : ""),
};

// --------------------------------------------------------------------------------------------- list

let grid = null;

async function list() {
  if (!grid || document.hidden) return;
  let found;
  try {
    const response = await fetch("/api/runs");
    if (!response.ok) throw new Error((await response.json()).detail);
    found = await response.json();
  } catch (fault) {
    setText("runs-count", `cannot be listed: ${fault.message}`);
    return;
  }
  const id = state.chosen[0], before = JSON.stringify(known(id));
  state.runs = found.runs.map((run) => ({ ...run, strategies: run.strategies.join(", ") }));
  grid.setGridOption("rowData", state.runs);
  const many = found.folders > found.runs.length && found.runs.length >= 500;
  setText("runs-count", many ? `the ${found.runs.length} that changed last, of ${quantity(found.folders)} folders` : `${found.runs.length}`);
  if (restored && state.chosen.length === 1 && JSON.stringify(known(id)) !== before) facts(id, (state.shown += 1), true);
  restore();
}

const known = (id) => state.runs.find((run) => run.id === id) ?? null;

// What the address says is chosen, once its rows are there.
let restored = false;
function restore() {
  if (restored) return;
  restored = true;
  const wanted = new Set(new URLSearchParams(location.search).getAll("run"));
  const nodes = [];
  grid.forEachNode((node) => wanted.has(node.id) && nodes.push(node));
  if (nodes.length) grid.setNodesSelected({ nodes, newValue: true });
  else choose([]);
  const top = Number(address.get("row", "0"));
  if (top) grid.ensureIndexVisible(Math.min(top, Math.max(0, grid.getDisplayedRowCount() - 1)), "top");
}

mounted(ids.runs, (element) => element.api).then((element) => {
  grid = element.api;
  const box = document.querySelector(".runs-find input");
  const find = (text) => {
    grid.setGridOption("quickFilterText", text);
    address.set("find", text);
  };
  if (address.get("find")) {
    box.value = address.get("find");
    box.dispatchEvent(new Event("input"));
    find(box.value);
  }
  document.querySelector(".runs-find").addEventListener("input", () => find(box.value));
  document.querySelector(".runs-find").addEventListener("click", () => setTimeout(() => box.value !== address.get("find") && find(box.value)));
  const [sorted, how] = address.get("sort").split(" ");
  if (sorted) grid.applyColumnState({ state: [{ colId: sorted, sort: how }] });
  grid.addEventListener("sortChanged", () => {
    const column = grid.getColumnState().find((one) => one.sort);
    address.set("sort", column ? `${column.colId} ${column.sort}` : "");
  });
  grid.addEventListener("bodyScrollEnd", () => address.set("row", grid.getFirstDisplayedRowIndex() || ""));
  grid.addEventListener("selectionChanged", () => choose(grid.getSelectedNodes().map((node) => node.id)));
  grid.addEventListener("rowDoubleClicked", (event) => (location.href = slider(event.data.id)));
  grid.addEventListener("cellKeyDown", (event) => event.event.key === "Enter" && (location.href = slider(event.data.id)));
  list();
});
setInterval(list, LIST_MS);
document.addEventListener("visibilitychange", list);

const slider = (id) => `/runs/${encodeURIComponent(id)}`;

// -------------------------------------------------------------------------------------------- chosen

function choose(chosen) {
  state.chosen = chosen;
  state.shown += 1; // whatever is still being asked for is of no interest any more
  const query = new URLSearchParams(location.search);
  query.delete("run");
  chosen.forEach((id) => query.append("run", id));
  history.replaceState(history.state, "", location.pathname + (query.size ? `?${query}` : ""));
  for (const [name, seen] of [["none", !chosen.length], ["one", chosen.length === 1], ["many", chosen.length > 1]])
    document.getElementById(`runs-${name}`).hidden = !seen;
  document.querySelector("main.runs").classList.toggle("comparing", chosen.length > 1);
  if (chosen.length > 1) compare(chosen, state.shown);
  else if (chosen.length) facts(chosen[0], state.shown);
  else setText("runs-none", state.runs.length ? "Choose a run to see what is known of it, or tick two or more to compare them. A double click opens its time slider."
                                              : "No run yet: start one with `make run`. It appears here by itself.");
}

const wait = () => new Promise((resolve) => setTimeout(resolve, WORK_MS));

async function facts(id, shown, quiet = false) {
  const box = document.getElementById("runs-one");
  if (quiet && box.contains(document.activeElement)) return; // somebody is at its buttons
  if (!quiet) box.replaceChildren(make("div", { className: "muted", textContent: "…" }));
  for (let first = true; ; first = false) {
    const response = await fetch(path(id)).catch(() => null);
    if (state.shown !== shown) return;
    const found = response?.ok ? await response.json() : { problem: response ? (await response.json()).detail : "the dashboard does not answer" };
    if (state.shown !== shown) return;
    if (found.problem) return box.replaceChildren(make("div", { className: "bad", textContent: found.problem }));
    const report = found.jobs.report;
    const working = report && !["done", "failed"].includes(report.state);
    if (first || !working) box.replaceChildren(...told(found));
    setText("report-work", working ? `the report is being written … ${number(report.seconds, 1)} s` : report?.state === "failed" ? `no report: ${report.why}` : "");
    document.getElementById("write-report")?.toggleAttribute("disabled", Boolean(working));
    if (!working) return;
    await wait();
  }
}

function told({ run, files, hidden }) {
  const has = files.some((file) => file.name === "report.html");
  const rows = [
    ["state", run.state], ["began (UTC)", instant(run.started)], ["ended (UTC)", instant(run.ended)], ["event time", length(run)],
    ["records", quantity(run.records)], ["strategies", run.strategies.join(", ") || NONE], ["fills", quantity(run.fills)],
    ["equity", number(run.equity)], ["return", gain(run.gain)], ["tape", run.tape || NONE], ["comparable", yes(run.comparable)], ["on disk", bytes(run.size_bytes)],
  ];
  const lines = rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]);
  const open = [make("a", { className: "cell-button big", href: slider(run.id), textContent: "Time slider" })];
  if (has) open.push(make("a", { className: "cell-button big", href: `${path(run.id)}/report`, target: "_blank", rel: "noopener", textContent: "Open report" }));
  if (ids.mayControl && !hidden)
    open.push(make("button", { id: "write-report", className: "cell-button big", textContent: has ? "Write it again" : "Write report", onclick: () => write(run.id) }));
  const notes = [];
  if (run.problem) notes.push(make("div", { className: "bad", textContent: run.problem }));
  if (run.why_not.length) notes.push(make("h2", { textContent: "Why not comparable" }), make("ul", {}, ...run.why_not.map((why) => make("li", { textContent: why }))));
  const downloads = files.map((file) =>
    make("li", {}, make("a", { href: `${path(run.id)}/files/${file.name}`, download: "", textContent: file.name }), make("span", { className: "number muted", textContent: bytes(file.size_bytes) })));
  return [
    make("h2", {}, make("b", { textContent: run.id })), make("div", { className: "open" }, ...open), make("div", { id: "report-work", className: "muted", role: "status" }),
    make("dl", {}, ...lines), ...notes, make("h2", { textContent: "Download" }),
    downloads.length ? make("ul", { className: "downloads" }, ...downloads) : make("div", { className: "muted", textContent: "it left no files" }),
    ...(hidden ? [make("div", { className: "muted", textContent: "Its seed is hidden, and so are the files that say it." })] : []),
  ];
}

async function write(id) {
  try {
    await post(`${path(id)}/report`, {});
    facts(id, state.shown);
  } catch (fault) {
    say(`no report: ${fault.message}`);
  }
}

// ------------------------------------------------------------------------------------------- compare

let compared = null;
mounted(ids.compared, (element) => element.chart).then((element) => {
  compared = element.chart;
  draw();
});

async function compare(chosen, shown) {
  setText("compare-state", "");
  document.getElementById("compare-table").replaceChildren();
  setText("compare-notes", "");
  state.comparison = null;
  draw();
  if (chosen.length > MOST_COMPARED) return setText("compare-state", `at most ${MOST_COMPARED} at once`);
  const query = new URLSearchParams(chosen.map((id) => ["id", id]));
  for (;;) {
    const response = await fetch(`/api/runs/compare?${query}`).catch(() => null);
    if (state.shown !== shown) return;
    const found = await response?.json().catch(() => null);
    if (state.shown !== shown) return;
    if (!found) return setText("compare-state", "the dashboard does not answer");
    if (response.status === 200) {
      state.comparison = found;
      break;
    }
    if (response.status !== 202) return setText("compare-state", `cannot be compared: ${found.detail}`);
    setText("compare-state", found.state === "waiting" ? "waits for its turn …" : `being worked out … ${number(found.seconds, 1)} s`);
    await wait();
  }
  setText("compare-state", "");
  setText("compare-notes", state.comparison.caveats.join("; "));
  document.getElementById("compare-table").replaceChildren(table(state.comparison));
  draw();
}

function table({ heads, rows }) {
  const head = make("tr", {}, make("th"), ...heads.map((name, at) => make("th", { scope: "col" }, make("i", { className: "swatch", style: `background: ${shade(at)}` }), name)));
  const body = rows.map(([name, ...values]) => make("tr", {}, make("th", { scope: "row", textContent: name }), ...values.map((value) => make("td", { textContent: value }))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

const shade = (at) => color(["accent", "sell", "buy", "muted"][at % 4]);

function draw() {
  if (!compared) return;
  const { heads = [], curves = [] } = state.comparison ?? {};
  const axis = axisStyle();
  compared.resize();
  compared.setOption({
    ...baseStyle(), grid: { top: 8, bottom: 22, left: 8, right: 70 },
    tooltip: { trigger: "axis", renderMode: "richText", ...tooltipStyle(), valueFormatter: (value) => `${number(value, 3)} %` },
    xAxis: { type: "value", ...axis, splitLine: { show: false }, max: "dataMax", axisPointer: { label: { formatter: ({ value }) => lasting(value) } }, axisLabel: { ...axis.axisLabel, formatter: lasting } },
    yAxis: { type: "value", scale: true, position: "right", ...axis, axisLabel: { ...axis.axisLabel, formatter: "{value} %" } },
    series: curves.map((curve, at) => ({ name: heads[at], type: "line", showSymbol: false, animation: false, itemStyle: { color: shade(at) },
      lineStyle: { width: 1.4, color: shade(at), type: at < 4 ? "solid" : "dashed" }, data: curve.seconds.map((second, index) => [second, 100 * (curve.equity[index] / curve.equity[0] - 1)]) })),
  }, { notMerge: true });
}

onTheme(() => {
  draw();
  if (state.comparison) document.getElementById("compare-table").replaceChildren(table(state.comparison));
});
