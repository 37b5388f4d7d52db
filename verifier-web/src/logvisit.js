// One visit to a gateway's log: what was seen of it before, the proof that joins both, and what is kept of it.

import { hexOf } from "./bytes.js";
import { isObject, kindOf, parseJson, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { fetchConsistency, fetchLogPage } from "./gateway.js";
import { requireMembers } from "./identity.js";
import { seenLog } from "./logchecks.js";
import { parseLink } from "./loghistory.js";
import { loadMemory, newerOf, saveMemory } from "./logmemory.js";
import { decodeQuote } from "./quote.js";

const CHANGED = "Another page of this browser saw this log meanwhile. Verify again: this must be held against that.";
const FORGETFUL = "This browser keeps no memory for this page: a log that forgets would go unseen.";

/** @typedef {import("./logchecks.js").Earlier} Earlier */
/** @typedef {import("./logchecks.js").SeenLog} SeenLog */

/** What this browser saw of a gateway's log before; null if nothing. @returns {SeenLog | null} */
export const knownLog = (origin) => loadMemory()?.get(origin) ?? null;

/**
 * For an earlier keyset's stored evidence: its log must have grown into the one that `document` shows now.
 * @param {string} origin @param {any} past @param {any} document a quote that held @returns {Promise<Earlier | null>}
 */
export async function earlierOfPast(origin, past, document) {
  const [seen, then] = [await seenLog(decodeQuote(document)), await shownBy(past)];
  return seen !== null && then?.vkey === seen.vkey ? joined(origin, past, seen) : null;
}

/**
 * What was seen before, with the proof that leads from there to what a quote shows, or back.
 * @param {string} origin @param {any} document @param {SeenLog} seen @returns {Promise<Earlier>}
 */
export async function joined(origin, document, seen) {
  const now = await shownBy(document);
  if (now === null || now.vkey !== seen.vkey || now.size === seen.size) return { seen, proof: null };
  return { seen, proof: await fetchLink(origin, Math.min(seen.size, now.size), Math.max(seen.size, now.size)) };
}

/**
 * The hashes that should show one tree of the log to extend another; null where the gateway gives none.
 * @param {string} origin @param {number} old @param {number} size @param {number | null} epoch null: the live one
 * @returns {Promise<readonly Uint8Array[] | null>}
 */
export async function fetchLink(origin, old, size, epoch = null) {
  const raw = await fetchConsistency(origin, old, size, epoch);
  if (raw === null) return null;
  const [sizes, proof] = parseLink(parseJson(raw, "consistency"), "consistency");
  if (sizes === `${old}-${size}`) return proof;
  throw new Malformed("consistency", `a proof from ${sizes.replace("-", " to ")}`, `one from ${old} to ${size}`);
}

/**
 * Which passed epoch of the log the gateway lists under this key; null where none.
 * @param {string} origin @param {string} vkey @returns {Promise<number | null>}
 */
export async function fetchEpoch(origin, vkey) {
  const raw = await fetchLogPage(origin);
  const page = raw && parseJson(raw, "log");
  const rows = isObject(page) ? (page.epochs ?? []) : [];
  if (!Array.isArray(rows)) throw new Malformed("log.epochs", kindOf(rows), "a list");
  for (const row of rows) {
    requireMembers(row, ["epoch", "vkey"], "log.epochs");
    if (!Number.isSafeInteger(row.epoch) || row.epoch < 1) {
      throw new Malformed("log.epochs.epoch", shown(row.epoch), "a number from 1 on");
    }
  }
  return rows.find((row) => row.vkey === vkey)?.epoch ?? null;
}

/**
 * Keep what a quote that held against `known` showed of its log; what to tell the reader about that.
 * @param {string} origin @param {any} document @param {SeenLog | null} known @returns {Promise<string[]>}
 */
export async function keepSeen(origin, document, known) {
  const seen = await seenLog(decodeQuote(document));
  if (seen === null) return [];
  const memory = loadMemory(); // from here on nothing waits: no other page comes between
  if (memory === undefined) return [FORGETFUL];
  const kept = memory.get(origin) ?? null;
  if (!same(kept, known)) return [CHANGED];
  return saveMemory(memory.set(origin, newerOf(kept, seen))) ? [] : [FORGETFUL];
}

/** @param {SeenLog | null} one @param {SeenLog | null} other */
const same = (one, other) =>
  one === other || (one?.vkey === other?.vkey && one?.size === other?.size && hexOf(one.root) === hexOf(other.root));

/** The tree that a quote shows, null where it does not hold: the checks name that fault. */
async function shownBy(document) {
  try {
    return await seenLog(decodeQuote(document));
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}
