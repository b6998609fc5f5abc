// What every chart has: the page's colours, and as many paints a second as somebody can see.
import { color } from "/static/page.js";

const PAINT_MS = 200;

// `paint` is called when something has changed and `ready()`; `styled` is false again when the colours are others.
export class Painter {
  constructor(periodMs = PAINT_MS) {
    this.dirty = false;
    this.paints = 0;
    setInterval(() => this.tick(), periodMs);
  }

  touch() {
    this.dirty = true;
  }

  restyle() {
    this.dirty = true;
    this.styled = false;
  }

  tick() {
    if (!this.dirty || document.hidden || !this.ready()) return;
    this.dirty = false;
    this.paint();
    this.paints += 1;
  }
}

// Whether an indicator is drawn over the price, by its ratio to it.
export const overPrice = (ratio) => ratio > 0.5 && ratio < 2;

export const baseStyle = () => ({ animation: false, textStyle: { fontFamily: "Roboto, system-ui" } });
export const axisStyle = () => ({ axisLine: { lineStyle: { color: color("line") } }, axisLabel: { color: color("muted"), fontSize: 10, hideOverlap: true },
                                  splitLine: { lineStyle: { color: color("line"), opacity: 0.6 } }, axisTick: { show: false } });
export const tooltipStyle = () => ({ backgroundColor: color("paper"), borderColor: color("line"), textStyle: { color: color("ink"), fontSize: 11 }, confine: true });
export const timeAxis = (extra = {}) => ({ type: "time", animation: false, ...axisStyle(), splitLine: { show: false }, ...extra });
