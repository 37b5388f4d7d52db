// The operator's routes: which public model goes to whom, and who stands in.
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { emptiness, fill, skeleton } from "../states.js";

/** @param {HTMLElement} panel */
export function routesTab(panel) {
  const list = h("div", {});
  show(panel, h("h2", {}, "Routes"), list);
  fill(list, skeleton(5), async () => table((await ask("/admin/routes", { as: "admin" })).data));
}

/** The columns are whatever the gateway tells of a route. @param {Record<string, unknown>[]} rows */
function table(rows) {
  if (!rows.length) return emptiness("No routes", "The configuration names no model.");
  const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== "object");
  return h(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": "Routes" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, name.replaceAll("_", " "))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, heads.map((name) => h("td", { "data-head": name.replaceAll("_", " ") }, h("div", {}, words(row[name]))))))),
    ),
  );
}

/** @param {unknown} value */
function words(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.length ? value.map(words).join(", ") : "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
