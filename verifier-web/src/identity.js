// WorkloadKeyset and Workload: the documents that a report commits to (SPEC §4.1, §4.3; ACI/1 §3.1).

import { bytesOfHex, encodeUtf8 } from "./bytes.js";
import { encodeCanonical, isObject, shown, kindOf, step } from "./canonical.js";
import { Malformed } from "./errors.js";

const SUBJECT_PREFIX = "urn:saferouter:workload:";
const IDENTITY_CONTEXT = "saferouter/keyset/v1\n";
const MAX_KEYS = 16; // a keyset names a handful of keys; more is an attempt to bury one
const LAST_SECOND = 253402300799; // of the year 9999
export const MAX_KEYSET_SECONDS = 7 * 24 * 3600;

const KEYSET_MEMBERS = ["subject", "not_after", "receipt_signing_keys", "e2ee_public_keys", "tls_public_keys"];
const WORKLOAD_MEMBERS = [
  "version",
  "audience",
  "build",
  "configuration",
  "seed_measurement",
  "identity_key",
  "http_signature_key",
  "stream_key",
  "log",
  "platform_evidence",
];
const PLATFORM_KINDS = ["nitrotpm"];
const BUILD_MEMBERS = ["version", "repo_url", "repo_commit", "image_digest", "source_digest"];
const CONFIGURATION_MEMBERS = ["providers", "models", "policies", "prices", "settings"];

/** @typedef {import("./canonical.js").Json} Json */
/** @typedef {{keyId: string, publicKey: Uint8Array}} ReceiptKey an Ed25519 key that signs receipts and nothing else */
/**
 * A parsed keyset. Its digest is that of `canonical`, which covers members unknown here too.
 * @typedef {object} WorkloadKeyset
 * @property {string} subject
 * @property {Date} notAfter
 * @property {ReceiptKey[]} receiptKeys
 * @property {Json} document
 * @property {Uint8Array} canonical
 */
/** The log that a workload writes; nobody has parsed its C2SP vkey yet. @typedef {{origin: string, vkey: string}} WorkloadLog */
/**
 * A parsed workload document; the digest of `canonical` is what the keyset's subject names.
 * @typedef {{audience: string, identityKey: Uint8Array, httpSignatureKey: Uint8Array | null,
 *   streamKey: Uint8Array | null, platformKinds: string[], log: WorkloadLog | null,
 *   document: Json, canonical: Uint8Array}} Workload
 */

/** Parse a keyset (ACI/1 §3.1). @param {Json} document @returns {WorkloadKeyset} */
export function parseKeyset(document) {
  requireMembers(document, KEYSET_MEMBERS, "keyset");
  const notAfter = document.not_after;
  if (!Number.isInteger(notAfter) || notAfter <= 0 || notAfter > LAST_SECOND) {
    throw new Malformed("keyset.not_after", shown(notAfter), "seconds since 1970");
  }
  const receiptKeys = rowsOf(document, "receipt_signing_keys").map(parseReceiptKey);
  if (new Set(receiptKeys.map((key) => key.keyId)).size !== receiptKeys.length) {
    throw new Malformed("keyset.receipt_signing_keys", "a key_id twice", "each key_id once");
  }
  for (const row of rowsOf(document, "e2ee_public_keys")) requireText(row.key_id, "keyset.e2ee_public_keys.key_id");
  for (const row of rowsOf(document, "tls_public_keys")) {
    hexBytes(row.spki_sha256, 32, "keyset.tls_public_keys.spki_sha256");
  }
  return Object.freeze({
    subject: requireText(document.subject, "keyset.subject"),
    notAfter: new Date(notAfter * 1000),
    receiptKeys,
    document,
    canonical: encodeCanonical(document),
  });
}

/** Parse a workload document (SPEC §4.3). @param {Json} document @returns {Workload} */
export function parseWorkload(document) {
  requireMembers(document, WORKLOAD_MEMBERS, "workload", { exact: true });
  if (document.version !== 1) throw new Malformed("workload.version", shown(document.version), "1");
  const { build, configuration } = document;
  requireMembers(build, BUILD_MEMBERS, "workload.build", { exact: true });
  requireMembers(configuration, CONFIGURATION_MEMBERS, "workload.configuration", { exact: true });
  for (const [name, value] of Object.entries(configuration)) digestText(value, `workload.configuration.${name}`);
  digestText(build.source_digest, "workload.build.source_digest");
  digestText(document.seed_measurement, "workload.seed_measurement");
  const [httpSignatureKey, streamKey] = ["http_signature_key", "stream_key"].map((name) =>
    document[name] === null ? null : hexBytes(document[name], 32, `workload.${name}`),
  );
  return Object.freeze({
    audience: requireText(document.audience, "workload.audience"),
    identityKey: hexBytes(document.identity_key, 32, "workload.identity_key"),
    httpSignatureKey,
    streamKey,
    platformKinds: platformKinds(document.platform_evidence, "workload.platform_evidence"),
    log: document.log === null ? null : parseLog(document.log),
    document,
    canonical: encodeCanonical(document),
  });
}

/**
 * Kinds of platform evidence, known and each once: an unknown one could not be judged.
 * @param {Json} value @param {string} path @returns {string[]}
 */
export function platformKinds(value, path) {
  if (!Array.isArray(value)) throw new Malformed(path, kindOf(value), "a list of kinds");
  const refused = value.findIndex((kind, at) => !PLATFORM_KINDS.includes(kind) || value.lastIndexOf(kind) > at);
  if (refused >= 0) {
    throw new Malformed(path, shown(value[refused]), `each at most once: ${PLATFORM_KINDS.join(", ")}`);
  }
  return value;
}

/** @param {Json} value @returns {WorkloadLog} */
function parseLog(value) {
  requireMembers(value, ["origin", "vkey"], "workload.log", { exact: true });
  const origin = requireText(value.origin, "workload.log.origin");
  return Object.freeze({ origin, vkey: requireText(value.vkey, "workload.log.vkey") });
}

/** The keyset subject that commits to a workload document (SPEC §4.3). @param {string} workloadDigest */
export const subjectOf = (workloadDigest) => SUBJECT_PREFIX + workloadDigest;

/** What the persistent identity signs, so that a change of identity shows (SPEC §4.4). @param {string} keysetDigest */
export const identityMessage = (keysetDigest) => encodeUtf8(IDENTITY_CONTEXT + keysetDigest);

/**
 * Whether the Ed25519 signature (64 bytes) verifies.
 * @param {Uint8Array} publicKey @param {Uint8Array} signature @param {Uint8Array} message @returns {Promise<boolean>}
 */
export async function verifyEd25519(publicKey, signature, message) {
  try {
    const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    if (error.name !== "DataError") throw error; // an engine without Ed25519 must not read as a forgery
    return false;
  }
}

/**
 * `value` is an object with these members (only these, if `exact`).
 * @param {Json} value @param {string[]} members @param {string} path @param {{exact?: boolean}} [options]
 */
export function requireMembers(value, members, path, { exact = false } = {}) {
  if (!isObject(value)) throw new Malformed(path, kindOf(value), "an object");
  const known = [...members].sort();
  const missing = known.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw new Malformed(`${path}.${missing}`, "nothing", "a value: it is required");
  const [unknown] = Object.keys(value)
    .filter((name) => !members.includes(name))
    .sort();
  if (exact && unknown !== undefined) {
    throw new Malformed(`${path}.${step(unknown)}`, "an unknown member", known.join(", "));
  }
}

/**
 * `value` as printable ASCII of 1 to `limit` characters.
 * @param {Json} value @param {string} path @returns {string}
 */
export function requireText(value, path, limit = 512) {
  if (typeof value !== "string" || value.length > limit || !/^[ -~]+$/.test(value)) {
    throw new Malformed(path, shown(value), `printable ASCII, 1 to ${limit} characters`);
  }
  return value;
}

/**
 * `value` as lowercase hex of exactly `size` bytes.
 * @param {Json} value @param {number} size @param {string} path @returns {Uint8Array}
 */
export function hexBytes(value, size, path) {
  if (typeof value !== "string" || value.length !== 2 * size || !/^[0-9a-f]*$/.test(value)) {
    throw new Malformed(path, shown(value), `${2 * size} lowercase hex characters`);
  }
  return bytesOfHex(value);
}

/** `value` as `sha256:<64 lowercase hex>`. @param {Json} value @param {string} path @returns {string} */
export function digestText(value, path) {
  if (typeof value !== "string" || !/^sha256:[0-9a-f]{64}$/.test(value)) {
    throw new Malformed(path, shown(value), "sha256: and 64 lowercase hex characters");
  }
  return value;
}

/** `value` as seconds since 1970, up to the year 9999. @param {Json} value @param {string} path @returns {number} */
export function seconds(value, path) {
  if (!Number.isSafeInteger(value) || value < 0 || value > LAST_SECOND) {
    throw new Malformed(path, shown(value), "an integer of at least 0");
  }
  return value;
}

function rowsOf(document, name) {
  const rows = document[name];
  if (!Array.isArray(rows) || rows.length > MAX_KEYS || !rows.every(isObject)) {
    throw new Malformed(`keyset.${name}`, kindOf(rows), `a list of at most ${MAX_KEYS} objects`);
  }
  return rows;
}

/** @returns {ReceiptKey} */
function parseReceiptKey(row) {
  const path = "keyset.receipt_signing_keys";
  requireMembers(row, ["key_id", "algo", "public_key"], path);
  if (row.algo !== "ed25519") throw new Malformed(`${path}.algo`, shown(row.algo), "ed25519");
  return Object.freeze({
    keyId: requireText(row.key_id, `${path}.key_id`),
    publicKey: hexBytes(row.public_key, 32, `${path}.public_key`),
  });
}
