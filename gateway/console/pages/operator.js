// For who runs the gateway: tenants, providers and their health, policies, routes. By the admin token, which no key is.
import { field, h, show, tick } from "../dom.js";
import { adminToken, useAdminToken } from "../session.js";
import { ask } from "../api.js";
import { problem } from "../states.js";
import { policiesTab } from "./policies.js";
import { providersTab } from "./providers.js";
import { routesTab } from "./routes.js";
import { tenantsTab } from "./tenants.js";

const TABS = { tenants: ["Tenants", tenantsTab], providers: ["Providers", providersTab], policies: ["Policies", policiesTab], routes: ["Routes", routesTab] };

/** @type {import("../main.js").Page} */
export const page = { id: "operator", title: "Operator", needsKey: false, open };

/** @param {HTMLElement} root @param {URLSearchParams} params */
function open(root, params) {
  const body = h("div", {});
  show(root, h("h1", {}, "Operator"), body);
  const draw = () => (adminToken() ? show(body, tabs(params.get("tab") ?? "tenants", draw)) : show(body, tokenForm(draw)));
  draw();
}

/** @param {() => void} done */
function tokenForm(done) {
  const token = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const stay = h("input", { type: "checkbox" });
  const said = h("div", {});
  const form = h(
    "form",
    { class: "card signin", novalidate: true },
    field("Admin token", token, "From the file that the gateway’s configuration names. It is kept in memory, and gone once this page is loaded again."),
    tick("Keep it until this tab is closed", stay),
    said,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Continue")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    useAdminToken(token.value.trim(), stay.checked);
    try {
      await ask("/admin/tenants?limit=1", { as: "admin" });
      done();
    } catch (error) {
      useAdminToken("", false);
      show(said, problem(error));
    }
  });
  return [h("p", { class: "lead" }, "Tenants, providers, policies and routes. This needs the admin token; no API key opens it."), form];
}

/** @param {string} wanted @param {() => void} left */
function tabs(wanted, left) {
  const panel = h("div", { role: "tabpanel", tabindex: "-1", id: "operator-panel" });
  const buttons = Object.entries(TABS).map(([id, [title]]) => h("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "operator-panel", onclick: () => choose(id) }, title));
  const choose = (id) => {
    const known = Object.hasOwn(TABS, id) ? id : "tenants";
    for (const button of buttons) {
      const mine = button.id === `tab-${known}`;
      button.setAttribute("aria-selected", String(mine));
      button.tabIndex = mine ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${known}`);
    show(panel);
    TABS[known][1](panel);
  };
  const row = h("div", { role: "tablist", class: "tabs", "aria-label": "Operator" }, buttons);
  row.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = buttons[(buttons.indexOf(/** @type {any} */ (document.activeElement)) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  choose(wanted);
  const leave = h("button", { type: "button", class: "small", onclick: () => (useAdminToken("", false), left()) }, "Forget the admin token");
  return [h("div", { class: "page-head" }, row, leave), panel];
}
