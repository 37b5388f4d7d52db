// One visit to a gateway's log: what was seen of it before, the proof that joins both, and what is kept of it.

import { kindOf, parseJson } from "./canonical.js";
import { Malformed } from "./errors.js";
import { fetchConsistency } from "./gateway.js";
import { requireMembers } from "./identity.js";
import { seenLog } from "./logchecks.js";
import { loadMemory, newerOf, saveMemory } from "./logmemory.js";
import { decodeBase64, decodeQuote } from "./quote.js";

const FORGETFUL = "This browser keeps no memory for this page: a log that forgets would go unseen.";

/** @typedef {import("./logchecks.js").Earlier} Earlier */
/** @typedef {import("./logchecks.js").SeenLog} SeenLog */

/**
 * What this browser saw of the gateway's log before, with the proof that leads from there to here, or back.
 * @param {string} origin @param {any} document @returns {Promise<Earlier | null>}
 */
export async function findEarlier(origin, document) {
  const seen = loadMemory()?.get(origin);
  if (seen === undefined) return null;
  const now = await shownBy(document);
  if (now === null || now.vkey !== seen.vkey || now.size === seen.size) return { seen, proof: null };
  const raw = await fetchConsistency(origin, Math.min(seen.size, now.size), Math.max(seen.size, now.size));
  return { seen, proof: raw && parseProof(raw) };
}

/**
 * Keep what a quote that held showed of its log; what to tell the reader about that.
 * @param {string} origin @param {any} document @returns {Promise<string[]>}
 */
export async function keepSeen(origin, document) {
  const seen = await seenLog(decodeQuote(document));
  if (seen === null) return [];
  const memory = loadMemory();
  if (memory === undefined) return [FORGETFUL];
  return saveMemory(memory.set(origin, newerOf(memory.get(origin), seen))) ? [] : [FORGETFUL];
}

/** The tree that a quote shows, null where it does not hold: the checks name that fault. */
async function shownBy(document) {
  try {
    return await seenLog(decodeQuote(document));
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

function parseProof(raw) {
  const document = parseJson(raw, "consistency");
  requireMembers(document, ["proof"], "consistency");
  const hashes = document.proof;
  if (!Array.isArray(hashes)) throw new Malformed("consistency.proof", kindOf(hashes), "a list of hashes");
  return hashes.map((value) => decodeBase64(value, "consistency.proof"));
}
