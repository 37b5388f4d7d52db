// Sign in with an API key, which is tried at once and kept where the reader says.
import { send } from "../api.js";
import { field, h, show, tick } from "../dom.js";
import { ApiError } from "../problems.js";
import { apiKey, signIn, signOut } from "../session.js";
import { problem } from "../states.js";

const FORM = /^sk-[!-~]{1,250}$/;

/** @type {import("../main.js").Page} */
export const page = { id: "signin", title: "Sign in", needsKey: false, open };

/** @param {HTMLElement} root @param {URLSearchParams} params `to`: the page that was wanted */
function open(root, params) {
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false", placeholder: "sk-router-…", required: true });
  const remember = h("input", { type: "checkbox" });
  const said = h("div", {});
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "card signin", novalidate: true },
    field("API key", key, "It stays in this tab, and leaves it only in the header of requests to this gateway."),
    tick("Remember on this device", remember, "Then the key is kept in this browser’s storage until you sign out. Do not tick this on a device that you share."),
    said,
    h("div", { class: "row" }, submit),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const error = await tryKey(key.value.trim(), remember.checked);
    submit.disabled = false;
    if (!error) return goOn(params.get("to") ?? "");
    show(said, error);
    key.focus();
  });
  show(
    root,
    h("h1", {}, "Sign in"),
    h("p", { class: "lead" }, "One key for every model, and for every answer a receipt that says which measured build gave it."),
    form,
    h("p", { class: "hint" }, "No key? The operator of this gateway makes the first one. What the gateway proves about itself is ", h("a", { href: "#/attestation" }, "open to everybody"), "."),
  );
}

/** Null once signed in, else what to show. @param {string} key @param {boolean} remember */
async function tryKey(key, remember) {
  if (!FORM.test(key)) return h("p", { class: "error", role: "alert" }, "A key begins with sk- and has no spaces.");
  const before = apiKey();
  signIn(key, remember);
  try {
    await send("/v1/models", {});
    return null;
  } catch (error) {
    // A key without the scope for models is a key all the same.
    if (error instanceof ApiError && [402, 403, 429].includes(error.status)) return null;
    signOut();
    if (before) signIn(before, false);
    return problem(error);
  }
}

/** @param {string} to */
function goOn(to) {
  const target = to.startsWith("#/") && !to.startsWith("#/signin") ? to : "#/models";
  if (location.hash === target) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = target;
}
