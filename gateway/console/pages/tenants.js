// The operator's tenants: what each may spend and how fast, and new ones with their first key.
import { ask, askAll } from "../api.js";
import { shareBar } from "../charts.js";
import { openDialog } from "../dialog.js";
import { field, h, show } from "../dom.js";
import { count, moment, usd } from "../format.js";
import { emptiness, fill, problem, skeleton } from "../states.js";
import { showSecret } from "./keys.js";

/** @param {HTMLElement} panel */
export function tenantsTab(panel) {
  const list = h("div", {});
  const reload = () => fill(list, skeleton(3, "card"), async () => tenantList(await askAll("/admin/tenants", { as: "admin" }), reload));
  show(panel, h("div", { class: "page-head" }, h("h2", {}, "Tenants"), h("button", { type: "button", class: "primary", onclick: () => openTenant(null, reload) }, "New tenant")), list);
  reload();
}

/** @param {any[]} tenants @param {() => void} reload */
function tenantList(tenants, reload) {
  if (!tenants.length) return emptiness("No tenants", "A tenant holds keys, and a budget for all of them.");
  return h("ul", { class: "stack" }, tenants.map((tenant) => tenantCard(tenant, reload)));
}

function tenantCard(tenant, reload) {
  const facts = [
    ["Spent", tenant.usd_cap === null ? `${usd(tenant.usd_spent)}, no cap` : `${usd(tenant.usd_spent)} of ${usd(tenant.usd_cap)}`],
    ["Requests a minute", limit(tenant.requests_per_minute)],
    ["Tokens a minute", limit(tenant.tokens_per_minute)],
    ["Policies", tenant.allowed_policies.join(", ")],
    ["Since", moment(tenant.created_at)],
  ];
  return h(
    "li",
    { class: "card", "data-tenant": tenant.id },
    h("div", { class: "key-head" }, h("h3", {}, tenant.display_name), h("code", {}, tenant.id)),
    tenant.usd_cap ? shareBar(Math.min(tenant.usd_spent, tenant.usd_cap), tenant.usd_cap) : null,
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "small", "aria-label": `Edit ${tenant.display_name}`, onclick: () => openTenant(tenant, reload) }, "Edit"),
      h("button", { type: "button", class: "small", "aria-label": `New key for ${tenant.display_name}`, onclick: () => openKey(tenant) }, "New key"),
    ),
  );
}

const limit = (value) => (value === null ? "no limit" : count(value));

/** @param {any | null} tenant null: a new one @param {() => void} reload */
function openTenant(tenant, reload) {
  const text = (value, options = {}) => h("input", { type: "text", value: value ?? "", ...options });
  const number = (value) => h("input", { type: "number", min: "0", step: "any", inputmode: "decimal", value: value === null || value === undefined ? "" : String(value) });
  const id = text("", { required: true, maxlength: "64", spellcheck: "false", placeholder: "clinic" });
  const name = text(tenant?.display_name, { required: true, maxlength: "100" });
  const cap = number(tenant?.usd_cap);
  const requests = number(tenant?.requests_per_minute);
  const tokens = number(tenant?.tokens_per_minute);
  const policies = text((tenant?.allowed_policies ?? ["default"]).join(", "), { spellcheck: "false" });
  const said = h("div", {});
  const form = h(
    "form",
    { novalidate: true },
    tenant ? null : field("Id", id, "In addresses and in the books. It stays as it is."),
    field("Name", name),
    field("Cap in USD", cap, "Empty: none."),
    field("Requests a minute", requests, "Empty: no limit."),
    field("Tokens a minute", tokens, "Empty: no limit."),
    field("Allowed policies", policies, "Names, with commas between them."),
    said,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, tenant ? "Save" : "Make the tenant")),
  );
  const { close } = openDialog(tenant ? `Edit ${tenant.display_name}` : "New tenant", form, { kind: "drawer" });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = {
      ...(tenant ? {} : { id: id.value.trim() }),
      display_name: name.value.trim(),
      usd_cap: numberOrNull(cap.value),
      requests_per_minute: numberOrNull(requests.value),
      tokens_per_minute: numberOrNull(tokens.value),
      allowed_policies: policies.value.split(",").map((word) => word.trim()).filter(Boolean),
    };
    try {
      const path = tenant ? `/admin/tenants/${encodeURIComponent(tenant.id)}` : "/admin/tenants";
      const made = await ask(path, { method: tenant ? "PATCH" : "POST", body, as: "admin" });
      close();
      reload();
      if (made.api_key) showSecret({ name: `of ${made.display_name}`, key: made.api_key }, false);
    } catch (error) {
      show(said, problem(error));
    }
  });
}

/** @param {any} tenant */
function openKey(tenant) {
  const name = h("input", { type: "text", required: true, maxlength: "100", placeholder: "first key" });
  const said = h("div", {});
  const form = h("form", { novalidate: true }, field("Name of the key", name), said, h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Make the key")));
  const { close } = openDialog(`New key for ${tenant.display_name}`, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const made = await ask(`/admin/tenants/${encodeURIComponent(tenant.id)}/keys`, { method: "POST", body: { name: name.value.trim() }, as: "admin" });
      close();
      showSecret(made, false);
    } catch (error) {
      show(said, problem(error));
    }
  });
}

const numberOrNull = (text) => (text.trim() === "" ? null : Number(text));
