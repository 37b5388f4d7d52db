// What is left, what was spent on which model, and topping up.
import { ask } from "../api.js";
import { shareBar } from "../charts.js";
import { field, h, say, show } from "../dom.js";
import { compact, count, usd } from "../format.js";
import { emptiness, fill, problem, skeleton } from "../states.js";

const AMOUNTS = [5, 20, 100];

/** @type {import("../main.js").Page} */
export const page = { id: "credits", title: "Credits", needsKey: true, open };

/** @param {HTMLElement} root */
function open(root) {
  const body = h("div", {});
  const reload = () => fill(body, skeleton(3, "tile"), async () => drawn(await ask("/v1/credits"), reload));
  show(root, h("h1", {}, "Credits"), h("p", { class: "lead" }, "Each call reserves its greatest possible cost first and settles what it used. Unknown is said, never counted as zero."), body);
  reload();
}

/** @param {any} credits @param {() => void} reload */
function drawn(credits, reload) {
  return [empty(credits), tiles(credits), cap(credits.tenant), h("div", { class: "pair" }, usage(credits.usage), topUp(credits, reload)), prices(credits.prices)];
}

/** What a caller would be told with status 402. */
function empty({ balance_usd: balance, tenant }) {
  const capped = tenant?.usd_cap !== null && tenant?.usd_cap !== undefined && tenant.usd_spent >= tenant.usd_cap;
  if (!capped && (balance === null || balance > 0)) return null;
  const words = capped ? "The tenant has spent what its operator allows. Only the operator can raise that." : "Calls with this key are refused (402) until it is topped up.";
  return h("div", { class: "problem", role: "alert", "data-status": "402" }, h("div", {}, h("h2", {}, "Out of credits"), h("p", {}, words)));
}

function tiles({ balance_usd: balance, reserved_usd: reserved, spent_usd: spent }) {
  const rows = [
    ["Balance", balance === null ? "not prepaid" : usd(balance)],
    ["Reserved by open calls", usd(reserved)],
    ["Spent with this key", usd(spent)],
  ];
  return h("dl", { class: "tiles" }, rows.map(([name, value]) => h("div", { class: "card tile" }, h("dt", {}, name), h("dd", {}, value))));
}

function cap(tenant) {
  if (!tenant) return null;
  const words = tenant.usd_cap === null ? `Tenant ${tenant.id} has spent ${usd(tenant.usd_spent)}, and has no cap.` : `Tenant ${tenant.id} has spent ${usd(tenant.usd_spent)} of its cap of ${usd(tenant.usd_cap)}.`;
  return h("div", { class: "card" }, h("p", {}, words), tenant.usd_cap === null ? null : shareBar(Math.min(tenant.usd_spent, tenant.usd_cap), tenant.usd_cap));
}

/** @param {any[]} rows */
function usage(rows) {
  if (!rows.length) return h("section", { class: "card" }, h("h2", {}, "Usage by model"), emptiness("Nothing spent", "Calls with this key stand here."));
  const most = Math.max(...rows.map((row) => row.usd ?? 0));
  const list = rows.map((row) =>
    h(
      "li",
      {},
      h("div", { class: "split" }, h("b", {}, row.model), h("span", {}, usd(row.usd))),
      shareBar(row.usd ?? 0, most),
      h("p", { class: "meta" }, `${count(row.calls)} calls · ${compact(row.prompt_tokens)} tokens in · ${compact(row.completion_tokens)} out`),
    ),
  );
  return h("section", { class: "card" }, h("h2", {}, "Usage by model"), h("ul", { class: "shares" }, list));
}

/** @param {any} credits @param {() => void} reload */
function topUp({ key_id: id }, reload) {
  const amount = h("input", { type: "number", min: "0.000001", step: "any", inputmode: "decimal", required: true, value: "5" });
  const note = h("input", { type: "text", maxlength: "200", placeholder: "invoice 17" });
  const said = h("div", {});
  const quick = AMOUNTS.map((value) => h("button", { type: "button", class: "small", onclick: () => (amount.value = String(value)) }, usd(value)));
  const submit = h("button", { type: "submit", class: "primary" }, "Top up");
  const once = crypto.getRandomValues(new BigUint64Array(2)).join("-"); // an answer that was lost is not paid twice
  const form = h("form", { class: "card", novalidate: true }, h("h2", {}, "Top up"), field("Amount in USD", amount), h("div", { class: "row" }, quick), field("Note", note, "For the books. Optional."), said, h("div", { class: "row" }, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = Number(amount.value);
    if (!(value > 0)) return show(said, h("p", { class: "error", role: "alert" }, "Give an amount above zero."));
    submit.disabled = true;
    try {
      await ask("/v1/credits/topup", { method: "POST", headers: { "idempotency-key": once }, body: { usd: value, key_id: id, ...(note.value.trim() ? { note: note.value.trim() } : {}) } });
      say(`Topped up by ${usd(value)}.`);
      reload();
    } catch (error) {
      show(said, problem(error));
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

function prices(list) {
  if (!list) return null;
  return h("p", { class: "hint" }, `Billed by price list ${list.version} of ${list.date}, which is part of the measured build: `, h("code", {}, list.digest), ".");
}
