// The one connection of a page to /stream: topics to handlers, again and again after every break.
//
//     const stream = new Stream({ "prices.tick": (message) => … });
//     stream.want("pnl"); stream.want("prices.chart", ["AAPL"]); stream.drop("orders");
//
// A handler is called for each message of its topic; "state" with "open", "lost" or "silent".

const RETRY_MS = 500;
const SILENT_MS = 8000; // a heartbeat comes every 5 s

export class Stream {
  constructor(handlers) {
    this.handlers = handlers;
    this.wanted = new Map();
    this.missedFrames = 0;
    this.connect();
    setInterval(() => this.check(), 1000);
  }

  connect() {
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`);
    this.socket.onopen = () => {
      this.heard = performance.now();
      this.tell("state", "open");
      for (const [topic, symbols] of this.wanted) this.ask("subscribe", topic, symbols);
    };
    this.socket.onmessage = (event) => {
      this.heard = performance.now();
      const message = JSON.parse(event.data);
      if (message.topic === "heartbeat") this.missedFrames = message.missed_frames;
      this.tell(message.topic, message);
    };
    this.socket.onclose = () => {
      this.tell("state", "lost");
      setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  check() {
    if (this.socket.readyState === WebSocket.OPEN && performance.now() - this.heard > SILENT_MS) {
      this.tell("state", "silent");
      this.socket.close(); // a laptop that slept: the other end may be gone without a word
    }
  }

  tell(topic, message) {
    this.handlers[topic]?.(message);
  }

  want(topic, symbols = null) {
    this.wanted.set(topic, symbols);
    this.ask("subscribe", topic, symbols);
  }

  drop(topic) {
    this.wanted.delete(topic);
    this.ask("unsubscribe", topic, null);
  }

  ask(verb, topic, symbols) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ [verb]: [topic], symbols }));
  }
}

// --------------------------------------------------------------------------------- words and numbers

export const NONE = "–";

export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

export function price(value) {
  if (value === null || value === undefined) return NONE;
  return value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) < 10 ? 4 : 2 });
}

export function quantity(value) {
  if (value === null || value === undefined) return NONE;
  return value.toLocaleString("en-US", { maximumFractionDigits: 8 }).replace("-", "−");
}

export function percent(fraction, digits = 2) {
  return fraction === null || fraction === undefined ? NONE : `${number(100 * fraction, digits)} %`;
}

// An event time in ms with a fraction: the date only where it matters, below a second as far as it goes.
export function when(ms, { date = true } = {}) {
  if (!(ms > 0)) return NONE;
  const iso = new Date(Math.floor(ms)).toISOString();
  const micros = Math.round((ms - Math.floor(ms)) * 1000);
  const fraction = iso.slice(20, 23) + (micros ? String(micros).padStart(3, "0") : "");
  const time = iso.slice(11, 19) + (Number(fraction) ? `.${fraction}` : "");
  return date ? `${iso.slice(0, 10)} ${time}` : time;
}

export const fromNs = (ns) => Number(BigInt(ns) / 1000n) / 1000;

export function color(name) {
  return getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
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
