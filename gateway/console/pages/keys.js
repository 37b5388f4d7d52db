// Keys: made with a name and shown once, renamed, rotated, revoked.
import { ask, askAll } from "../api.js";
import { confirmFirst, openDialog } from "../dialog.js";
import { copyButton, field, h, say, show, tick } from "../dom.js";
import { ago, count, moment, usd } from "../format.js";
import { apiKey, isRemembered, signIn } from "../session.js";
import { emptiness, fill, pill, problem, skeleton } from "../states.js";

export const SCOPES = { inference: "Ask models", read: "Read activity, receipts and credits", keys: "Manage keys", billing: "Top up credits" };
const LIVES = { "No end": 0, "1 day": 86_400, "30 days": 30 * 86_400, "90 days": 90 * 86_400, "1 year": 365 * 86_400 };
const OVERLAPS = { "At once": 0, "After 1 hour": 3600, "After 1 day": 86_400, "After 7 days": 7 * 86_400 };

/** @type {import("../main.js").Page} */
export const page = { id: "keys", title: "Keys", needsKey: true, open };

/** @param {HTMLElement} root */
function open(root) {
  const list = h("div", {});
  const reload = () => fill(list, skeleton(3, "card"), async () => keyList(await askAll("/v1/keys"), reload));
  const make = h("button", { type: "button", class: "primary", onclick: () => openForm(reload) }, "New key");
  show(root, h("div", { class: "page-head" }, h("h1", {}, "Keys"), make), h("p", { class: "lead" }, "One for each application, so that each can be counted, limited and revoked by itself."), list);
  reload();
  addEventListener("saferouter:account", reload); // another key may be the one in use
  return () => removeEventListener("saferouter:account", reload);
}

/** @param {any[]} keys @param {() => void} reload */
function keyList(keys, reload) {
  if (!keys.length) return emptiness("No keys", "Make the first one: it is shown once.");
  const live = keys.filter((key) => key.revoked_at === null);
  const dead = keys.filter((key) => key.revoked_at !== null);
  return [
    h("ul", { class: "stack" }, live.map((key) => keyCard(key, reload))),
    dead.length ? h("details", {}, h("summary", {}, `${dead.length} revoked`), h("ul", { class: "stack" }, dead.map((key) => keyCard(key, reload)))) : null,
  ];
}

/** @param {any} key @param {() => void} reload */
function keyCard(key, reload) {
  const now = Date.now() / 1000;
  const usage = key.usage ?? {};
  const facts = [
    ["Made", moment(key.created_at)],
    ["Last used", ago(key.last_used_at, now)],
    ["Ends", key.expires_at === null ? "never" : ago(key.expires_at, now)],
    ["Used", `${count(usage.calls)} calls, ${typeof usage.usd === "number" ? usd(usage.usd) : "cost unknown"}`],
    ["Limits", limitsOf(key)],
  ];
  const mine = apiKey().startsWith(key.prefix.replace(/…$/, ""));
  return h(
    "li",
    { class: "card key", "data-key": key.name },
    h("div", { class: "key-head" }, nameOf(key, reload), h("code", {}, key.prefix), mine ? pill("You use this one", "calm") : null, stateOf(key, now)),
    h("p", { class: "tags" }, key.scopes.map((scope) => SCOPES[scope] ?? scope).join(" · "), key.policy ? ` · policy ${key.policy}` : ""),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    key.revoked_at === null ? actions(key, mine, reload) : null,
  );
}

function stateOf(key, now) {
  if (key.revoked_at !== null) return pill("Revoked", "bad");
  if (key.expires_at !== null && key.expires_at <= now) return pill("Expired", "warn");
  return key.expires_at !== null && key.expires_at - now < 604_800 ? pill("Ends soon", "warn") : null;
}

function limitsOf({ requests_per_minute: requests, tokens_per_minute: tokens }) {
  const rows = [requests && `${count(requests)} requests a minute`, tokens && `${count(tokens)} tokens a minute`].filter(Boolean);
  return rows.length ? rows.join(", ") : "the tenant’s";
}

/** The name, which turns into a field on a click. */
function nameOf(key, reload) {
  const place = h("span", { class: "key-name" });
  const rest = () => show(place, h("h2", {}, key.name || "Without a name"), key.revoked_at === null ? h("button", { type: "button", class: "ghost small", "aria-label": `Rename ${key.name}`, onclick: edit }, "Rename") : null);
  const edit = () => {
    const input = h("input", { type: "text", value: key.name, "aria-label": "New name", maxlength: "100" });
    const said = h("p", { class: "error", role: "alert", hidden: true });
    const leave = () => (rest(), place.querySelector("button")?.focus());
    const form = h("form", { class: "row" }, input, h("button", { type: "submit", class: "small" }, "Save"), h("button", { type: "button", class: "small", onclick: leave }, "Cancel"), said);
    input.addEventListener("keydown", (event) => event.key === "Escape" && leave());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await ask(`/v1/keys/${encodeURIComponent(key.id)}`, { method: "PATCH", body: { name: input.value.trim() } });
        say("Renamed.");
        reload();
      } catch (error) {
        said.hidden = false;
        said.textContent = error instanceof Error ? error.message : String(error);
      }
    });
    show(place, form);
    input.select();
  };
  rest();
  return place;
}

function actions(key, mine, reload) {
  const path = `/v1/keys/${encodeURIComponent(key.id)}`;
  const rotate = () => {
    const overlap = h("select", {}, Object.entries(OVERLAPS).map(([label, value]) => h("option", { value, selected: value === 3600 }, label)));
    confirmFirst(`Rotate ${key.name}`, "A new key takes its place, with the same rights. The old one ends:", "Rotate", async () => {
      const made = await ask(`${path}/rotate`, { method: "POST", body: { overlap_seconds: Number(overlap.value) } });
      if (mine) signIn(made.key, isRemembered());
      reload();
      showSecret(made, mine);
    }, field("The old key ends", overlap));
  };
  const revoke = () =>
    confirmFirst(`Revoke ${key.name}`, `${mine ? "You are signed in with this very key: the console will stop working. " : ""}It stops authenticating everywhere at once, and this cannot be undone.`, "Revoke", async () => {
      await ask(path, { method: "DELETE" });
      say("Revoked.");
      reload();
    });
  return h("div", { class: "row" }, h("button", { type: "button", class: "small", "aria-label": `Rotate ${key.name}`, onclick: rotate }, "Rotate"), h("button", { type: "button", class: "small danger", "aria-label": `Revoke ${key.name}`, onclick: revoke }, "Revoke"));
}

/** @param {() => void} reload */
function openForm(reload) {
  const name = h("input", { type: "text", maxlength: "100", required: true, autofocus: true, placeholder: "search service" });
  const life = h("select", {}, Object.entries(LIVES).map(([label, value]) => h("option", { value }, label)));
  const scopes = Object.entries(SCOPES).map(([scope, label]) => ({ scope, box: h("input", { type: "checkbox", checked: scope !== "billing" }), label }));
  const said = h("div", {});
  const form = h(
    "form",
    { novalidate: true },
    field("Name", name, "What will use it."),
    field("Lives", life),
    h("fieldset", {}, h("legend", {}, "May"), scopes.map(({ box, label }) => tick(label, box))),
    said,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Make the key")),
  );
  const { close } = openDialog("New key", form, { kind: "drawer" });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = scopes.filter(({ box }) => box.checked).map(({ scope }) => scope);
    if (!name.value.trim() || !wanted.length) return show(said, h("p", { class: "error", role: "alert" }, name.value.trim() ? "Choose what the key may do." : "Give the key a name."));
    const ends = Number(life.value) ? { expires_at: Math.floor(Date.now() / 1000) + Number(life.value) } : {};
    try {
      const made = await ask("/v1/keys", { method: "POST", body: { name: name.value.trim(), scopes: wanted, ...ends } });
      close();
      reload();
      showSecret(made, false);
    } catch (error) {
      show(said, problem(error));
    }
  });
}

/** The one time that a key is shown. @param {any} made @param {boolean} inUse the console uses it from now on */
export function showSecret(made, inUse) {
  const code = h("code", { class: "secret", tabindex: "0" }, made.key);
  const use = h("button", { type: "button" }, "Use it in this console");
  use.addEventListener("click", () => {
    signIn(made.key, isRemembered());
    dispatchEvent(new Event("saferouter:account"));
    use.disabled = true;
    use.textContent = "In use here";
  });
  openDialog(`Key ${made.name ?? ""}`.trim(), [
    h("p", { class: "notice" }, "Copy it now: it is stored as a hash and cannot be shown again."),
    h("div", { class: "secret-row" }, code, copyButton("Copy key", () => made.key, code)),
    inUse ? h("p", { class: "hint" }, "This console uses it from now on.") : h("div", { class: "row" }, use),
  ]);
  if (inUse) dispatchEvent(new Event("saferouter:account"));
}
