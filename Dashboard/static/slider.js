// A run under a time slider: instants are asked for once, and everything after that happens here.
import { NONE, address, fromNs, make, mounted, number, onTheme, percent, post, price, quantity, setText, showState, when } from "/static/page.js";
import { RunChart, placeFrom } from "/static/run_chart.js";
import { Stream } from "/static/stream.js";

const ids = window.algosim;
await mounted(ids.chart, () => true);
const WORK_MS = 300;
const ADDRESS_MS = 300; // browsers allow an address to change some times a second
const ALL = "all together";
const path = `/api/runs/${encodeURIComponent(ids.run)}`;
const element = (id) => document.getElementById(id);
const state = { connection: "lost", run: "", system: null, found: null, at: 0, symbol: address.get("symbol"), strategy: address.get("strategy") };

const stream = new Stream({
  state: (now) => show({ connection: now }),
  hello: (message) => show({ run: message.run_id }),
  system: (message) => show({ system: message }),
});
stream.want("system");

function show(news) {
  Object.assign(state, news);
  showState(state.connection, state.run, state.system);
}

const chart = new RunChart(ids.chart, element("stage"), element("cursor"), (seq) => {
  pause();
  go(nearest(seq));
});
element("facts").href = `/runs?${new URLSearchParams({ run: ids.run })}`;

// ---------------------------------------------------------------------------------------- asking for it

async function ask(again = false) {
  element("again").disabled = true;
  try {
    await facts();
    if (ids.mayControl && (again || !state.found)) await post(`${path}/instants`, {});
    take(await answer());
    working("");
  } catch (fault) {
    working(fault.message, true);
  }
  element("again").disabled = false;
}

async function facts() {
  const response = await fetch(path);
  if (!response.ok) return;
  const { run } = await response.json();
  state.live = run.state === "live";
  setText("run-state", run.state === "live" ? "live: what is recorded so far" : run.state);
  element("run-state").className = state.live ? "live-run" : "muted";
}

async function answer() {
  for (;;) {
    const response = await fetch(`${path}/instants`);
    const found = await response.json();
    if (response.status === 200) return found;
    if (response.status !== 202) throw new Error(found.detail);
    const share = found.total ? found.done / found.total : 0;
    const far = found.total ? `${percent(share, 0)} of ${quantity(found.total)} records` : `${number(found.seconds, 1)} s`;
    working(found.state === "waiting" ? "Waits for other runs that are being replayed …" : `The run is being replayed: ${far}`, false, share);
    await new Promise((resolve) => setTimeout(resolve, WORK_MS));
  }
}

function working(text, failed = false, share = null) {
  const box = element("work");
  box.replaceChildren(text);
  box.classList.toggle("bad", failed);
  box.hidden = !text;
  if (share !== null) box.append(make("progress", { max: 1, value: share }));
  element("again").hidden = !(failed || state.live) || !ids.mayControl;
}

function take(found) {
  const kept = state.found ? state.found.instants[state.at]?.seq : Number(address.get("at", "0"));
  state.found = found;
  setText("note", found.note);
  if (!found.instants.length) throw new Error("There is nothing on this run's tape.");
  if (!found.symbols.includes(state.symbol)) state.symbol = found.symbols[0] ?? "";
  const names = found.strategies.length > 1 ? [ALL, ...found.strategies] : found.strategies;
  if (!names.includes(state.strategy)) state.strategy = found.strategies.find((name) => traded(name)) ?? names[0] ?? "";
  options("symbol", found.symbols, state.symbol);
  options("strategy", names, state.strategy);
  element("slider").max = found.instants.length - 1;
  for (const id of ["slider", ...Object.keys(buttons)]) element(id).disabled = false;
  chart.show(found, state.symbol, chosen());
  go(kept ? nearest(kept) : state.live ? Infinity : 0);
}

const traded = (name) => state.found.instants.some((one) => Object.keys(one.strategies[state.found.strategies.indexOf(name)]?.positions ?? {}).length);

function options(id, names, chosen) {
  element(id).replaceChildren(...names.map((name) => make("option", { value: name, textContent: name, selected: name === chosen })));
}

const chosen = () => (state.strategy === ALL ? state.found.strategies.map((_, at) => at) : [state.found.strategies.indexOf(state.strategy)].filter((at) => at >= 0));

// ------------------------------------------------------------------------------------------ the instant

function nearest(seq) {
  const instants = state.found.instants;
  const place = placeFrom(instants, seq);
  return place > 0 && seq - instants[place - 1].seq < instants[place].seq - seq ? place - 1 : place;
}

let noting = 0;
function go(at) {
  if (!state.found?.instants.length) return;
  const last = state.found.instants.length - 1;
  state.at = Math.max(0, Math.min(last, at));
  const instant = state.found.instants[state.at];
  element("slider").value = state.at;
  element("slider").setAttribute("aria-valuetext", `record ${instant.seq}, ${when(fromNs(instant.ts))}`);
  setText("place", `${quantity(state.at + 1)} of ${quantity(last + 1)}`);
  chart.point(instant.seq);
  tell(instant);
  noting ||= setTimeout(() => {
    noting = 0;
    address.set("at", state.found.instants[state.at].seq);
  }, ADDRESS_MS);
}

function tell(instant) {
  const { symbols, strategies } = state.found;
  rows("at-time", [["record", quantity(instant.seq)], ["event time", when(fromNs(instant.ts))], ["epoch", quantity(instant.epoch)]]);
  rows("at-market", symbols.map((symbol, at) => [symbol, price(instant.prices[at]), symbol === state.symbol ? "chosen" : ""]));
  const seen = chosen().map((at) => [strategies[at], instant.strategies[at]]).filter(([, one]) => one);
  const one = seen.length === 1 && state.strategy !== ALL ? seen[0][1] : null;
  const sum = (key) => (seen.length ? seen.reduce((total, [, each]) => total + each[key], 0) : null);
  const version = one?.version ? [["version", one.version.slice(0, 8)]] : [];
  rows("at-strategy", [["equity", number(sum("equity"))], ["cash", number(sum("cash"))], ...version]);
  const held = seen.flatMap(([name, each]) => Object.entries(each.positions).map(([symbol, qty]) => [one ? symbol : `${name}: ${symbol}`, quantity(qty)]));
  rows("at-position", held.length ? held : [["flat", ""]]);
  rows("at-indicators", one ? written(one.indicators) : [[state.strategy === ALL ? "choose one strategy" : NONE, ""]]);
  element("at-why").replaceChildren(...why(seen, instant));
}

const written = (indicators) => {
  const found = Object.entries(indicators).map(([name, value]) => [name, Array.isArray(value) ? value.map((part) => price(part)).join("  ") : typeof value === "number" ? price(value) : value === null ? "not warm yet" : String(value)]);
  found.sort(([a], [b]) => b.startsWith(`${state.symbol} `) - a.startsWith(`${state.symbol} `));
  return found.length ? found : [[NONE, ""]];
};

function why(seen, instant) {
  const lines = [];
  for (const [name, one] of seen) {
    const head = state.strategy === ALL ? `${name}: ` : "";
    const latest = one.order_seq >= 0 && one.order_seq >= one.why_seq;
    if (!one.exact) lines.push(`${head}not replayed: only its account is known`);
    else if (latest) lines.push(`${head}it ordered at record ${quantity(one.order_seq)}`);
    else if (one.why_seq >= 0) lines.push(`${head}${one.why}`);
    else lines.push(`${head}it gave no reason`);
    if (one.exact && !latest && one.why_seq >= 0) {
      const since = instant.seq - one.why_seq;
      lines.push(`said at record ${quantity(one.why_seq)}${since ? `, ${quantity(since)} before this` : ""}; ${one.order_seq >= 0 ? `its last order was at ${quantity(one.order_seq)}` : "it has not ordered yet"}`);
    }
  }
  if (!lines.length) lines.push("it has not begun");
  return lines.map((text, at) => make("div", { textContent: text, className: text.startsWith("said at") ? "muted" : "" }));
}

// Names and values in two columns; only what has changed is written.
function rows(id, pairs) {
  const box = element(id);
  if (box.children.length !== pairs.length * 2) box.replaceChildren(...pairs.flatMap(() => [make("span"), make("span")]));
  pairs.forEach(([name, value, mark = ""], at) => {
    for (const [offset, text] of [[0, name], [1, value]]) {
      const cell = box.children[2 * at + offset];
      if (cell.textContent !== text) cell.textContent = text;
      if (cell.className !== mark) cell.className = mark;
    }
  });
}

// --------------------------------------------------------------------------------------------- playing

let timer = 0, reached = 0, before = 0;

function play() {
  if (state.at >= state.found.instants.length - 1) go(0);
  reached = state.at;
  before = performance.now();
  timer = requestAnimationFrame(frame);
  setPlaying(true);
}

function frame(now) {
  reached += (Math.max(0, now - before) / 1000) * Number(element("speed").value);
  before = now;
  if (Math.floor(reached) !== state.at) go(Math.floor(reached));
  if (state.at >= state.found.instants.length - 1) pause();
  else timer = requestAnimationFrame(frame);
}

function pause() {
  cancelAnimationFrame(timer);
  timer = 0;
  setPlaying(false);
}

function setPlaying(on) {
  element("play").firstElementChild.textContent = on ? "pause" : "play_arrow";
  element("play").setAttribute("aria-label", on ? "pause" : "play");
}

const step = (by) => () => {
  pause();
  go(state.at + by);
};
const buttons = { first: step(-Infinity), back: step(-1), play: () => (timer ? pause() : play()), forward: step(1), last: step(Infinity) };
for (const [id, press] of Object.entries(buttons)) element(id).addEventListener("click", press);
element("slider").addEventListener("input", (event) => {
  pause();
  go(Number(event.target.value));
});
element("again").addEventListener("click", () => ask(true));
for (const name of ["symbol", "strategy"])
  element(name).addEventListener("change", (event) => {
    state[name] = event.target.value;
    address.set(name, state[name]);
    chart.show(state.found, state.symbol, chosen());
    go(state.at);
  });
element("speed").value = address.get("speed") || element("speed").value;
element("speed").addEventListener("change", (event) => address.set("speed", event.target.value));

function faster(by) {
  const box = element("speed");
  box.selectedIndex = Math.max(0, Math.min(box.options.length - 1, box.selectedIndex + by));
  address.set("speed", box.value);
}

const keys = { ArrowLeft: (far) => step(far ? -10 : -1)(), ArrowRight: (far) => step(far ? 10 : 1)(), PageUp: step(-50), PageDown: step(50), Home: buttons.first, End: buttons.last,
               " ": buttons.play, "+": () => faster(1), "-": () => faster(-1) };
document.addEventListener("keydown", (event) => {
  const elsewhere = event.target.closest?.("input:not(#slider), textarea, select, a") || (event.key === " " && event.target.closest?.("button"));
  if (!(event.key in keys) || elsewhere || !state.found || event.ctrlKey || event.metaKey || event.altKey) return;
  keys[event.key](event.shiftKey);
  event.preventDefault();
});
onTheme(() => state.found && (chart.show(state.found, state.symbol, chosen()), go(state.at)));
ask();
