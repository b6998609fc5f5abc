// Whether the market plays, and how fast: above the buttons that steer it.
import { quantity, setText } from "/static/page.js";

let before = null; // the Gateway's ticks in the last status, for the rate

export function showMarket(gateway) {
  setText("market-state", gateway.ended ? "ended" : gateway.paused ? "paused" : gateway.state === "ready" ? "playing" : gateway.state ?? "");
  const { ticks, uptime_s: uptime } = gateway;
  if (before && ticks >= before.ticks && uptime > before.uptime)
    setText("rate", `${quantity(Math.round((ticks - before.ticks) / (uptime - before.uptime)))} ticks/s`);
  before = ticks === undefined ? null : { ticks, uptime };
}
