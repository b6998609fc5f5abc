// The Live page: whatever moves on it comes over /stream and is applied here. NiceGUI has made the elements.
import { PriceChart, CurveCharts } from "/static/charts.js";
import { MarketTable } from "/static/market.js";
import { showMarket } from "/static/market_state.js";
import { NONE, address, fromNs, gain, growth, make, mounted, number, onTheme, percent, post, quantity, say, setText, showState, when } from "/static/page.js";
import { Stream } from "/static/stream.js";

const MOST_TRADES = 300;
const ids = window.algosim;
await mounted(ids.price, () => true); // the page's elements are there now
const state = { symbol: address.get("symbol"), strategy: address.get("strategy"), connection: "lost", run: "", system: null,
                money: null, strategies: [], fills: [], failing: new Map() };
if (!ids.strategies.includes(state.strategy)) state.strategy = ""; // the address may be of another run
const charts = { price: new PriceChart(ids.price), curves: new CurveCharts(ids.equity, ids.drawdown, ids.returns) };
const market = new MarketTable(ids.market, (symbol) => choose(symbol));
const grids = {};
let trades = []; // rows of the table, the newest first

const stream = new Stream({
  state(now) {
    state.connection = now;
    refreshState();
  },
  hello(message) {
    state.run = message.run_id;
    state.fills = [];
    charts.price.clear();
    charts.curves.clear();
    market.clear();
    allTrades();
    refreshState();
  },
  "prices.tick"(message) {
    market.take(message.rows);
    state.clock = fromNs(message.ts);
    setText("clock", when(state.clock));
    const whole = message.since === 0 && message.rows.length > 0;
    if (whole && state.symbol && !message.rows.some(([symbol]) => symbol === state.symbol)) {
      say(`${state.symbol} is not in this market`);
      state.symbol = "";
    }
    if (!state.symbol && message.rows.length) choose(busiest(message.rows));
  },
  "prices.chart"(message) {
    if (message.symbol !== state.symbol) return;
    if (message.begin && charts.price.epoch !== message.epoch) stream.want("news"); // time has begun again: its news, too
    charts.price.take(message);
  },
  news(message) {
    charts.price.takeNews(message.events);
  },
  indicators(message) {
    charts.price.takeIndicators(message);
  },
  fills(message) {
    state.fills.push(...message.events);
    if (state.fills.length > 4000) state.fills.splice(0, state.fills.length - 4000);
    charts.price.takeFills(message.events);
    addTrades(message.events);
  },
  pnl(message) {
    state.money = message;
    charts.curves.take(message);
    refreshMoney();
  },
  strategies(message) {
    state.strategies = message.strategies;
    message.strategies.forEach(lookForErrors);
    refreshWhy();
  },
  system(message) {
    state.system = message;
    refreshState();
    showMarket(message.parts.gateway ?? {});
  },
});
for (const topic of ["prices.tick", "news", "fills", "pnl", "indicators", "strategies", "system"]) stream.want(topic);
if (state.symbol) choose(state.symbol);
window.algosimLive = { charts, market, chooseStrategy }; // for the page's own forms, and who measures it

// ------------------------------------------------------------------------------------------ choosing

function busiest(rows) {
  return rows.reduce((best, row) => (row[3] > best[3] ? row : best))[0];
}

function choose(symbol) {
  state.symbol = symbol;
  address.set("symbol", symbol);
  setText("chart-symbol", symbol);
  charts.price.show(symbol);
  stream.want("prices.chart", [symbol]);
  const ticket = document.querySelector(".ticket-symbol input");
  if (ticket && !ticket.matches(":focus")) {
    ticket.value = symbol;
    ticket.dispatchEvent(new Event("input"));
  }
}

function chooseStrategy(strategy) {
  state.strategy = strategy === "all" ? "" : strategy;
  address.set("strategy", state.strategy);
  charts.price.filter(state.strategy);
  charts.curves.filter(state.strategy || "total");
  if (state.money) refreshMoney();
  refreshWhy();
  allTrades();
}

const shown = (rows) => (state.strategy ? rows.filter((row) => row.strategy === state.strategy) : rows);

// ---------------------------------------------------------------------------------------- the numbers

function refreshState() {
  showState(state.connection, state.run, state.system);
}

function refreshMoney() {
  const lane = state.strategy ? state.money.lanes.find((one) => one.strategy_id === state.strategy) : state.money.total;
  if (!lane) return;
  charts.price.money(lane.epoch, lane.positions ?? {});
  kpi("equity", number(lane.equity), gain(growth(lane)));
  kpi("realized", signed(lane.realized));
  kpi("unrealized", signed(lane.unrealized));
  kpi("drawdown", percent(lane.drawdown, 3));
  kpi("sharpe", number(lane.sharpe, 1), "a year");
  kpi("exposure", percent(lane.exposure, 1));
  kpi("wins", lane.trades ? percent(lane.wins / lane.trades, 1) : NONE, lane.trades ? `${quantity(lane.wins)} of ${quantity(lane.trades)}` : "");
  kpi("trades", lane.trades === undefined || lane.trades === null ? NONE : quantity(lane.trades), `cost ${number(lane.commission)}`);
  setText("killed", lane.killed ? `killed: ${lane.killed}` : "");
  const open = shown(state.money.open);
  setText("open-count", open.length ? quantity(state.strategy ? open.length : state.money.open_count) : "");
  replaceRows(grids.open, open.map(openRow));
  replaceRows(grids.positions, positionRows());
}

const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));

function kpi(name, value, note = "") {
  setText(`kpi-${name}`, value);
  setText(`kpi-${name}-note`, note);
}

// Whether a strategy has raised since its counts were others; at the first look, whether it ever has.
function lookForErrors({ strategy, ticks, errors }) {
  const known = state.failing.get(strategy) ?? { errors: 0 };
  if (ticks !== known.ticks || errors !== known.errors) state.failing.set(strategy, { ticks, errors, fails: errors > known.errors });
}

function refreshWhy() {
  const one = state.strategies.find((each) => each.strategy === state.strategy) ?? state.strategies[0];
  const box = document.getElementById("why");
  if (!box || !one) return;
  const reasons = Object.entries(one.why ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 4);
  const error = one.error || one.last_error;
  if (error && state.failing.get(one.strategy)?.fails) reasons.unshift(["it fails: exceptions", one.errors]);
  const lines = reasons.flatMap(([reason, count]) => [reason, quantity(count)]);
  box.replaceChildren(...lines.map((textContent) => make("span", { textContent })));
  if (!lines.length) box.textContent = one.orders ? "it trades" : "no reason given";
  setText("strategy-state", `${one.strategy}: ${one.state}${one.version ? `, version ${one.version.slice(0, 8)}` : ""}`);
  setText("strategy-error", error ? error.split("\n").slice(-1)[0].slice(0, 160) : "");
}

// ------------------------------------------------------------------------------------------ the tables

const tradeRow = (fill) => ({
  key: `${fill.strategy} ${fill.exec}`, time: when(fromNs(fill.ts)), strategy: fill.strategy, side: fill.side,
  qty: fill.qty, symbol: fill.symbol, price: fill.price, commission: fill.commission, tag: fill.tag });
const openRow = (order) => ({ key: `${order.strategy} ${order.id}`, time: when(fromNs(order.ts)), strategy: order.strategy, id: order.id,
  side: order.side, qty: order.leaves || order.qty, symbol: order.symbol, type: order.type, limit: order.limit ?? order.stop, status: order.status });

function positionRows() {
  const rows = [];
  for (const lane of [...state.money.lanes, { ...state.money.total, strategy_id: "total" }]) {
    if (state.strategy && lane.strategy_id !== state.strategy) continue;
    for (const [symbol, qty] of Object.entries(lane.positions ?? {}))
      rows.push({ key: `${lane.strategy_id} ${symbol}`, strategy: lane.strategy_id, symbol, qty, average: lane.average_prices?.[symbol] ?? null,
                  last: market.last(symbol), unrealized: lane.unrealized_by_symbol?.[symbol] ?? null });
  }
  return rows;
}

function addTrades(fills) {
  const add = shown(fills).slice(-MOST_TRADES).map(tradeRow).reverse();
  trades.unshift(...add);
  const remove = trades.splice(MOST_TRADES);
  if (add.length) grids.trades?.applyTransaction({ add: add.filter((row) => !remove.includes(row)), addIndex: 0, remove: remove.filter((row) => !add.includes(row)) });
}

function allTrades() {
  trades = shown(state.fills).slice(-MOST_TRADES).map(tradeRow).reverse();
  setRows(grids.trades, trades);
}

function setRows(api, rows) {
  api?.setGridOption("rowData", rows);
}

// Rows by key: the grid changes only what differs, and at once: the next message must not add a row again.
function replaceRows(api, rows) {
  if (!api) return;
  const present = new Set();
  const add = [], update = [], remove = [];
  for (const row of rows) {
    present.add(row.key);
    const node = api.getRowNode(row.key);
    if (!node) add.push(row);
    else if (JSON.stringify(node.data) !== JSON.stringify(row)) update.push(row);
  }
  api.forEachNode((node) => present.has(node.id) || remove.push(node.data));
  if (add.length + update.length + remove.length) api.applyTransaction({ add, update, remove });
}

async function cancel(order) {
  try {
    await post("/api/control", { action: "cancel", strategy: order.strategy, client_order_id: order.id });
    say(`cancel of ${order.id} sent`, true);
  } catch (fault) {
    say(`not cancelled: ${fault.message}`);
  }
}

for (const name of ["trades", "open", "positions"]) {
  mounted(ids[name], (element) => element.api).then((element) => {
    grids[name] = element.api;
    if (name === "trades") allTrades();
    else if (state.money) refreshMoney();
    if (name !== "open" || !ids.mayControl) return;
    const onCancel = (event) => event.colDef.field === "cancel" && cancel(event.data);
    element.api.addEventListener("cellClicked", onCancel);
    element.api.addEventListener("cellKeyDown", (event) => event.event.key === "Enter" && onCancel(event));
  });
}

// ------------------------------------------------------------------------------------ drawers and keys

const drawers = { market: document.getElementById("market-drawer"), ticket: document.getElementById("ticket-drawer") };

function toggle(name, open = !drawers[name]?.classList.contains("open")) {
  for (const [other, element] of Object.entries(drawers)) element?.classList.toggle("open", other === name && open);
  address.set("drawer", open ? name : "");
  if (open) (drawers[name].querySelector("input") ?? drawers[name]).focus();
  market.visible = open && name === "market";
  if (market.visible) market.refresh();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-drawer]");
  if (button) toggle(button.dataset.drawer);
  if (event.target.closest("#follow")) charts.price.follow(true);
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, .cm-editor") || event.ctrlKey || event.metaKey || event.altKey) {
    if (event.key === "Escape") event.target.blur?.();
    return;
  }
  if (event.key === "m") toggle("market");
  else if (event.key === "t" && drawers.ticket) toggle("ticket");
  else if (event.key === "f") charts.price.follow(true);
  else if (event.key === "Escape") Object.keys(drawers).forEach((name) => drawers[name] && toggle(name, false));
  else return;
  event.preventDefault();
});
if (address.get("drawer") in drawers) toggle(address.get("drawer"), true);
if (state.strategy) chooseStrategy(state.strategy);
onTheme(() => Object.values(charts).forEach((chart) => chart.restyle()));
