// Whether the market plays, and how fast: above the buttons that steer it.
import { quantity, setText } from "/static/page.js";

let before = null; // the Gateway's ticks in the last status, for the rate

export function showMarket(gateway) {
  setText("market-state", gateway.ended ? "ended" : gateway.paused ? "paused" : gateway.state === "ready" ? "playing" : gateway.state ?? "");
  const { ticks, status_at_s: at } = gateway; // a status may be told twice: its rate is the one before
  if (before && at === before.at) return;
  if (before && ticks >= before.ticks && at > before.at)
    setText("rate", `${quantity(Math.round((ticks - before.ticks) / (at - before.at)))} ticks/s`);
  before = ticks === undefined ? null : { ticks, at };
}
