// Dialogs and drawers: the browser's own, which hold the focus, close by Escape and give the focus back.
import { h, pictogram, put } from "./dom.js";

/**
 * @param {string} title @param {any} content @param {{kind?: "dialog" | "drawer", closed?: () => void}} [options]
 * @returns {{dialog: HTMLDialogElement, close: () => void}}
 */
export function openDialog(title, content, { kind = "dialog", closed = () => undefined } = {}) {
  const heading = `d${(serial += 1)}`;
  const dialog = h("dialog", { class: kind, "aria-labelledby": heading });
  const close = () => dialog.close();
  const leave = h("button", { type: "button", class: "ghost icon-button", "aria-label": "Close", onclick: close }, pictogram("close"));
  put(dialog, h("div", { class: "dialog-head" }, h("h2", { id: heading }, title), leave));
  put(dialog, h("div", { class: "dialog-body" }, content));
  dialog.addEventListener("click", (event) => event.target === dialog && close()); // on the backdrop
  dialog.addEventListener("close", () => (dialog.remove(), closed()));
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

let serial = 0;

/**
 * Ask before something that cannot be undone. @param {string} title @param {string} words @param {string} act
 * @param {() => Promise<void>} run an error of it is shown in the dialog
 * @param {any} [extra] a field to fill in
 */
export function confirmFirst(title, words, act, run, extra = null) {
  const said = h("p", { class: "error", role: "alert", hidden: true });
  const go = h("button", { type: "button", class: "danger" }, act);
  const { close } = openDialog(title, [h("p", {}, words), extra, said, h("div", { class: "row" }, go, h("button", { type: "button", onclick: () => close() }, "Cancel"))]);
  go.addEventListener("click", async () => {
    go.disabled = true;
    try {
      await run();
      close();
    } catch (error) {
      said.hidden = false;
      said.textContent = error instanceof Error ? error.message : String(error);
      go.disabled = false;
    }
  });
}
