// Every model that this gateway routes to: what it costs, what it can, and how to call it.
import { ask } from "../api.js";
import { openDialog } from "../dialog.js";
import { copyButton, h, show, tick } from "../dom.js";
import { compact, masked, usd } from "../format.js";
import { matching, modelRow, ordered } from "../modelrows.js";
import { apiKey } from "../session.js";
import { SNIPPETS } from "../snippets.js";
import { emptiness, fill, pill, skeleton, tierPill } from "../states.js";

/** @type {import("../main.js").Page} */
export const page = { id: "models", title: "Models", needsKey: true, open };

/** @param {HTMLElement} root */
function open(root) {
  const body = h("div", {});
  show(root, h("h1", {}, "Models"), h("p", { class: "lead" }, "What you can ask here. The list is the gateway’s own, and so are the prices that it bills by."), body);
  fill(body, skeleton(6, "card"), async () => {
    const rows = (await ask("/v1/models")).data.map(modelRow);
    return rows.length ? browser(rows) : emptiness("No models yet", "The operator has configured no model, or your tenant’s policy allows none.");
  });
}

/** @param {import("../modelrows.js").ModelRow[]} rows */
function browser(rows) {
  const providers = [...new Set(rows.map((row) => row.provider))].sort();
  const search = h("input", { type: "search", placeholder: "Search by name or ability", "aria-label": "Search models", autocomplete: "off" });
  const provider = h("select", { "aria-label": "Provider" }, h("option", { value: "" }, "All providers"), providers.map((name) => h("option", { value: name }, name)));
  const order = h("select", { "aria-label": "Order" }, h("option", { value: "name" }, "By name"), h("option", { value: "price" }, "Cheapest first"), h("option", { value: "context" }, "Largest context first"));
  const found = h("p", { class: "hint", role: "status" });
  const grid = h("ul", { class: "grid models" });
  const draw = () => {
    const left = ordered(matching(rows, search.value, provider.value), order.value);
    found.textContent = left.length === rows.length ? `${rows.length} models` : `${left.length} of ${rows.length} models`;
    show(grid, left.map(card));
  };
  for (const control of [search, provider, order]) control.addEventListener("input", draw);
  draw();
  return [h("div", { class: "filters" }, search, provider, order), found, grid];
}

/** @param {import("../modelrows.js").ModelRow} row */
function card(row) {
  const facts = [
    ["Context", row.context === null ? "unknown" : `${compact(row.context)} tokens`],
    ["Input", price(row.input)],
    ["Output", price(row.output)],
  ];
  return h(
    "li",
    { class: "card model", "data-model": row.id },
    h("div", { class: "badges" }, pill(row.provider, "calm"), tierPill(row.tier)),
    h("h2", {}, row.id),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    row.tags.length ? h("p", { class: "tags" }, row.tags.join(" · ")) : null,
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "primary small", "aria-label": `Try ${row.id}`, onclick: () => tryIt(row.id) }, "Try it"),
      h("a", { class: "button small", href: `#/chat?model=${encodeURIComponent(row.id)}`, "aria-label": `Chat with ${row.id}` }, "Chat"),
    ),
  );
}

/** @param {number | null} value */
const price = (value) => (value === null ? "unknown" : `${usd(value)} / M`);

/** The drawer with the calls to copy. @param {string} model */
function tryIt(model) {
  const visible = h("input", { type: "checkbox" });
  const blocks = Object.entries(SNIPPETS).map(([language, write]) => {
    const text = (key) => write({ origin: location.origin, key, model });
    const code = h("pre", { tabindex: "0", "aria-label": `${language} example` });
    const draw = () => show(code, text(visible.checked ? apiKey() : masked(apiKey())));
    visible.addEventListener("change", draw);
    draw();
    return h("section", { class: "code" }, h("div", { class: "code-head" }, h("h3", {}, language), copyButton("Copy", () => text(apiKey()), code)), code);
  });
  openDialog(
    `Try ${model}`,
    [
      h("p", {}, "Your key is filled in when you copy. Whoever has it can spend from it."),
      tick("Show the key here too", visible),
      blocks,
      h("a", { class: "button", href: `#/chat?model=${encodeURIComponent(model)}` }, "Or chat with it here"),
    ],
    { kind: "drawer" },
  );
}
