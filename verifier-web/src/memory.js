// The highest manifest sequence that this browser has seen, by release keys: the one thing that the page stores.
import { bytesOfHex, hexOf, sha256 } from "./bytes.js";
import { Malformed } from "./errors.js";

const ITEM = "saferouter.manifests";

/** @typedef {import("./envelope.js").Signers} Signers */

/**
 * The highest sequence seen from these signers, null if none was; undefined where this browser keeps nothing.
 * @param {Signers} signers @returns {Promise<number | null | undefined>}
 */
export async function loadSeen(signers) {
  const known = load();
  return known && (known[await nameOf(signers)] ?? null);
}

/** Keep `sequence` if it is the highest yet. @param {Signers} signers @param {number} sequence */
export async function remember(signers, sequence) {
  const name = await nameOf(signers);
  const known = load();
  if (known && sequence > (known[name] ?? 0)) {
    localStorage.setItem(ITEM, JSON.stringify({ ...known, [name]: sequence }));
  }
}

/** One line of releases is known by its keys: another threshold is the same line. */
async function nameOf({ keys }) {
  return hexOf(await sha256(bytesOfHex(keys.map(hexOf).sort().join(""))));
}

/** @returns {Record<string, number> | undefined} */
function load() {
  let text;
  try {
    text = localStorage.getItem(ITEM);
  } catch (error) {
    if (error instanceof DOMException) return undefined; // storage is turned off
    throw error;
  }
  try {
    const known = JSON.parse(text ?? "{}");
    if (Object.values(known).every((sequence) => Number.isSafeInteger(sequence) && sequence > 0)) return known;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof TypeError)) throw error;
  }
  throw new Malformed("this browser's memory of manifests", "another text", "what this page wrote: clear its data");
}
