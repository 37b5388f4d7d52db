// What this browser remembers of logs, as a list that its reader can save, read back, and strike from.

import { encodeUtf8 } from "./bytes.js";
import { element, saveBytes } from "./dom.js";
import { Malformed } from "./errors.js";
import { encodeMemory, FILE_NAME, loadMemory, MAX_MEMORY_SIZE, mergeMemories, parseMemory, saveMemory } from "./logmemory.js";

const $ = (id) => /** @type {any} */ (document.getElementById(id));

/** Draw the list anew; a memory that cannot be read says so, and can be struck out whole. */
export function showMemory() {
  const rows = [];
  tell("", "");
  $("memory-save").hidden = true;
  try {
    const memory = loadMemory();
    if (memory === undefined) tell("This browser keeps no memory for this page.", "");
    rows.push(...[...(memory ?? [])].map(([address, seen]) => renderRow(address, seen)));
    $("memory-save").hidden = rows.length === 0;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    tell("", error.message);
    rows.push(element("li", {}, element("span", { class: "name" }, "Unreadable"), forgetButton("everything", () => saveMemory(new Map()))));
  }
  $("memory").replaceChildren(...rows);
}

/** Make the controls work, once. */
export function wireMemory() {
  $("memory-save").addEventListener("click", () => saveBytes(FILE_NAME, encodeUtf8(encodeMemory(loadMemory() ?? new Map()))));
  $("memory-file").addEventListener("change", readChosen);
  showMemory();
}

async function readChosen() {
  const [file] = $("memory-file").files;
  if (!file) return;
  try {
    // Not read whole before it is known to be small.
    const raw = new Uint8Array(await file.slice(0, MAX_MEMORY_SIZE + 1).arrayBuffer());
    const merged = mergeMemories(loadMemory() ?? new Map(), parseMemory(raw, file.name), file.name);
    const kept = saveMemory(merged);
    showMemory();
    tell(kept ? `Read ${file.name}: ${merged.size} remembered.` : "", kept ? "" : "This browser keeps no memory for this page.");
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    tell("", `${error.message}.`);
  } finally {
    $("memory-file").value = ""; // so that the same file can be chosen again
  }
}

function renderRow(address, { vkey, size }) {
  const log = element("span", { class: "size", title: vkey }, `${size.toLocaleString("en")} entries, key ${vkey.slice(-12)}`);
  const forget = forgetButton(address, () => {
    const memory = loadMemory() ?? new Map();
    memory.delete(address);
    return saveMemory(memory);
  });
  return element("li", { "data-address": address, "data-size": String(size) }, element("span", { class: "name" }, address, " ", log), forget);
}

function forgetButton(what, forget) {
  const button = element("button", { type: "button", class: "small", "aria-label": `Forget ${what}` }, "Forget");
  button.addEventListener("click", () => {
    forget();
    showMemory();
    tell(`Forgotten: ${what}.`, "");
    $("memory-file").focus(); // the button that had the focus is gone
  });
  return button;
}

/** @param {string} told @param {string} error */
function tell(told, error) {
  $("memory-told").textContent = told;
  $("memory-file-error").textContent = error;
  $("memory-file-error").hidden = !error;
}
