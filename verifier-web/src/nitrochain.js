// Authentic? Whether AWS's Nitro system signed this document (SPEC §11.2).

import { bytesOfHex, hexOf } from "./bytes.js";
import { parseExtensions, parseSigned, requireP384Spki, signedByP384 } from "./certs.js";
import {
  BIT_STRING,
  CONTEXT_3,
  SEQUENCE,
  SET,
  parseInteger,
  parseOid,
  parseText,
  parseTime,
  readAll,
  readOnly,
  requireTag,
} from "./der.js";
import { Malformed } from "./errors.js";

export const MOCK_ROOT_CN = "SAFEROUTER-MOCK-NITRO";
export const AWS_ROOT_CN = "aws.nitro-enclaves";
// SHA-256 of the DER of AWS's root G1, which signs for enclaves and NitroTPM alike. Never read from evidence.
export const AWS_ROOT_SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b";
export const MAX_SKEW_MS = 5 * 60 * 1000; // AWS issues the leaf seconds before it signs: a clock behind AWS's must do
const ECDSA_SHA384 = "300a06082a8648ce3d040303";
const OID_CN = "2.5.4.3";
const OID_KEY_USAGE = "2.5.29.15";
const OID_BASIC_CONSTRAINTS = "2.5.29.19";
const DIGITAL_SIGNATURE = 0x80; // bits of keyUsage's first byte
const KEY_CERT_SIGN = 0x04;

/** @typedef {import("./der.js").Element} Element */
/** @typedef {import("./nitrodocument.js").NitroDocument} NitroDocument */
/**
 * An X.509 certificate of AWS's Nitro PKI, as far as the chain needs it.
 * @typedef {object} NitroCertificate
 * @property {Uint8Array} raw
 * @property {Uint8Array} tbs
 * @property {Uint8Array} issuer DER name
 * @property {Uint8Array} subject DER name
 * @property {string} subjectCn
 * @property {Date} notBefore
 * @property {Date} notAfter
 * @property {Uint8Array} spki
 * @property {boolean} isCa
 * @property {bigint | null} pathLength
 * @property {number} keyUsage
 * @property {Uint8Array} signature 96 bytes: r, then s
 */

/**
 * The certificates, root first and signer last, each of its role (RFC 5280 §6.1).
 * @param {NitroDocument} document @returns {NitroCertificate[]}
 */
export function parseChain({ cabundle, certificate }) {
  const rows = [...cabundle.map((raw, at) => [`cabundle[${at}]`, raw]), ["certificate", certificate]];
  const chain = rows.map(([field, raw]) => parseCertificate(raw, field));
  chain.forEach((row, at) => requireRole(row, chain.length - at - 2, rows[at][0]));
  return chain;
}

/**
 * What keeps the chain from carrying the document's signature, or null: names, signatures, the document.
 * @param {NitroDocument} document @param {NitroCertificate[]} chain @returns {Promise<string | null>}
 */
export async function chainProblem(document, chain) {
  for (const [at, signed] of chain.entries()) {
    const signer = chain[Math.max(at - 1, 0)];
    if (hexOf(signed.issuer) !== hexOf(signer.subject)) {
      return `${signed.subjectCn} names another issuer than ${signer.subjectCn}`;
    }
    if (!(await signedByP384(signed.tbs, signed.signature, signer.spki))) {
      return `${signed.subjectCn}: signature does not verify by ${signer.subjectCn}`;
    }
  }
  const leaf = chain[chain.length - 1];
  const held = await signedByP384(document.signed, document.signature, leaf.spki);
  return held ? null : `document: signature does not verify by ${leaf.subjectCn}`;
}

/**
 * From when and until when every certificate is valid. The signer's lives for hours only.
 * @param {NitroCertificate[]} chain @returns {[Date, Date]}
 */
export function validity(chain) {
  const times = (name) => chain.map((row) => row[name].getTime());
  return [new Date(Math.max(...times("notBefore"))), new Date(Math.min(...times("notAfter")))];
}

/** @param {Uint8Array} raw @param {string} field @returns {NitroCertificate} */
function parseCertificate(raw, field) {
  const { tbs, algorithm: outer, signature } = parseSigned(raw, field);
  const fields = readAll(tbs.content, field);
  if (fields.length !== 8 || hexOf(fields[0].raw) !== "a003020102") {
    throw new Malformed(field, "another certificate", "X.509 version 3, 8 fields");
  }
  const [, serial, algorithm, issuer, lifetime, subject, spki, listing] = fields;
  if (hexOf(algorithm.raw) !== ECDSA_SHA384 || hexOf(outer.raw) !== ECDSA_SHA384) {
    throw new Malformed(`${field}.signature`, "another algorithm", "ECDSA with SHA-384, named twice alike");
  }
  const times = readAll(requireTag(lifetime, SEQUENCE, `${field}.validity`).content, `${field}.validity`);
  if (times.length !== 2) throw new Malformed(`${field}.validity`, `${times.length} times`, "two times");
  parseInteger(serial, `${field}.serial`);
  requireP384Spki(spki.raw, `${field}.spki`);
  const extensions = parseExtensions(listing, `${field}.extensions`, CONTEXT_3);
  const constraints = parseConstraints(extensions.get(OID_BASIC_CONSTRAINTS), `${field}.basicConstraints`);
  parseCommonName(issuer, `${field}.issuer`);
  return Object.freeze({
    raw,
    tbs: tbs.raw,
    issuer: issuer.raw,
    subject: subject.raw,
    subjectCn: parseCommonName(subject, `${field}.subject`),
    notBefore: parseTime(times[0], `${field}.notBefore`),
    notAfter: parseTime(times[1], `${field}.notAfter`),
    spki: spki.raw,
    ...constraints,
    keyUsage: parseKeyUsage(extensions.get(OID_KEY_USAGE), `${field}.keyUsage`),
    signature: parseEcdsa(signature, `${field}.signatureValue`),
  });
}

/** An authority may sign certificates, with `below` authorities under it; the signer (-1) may not. */
function requireRole({ isCa, pathLength, keyUsage }, below, field) {
  const authority = below >= 0;
  if (isCa !== authority) {
    const said = (/** @type {boolean} */ ca) => `CA ${ca}`.toUpperCase();
    throw new Malformed(`${field}.basicConstraints`, said(isCa), said(authority));
  }
  if (authority && pathLength !== null && pathLength < below) {
    throw new Malformed(`${field}.pathLength`, pathLength, `at least ${below}`);
  }
  if (!(keyUsage & (authority ? KEY_CERT_SIGN : DIGITAL_SIGNATURE))) {
    throw new Malformed(`${field}.keyUsage`, "another use", authority ? "keyCertSign" : "digitalSignature");
  }
}

/** The one CN of a name; AWS orders its attributes in several ways, so issuers are compared as bytes. */
function parseCommonName(element, field) {
  const names = [];
  for (const rdn of readAll(requireTag(element, SEQUENCE, field).content, field)) {
    const attribute = readOnly(requireTag(rdn, SET, field).content, SEQUENCE, field);
    const parts = readAll(attribute.content, field);
    if (parts.length !== 2) throw new Malformed(field, `${parts.length} parts`, "an attribute and its value");
    const text = parseText(parts[1], field);
    if (parseOid(parts[0], field) === OID_CN) names.push(text);
  }
  if (names.length !== 1) throw new Malformed(field, `${names.length} common names`, "one");
  return names[0];
}

/** BasicConstraints: whether it is an authority, and how many may follow it (RFC 5280 §4.2.1.9). */
function parseConstraints(value, field) {
  if (value === undefined) return { isCa: false, pathLength: null };
  const parts = readAll(readOnly(value, SEQUENCE, field).content, field);
  if (parts.length === 0) return { isCa: false, pathLength: null };
  if (hexOf(parts[0].raw) !== "0101ff" || parts.length > 2) {
    throw new Malformed(field, "broken constraints", "CA TRUE, and a path length or none");
  }
  return { isCa: true, pathLength: parts.length === 2 ? parseInteger(parts[1], field) : null };
}

/** The first eight bits of KeyUsage; 0 where it is missing (RFC 5280 §4.2.1.3). */
function parseKeyUsage(value, field) {
  if (value === undefined) return 0;
  const { content } = readOnly(value, BIT_STRING, field);
  if (content.length < 2 || content[0] > 7) throw new Malformed(field, "broken bits", "a bit string with a use");
  return content[1];
}

/** A DER Ecdsa-Sig-Value as r, then s, 48 bytes each. */
function parseEcdsa(value, field) {
  const numbers = readAll(readOnly(value, SEQUENCE, field).content, field).map((row) => parseInteger(row, field));
  if (numbers.length !== 2 || numbers.some((number) => number >> 384n > 0n)) {
    throw new Malformed(field, "broken numbers", "r and s, 48 bytes each");
  }
  return bytesOfHex(numbers.map((number) => number.toString(16).padStart(96, "0")).join(""));
}
