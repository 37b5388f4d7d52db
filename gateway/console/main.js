// The console's frame: which page is open, who is signed in, light or dark. An address names a page, never a key.
import { ask } from "./api.js";
import { h, pictogram, say, show } from "./dom.js";
import { masked } from "./format.js";
import { page as activity } from "./pages/activity.js";
import { page as attestation } from "./pages/attestation.js";
import { page as chat } from "./pages/chat.js";
import { page as compare } from "./pages/compare.js";
import { page as credits } from "./pages/credits.js";
import { page as keys } from "./pages/keys.js";
import { page as models } from "./pages/models.js";
import { page as operator } from "./pages/operator.js";
import { page as signin } from "./pages/signin.js";
import { apiKey, keep, recall, signOut } from "./session.js";

/**
 * @typedef {{id: string, title: string, needsKey: boolean,
 *   open: (root: HTMLElement, params: URLSearchParams) => (() => void) | void}} Page what `open` returns ends the page
 */

/** @type {Page[]} */
const PAGES = [models, chat, compare, activity, keys, credits, attestation, operator];
const THEMES = { system: "As the device", light: "Light", dark: "Dark" };
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
let leave = /** @type {(() => void) | void} */ (undefined);

/** Open the page that the address names. @param {boolean} focus */
function route(focus) {
  const found = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash);
  const wanted = [...PAGES, signin].find((page) => page.id === found?.[1]) ?? models;
  const params = new URLSearchParams(found?.[2] ?? "");
  const page = wanted.needsKey && !apiKey() ? signin : wanted;
  leave?.();
  document.querySelectorAll("dialog[open]").forEach((dialog) => /** @type {HTMLDialogElement} */ (dialog).close());
  closeMenu();
  document.title = `${page.title} · SafeRouter`;
  drawPages(wanted.id);
  drawAccount();
  const root = h("div", { class: `page page-${page.id}` });
  show($("main"), root);
  leave = page.open(root, page === signin ? new URLSearchParams({ to: location.hash }) : params);
  scrollTo(0, 0);
  if (focus) $("main").focus({ preventScroll: true });
}

/** @param {string} current */
function drawPages(current) {
  const rows = PAGES.map(({ id, title }) => h("li", {}, h("a", { href: `#/${id}`, "aria-current": id === current ? "page" : null }, pictogram(/** @type {any} */ (id)), title)));
  show($("pages"), rows);
}

function drawAccount() {
  const key = apiKey();
  const theme = h("select", { "aria-label": "Colours", class: "quiet-select" }, Object.entries(THEMES).map(([value, label]) => h("option", { value, selected: value === themeName() }, label)));
  theme.addEventListener("change", () => (keep("theme", theme.value), applyTheme()));
  const who = key
    ? [h("span", { class: "who" }, "Signed in with ", h("code", {}, masked(key))), h("button", { type: "button", onclick: leaveAll }, "Sign out")]
    : [h("a", { class: "button", href: "#/signin" }, "Sign in")];
  show($("account"), who, h("label", { class: "theme" }, pictogram("sun"), theme));
}

function leaveAll() {
  signOut();
  say("Signed out.");
  if (location.hash === "#/signin") route(true);
  else location.hash = "#/signin";
}

const themeName = () => (Object.hasOwn(THEMES, recall("theme", "system")) ? recall("theme", "system") : "system");

function applyTheme() {
  document.documentElement.dataset.theme = themeName();
}

function closeMenu() {
  $("menu").setAttribute("aria-expanded", "false");
}

/** Say it first if no chip stands behind this gateway. By its own word: the shield checks it. */
async function warnOfMock() {
  const ready = await ask("/readyz", { as: "nobody" });
  $("mock").hidden = ready.tee_type !== "mock";
  show($("mock"), h("b", {}, "MOCK"), " This gateway runs without confidential hardware. Nothing that it shows is proven.");
}

$("menu").addEventListener("click", () => {
  const open = $("menu").getAttribute("aria-expanded") !== "true";
  $("menu").setAttribute("aria-expanded", String(open));
});
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names a page
  $("main").focus();
});
addEventListener("hashchange", () => route(true));
addEventListener("saferouter:account", () => drawAccount());
applyTheme();
route(false);
warnOfMock().catch((error) => {
  show($("mock"), h("b", {}, "The gateway is not ready."), ` ${error.message}`);
  $("mock").hidden = false;
});
