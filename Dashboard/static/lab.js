// The Lab page: the market's values as they are, the strategies' states, the leaderboard, and what happens to a part that is killed.
import { dress } from "/static/editor.js";
import { showMarket } from "/static/market_state.js";
import { NONE, address, gain, growth, make, mounted, number, percent, post, quantity, say, setText, showState } from "/static/page.js";
import { Stream } from "/static/stream.js";

const REASONS = 8; // for no trade
const LINES = 40; // of what happened
const ids = window.algosim;
await mounted(ids.editor, () => true); // the page's elements are there now
const state = { connection: "lost", run: "", system: null, strategies: [], lanes: [], ranking: [], file: ids.file, costsOf: "all" };
const awaited = new Map(); // of each part that was killed here: the restarts it had

const stream = new Stream({
  state(now) {
    state.connection = now;
    refreshState();
  },
  hello(message) {
    state.run = message.run_id;
    awaited.clear();
    refreshState();
    refreshExports();
  },
  pnl(message) {
    state.lanes = message.lanes;
    state.ranking = message.ranking;
    refreshLeaders();
    refreshCosts();
  },
  strategies(message) {
    state.strategies = message.strategies;
    refreshStrategy();
  },
  system(message) {
    state.system = message;
    refreshState();
    refreshMarket();
    refreshParts();
  },
});
for (const topic of ["pnl", "strategies", "system"]) stream.want(topic);
window.algosimLab = { // for the page's own forms
  file(shown) {
    state.file = shown;
    address.set("file", shown.name);
    refreshStrategy();
    refreshLeaders();
  },
  edited(on) {
    state.edited = on;
    setText("editor-note", on ? "not saved" : "");
  },
  costsOf(strategy) {
    state.costsOf = strategy;
    refreshCosts();
  },
};
mounted(ids.editor, (element) => element.editor).then(dress);

// -------------------------------------------------------------------------------------- market and costs

function refreshState() {
  showState(state.connection, state.run, state.system);
}

function refreshMarket() {
  const gateway = state.system.parts?.gateway ?? {};
  showMarket(gateway);
  const market = gateway.market ?? {};
  for (const [name, value] of Object.entries(market.model ?? {})) if (typeof value === "number") setText(`model-${name}`, quantity(value));
  if (market.mode) setText("arrivals", market.mode === "fixed" ? `every ${quantity(market.dt_ms)} ms` : `random, ${quantity(market.dt_ms)} ms on average`);
}

// Of one strategy; of all where they differ: the values that there are.
function refreshCosts() {
  const lanes = state.lanes.filter((lane) => lane.costs && (state.costsOf === "all" || lane.strategy_id === state.costsOf));
  for (const name of ["slippage_bps", "commission_bps", "commission_fixed", "latency_ms"]) {
    const values = [...new Set(lanes.map((lane) => lane.costs[name]))].sort((a, b) => a - b);
    if (values.length) setText(`costs-${name}`, values.length > 2 ? `${quantity(values[0])} … ${quantity(values.at(-1))}` : values.map(quantity).join(" | "));
  }
}

// ------------------------------------------------------------------------------------------- strategies

function refreshStrategy() {
  const shown = state.strategies.filter((one) => state.file.runs.includes(one.strategy));
  const states = shown.map((one) => {
    const counts = [`${quantity(one.reloads)} reloads`, one.restarts ? `${quantity(one.restarts)} restarts` : "", one.errors ? `${quantity(one.errors)} errors` : ""];
    return [`${one.strategy}: ${one.state}`, one.version ? `version ${one.version.slice(0, 8)}` : "", ...counts].filter(Boolean).join(", ");
  });
  if (!state.file.runs.length) states.push(`${state.file.name || "this file"} does not run: Strategy.strategies of the configuration names those that do`);
  setText("strategy-state", states.join(" · "));
  const errors = shown.map((one) => one.error || one.last_error).filter(Boolean);
  setText("strategy-error", [...new Set(errors)].join(" · ").slice(0, 600));
  refreshWhy(shown);
}

function refreshWhy(shown) {
  const counts = new Map();
  for (const one of shown) for (const [reason, count] of Object.entries(one.why ?? {})) counts.set(reason, (counts.get(reason) ?? 0) + count);
  const reasons = [...counts].sort((a, b) => b[1] - a[1]).slice(0, REASONS);
  const box = document.getElementById("why");
  const orders = shown.reduce((sum, one) => sum + (one.orders ?? 0), 0);
  if (!reasons.length) box.textContent = orders ? `no reason given; ${quantity(orders)} orders so far` : shown.length ? "no reason given" : NONE;
  else box.replaceChildren(...reasons.flatMap(([reason, count]) => [reason, quantity(count)]).map((textContent) => make("span", { textContent })));
}

function refreshLeaders() {
  const lanes = new Map(state.lanes.map((lane) => [lane.strategy_id, lane]));
  const gains = state.ranking.map((strategy) => growth(lanes.get(strategy)));
  const table = state.ranking.map((strategy, place) => {
    const lane = lanes.get(strategy);
    return [String(place + 1), strategy, gain(gains[place]), percent(lane.drawdown, 3), number(lane.sharpe, 1), quantity(lane.trades)];
  });
  const now = JSON.stringify([table, state.file.runs]);
  if (now === state.leaders) return;
  state.leaders = now;
  const rows = table.map((cells, place) => {
    const classes = ["num", "", gains[place] === null ? "num" : gains[place] >= 0 ? "num buy" : "num sell", "num", "num", "num"];
    return make("tr", { className: state.file.runs.includes(cells[1]) ? "chosen" : "" }, ...cells.map((textContent, at) => make("td", { textContent, className: classes[at] })));
  });
  document.querySelector("#leaders tbody").replaceChildren(...rows);
  document.getElementById("leaders-empty").hidden = rows.length > 0;
}

// ------------------------------------------------------------------------------------------------ chaos

function refreshParts() {
  for (const row of document.querySelectorAll("[data-part]")) {
    const name = row.dataset.part;
    const part = state.system.parts?.[name];
    row.querySelector(".state").textContent = part?.state ?? "not started";
    row.querySelector(".restarts").textContent = part ? quantity(part.restarts) : NONE;
    row.querySelector(".outage").textContent = seconds(part?.outage_s);
    row.classList.toggle("ready", part?.state === "ready");
    row.classList.toggle("bad", Boolean(part) && part.state !== "ready");
    row.querySelector("button").disabled = !part;
    follow(name, part);
  }
}

const seconds = (value) => (value === null || value === undefined ? NONE : `${number(value)} s`);

// A part that was killed here: say when it is back, and how long it was gone.
function follow(name, part) {
  const restarts = awaited.get(name);
  if (restarts === undefined || !part || part.restarts <= restarts || part.state !== "ready") return;
  awaited.delete(name);
  happened(`${name} is ready again: it was gone for ${seconds(part.outage_s)}, restart ${quantity(part.restarts)}`);
}

function happened(text) {
  const box = document.getElementById("happened");
  box.querySelector(":scope > .muted")?.remove(); // the invitation
  const time = new Date().toLocaleTimeString([], { hour12: false });
  box.prepend(make("div", {}, make("span", { textContent: time, className: "muted number" }), make("span", { textContent: text })));
  while (box.children.length > LINES) box.lastChild.remove();
}

async function kill(part) {
  awaited.set(part, state.system?.parts?.[part]?.restarts ?? 0);
  try {
    await post(`/api/parts/${part}/kill`, {});
    happened(`${part} killed`);
  } catch (fault) {
    awaited.delete(part);
    say(`not killed: ${fault.message}`);
  }
}

async function dropFeed() {
  const gaps = state.system?.parts?.orderbook?.gaps;
  try {
    const answer = await post("/api/control", { action: "drop_feed" });
    happened(`feed dropped at record ${quantity(answer.seq)}: the OrderBook connects again at once; what went by meanwhile is a GAP (${quantity(gaps)} before)`);
  } catch (fault) {
    say(`not dropped: ${fault.message}`);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-kill]");
  if (button) kill(button.dataset.kill);
  if (event.target.closest("#drop-feed")) dropFeed();
});

window.addEventListener("beforeunload", (event) => state.edited && event.preventDefault());

// ----------------------------------------------------------------------------------------------- export

function refreshExports() {
  for (const link of document.querySelectorAll("[data-export]")) {
    if (state.run) link.href = `/api/runs/${encodeURIComponent(state.run)}/files/${link.dataset.export}`;
    else link.removeAttribute("href");
  }
}
