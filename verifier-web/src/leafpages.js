// A log's leaves, each proven to stand in one signed checkpoint and chained to the leaf before it (SPEC §15.1, §15.4).

import { equalBytes, hexOf, isZero, sha256 } from "./bytes.js";
import { shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { parseEntry } from "./leaf.js";
import { hashLeaf, rootFromInclusion } from "./merkle.js";

/** @typedef {import("./leaf.js").LogEntry} LogEntry */
/** @typedef {import("./tiles.js").TileTree} TileTree */
/** A leaf with what was found of it: `pass`; `fail` where the log contradicts itself; `skip` where it cannot be read.
 * @typedef {{index: number, state: "pass"|"fail"|"skip", why: string, entry: LogEntry | null}} ShownLeaf */

/**
 * The leaves from `start` to before `end`, oldest first, under the checkpoint's root (32 bytes).
 * @param {TileTree} tree @param {Uint8Array} root @param {number} start @param {number} end
 * @returns {Promise<ShownLeaf[]>}
 */
export async function readLeaves(tree, root, start, end) {
  let before = start > 0 ? await readLeaf(tree, root, start - 1) : null;
  const rows = [];
  for (let index = start; index < end; index += 1) {
    const leaf = await readLeaf(tree, root, index);
    rows.push(await judgeLeaf(index, leaf, before));
    before = leaf;
  }
  return rows;
}

/** A leaf's bytes, and why they are not what the checkpoint covers; null if they are. */
async function readLeaf(tree, root, index) {
  const [raw, proof] = [await tree.leaf(index), await tree.proveInclusion(index)];
  const found = await rootFromInclusion(await hashLeaf(raw), index, tree.size, proof);
  const fault = equalBytes(found, root) ? null : "It is not the leaf that the checkpoint covers here.";
  return { raw, fault };
}

/** @returns {Promise<ShownLeaf>} */
async function judgeLeaf(index, { raw, fault }, before) {
  const row = (state, why, entry = null) => ({ index, state, why, entry });
  if (fault !== null) return row("fail", fault);
  let entry;
  try {
    entry = parseEntry(raw, "leaf");
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return row("skip", `It stands in the log, but this page cannot read it (${error.field}: ${error.found}).`);
  }
  if (entry.index !== index) return row("fail", `It calls itself entry ${shown(entry.index)}.`, entry);
  if (before?.fault) return row("skip", "It stands in the log; the one before it fails, so they cannot be chained.", entry);
  const chained = before === null ? isZero(entry.prev) : equalBytes(entry.prev, await sha256(before.raw));
  if (!chained) return row("fail", `It names ${hexOf(entry.prev)} as the one before it, which is another.`, entry);
  return row("pass", "", entry);
}
