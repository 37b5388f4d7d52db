// The list of dropped files: each with its recognised role, which the reader can correct or remove.
import { element } from "./dom.js";
import { MAX_FILE_SIZE, ROLES, recognise } from "./drop.js";
import { Malformed } from "./errors.js";

/** @typedef {import("./drop.js").Dropped} Dropped */

const PLACES = {
  "policy-files": ["policy"],
  "manifest-files": ["manifest"],
  "announcement-files": ["announcement"],
  "tcb-files": ["tcb"],
  "witnesses-files": ["witnesses"],
  "answer-files": ["receipt", "request", "response", "headers", "proof"],
};

/** The files that the page holds, in memory only. */
export class FileList {
  /** @param {(files: Dropped[]) => void} changed called after every change */
  constructor(changed) {
    /** @type {Dropped[]} */
    this.files = [];
    this.changed = changed;
  }

  /**
   * Read files and add them; a role of one file only replaces the one it had.
   * @param {Iterable<File>} chosen
   * @param {string} [role] the reader's word; without it the content decides
   */
  async add(chosen, role) {
    for (const file of chosen) {
      if (file.size > MAX_FILE_SIZE) throw new Malformed(file.name, `${file.size} bytes`, `at most ${MAX_FILE_SIZE}`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      this.put(file.name, bytes, role);
    }
    this.render();
  }

  /** @param {string} name @param {Uint8Array} bytes @param {string} [role] */
  put(name, bytes, role) {
    const found = /** @type {import("./drop.js").Role} */ (role ?? recognise(name, bytes));
    const several = ["certificate", "manifest", "unknown"].includes(found);
    this.files = this.files.filter((file) => (several ? file.name !== name : file.role !== found));
    this.files.push({ name, bytes, role: found });
  }

  /** Draw each list and report the change. */
  render() {
    for (const id of ["evidence-files", ...Object.keys(PLACES)]) {
      const mine = this.files.filter((file) => placeOf(file.role) === id);
      document.getElementById(id)?.replaceChildren(...mine.map((file) => this.#row(file)));
    }
    this.changed(this.files);
  }

  /** @param {Dropped} file */
  #row(file) {
    const options = Object.entries(ROLES).map(([role, label]) =>
      element("option", { value: role, selected: role === file.role }, label),
    );
    const select = element("select", { "aria-label": `What ${file.name} is` }, ...options);
    select.addEventListener("change", () => this.#assign(file, /** @type {HTMLSelectElement} */ (select).value));
    const remove = element("button", { type: "button", class: "small", "aria-label": `Remove ${file.name}` }, "Remove");
    remove.addEventListener("click", () => this.#remove(file));
    const size = element("span", { class: "size" }, `${file.bytes.length.toLocaleString("en")} bytes`);
    return element(
      "li",
      { "data-role": file.role },
      element("span", { class: "name" }, file.name, " ", size),
      select,
      remove,
    );
  }

  /** @param {Dropped} file @param {string} role */
  #assign(file, role) {
    this.files = this.files.filter((other) => other !== file);
    this.put(file.name, file.bytes, role);
    this.render();
    const place = document.getElementById(placeOf(role));
    // The row was drawn anew, maybe in another list: a keyboard user must not lose their place.
    [...(place?.querySelectorAll("select") ?? [])].find((node) => node.ariaLabel === `What ${file.name} is`)?.focus();
  }

  /** @param {Dropped} file */
  #remove(file) {
    const place = document.getElementById(placeOf(file.role));
    this.files = this.files.filter((other) => other !== file);
    this.render();
    /** @type {HTMLElement | null} */ (place?.parentElement?.querySelector("input"))?.focus();
  }
}

/** @param {string} role */
function placeOf(role) {
  return Object.keys(PLACES).find((id) => PLACES[id].includes(role)) ?? "evidence-files";
}
