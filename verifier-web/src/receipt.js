// Receipts: what was received, forwarded and returned, signed by an attested key (SPEC §7; ACI/1 §7).

import { digestBytes, encodeCanonical, parseJson, shown, kindOf } from "./canonical.js";
import { Malformed } from "./errors.js";
import { failed, judged, passed, skipped, unparsed } from "./evidence.js";
import { digestText, hexBytes, requireMembers, requireText, seconds, verifyEd25519 } from "./identity.js";
import { requireAgreement, requireLeakScan, tellLeakScan } from "./leakscan.js";

const API_VERSION = "aci/1";
const MAX_RECEIPT_SIZE = 1 << 18;
const MAX_EVENTS = 64;
const HASHED_EVENTS = ["request.received", "request.forwarded", "response.returned"];
const ROUTED_EVENTS = ["route", "route.refused"];
const MEMBERS = [
  "api_version",
  "receipt_id",
  "chat_id",
  "model",
  "endpoint",
  "method",
  "served_at",
  "event_log",
  "key_id",
  "workload_keyset_digest",
  "signature",
];
export const CHECKS = Object.freeze([
  "receipt.format",
  "receipt.keyset",
  "receipt.signature",
  "receipt.request",
  "receipt.response",
  "receipt.complete",
]);

/** @typedef {import("./canonical.js").Json} Json */
/** @typedef {import("./evidence.js").Check} Check */
/**
 * A parsed receipt. `events` maps an event's type to its members; each type occurs once.
 * @typedef {object} Receipt
 * @property {string} receiptId
 * @property {string} endpoint
 * @property {string} method
 * @property {string | null} model
 * @property {number} servedAt
 * @property {string} keyId
 * @property {string} keysetDigest
 * @property {Map<string, {[name: string]: Json}>} events
 * @property {boolean} complete whether these bytes are the whole answer
 * @property {Uint8Array} signature 64 bytes
 * @property {Json} document
 */

/** Parse a receipt from its JSON bytes. @param {Uint8Array} raw @returns {Receipt} */
export function parseReceipt(raw) {
  if (raw.length > MAX_RECEIPT_SIZE) {
    throw new Malformed("receipt", `${raw.length} bytes`, `at most ${MAX_RECEIPT_SIZE}`);
  }
  const document = parseJson(raw, "receipt");
  requireMembers(document, MEMBERS, "receipt");
  if (document.api_version !== API_VERSION) {
    throw new Malformed("receipt.api_version", shown(document.api_version), API_VERSION);
  }
  for (const name of ["chat_id", "model"]) {
    if (document[name] !== null && typeof document[name] !== "string") {
      throw new Malformed(`receipt.${name}`, kindOf(document[name]), "text or null");
    }
  }
  const receipt = {
    receiptId: requireText(document.receipt_id, "receipt.receipt_id"),
    endpoint: requireText(document.endpoint, "receipt.endpoint"),
    method: requireText(document.method, "receipt.method"),
    model: document.model,
    servedAt: seconds(document.served_at, "receipt.served_at"),
    keyId: requireText(document.key_id, "receipt.key_id"),
    keysetDigest: digestText(document.workload_keyset_digest, "receipt.workload_keyset_digest"),
    events: parseEvents(document.event_log),
    signature: hexBytes(document.signature, 64, "receipt.signature"),
    document,
  };
  return Object.freeze({ ...receipt, complete: receipt.events.get("stream")?.complete === true });
}

/** The bytes that a receipt's signature covers: its canonical form without `signature`. @param {Json} document */
export function signingInput(document) {
  const { signature: _, ...signed } = document;
  return encodeCanonical(signed);
}

/**
 * The `receipt.*` checks. `keyset` must come from a verified quote; null bodies mean: not at hand.
 * @param {Uint8Array} raw @param {import("./identity.js").WorkloadKeyset} keyset
 * @param {Uint8Array | null} request @param {Uint8Array | null} response @returns {Promise<Check[]>}
 */
export async function verifyReceipt(raw, keyset, request, response) {
  let receipt, message;
  try {
    receipt = parseReceipt(raw);
    message = signingInput(receipt.document);
  } catch (error) {
    const rest = CHECKS.slice(1).map((id) => skipped(id, "the receipt does not parse"));
    return [unparsed("receipt.format", error), ...rest];
  }
  const keysetDigest = await digestBytes(keyset.canonical);
  const { receiptId, keyId, complete } = receipt;
  const key = keyset.receiptKeys.find((candidate) => candidate.keyId === keyId);
  const signed = key !== undefined && (await verifyEd25519(key.publicKey, receipt.signature, message));
  const whole = "these bytes are the whole answer";
  const told = tellLeakScan(receipt.events);
  return [
    passed("receipt.format", `receipt ${receiptId}`, "an ACI/1 receipt"),
    judged("receipt.keyset", receipt.keysetDigest === keysetDigest, receipt.keysetDigest, keysetDigest),
    judged(
      "receipt.signature",
      signed,
      signed ? "a signature that verifies" : "a signature that does not verify",
      `Ed25519 by key ${keyId} of the keyset`,
    ),
    await checkBody("receipt.request", receipt, "request.received", request, "the request", told),
    await checkBody("receipt.response", receipt, "response.returned", response, "the response"),
    judged("receipt.complete", complete, complete ? whole : "the answer was cut", whole),
  ];
}

async function checkBody(id, { events }, type, body, name, reason = "") {
  if (body === null) return skipped(id, `${name} was not given`);
  const observed = await digestBytes(body);
  const recorded = events.get(type)?.body_hash;
  return recorded === undefined
    ? failed(id, `no ${type} event`, observed)
    : judged(
        id,
        recorded === observed,
        `${recorded} in the receipt`,
        `${observed}, the SHA-256 of ${name} that was given`,
        reason,
      );
}

function parseEvents(value) {
  if (!Array.isArray(value) || value.length > MAX_EVENTS) {
    throw new Malformed("receipt.event_log", kindOf(value), `a list of at most ${MAX_EVENTS} events`);
  }
  const events = new Map();
  for (const event of value) {
    requireMembers(event, ["type"], "receipt.event_log");
    const type = requireText(event.type, "receipt.event_log.type");
    if (events.has(type)) throw new Malformed("receipt.event_log", `${type} twice`, "each event once");
    if (HASHED_EVENTS.includes(type)) digestText(event.body_hash, `receipt.event_log.${type}.body_hash`);
    if (ROUTED_EVENTS.includes(type) && Object.hasOwn(event, "policy")) {
      requirePolicy(event, `receipt.event_log.${type}`);
    }
    if (ROUTED_EVENTS.includes(type) && Object.hasOwn(event, "leak_scan")) {
      requireLeakScan(event, `receipt.event_log.${type}`);
    }
    events.set(type, event);
  }
  requireAgreement(events);
  return events;
}

/** That an event names its policy by id, version and digest, and no other by its id alone. */
function requirePolicy(event, path) {
  const { policy } = event;
  requireMembers(policy, ["id", "version", "digest"], `${path}.policy`, { exact: true });
  const name = requireText(policy.id, `${path}.policy.id`, 64);
  if (!Number.isSafeInteger(policy.version) || policy.version < 1) {
    throw new Malformed(`${path}.policy.version`, shown(policy.version), "an integer from 1 on");
  }
  digestText(policy.digest, `${path}.policy.digest`);
  if (Object.hasOwn(event, "policy_id") && event.policy_id !== name) {
    throw new Malformed(`${path}.policy_id`, shown(event.policy_id), `${name}, the id of the policy`);
  }
}
