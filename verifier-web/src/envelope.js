// Signed documents: a DSSE envelope with Ed25519 signatures, of which k of n known keys must be good (SPEC §12.1).

import { encodeUtf8, hexOf } from "./bytes.js";
import { kindOf, parseJson, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { requireMembers, verifyEd25519 } from "./identity.js";
import { decodeBase64 } from "./quote.js";

const MAX_ENVELOPE_SIZE = 2 << 20; // a release for every size of machine is about 100 KB
const MAX_SIGNATURES = 16;
export const MAX_SIGNERS = 16;

/** @typedef {{keys: Uint8Array[], threshold: number}} Signers whose word counts, and how many of them must sign */

/**
 * Signers from Ed25519 public keys of 32 bytes each, no two equal.
 * @param {Uint8Array[]} keys @param {number} threshold @returns {Signers}
 */
export function newSigners(keys, threshold) {
  if (keys.length < 1 || keys.length > MAX_SIGNERS) {
    throw new Malformed("keys", `${keys.length} keys`, `1 to ${MAX_SIGNERS}`);
  }
  if (keys.some((key) => key.length !== 32) || new Set(keys.map(hexOf)).size !== keys.length) {
    throw new Malformed("keys", "a key twice, or of another size", "different keys of 32 bytes");
  }
  if (threshold < 1 || threshold > keys.length) {
    throw new Malformed("threshold", threshold, `1 to ${keys.length}, the number of keys`);
  }
  return Object.freeze({ keys, threshold });
}

/**
 * What is signed (DSSE's PAE): type and payload, each behind its length, so that neither can run into the other.
 * @param {string} payloadType @param {Uint8Array} payload @returns {Uint8Array}
 */
export function encodePreauthentication(payloadType, payload) {
  const head = encodeUtf8(`DSSEv1 ${encodeUtf8(payloadType).length} ${payloadType} ${payload.length} `);
  return Uint8Array.from([...head, ...payload]);
}

/**
 * The payload, once `threshold` of the signers have signed it; Malformed, which names `field`, otherwise. Signatures
 * by other keys are ignored; a bad one by a signer is an error, for nobody honest makes it.
 * @param {Uint8Array} raw @param {Signers} signers @param {string} payloadType @param {string} field
 * @returns {Promise<Uint8Array>}
 */
export async function openEnvelope(raw, signers, payloadType, field) {
  if (raw.length > MAX_ENVELOPE_SIZE) throw new Malformed(field, `${raw.length} bytes`, `at most ${MAX_ENVELOPE_SIZE}`);
  const envelope = parseJson(raw, field);
  requireMembers(envelope, ["payload", "payloadType", "signatures"], field, { exact: true });
  if (envelope.payloadType !== payloadType) {
    throw new Malformed(`${field}.payloadType`, shown(envelope.payloadType), payloadType);
  }
  const payload = decodeBase64(envelope.payload, `${field}.payload`);
  const message = encodePreauthentication(payloadType, payload);
  const known = new Map(signers.keys.map((key) => [hexOf(key), key]));
  const signed = new Set();
  for (const [index, { keyid, signature }] of signaturesOf(envelope.signatures, `${field}.signatures`).entries()) {
    const place = `${field}.signatures[${index}]`;
    if (!known.has(keyid)) continue;
    if (signed.has(keyid)) throw new Malformed(place, `a second signature by ${keyid}`, "one signature by each key");
    if (!(await verifyEd25519(known.get(keyid), signature, message))) {
      throw new Malformed(place, `a bad signature by ${keyid}`, "a good signature, or none by this key");
    }
    signed.add(keyid);
  }
  if (signed.size < signers.threshold) {
    const wanted = `${signers.threshold} of the ${known.size} keys that you trust`;
    throw new Malformed(`${field}.signatures`, `good signatures by ${signed.size}`, wanted);
  }
  return payload;
}

function signaturesOf(value, path) {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_SIGNATURES) {
    const found = Array.isArray(value) ? `${value.length} signatures` : kindOf(value);
    throw new Malformed(path, found, `an array of 1 to ${MAX_SIGNATURES} signatures`);
  }
  return value.map((row, index) => {
    const place = `${path}[${index}]`;
    requireMembers(row, ["keyid", "sig"], place, { exact: true });
    if (typeof row.keyid !== "string") throw new Malformed(`${place}.keyid`, kindOf(row.keyid), "text");
    return { keyid: row.keyid, signature: decodeBase64(row.sig, `${place}.sig`) };
  });
}
