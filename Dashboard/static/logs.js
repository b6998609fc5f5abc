// The end of a part's log, asked for again and again while somebody looks: /api/logs/PART?after=PLACE.
import { address, make, setText } from "/static/page.js";

const POLL_MS = 1000;
const KEPT = 600; // lines in the page
const ASKED = 200;

export class LogTail {
  constructor() {
    this.box = document.getElementById("log");
    this.inputs = { log: document.getElementById("log-part"), level: document.getElementById("log-level"), find: document.getElementById("log-text") };
    for (const [name, input] of Object.entries(this.inputs)) {
      const kept = address.get(name);
      if (kept && (input.tagName !== "SELECT" || [...input.options].some((option) => option.value === kept))) input.value = kept;
      input.addEventListener("input", () => {
        const usual = input.tagName === "SELECT" ? input.options[0].value : "";
        address.set(name, input.value === usual ? "" : input.value);
        this.begin();
      });
    }
    this.button = document.getElementById("log-follow");
    this.button.addEventListener("click", () => this.follow(!this.following));
    this.box.addEventListener("wheel", () => this.look(), { passive: true });
    this.box.addEventListener("keyup", () => this.look());
    this.box.addEventListener("touchmove", () => this.look(), { passive: true });
    new ResizeObserver(() => this.following && this.toEnd()).observe(this.box);
    this.turn = 0;
    this.follow(true);
    this.poll();
  }

  // Who scrolls up wants to read: the lines stay. At the end it goes on.
  look() {
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 24;
    if (atEnd !== this.following) this.follow(atEnd, false);
  }

  follow(on, anew = true) {
    this.following = on;
    this.button.setAttribute("aria-pressed", String(on));
    if (on && anew) this.begin();
    if (!on) setText("log-note", "standing still");
  }

  begin() {
    this.after = "";
    this.turn += 1;
    this.ask();
  }

  async poll() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (this.following && !document.hidden) await this.ask();
    }
  }

  async ask() {
    const turn = this.turn, first = !this.after;
    const query = new URLSearchParams({ level: this.inputs.level.value, text: this.inputs.find.value, count: ASKED, after: this.after });
    let tail;
    try {
      const response = await fetch(`/api/logs/${this.inputs.log.value}?${query}`);
      if (!response.ok) throw new Error(response.statusText);
      tail = await response.json();
    } catch (fault) {
      if (turn === this.turn) setText("log-note", `not read: ${fault.message}; tried again`);
      return;
    }
    if (turn !== this.turn) return; // something else is wanted meanwhile
    this.after = tail.at;
    if (first) this.box.replaceChildren();
    this.add(tail.lines, tail.skipped);
    setText("log-note", this.following ? `every second${tail.skipped ? "; some lines were too many to show" : ""}` : "standing still");
  }

  add(lines, skipped) {
    const rows = lines.map(row);
    if (skipped) rows.unshift(row({ time: "", level: "INFO", text: `… ${skipped.toLocaleString("en-US")} bytes passed over …` }));
    if (rows.length) this.box.querySelector(".empty")?.remove();
    this.box.append(...rows);
    while (this.box.childElementCount > KEPT) this.box.firstElementChild.remove();
    if (!this.box.childElementCount) this.box.append(make("div", { className: "empty", textContent: this.nothing() }));
    if (this.following && rows.length) this.toEnd();
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  nothing() {
    const { log, level, find } = this.inputs;
    if (!this.after) return `There is no ${log.value}.log yet: it begins with its part's first line.`;
    if (find.value || level.value !== "DEBUG") return `No such line near the end of ${log.value}.log (its last megabyte). Lines that come appear here.`;
    return `Nothing in ${log.value}.log yet. Lines that come appear here.`;
  }
}

function row(line) {
  const level = line.level.toLowerCase();
  return make("div", { className: `line ${level}` },
    make("span", { className: "time", textContent: line.time.slice(11), title: line.time }),
    make("span", { className: "level", textContent: line.time ? level : "" }),
    make("span", { className: "text", textContent: line.text }));
}
