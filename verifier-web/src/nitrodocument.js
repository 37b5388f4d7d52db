// A NitroTPM attestation document: COSE_Sign1 around AWS's payload, parsed strictly (SPEC §11.1).

import { bytesOfHex, encodeUtf8, hexOf } from "./bytes.js";
import { parseCbor } from "./cbor.js";
import { Malformed } from "./errors.js";

const MAX_DOCUMENT_SIZE = 16384; // AWS's own buffer holds 8 kB, its documents have about 5
const MAX_CERTIFICATE_SIZE = 1024;
const MAX_BUNDLE = 8; // AWS sends four: root, regional, zonal, instance
const MAX_MODULE_ID = 128;
const MAX_USER_DATA = 1024;
const MAX_TIMESTAMP = 253402300799999; // milliseconds, the end of the year 9999
const PCRS = 32;
const PCR_SIZE = 48; // SHA-384
const SIGNATURE_SIZE = 96; // r, then s
const COSE_SIGN1_TAG = 0xd2;
const PROTECTED_ES384 = "a1013822"; // {1: -35}
const REQUIRED = ["module_id", "digest", "timestamp", "nitrotpm_pcrs", "certificate", "cabundle"];
const OPTIONAL = ["public_key", "user_data", "nonce"];

/**
 * A parsed document; everything in it is a claim until its chain and signature are verified.
 * @typedef {object} NitroDocument
 * @property {string} moduleId
 * @property {Date} timestamp to the millisecond
 * @property {Map<number, Uint8Array>} pcrs 48 bytes each
 * @property {Uint8Array} certificate DER of the signer
 * @property {Uint8Array[]} cabundle DER, root first
 * @property {Uint8Array | null} userData
 * @property {Uint8Array | null} nonce
 * @property {Uint8Array} signed the Sig_structure, RFC 9052 §4.4
 * @property {Uint8Array} signature 96 bytes
 */

/** Parse a document, with the tag 18 of COSE_Sign1 or without it. @param {Uint8Array} raw @returns {NitroDocument} */
export function parseDocument(raw) {
  if (raw.length > MAX_DOCUMENT_SIZE) {
    throw new Malformed("document", `${raw.length} bytes`, `at most ${MAX_DOCUMENT_SIZE}`);
  }
  const envelope = parseCbor(raw[0] === COSE_SIGN1_TAG ? raw.subarray(1) : raw, "document");
  if (!Array.isArray(envelope) || envelope.length !== 4) {
    throw new Malformed("document", "another shape", "COSE_Sign1: an array of four");
  }
  const [header, unprotected, payload, signature] = envelope;
  if (!isBytes(header) || hexOf(header) !== PROTECTED_ES384) {
    throw new Malformed("document.protected", "another header", "ES384 (-35) and nothing else");
  }
  if (!(unprotected instanceof Map) || unprotected.size > 0) {
    throw new Malformed("document.unprotected", "another value", "an empty map");
  }
  const body = parseCbor(requireBytes(payload, 1, MAX_DOCUMENT_SIZE, "document.payload"), "document.payload");
  requireBody(body);
  return Object.freeze({
    moduleId: parseModuleId(body.get("module_id")),
    timestamp: parseTimestamp(body.get("timestamp")),
    pcrs: parsePcrs(body.get("nitrotpm_pcrs")),
    certificate: requireBytes(body.get("certificate"), 1, MAX_CERTIFICATE_SIZE, "document.certificate"),
    cabundle: parseBundle(body.get("cabundle")),
    userData: optionalBytes(body, "user_data"),
    nonce: optionalBytes(body, "nonce"),
    signed: encodeSigned(payload),
    signature: requireBytes(signature, SIGNATURE_SIZE, SIGNATURE_SIZE, "document.signature"),
  });
}

const isBytes = (value) => value instanceof Uint8Array;

function requireBody(body) {
  if (!(body instanceof Map)) throw new Malformed("document.payload", "another kind of value", "a map");
  const missing = REQUIRED.find((name) => !body.has(name));
  if (missing) throw new Malformed(`document.${missing}`, "nothing", "a value: it is required");
  const known = [...REQUIRED, ...OPTIONAL];
  if ([...body.keys()].some((name) => !known.includes(name))) {
    throw new Malformed("document.payload", "an unknown member", known.join(", "));
  }
  if (body.get("digest") !== "SHA384") throw new Malformed("document.digest", "another function", "SHA384");
  optionalBytes(body, "public_key");
}

function parseModuleId(value) {
  if (typeof value !== "string" || value.length > MAX_MODULE_ID || !/^[ -~]+$/.test(value)) {
    const wanted = `printable ASCII, 1 to ${MAX_MODULE_ID} characters`;
    throw new Malformed("document.module_id", "another value", wanted);
  }
  return value;
}

function parseTimestamp(value) {
  if (typeof value !== "number" || value <= 0 || value > MAX_TIMESTAMP) {
    throw new Malformed("document.timestamp", "another value", "milliseconds since 1970");
  }
  return new Date(value);
}

function parsePcrs(value) {
  const field = "document.nitrotpm_pcrs";
  if (!(value instanceof Map) || value.size === 0) throw new Malformed(field, "another value", "a map of registers");
  for (const index of value.keys()) {
    if (typeof index !== "number" || index < 0 || index >= PCRS) {
      throw new Malformed(field, "another key", `0 to ${PCRS - 1}`);
    }
  }
  return new Map([...value].map(([index, pcr]) => [index, requireBytes(pcr, PCR_SIZE, PCR_SIZE, `${field}.${index}`)]));
}

function parseBundle(value) {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_BUNDLE) {
    throw new Malformed("document.cabundle", "another value", `an array of 1 to ${MAX_BUNDLE} certificates`);
  }
  return value.map((row, at) => requireBytes(row, 1, MAX_CERTIFICATE_SIZE, `document.cabundle[${at}]`));
}

/** A member that AWS leaves null where the instance gave none. */
function optionalBytes(body, name) {
  const value = body.get(name) ?? null;
  return value === null ? null : requireBytes(value, 0, MAX_USER_DATA, `document.${name}`);
}

function requireBytes(value, least, most, field) {
  if (!isBytes(value) || value.length < least || value.length > most) {
    const found = isBytes(value) ? `${value.length} bytes` : "another kind of value";
    throw new Malformed(field, found, least < most ? `${least} to ${most} bytes` : `${most} bytes`);
  }
  return value;
}

/** The Sig_structure over this payload. @param {Uint8Array} payload at most 16384 bytes @returns {Uint8Array} */
function encodeSigned(payload) {
  const size = payload.length;
  const head = size < 24 ? [0x40 | size] : size < 256 ? [0x58, size] : [0x59, size >> 8, size & 0xff];
  const context = encodeUtf8("Signature1");
  return Uint8Array.from([
    0x84,
    0x60 | context.length,
    ...context,
    0x44,
    ...bytesOfHex(PROTECTED_ES384),
    0x40,
    ...head,
    ...payload,
  ]);
}
