// The quote document `saferouter/quote/v1`, read strictly (SPEC §4.5).

import { base64Bytes, encodeBase64 } from "./bytes.js";
import { isObject, parseJson, shown, kindOf } from "./canonical.js";
import { Malformed } from "./errors.js";
import { hexBytes, parseKeyset, parseWorkload, platformKinds, requireMembers, requireText } from "./identity.js";
import { HASH_SIZE, MAX_PROOF_HASHES, MAX_TREE_SIZE } from "./merkle.js";

export const FORMAT = "saferouter/quote/v1";
export const BUNDLE_FORMAT = "saferouter/evidence/v1";
const MAX_QUOTE_SIZE = 1 << 20; // ours is about 20 kB
const MAX_BUNDLE_SIZE = 4 * MAX_QUOTE_SIZE; // two quotes; in base64 a receipt, its proof and a head
const MAX_STATEMENT_SIZE = 1024;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/;
const MEMBERS = [
  "format",
  "tee_type",
  "report_b64",
  "endorsements",
  "statement",
  "keyset",
  "workload",
  "identity_signature",
  "platform_evidence",
  "log",
];

/** @typedef {import("./canonical.js").Json} Json */
/** The `startup` leaf of a quote's keyset, the hashes from it to a root, and the note that has that root.
 * @typedef {{checkpoint: string, index: number, leaf: Uint8Array, proof: readonly Uint8Array[]}} LoggedStart */
/**
 * A parsed quote: everything in it is a claim until verifyQuote has judged it.
 * @typedef {object} Quote
 * @property {import("./evidence.js").Evidence} evidence
 * @property {string} statement
 * @property {import("./identity.js").WorkloadKeyset} keyset
 * @property {import("./identity.js").Workload} workload
 * @property {Uint8Array} identitySignature 64 bytes
 * @property {Map<string, Uint8Array>} platformEvidence by kind: the document, as received
 * @property {LoggedStart | null} log
 * @property {{since: string, reason: string} | null} stale the server's own word that no device can renew this
 */

/** Parse a quote from its JSON bytes. @param {Uint8Array} raw @returns {Quote} */
export function parseQuote(raw) {
  if (raw.length > MAX_QUOTE_SIZE) throw new Malformed("quote", `${raw.length} bytes`, `at most ${MAX_QUOTE_SIZE}`);
  return decodeQuote(parseJson(raw, "quote"));
}

/** A quote from its parsed document. @param {Json} document @returns {Quote} */
export function decodeQuote(document) {
  requireMembers(document, MEMBERS, "quote");
  if (document.format !== FORMAT) throw new Malformed("quote.format", shown(document.format), FORMAT);
  const { endorsements } = document;
  requireMembers(endorsements, ["vek_b64", "ask_b64", "ark_b64", "crl_b64"], "quote.endorsements");
  const endorsement = (name) => decodeBase64(endorsements[name], `quote.endorsements.${name}`);
  return Object.freeze({
    evidence: Object.freeze({
      report: decodeBase64(document.report_b64, "quote.report_b64"),
      vek: endorsement("vek_b64"),
      intermediate: endorsement("ask_b64"),
      ark: endorsement("ark_b64"),
      crl: endorsements.crl_b64 === null ? null : endorsement("crl_b64"),
    }),
    statement: requireText(document.statement, "quote.statement", MAX_STATEMENT_SIZE),
    keyset: parseKeyset(document.keyset),
    workload: parseWorkload(document.workload),
    identitySignature: hexBytes(document.identity_signature, 64, "quote.identity_signature"),
    platformEvidence: decodePlatformEvidence(document.platform_evidence),
    log: document.log === null ? null : parseLog(document.log),
    stale: Object.hasOwn(document, "stale") ? parseStale(document.stale) : null,
  });
}

function decodePlatformEvidence(rows) {
  const path = "quote.platform_evidence";
  if (!Array.isArray(rows)) throw new Malformed(path, kindOf(rows), "a list");
  for (const row of rows) requireMembers(row, ["kind", "document_b64"], path, { exact: true });
  const kinds = platformKinds(
    rows.map((row) => row.kind),
    `${path}.kind`,
  );
  return new Map(kinds.map((kind, at) => [kind, decodeBase64(rows[at].document_b64, `${path}.document_b64`)]));
}

/** @returns {LoggedStart} */
function parseLog(value) {
  const path = "quote.log";
  requireMembers(value, ["checkpoint", "startup"], path, { exact: true });
  const { startup } = value;
  const checkpoint = wellFormed(value.checkpoint, `${path}.checkpoint`);
  const start = `${path}.startup`;
  requireMembers(startup, ["index", "leaf_b64", "proof"], start, { exact: true });
  const { index, proof: hashes } = startup;
  if (!Number.isSafeInteger(index) || index < 0 || index >= MAX_TREE_SIZE) {
    throw new Malformed(`${start}.index`, shown(index), "an integer of at least 0");
  }
  const leaf = decodeBase64(startup.leaf_b64, `${start}.leaf_b64`);
  if (!Array.isArray(hashes) || hashes.length > MAX_PROOF_HASHES) {
    throw new Malformed(`${start}.proof`, kindOf(hashes), `a list of at most ${MAX_PROOF_HASHES} hashes`);
  }
  const proof = hashes.map((each) => decodeBase64(each, `${start}.proof`));
  if (proof.some((each) => each.length !== HASH_SIZE)) {
    throw new Malformed(`${start}.proof`, "a hash of another size", `${HASH_SIZE} bytes`);
  }
  return Object.freeze({ checkpoint, index, leaf, proof });
}

function parseStale(value) {
  const path = "quote.stale";
  requireMembers(value, ["since", "reason"], path, { exact: true });
  const { since, reason } = value;
  if (typeof since !== "string" || !TIME.test(since) || !isTime(since)) {
    throw new Malformed(`${path}.since`, shown(since), "a UTC time such as 2026-01-31T12:00:00Z");
  }
  return Object.freeze({ since, reason: requireText(reason, `${path}.reason`) });
}

/** Whether the calendar has it: a Date takes 30 February for 2 March, and knows a year 0. */
function isTime(text) {
  const moment = new Date(text);
  return (
    !text.startsWith("0000") &&
    !Number.isNaN(moment.getTime()) &&
    moment.toISOString() === text.replace("Z", ".000Z")
  );
}

/**
 * A saved bundle, or a bare quote, from a file (then `origin` is empty). `answer` is the evidence of an answer,
 * undecoded; null where there is none.
 * @param {Uint8Array} raw @returns {{origin: string, document: Json, answer: Json}}
 */
export function parseBundle(raw) {
  if (raw.length > MAX_BUNDLE_SIZE) {
    throw new Malformed("bundle", `${raw.length} bytes`, `at most ${MAX_BUNDLE_SIZE}`);
  }
  const document = parseJson(raw, "bundle");
  if (!isObject(document)) throw new Malformed("bundle", kindOf(document), "an object");
  if (document.format === FORMAT) return Object.freeze({ origin: "", document, answer: null });
  requireMembers(document, ["format", "origin", "quote"], "bundle");
  if (document.format !== BUNDLE_FORMAT) {
    throw new Malformed("bundle.format", shown(document.format), `${BUNDLE_FORMAT} or ${FORMAT}`);
  }
  if (typeof document.origin !== "string" || !isObject(document.quote)) {
    throw new Malformed("bundle", "another shape", "an origin and a quote");
  }
  return Object.freeze({ origin: document.origin, document: document.quote, answer: document.answer ?? null });
}

/** `value` as a text of several lines. @param {Json} value @param {string} path @returns {string} */
export function wellFormed(value, path) {
  if (typeof value !== "string") throw new Malformed(path, kindOf(value), "text");
  if (!value.isWellFormed()) throw new Malformed(path, "a lone surrogate", "text that UTF-8 can carry");
  return value;
}

/**
 * Standard base64 with padding, in its one spelling.
 * @param {Json} value @param {string} path @returns {Uint8Array}
 */
export function decodeBase64(value, path) {
  if (typeof value !== "string") throw new Malformed(path, kindOf(value), "standard base64");
  const raw = base64Bytes(value);
  if (raw === null || encodeBase64(raw) !== value) {
    throw new Malformed(path, "another spelling", "standard base64, canonical, with padding");
  }
  return raw;
}
