// What the script of every page needs: words for numbers, its elements, its address, its header.

export const NONE = "–";

export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

export const price = (value) => number(value, Math.abs(value) < 10 ? 4 : 2);

export function quantity(value) {
  if (value === null || value === undefined) return NONE;
  return value.toLocaleString("en-US", { maximumFractionDigits: 8 }).replace("-", "−");
}

export function percent(fraction, digits = 2) {
  return fraction === null || fraction === undefined ? NONE : `${number(100 * fraction, digits)} %`;
}

// A percentage with its sign, also where it is a gain.
export function gain(fraction, digits = 3) {
  return fraction === null || fraction === undefined ? NONE : `${fraction >= 0 ? "+" : "−"}${percent(Math.abs(fraction), digits)}`;
}

// What a lane has gained on what it began with, as a fraction.
export const growth = (lane) => (lane.initial > 0 ? lane.equity / lane.initial - 1 : null);

export function bytes(size) {
  if (size < 1e3) return `${quantity(size)} B`;
  const [value, unit] = size >= 1e9 ? [size / 1e9, "GB"] : size >= 1e6 ? [size / 1e6, "MB"] : [size / 1e3, "kB"];
  return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
}

// An event time in ms with a fraction: below a second as far as it goes.
export function when(ms) {
  if (!(ms > 0)) return NONE;
  const iso = new Date(Math.floor(ms)).toISOString();
  const micros = Math.round((ms - Math.floor(ms)) * 1000);
  const fraction = iso.slice(20, 23) + (micros ? String(micros).padStart(3, "0") : "");
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${Number(fraction) ? `.${fraction}` : ""}`;
}

export const fromNs = (ns) => Number(BigInt(ns) / 1000n) / 1000;

// Cells of a grid that several pages have; its definition on the server names them.
export const cells = {
  whole: (params) => quantity(params.value),
  money: (params) => number(params.value),
  signClass: (params) => (params.value > 0 ? "num buy" : params.value < 0 ? "num sell" : "num"),
};

// ------------------------------------------------------------------------------------------ elements

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function color(name) {
  return getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
}

// Whenever it is made light or dark.
export function onTheme(redraw) {
  new MutationObserver(redraw).observe(document.body, { attributeFilter: ["class"] });
}

export function setText(id, text) {
  const element = document.getElementById(id);
  if (element && element.textContent !== text) element.textContent = text;
  return element;
}

// NiceGUI's elements exist once the page has mounted; before that getElement throws.
export async function mounted(id, ready) {
  for (;;) {
    try {
      const element = getElement(id);
      if (element && ready(element)) return element;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof ReferenceError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// ------------------------------------------------------------------------------- server, address, header

export async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) throw new Error(answer.detail ?? response.statusText);
  return answer;
}

export function say(text, good = false) {
  Quasar.Notify.create({ message: text, color: good ? "positive" : "negative", position: "bottom-right", timeout: 4000 });
}

// What a page keeps in its address, so that a reload brings it back.
export const address = {
  get: (name, otherwise = "") => new URLSearchParams(location.search).get(name) ?? otherwise,
  set(name, value) {
    const query = new URLSearchParams(location.search);
    if (value === "" || value === null || value === undefined) query.delete(name);
    else query.set(name, value);
    const text = query.toString();
    history.replaceState(history.state, "", location.pathname + (text ? `?${text}` : ""));
  },
};

// The header of every page: which run, whether it lives, its event time.
export function showState(state, run, system) {
  const dot = document.getElementById("dot");
  const notice = document.getElementById("notice");
  const parts = Object.entries(system?.parts ?? {});
  const down = parts.filter(([, part]) => !["ready", "waiting"].includes(part.state)).map(([name, part]) => `${name} is ${part.state}`);
  let text = "";
  if (state !== "open") text = "The dashboard does not answer. Is main.py running? This page connects again by itself.";
  else if (!run) text = "No run is going on: start one with `make run`. This page begins by itself.";
  else if (system && !system.live) text = "main.py has gone silent: what you see is the last there was. Start it again with `make run`.";
  else if (down.length) text = `${down.join(", ")}: it is started again by itself; prices and orders go on when it is back.`;
  dot.className = `dot ${text ? "off" : "on"}`;
  notice.textContent = text;
  notice.classList.toggle("shown", Boolean(text));
  setText("run", run ? `run ${run}` : "no run");
}
