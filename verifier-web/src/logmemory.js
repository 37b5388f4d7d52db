// The newest checkpoint that this browser has seen of each gateway's log, in the command line's own form.

import { encodeUtf8, equalBytes, hexOf } from "./bytes.js";
import { isObject, kindOf, parseJson } from "./canonical.js";
import { Malformed } from "./errors.js";
import { hexBytes, requireMembers, requireText } from "./identity.js";
import { HASH_SIZE, MAX_TREE_SIZE } from "./merkle.js";

const ITEM = "saferouter.checkpoints";
const HERE = "this browser's memory of logs";
export const FILE_NAME = "checkpoints.json"; // as the command line calls it
export const MAX_MEMORY_SIZE = 1 << 20; // some thousand gateways

/** @typedef {import("./logchecks.js").SeenLog} SeenLog */
/** Logs seen, by gateway address. @typedef {Map<string, SeenLog>} Memory */

/**
 * A memory from its file: `{"https://HOST": {"vkey", "size", "root"}}`.
 * @param {Uint8Array} raw @param {string} field @returns {Memory}
 */
export function parseMemory(raw, field) {
  if (raw.length > MAX_MEMORY_SIZE) {
    throw new Malformed(field, `more than ${MAX_MEMORY_SIZE} bytes`, "the file that this verifier wrote");
  }
  const document = parseJson(raw, field);
  if (!isObject(document)) throw new Malformed(field, kindOf(document), "checkpoints by gateway");
  return new Map(Object.entries(document).map(([address, row]) => [address, parseRow(row, field)]));
}

/** @returns {SeenLog} */
function parseRow(row, field) {
  requireMembers(row, ["vkey", "size", "root"], field, { exact: true });
  if (!Number.isSafeInteger(row.size) || row.size < 1 || row.size > MAX_TREE_SIZE) {
    throw new Malformed(field, "another size", "what a verifier wrote; mend or remove it");
  }
  return Object.freeze({ vkey: requireText(row.vkey, field), size: row.size, root: hexBytes(row.root, HASH_SIZE, field) });
}

/** The text of a memory's file. @param {Memory} memory */
export function encodeMemory(memory) {
  const rows = [...memory].map(([address, { vkey, size, root }]) => [address, { vkey, size, root: hexOf(root) }]);
  return `${JSON.stringify(Object.fromEntries(rows), null, 1)}\n`;
}

/**
 * What is kept of one log after both were seen: the larger tree. Another log, or another tree of one size, is no
 * newer state of the same.
 * @param {SeenLog | null | undefined} kept @param {SeenLog} seen
 */
export const newerOf = (kept, seen) => (kept?.vkey === seen.vkey && kept.size >= seen.size ? kept : seen);

/**
 * Both memories as one. What they disagree about is for a person to settle.
 * @param {Memory} kept @param {Memory} given @param {string} field @returns {Memory}
 */
export function mergeMemories(kept, given, field) {
  const merged = new Map(kept);
  for (const [address, seen] of given) {
    const known = kept.get(address);
    if (known && known.vkey !== seen.vkey) {
      throw new Malformed(field, `another log at ${address}`, "the one remembered here: forget that one first");
    }
    if (known && known.size === seen.size && !equalBytes(known.root, seen.root)) {
      throw new Malformed(field, `another tree of ${seen.size} leaves at ${address}`, "the one remembered here: one is a split view");
    }
    merged.set(address, newerOf(known, seen));
  }
  return merged;
}

/** What this browser remembers; undefined where it keeps nothing. @returns {Memory | undefined} */
export function loadMemory() {
  let text;
  try {
    text = localStorage.getItem(ITEM);
  } catch (error) {
    if (error instanceof DOMException) return undefined; // storage is turned off
    throw error;
  }
  return parseMemory(encodeUtf8(text ?? "{}"), HERE);
}

/** Remember exactly this; false where this browser refuses. @param {Memory} memory */
export function saveMemory(memory) {
  try {
    if (memory.size) localStorage.setItem(ITEM, encodeMemory(memory));
    else localStorage.removeItem(ITEM);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false; // turned off, or full
    throw error;
  }
}
