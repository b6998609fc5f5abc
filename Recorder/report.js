"use strict";
// Shows and hides; every number on the page was worked out before.
const all = (css, root = document) => [...root.querySelectorAll(css)];
const one = (css, root = document) => root.querySelector(css);

for (const views of all(".views")) {
  const select = one("select", views);
  if (select) {
    const show = () => all(":scope > .view", views).forEach((view, k) => { view.hidden = k !== Number(select.value); });
    select.addEventListener("change", show);
    show(); // a reloaded page keeps its selection
  }
}

// A fill's arithmetic, from its row or its mark.
const arithmetic = JSON.parse(one("#arithmetic").textContent);
const panel = one("#worked");
const rows = new Map(all("#fills tbody tr").map((row) => [row.dataset.fill, row]));
const marks = new Map(all(".marks use").map((mark) => [mark.dataset.fill, mark]));
let chosen = null;

const light = (fill, on) => {
  for (const element of [rows.get(fill), marks.get(fill)]) element?.classList.toggle("chosen", on);
};

function choose(fill) {
  if (chosen !== null) light(chosen, false);
  chosen = fill;
  panel.hidden = fill === null;
  if (fill === null) return;
  light(fill, true);
  const [headline, ...lines] = arithmetic[fill];
  one("h3", panel).textContent = headline;
  one("dl", panel).replaceChildren(...lines.flatMap(([name, text]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = text;
    return [dt, dd];
  }));
  panel.scrollTop = 0;
}

function within(row) { // scroll the table, not the page
  const box = row.closest(".scroll"), top = row.offsetTop - one("thead", box).offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  const over = row.offsetTop + row.offsetHeight - box.scrollTop - box.clientHeight;
  if (over > 0) box.scrollTop += over;
}

document.addEventListener("click", (event) => {
  const source = event.target.closest("[data-fill]");
  if (!source) return;
  choose(source.dataset.fill);
  const row = rows.get(source.dataset.fill);
  if (source !== row) within(row);
});
one("#close").addEventListener("click", () => choose(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") choose(null);
  const row = document.activeElement?.closest("#fills tbody tr");
  const next = row && { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (next) {
    event.preventDefault();
    one("button", next).focus({ preventScroll: true });
    within(next);
    if (chosen !== null) choose(next.dataset.fill);
  }
});

// A readout under the pointer: a chart's first line, at the points that were drawn.
const two = (n, digits = 2) => String(n).padStart(digits, "0");
function clock(ms) {
  const t = new Date(ms);
  const day = `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())}`;
  return `${day} ${two(t.getUTCHours())}:${two(t.getUTCMinutes())}:${two(t.getUTCSeconds())}.${two(t.getUTCMilliseconds(), 3)}`;
}

for (const chart of all(".chart")) {
  const data = one("script", chart);
  if (!data) continue;
  const { start, ms, value } = JSON.parse(data.textContent);
  const svg = one("svg", chart), drawn = one("svg > path:not(.area)", svg);
  const xy = drawn.getAttribute("d").match(/[\d.-]+/g).map(Number); // x, y of the same points, in thousandths
  const readout = chart.appendChild(document.createElement("div"));
  readout.className = "readout";
  const hair = svg.appendChild(one("line", svg).cloneNode()), { scale, digits, unit } = chart.dataset;
  hair.setAttribute("class", "hair");
  const show = (on) => { readout.hidden = !on; hair.style.display = on ? "" : "none"; };
  show(false);
  chart.addEventListener("pointerleave", () => show(false));
  chart.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * 1000;
    if (x < 0 || x > 1000) return show(false);
    let low = 0, high = value.length - 1;
    while (low < high) { // the last point not right of the pointer: values hold until the next one
      const middle = (low + high + 1) >> 1;
      if (xy[2 * middle] <= x) low = middle; else high = middle - 1;
    }
    const shown = (value[low] * scale).toLocaleString("en-US", { minimumFractionDigits: Math.min(2, digits), maximumFractionDigits: +digits });
    show(true);
    readout.textContent = `${clock(start + ms[low])} · ${shown} ${unit}`;
    for (const end of ["x1", "x2"]) hair.setAttribute(end, `${xy[2 * low] / 10}%`);
    for (const [end, y] of [["y1", "0"], ["y2", "100%"]]) hair.setAttribute(end, y);
    readout.style.left = `${Math.max(0, Math.min(xy[2 * low] / 1000 * box.width - readout.offsetWidth / 2, chart.clientWidth - readout.offsetWidth))}px`;
  });
}

// What reality cost: a cell lights its curve.
for (const cell of all("[data-curve]")) {
  const curve = one(`.curve${cell.dataset.curve}`, cell.closest("section"));
  for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
    cell.addEventListener(event, () => curve?.classList.toggle("lit", on));
}
