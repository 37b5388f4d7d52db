// The pill that says which model, and the drawer behind it: search by word, arrows to move, Enter to take.
import { openDialog } from "./dialog.js";
import { h, pictogram, show } from "./dom.js";
import { compact, usd } from "./format.js";
import { matching } from "./modelrows.js";
import { tierPill } from "./states.js";

/**
 * @param {import("./modelrows.js").ModelRow[]} models @param {string} chosen @param {(id: string) => void} take
 * @param {string} label what the model is for
 */
export function modelPill(models, chosen, take, label) {
  const name = h("span", {}, chosen || "Choose a model");
  const pill = h("button", { type: "button", class: "model-pill", "aria-haspopup": "dialog", "aria-label": `${label}: ${chosen || "none"}` }, name, pictogram("chevron"));
  pill.addEventListener("click", () =>
    openPicker(models, (id) => {
      name.textContent = id;
      pill.setAttribute("aria-label", `${label}: ${id}`);
      take(id);
    }),
  );
  return pill;
}

/** @param {import("./modelrows.js").ModelRow[]} models @param {(id: string) => void} take */
function openPicker(models, take) {
  const search = h("input", { type: "search", placeholder: "Search models", "aria-label": "Search models", autocomplete: "off", autofocus: true });
  const list = h("ul", { class: "picker", "aria-label": "Models" });
  const { close } = openDialog("Choose a model", [search, list], { kind: "drawer" });
  const draw = () => {
    const rows = matching(models, search.value, "");
    show(list, rows.length ? rows.map((row) => h("li", {}, option(row, () => (close(), take(row.id))))) : h("li", { class: "hint" }, "No model has these words."));
  };
  const buttons = () => [...list.querySelectorAll("button")];
  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") buttons()[0]?.click();
    if (event.key === "ArrowDown") (event.preventDefault(), buttons()[0]?.focus());
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons().indexOf(/** @type {any} */ (document.activeElement)) + step;
    (at < 0 ? search : (buttons()[at] ?? buttons().at(-1))).focus();
  });
  draw();
}

/** @param {import("./modelrows.js").ModelRow} row @param {() => void} take */
function option(row, take) {
  const facts = [row.context && `${compact(row.context)} context`, row.input !== null && `${usd(row.input)} in`, row.output !== null && `${usd(row.output)} out`].filter(Boolean);
  return h("button", { type: "button", class: "option", onclick: take }, h("span", { class: "option-name" }, row.id), h("span", { class: "option-facts" }, row.provider, tierPill(row.tier)), h("span", { class: "option-facts" }, facts.join(" · ")));
}
