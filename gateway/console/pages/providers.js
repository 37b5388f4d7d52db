// The operator's providers and how they do: what each serves, its tier, its failures.
import { ask, askAll } from "../api.js";
import { confirmFirst, openDialog } from "../dialog.js";
import { field, h, show } from "../dom.js";
import { count, duration, percent, usd } from "../format.js";
import { emptiness, fill, pill, problem, skeleton, tierPill } from "../states.js";
import { apiKey } from "../session.js";

const KINDS = ["openai-compatible", "openai", "openai-responses", "anthropic", "gemini", "ollama", "vllm"];

/** @param {HTMLElement} panel */
export function providersTab(panel) {
  const list = h("div", {});
  const reload = () =>
    fill(list, skeleton(3, "card"), async () => {
      const providers = await askAll("/admin/providers", { as: "admin" });
      return providerList(providers, await health(), reload);
    });
  show(panel, h("div", { class: "page-head" }, h("h2", {}, "Providers"), h("button", { type: "button", class: "primary", onclick: () => openProvider(reload) }, "Register one")), list);
  reload();
}

/** By id; a key reads it, so it stays empty where none is signed in. @returns {Promise<Map<string, any>>} */
async function health() {
  const found = apiKey() ? await ask("/v1/providers/health") : { providers: [] };
  return new Map(found.providers.map((row) => [row.provider_id, row]));
}

function providerList(providers, healths, reload) {
  if (!providers.length) return emptiness("No providers", "Without one, nothing can be answered.");
  return h("ul", { class: "stack" }, providers.map((row) => providerCard(row, healths.get(row.id), reload)));
}

function providerCard(row, state, reload) {
  const price = row.cost_per_million_tokens_usd;
  const facts = [
    ["Kind", row.kind],
    ["Endpoint", row.endpoint],
    ["Models", (row.serves_models ?? []).join(", ")],
    ["Region", row.region],
    ["Price", typeof price === "number" ? `${usd(price)} / M tokens` : null],
    ["Key kept as", row.api_key_id],
    ["Latency", state ? `p50 ${duration(state.latency_p50_ms)}, p95 ${duration(state.latency_p95_ms)}` : null],
    ["Calls", state ? `${count(state.successes)} answered, ${count(state.failures)} failed` : null],
    ["Last error", state?.last_error],
  ].filter(([, value]) => value);
  const remove = () =>
    confirmFirst(`Remove ${row.display_name ?? row.id}`, "Calls that name it are refused from now on.", "Remove", async () => {
      await ask(`/admin/providers/${encodeURIComponent(row.id)}`, { method: "DELETE", as: "admin" });
      reload();
    });
  return h(
    "li",
    { class: "card", "data-provider": row.id },
    h("div", { class: "key-head" }, h("h3", {}, row.display_name ?? row.id), h("code", {}, row.id), tierPill(row.tier), healthPill(state)),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    row.registered
      ? h("div", { class: "row" }, h("button", { type: "button", class: "small danger", "aria-label": `Remove ${row.id}`, onclick: remove }, "Remove"))
      : h("p", { class: "hint" }, "Named in the configuration, and changed there."),
  );
}

function healthPill(state) {
  const all = (state?.successes ?? 0) + (state?.failures ?? 0);
  if (!all) return pill("No calls yet", "quiet");
  const share = state.successes / all;
  return pill(`${percent(share)} ok`, share >= 0.99 ? "good" : share >= 0.9 ? "warn" : "bad");
}

/** @param {() => void} reload */
function openProvider(reload) {
  const text = (placeholder) => h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder });
  const [id, endpoint, models, key] = [text("local"), text("https://models.example.com/v1"), text("large, small"), text("local")];
  const kind = h("select", {}, KINDS.map((name) => h("option", { value: name }, name)));
  const said = h("div", {});
  const form = h(
    "form",
    { novalidate: true },
    field("Id", id),
    field("Speaks", kind),
    field("Endpoint", endpoint),
    field("Models", models, "Their names, with commas between them."),
    field("Key file", key, "Its name in the gateway’s folder provider-keys; empty: named as the id. A key itself is never written here."),
    said,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Register")),
  );
  const { close } = openDialog("Register a provider", form, { kind: "drawer" });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const serves = models.value.split(",").map((word) => word.trim()).filter(Boolean);
    const body = { id: id.value.trim(), kind: kind.value, endpoint: endpoint.value.trim(), serves_models: serves, api_key_id: key.value.trim() || null };
    try {
      await ask("/admin/providers", { method: "POST", body, as: "admin" });
      close();
      reload();
    } catch (error) {
      show(said, problem(error));
    }
  });
}
