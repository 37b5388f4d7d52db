// Leaves of the log: canonical JSON, each naming the hash of the one before it (SPEC §15.4).

import { equalBytes } from "./bytes.js";
import { encodeCanonical, parseJson, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { hexBytes, requireMembers, seconds } from "./identity.js";
import { MAX_TREE_SIZE } from "./merkle.js";

const MAX_LEAF_SIZE = 65_535; // tiles carry a leaf behind a length of two bytes
const COMMITTED = ["route", "receipt", "audit", "key.seal", "key.release", "key.revoke"];
const PLAIN = ["startup", "configuration", "identity.epoch", "release.announce", "release.retire", "log.continues"];
const MEMBERS = ["body", "index", "prev", "time", "type", "v"];

/** One leaf; `time` is the log's own word, seconds since 1970.
 * @typedef {{index: number, prev: Uint8Array, time: number, type: string, body: {[name: string]: any}}} LogEntry */

/**
 * A leaf from its bytes; any other spelling of the same values is refused.
 * @param {Uint8Array} raw @param {string} field @returns {LogEntry}
 */
export function parseEntry(raw, field) {
  if (raw.length > MAX_LEAF_SIZE) throw new Malformed(field, `${raw.length} bytes`, `at most ${MAX_LEAF_SIZE}`);
  const document = parseJson(raw, field);
  requireMembers(document, MEMBERS, field, { exact: true });
  const { body, index, type, v } = document;
  if (v !== 1) throw new Malformed(`${field}.v`, shown(v), 1);
  if (!Number.isSafeInteger(index) || index < 0 || index >= MAX_TREE_SIZE) {
    throw new Malformed(`${field}.index`, shown(index), "an integer of at least 0");
  }
  const committed = COMMITTED.includes(type);
  if (!committed && !PLAIN.includes(type)) {
    throw new Malformed(`${field}.type`, shown(type), "a type of leaf that is known here");
  }
  requireMembers(body, committed ? ["commitment"] : [], `${field}.body`, { exact: committed });
  const prev = hexBytes(document.prev, 32, `${field}.prev`);
  const time = seconds(document.time, `${field}.time`);
  if (!equalBytes(encodeCanonical(document), raw)) {
    throw new Malformed(field, "another spelling", "canonical JSON (RFC 8785)");
  }
  return Object.freeze({ index, prev, time, type, body });
}
