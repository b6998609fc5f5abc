// The editor in the page's own colours, light and dark: the styles that CodeMirror brings name colours of their own.
import * as CM from "nicegui-codemirror";

const KEYWORD = "#708", TEXT = "#a11", NUMBER = "#164", COMMENT = "#940", DEFINED = "#00f", TYPE = "#085"; // as its default style tells them apart
const OURS = { [KEYWORD]: "accent", [TEXT]: "buy", [NUMBER]: "sell", [COMMENT]: "muted", [DEFINED]: "ink", [TYPE]: "accent" };

const style = CM.HighlightStyle.define(
  CM.defaultHighlightStyle.specs.map((one) => (one.color ? { ...one, color: `var(--${OURS[one.color] ?? "ink"})` } : one)),
);

export function dress(element) {
  element.editor.dispatch({ effects: element.themeConfig.reconfigure([CM.syntaxHighlighting(style)]) });
}
