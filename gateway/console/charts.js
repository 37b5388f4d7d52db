// Small charts as SVG: shapes only, with a sentence that says the same to who does not see them.
import { h, svg } from "./dom.js";
import { bars, points } from "./plot.js";

const WIDTH = 320;
const HEIGHT = 84;

/**
 * Bars of calls, the failed ones at their foot.
 * @param {{at: number, calls: number, errors: number}[]} series @param {string} words
 */
export function callBars(series, words) {
  const shapes = bars(series, WIDTH, HEIGHT).flatMap(({ x, width, height, failed }) => [
    svg("rect", { class: "bar", x, width, y: HEIGHT - height, height, rx: 1 }),
    failed ? svg("rect", { class: "bar failed", x, width, y: HEIGHT - failed, height: failed, rx: 1 }) : null,
  ]);
  return figure(words, shapes);
}

/** A line over the same times; a gap where nothing was measured. @param {(number | null)[]} values @param {string} words */
export function line(values, words) {
  const shapes = points(values, WIDTH, HEIGHT).map((run) =>
    run.length > 1
      ? svg("polyline", { class: "line", points: run.map(([x, y]) => `${x},${y}`).join(" ") })
      : svg("circle", { class: "dot", cx: run[0][0], cy: run[0][1], r: 2.5 }),
  );
  return figure(words, shapes);
}

/** @param {string} words @param {any[]} shapes */
function figure(words, shapes) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": words }, svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }), shapes);
  return h("figure", {}, drawing, h("figcaption", {}, words));
}

/** A bar of `part` of `whole`, beside its number. @param {number} part @param {number} whole */
export function shareBar(part, whole) {
  const width = whole > 0 ? Math.max(1, Math.round((part / whole) * 100)) : 0;
  return svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", class: "share", "aria-hidden": "true" }, svg("rect", { class: "share-all", width: 100, height: 6 }), svg("rect", { class: "bar", width, height: 6 }));
}
