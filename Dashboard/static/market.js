// The market table: every symbol's last price, change, rate, sentiment and age; only what is in sight is painted often.
import { NONE, address, cells, color, mounted, number, price, quantity } from "/static/page.js";

const ALL_MS = 1000; // rows out of sight are brought up to date so often, so that sorting is right
const STALE_S = 5;
const POINTS = 40; // of a sparkline, one a second

export class MarketTable {
  constructor(id, onChoose) {
    this.rows = new Map();
    this.dirty = new Set();
    this.visible = false;
    this.painted = 0;
    mounted(id, (element) => element.api).then((element) => {
      this.api = element.api;
      this.api.updateGridOptions({ rowData: [...this.rows.values()] });
      this.api.addEventListener("rowClicked", (event) => onChoose(event.data.symbol));
      this.api.addEventListener("cellKeyDown", ({ event, data }) => event.key === "Enter" && onChoose(data.symbol));
      this.restore();
    });
    this.onChoose = onChoose;
    setInterval(() => this.second(), ALL_MS);
  }

  restore() {
    const box = document.querySelector(".market-filter input");
    const filter = address.get("find");
    if (box) {
      box.value = filter;
      box.addEventListener("input", () => this.find(box.value));
      box.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        const first = this.api.getDisplayedRowAtIndex(0);
        if (first) this.onChoose(first.data.symbol);
      });
    }
    if (filter) this.find(filter);
    const [column, sort] = address.get("sort", "symbol asc").split(" ");
    this.api.applyColumnState({ state: [{ colId: column, sort }], defaultState: { sort: null } });
    this.api.addEventListener("sortChanged", () => {
      const sorted = this.api.getColumnState().find((one) => one.sort);
      address.set("sort", sorted ? `${sorted.colId} ${sorted.sort}` : "");
    });
    const top = Number(address.get("row", "0"));
    if (top) setTimeout(() => this.api.ensureIndexVisible(Math.min(top, Math.max(0, this.api.getDisplayedRowCount() - 1)), "top"), 300);
    this.api.addEventListener("bodyScrollEnd", () => address.set("row", this.api.getFirstDisplayedRowIndex() || ""));
  }

  find(text) {
    this.api?.setGridOption("quickFilterText", text);
    address.set("find", text);
  }

  clear() {
    this.rows.clear();
    this.dirty.clear();
    this.api?.setGridOption("rowData", []);
  }

  last(symbol) {
    return this.rows.get(symbol)?.last ?? null;
  }

  take(rows) {
    const now = Date.now();
    const fresh = [];
    for (const [symbol, last, change, rate, sentiment, ticked] of rows) {
      const row = this.rows.get(symbol);
      if (row) {
        if (row.last !== last) row.direction = Math.sign(last - row.last);
        if (row.ticked !== ticked) row.moved = now;
        Object.assign(row, { last, change, rate, sentiment, ticked });
        this.dirty.add(row);
      } else {
        const made = { symbol, last, change, rate, sentiment, ticked, moved: rate > 0 ? now : null, direction: 0, age: 0, spark: [] };
        this.rows.set(symbol, made);
        fresh.push(made);
      }
    }
    if (!this.api) return;
    if (fresh.length) this.api.applyTransactionAsync({ add: fresh });
    if (this.visible) this.paint();
  }

  // Ten times a second: rows that are in sight and have changed.
  paint() {
    const update = [];
    for (const node of this.api.getRenderedNodes()) if (this.dirty.has(node.data)) update.push(node.data);
    if (update.length) {
      for (const row of update) this.dirty.delete(row);
      this.api.applyTransactionAsync({ update });
      this.painted += 1;
    }
  }

  // Once a second: all of them. What has not moved meanwhile is not tinted any more.
  second() {
    const now = Date.now();
    const resting = [];
    for (const row of this.rows.values()) {
      if (row.direction && now - row.moved >= ALL_MS) {
        row.direction = 0;
        const node = this.api?.getRowNode(row.symbol);
        if (node) resting.push(node);
      }
      row.spark.push(row.last);
      if (row.spark.length > POINTS) row.spark.shift();
      const age = row.moved === null ? Infinity : Math.floor((now - row.moved) / 1000); // null: no tick was seen here
      if (age !== row.age) {
        row.age = age;
        this.dirty.add(row);
      }
    }
    if (this.visible) this.refresh();
    if (resting.length) this.api.refreshCells({ rowNodes: resting, columns: ["last"], force: true });
  }

  refresh() {
    if (!this.api || !this.dirty.size) return;
    this.api.applyTransactionAsync({ update: [...this.dirty] });
    this.dirty.clear();
  }
}

// What the columns say: named here, for the grid's definition on the server is data only.
window.algosimCells = {
  ...cells,
  price: (params) => price(params.value),
  percent: (params) => (params.value === null || params.value === undefined ? NONE : `${params.value >= 0 ? "+" : "−"}${number(Math.abs(params.value))} %`),
  rate: (params) => (params.value === null || params.value === undefined ? NONE : number(params.value, params.value < 10 ? 1 : 0)),
  cost: (params) => number(params.value, 4),
  age: (params) => (params.value === Infinity ? "quiet" : params.value >= STALE_S ? `${quantity(params.value)} s` : ""),
  side: (params) => (params.value === "BUY" ? "▲ BUY" : "▼ SELL"),
  sideClass: (params) => (params.value === "BUY" ? "buy" : "sell"),
  tint: { up: (params) => params.data.direction > 0, down: (params) => params.data.direction < 0 },
  spark(params) {
    const values = (params.data.spark ?? []).filter((value) => value !== null);
    if (values.length < 2) return "";
    const low = Math.min(...values), span = Math.max(...values) - low || 1;
    const points = values.map((value, index) => `${(index * 60) / (values.length - 1)},${18 - (16 * (value - low)) / span}`).join(" ");
    return `<svg width="60" height="20" aria-hidden="true"><polyline points="${points}" fill="none" stroke="${color("muted")}" stroke-width="1.2"/></svg>`;
  },
};
