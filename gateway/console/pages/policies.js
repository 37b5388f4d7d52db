// The operator's routing policies: what each demands, its text, and why a call would or would not be routed.
import { ask, askAll } from "../api.js";
import { openDialog } from "../dialog.js";
import { field, h, show } from "../dom.js";
import { duration, usd } from "../format.js";
import { apiKey } from "../session.js";
import { emptiness, fill, pill, problem, skeleton, tierPill } from "../states.js";

/** @param {HTMLElement} panel */
export function policiesTab(panel) {
  const list = h("div", {});
  const reload = () => fill(list, skeleton(3, "card"), async () => policyList(await askAll("/v1/policies"), reload));
  show(panel, h("div", { class: "page-head" }, h("h2", {}, "Policies")), list);
  if (apiKey()) reload();
  else show(list, emptiness("Sign in too", "Policies are read with an API key; the admin token changes them.", h("a", { class: "button", href: "#/signin" }, "Sign in")));
}

function policyList(policies, reload) {
  if (!policies.length) return emptiness("No policies", "Then every call is routed by the built-in default.");
  return h("ul", { class: "stack" }, policies.map((policy) => policyCard(policy, reload)));
}

function policyCard(policy, reload) {
  const facts = [
    ["Least tier", policy.require_tier],
    ["Witness scopes", listed(policy.witness_scopes)],
    ["Origins", listed(policy.allowed_origins)],
    ["Drift", policy.require_drift_clean ? "must be clean" : "is not asked"],
    ["At most", [policy.max_latency_ms !== null && duration(policy.max_latency_ms), policy.max_cost_per_request_usd !== null && `${usd(policy.max_cost_per_request_usd)} a request`].filter(Boolean).join(", ")],
    ["Preferred", listed(policy.preferred_providers)],
    ["Leak scan", policy.leak_scan],
    ["Digest", h("code", {}, policy.digest)],
  ].filter(([, value]) => value);
  return h(
    "li",
    { class: "card", "data-policy": policy.id },
    h("div", { class: "key-head" }, h("h3", {}, policy.display_name ?? policy.id), h("code", {}, policy.id), pill(`version ${policy.version}`, "quiet"), tierPill(policy.require_tier)),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "small", "aria-label": `Explain ${policy.id}`, onclick: () => openExplain(policy) }, "Explain a call"),
      h("button", { type: "button", class: "small", "aria-label": `Edit ${policy.id}`, onclick: () => openEdit(policy, reload) }, "Edit"),
    ),
  );
}

const listed = (rows) => (rows?.length ? rows.join(", ") : null);

/** What a call would meet under this policy. @param {any} policy */
function openExplain(policy) {
  const model = h("input", { type: "text", required: true, spellcheck: "false", autocomplete: "off" });
  const provider = h("input", { type: "text", spellcheck: "false", autocomplete: "off" });
  const result = h("div", {});
  const form = h("form", { novalidate: true }, field("Model", model), field("Provider", provider, "Optional."), h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Explain")), result);
  openDialog(`Explain under ${policy.id}`, form, { kind: "drawer" });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const body = { model: model.value.trim(), ...(provider.value.trim() ? { provider: provider.value.trim() } : {}) };
      show(result, explained(await ask(`/v1/policies/${encodeURIComponent(policy.id)}/explain`, { method: "POST", body })));
    } catch (error) {
      show(result, problem(error));
    }
  });
}

function explained({ routed, chosen, candidates }) {
  const name = typeof chosen === "string" ? chosen : [chosen?.provider, chosen?.model].filter(Boolean).join(" / ");
  const head = h("p", { role: "status" }, pill(routed ? "Routed" : "Refused", routed ? "good" : "bad"), routed ? ` to ${name}` : " before any cost");
  const rows = candidates.map((one) =>
    h(
      "li",
      { class: "card" },
      h("div", { class: "key-head" }, h("b", {}, `${one.provider} / ${one.model}`), tierPill(one.tier), pill(one.qualifies ? "Qualifies" : "Does not", one.qualifies ? "good" : "bad")),
      h("ul", { class: "small-list" }, one.reasons.map((reason) => h("li", {}, reason))),
      one.would_change.length ? h("p", { class: "hint" }, `Would change it: ${one.would_change.join("; ")}`) : null,
    ),
  );
  return [head, h("ul", { class: "stack" }, rows)];
}

/** @param {any} policy @param {() => void} reload */
function openEdit(policy, reload) {
  const said = h("div", {});
  const text = h("textarea", { rows: "18", class: "mono", spellcheck: "false" });
  const form = h("form", { novalidate: true }, field("Policy (JSON)", text, "Saving makes a new version, with a new digest in the workload and the log."), said, h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Save")));
  const { close } = openDialog(`Edit ${policy.id}`, form, { kind: "drawer" });
  const { object: _, id: _id, version: _version, digest: _digest, ...own } = policy;
  text.value = JSON.stringify(own, null, 2);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask(`/admin/policies/${encodeURIComponent(policy.id)}`, { method: "PUT", body: JSON.parse(text.value), as: "admin" });
      close();
      reload();
    } catch (error) {
      show(said, error instanceof SyntaxError ? h("p", { class: "error", role: "alert" }, `This is no JSON: ${error.message}`) : problem(error));
    }
  });
}
