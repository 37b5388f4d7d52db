// AMD's certificates and revocation lists, parsed strictly (SPEC §3).

import { base64Bytes, hexOf, latin1Of } from "./bytes.js";
import {
  CONTEXT_0,
  CONTEXT_3,
  IA5_STRING,
  INTEGER,
  OCTET_STRING,
  SEQUENCE,
  SET,
  parseBits,
  parseInteger,
  parseOid,
  parseText,
  parseTime,
  readAll,
  readOnly,
  requireTag,
} from "./der.js";
import { Malformed } from "./errors.js";

const MAX_CERTIFICATE_SIZE = 8192; // AMD's largest is 1.7 kB
const MAX_CRL_SIZE = 65536;
const OID_AMD = "1.3.6.1.4.1.3704.1.";

// AlgorithmIdentifier of RSASSA-PSS with SHA-384, MGF1-SHA-384, salt 48. AMD writes it with and without
// the default trailerField; no third spelling is accepted.
const PSS_ALGORITHMS = [
  "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108" +
    "300d06096086480165030402020500a203020130",
  "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108" +
    "300d06096086480165030402020500a203020130a303020101",
];
const NAME_ATTRIBUTES = new Map([
  ["2.5.4.3", "CN"],
  ["2.5.4.6", "C"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU"],
]);
const AMD_NAME = Object.entries({
  OU: "Engineering",
  C: "US",
  L: "Santa Clara",
  ST: "CA",
  O: "Advanced Micro Devices",
});
const SPLS = Object.entries({
  bootloader: "3.1",
  tee: "3.2",
  snp: "3.3",
  spl4: "3.4",
  spl5: "3.5",
  spl6: "3.6",
  spl7: "3.7",
  microcode: "3.8",
  fmc: "3.9",
});
const UNUSED_SPLS = ["spl4", "spl5", "spl6", "spl7"];
// Key usage and basic constraints are the only critical extensions AMD uses; an unknown one must refuse.
const KNOWN_CRITICAL = ["2.5.29.15", "2.5.29.19"];

// An uncompressed P-384 point, and an RSA key of 4096 bits with exponent 65537, as all of AMD's are. Fixed
// heads, because browsers differ in what else they would import.
const P384_SPKI = { head: "3076301006072a8648ce3d020106052b8104002203620004", tail: "", size: 120 };
const RSA4096_SPKI = {
  head: "30820222300d06092a864886f70d01010105000382020f003082020a0282020100",
  tail: "0203010001",
  size: 550,
};

/**
 * An X.509 certificate, as far as the SNP chain needs it.
 * @typedef {object} Certificate
 * @property {Uint8Array} raw
 * @property {Uint8Array} tbs
 * @property {bigint} serial
 * @property {Uint8Array} issuer DER name
 * @property {Uint8Array} subject DER name
 * @property {string} issuerCn
 * @property {string} subjectCn
 * @property {Date} notBefore
 * @property {Date} notAfter
 * @property {Uint8Array} spki DER SubjectPublicKeyInfo
 * @property {Map<string, Uint8Array>} extensions by object identifier
 * @property {Uint8Array} signature
 */
/**
 * AMD's extensions of a VCEK or VLEK. Exactly one of `hwid` and `cspId` is set.
 * @typedef {object} VekExtensions
 * @property {string} productName
 * @property {Record<string, number>} spls
 * @property {Uint8Array | null} hwid
 * @property {string | null} cspId
 */
/**
 * A CRL: who signed it, how long it holds, which serials it revokes.
 * @typedef {object} RevocationList
 * @property {Uint8Array} tbs
 * @property {Uint8Array} issuer
 * @property {Date} thisUpdate
 * @property {Date} nextUpdate
 * @property {Set<bigint>} revoked
 * @property {Uint8Array} signature
 */

/**
 * The DER blobs of a file: one if it is DER, each block if it is PEM.
 * @param {Uint8Array} raw @param {string} field @returns {Uint8Array[]}
 */
export function decodePemOrDer(raw, field) {
  if (raw[0] === SEQUENCE) return [raw];
  const blocks = latin1Of(raw).split("-----BEGIN ").slice(1);
  if (blocks.length === 0) throw new Malformed(field, `${raw.length} bytes that are neither`, "PEM or DER");
  return blocks.map((block) => {
    const [label] = block.split("-----", 1);
    const body = block.slice(label.length + 5);
    const end = body.indexOf(`-----END ${label}-----`);
    if (end < 0) throw new Malformed(field, "a PEM block without its end", "PEM or DER");
    const blob = base64Bytes(body.slice(0, end).replace(/[ \t\n\v\f\r]+/g, ""));
    if (blob === null) throw new Malformed(field, "broken base64 in PEM", "PEM or DER");
    return blob;
  });
}

/**
 * Parse one DER certificate of AMD's shape; nothing may follow it.
 * @param {Uint8Array} raw @param {string} field @returns {Certificate}
 */
export function parseCertificate(raw, field) {
  if (raw.length > MAX_CERTIFICATE_SIZE) {
    throw new Malformed(field, `${raw.length} bytes`, `at most ${MAX_CERTIFICATE_SIZE}`);
  }
  const { tbs, algorithm: outer, signature } = parseSigned(raw, field);
  const fields = readAll(tbs.content, field);
  if (fields.length !== 8) {
    throw new Malformed(field, `${fields.length} fields`, "8 fields: an X.509 version 3 certificate");
  }
  const [version, serial, algorithm, issuer, validity, subject, spki, extensions] = fields;
  if (hexOf(version.raw) !== "a003020102") throw new Malformed(`${field}.version`, hexOf(version.raw), "version 3");
  requirePss(algorithm, outer, `${field}.signature`);
  const times = readAll(
    requireTag(validity, SEQUENCE, `${field}.validity`).content,
    `${field}.validity`,
  );
  if (times.length !== 2) throw new Malformed(`${field}.validity`, `${times.length} times`, "two times");
  return Object.freeze({
    raw,
    tbs: tbs.raw,
    serial: parseInteger(serial, `${field}.serial`),
    issuer: issuer.raw,
    subject: subject.raw,
    issuerCn: parseCommonName(issuer, `${field}.issuer`),
    subjectCn: parseCommonName(subject, `${field}.subject`),
    notBefore: parseTime(times[0], `${field}.notBefore`),
    notAfter: parseTime(times[1], `${field}.notAfter`),
    spki: requireTag(spki, SEQUENCE, `${field}.spki`).raw,
    extensions: parseExtensions(extensions, `${field}.extensions`, CONTEXT_3),
    signature,
  });
}

/**
 * AMD's extensions of a leaf, each exactly once and in its exact encoding (SPEC §3.3).
 * @param {Certificate} certificate @returns {VekExtensions}
 */
export function parseVekExtensions({ extensions }) {
  if ([...extensions.keys()].some((oid) => !oid.startsWith(OID_AMD))) {
    throw new Malformed("VEK.extensions", "an extension outside AMD's arc", "AMD's extensions only");
  }
  const productName = parseIa5(requireExtension(extensions, "2"), "VEK.productName");
  const turin = productName.startsWith("Turin");
  const version = smallInteger(extensions, "1");
  if (version !== Number(turin)) throw new Malformed("VEK.structVersion", version, Number(turin));
  const present = SPLS.filter(([name]) => name !== (turin ? "spl4" : "fmc"));
  const spls = Object.fromEntries(present.map(([name, arc]) => [name, smallInteger(extensions, arc)]));
  for (const name of UNUSED_SPLS) {
    if (spls[name]) throw new Malformed("VEK.spl4 to spl7", "a value other than 0", "0");
    delete spls[name];
  }
  const hwidValue = extensions.get(`${OID_AMD}4`);
  const hwid = hwidValue ? parseHwid(hwidValue, turin ? 8 : 64) : null;
  const cspIdValue = extensions.get(`${OID_AMD}5`);
  const cspId = cspIdValue ? parseIa5(cspIdValue, "VEK.cspID") : null;
  if ((hwid === null) === (cspId === null)) {
    const found = hwid ? "both hwID and cspID" : "neither hwID nor cspID";
    throw new Malformed("VEK.extensions", found, "exactly one of them");
  }
  const expected = present.length + 3; // structVersion, productName, hwID or cspID
  if (extensions.size !== expected) {
    throw new Malformed("VEK.extensions", `${extensions.size} extensions`, expected);
  }
  return Object.freeze({ productName, spls, hwid, cspId });
}

/** The SPKI is an uncompressed P-384 point. @param {Uint8Array} spki @param {string} field */
export function requireP384Spki(spki, field) {
  if (!isSpkiOf(spki, P384_SPKI)) throw new Malformed(field, "another key", "an uncompressed P-384 key");
}

/** Parse one DER CRL of AMD's shape (RFC 5280 §5). @param {Uint8Array} raw @returns {RevocationList} */
export function parseCrl(raw) {
  if (raw.length > MAX_CRL_SIZE) throw new Malformed("CRL", `${raw.length} bytes`, `at most ${MAX_CRL_SIZE}`);
  const { tbs, algorithm: outer, signature } = parseSigned(raw, "CRL");
  const fields = readAll(tbs.content, "CRL");
  if (![6, 7].includes(fields.length) || parseInteger(fields[0], "CRL.version") !== 1n) {
    throw new Malformed("CRL", `${fields.length} fields`, "a version 2 list with nextUpdate and extensions");
  }
  const [, algorithm, issuer, thisUpdate, nextUpdate] = fields;
  requirePss(algorithm, outer, "CRL.signature");
  parseCommonName(issuer, "CRL.issuer");
  const listing = fields.length === 7 ? requireTag(fields[5], SEQUENCE, "CRL.revoked").content : null;
  const revoked = listing ? readAll(listing, "CRL.revoked").map(parseRevoked) : [];
  parseExtensions(fields[fields.length - 1], "CRL.extensions", CONTEXT_0);
  return Object.freeze({
    tbs: tbs.raw,
    issuer: issuer.raw,
    thisUpdate: parseTime(thisUpdate, "CRL.thisUpdate"),
    nextUpdate: parseTime(nextUpdate, "CRL.nextUpdate"),
    revoked: new Set(revoked),
    signature,
  });
}

/**
 * Whether the RSA-4096 key `spki` signed `tbs` with RSASSA-PSS, SHA-384, salt 48 (SPEC §3.2).
 * @param {Uint8Array} tbs @param {Uint8Array} signature @param {Uint8Array} spki @returns {Promise<boolean>}
 */
export async function signedBy(tbs, signature, spki) {
  if (!isSpkiOf(spki, RSA4096_SPKI)) return false;
  const algorithm = { name: "RSA-PSS", hash: "SHA-384", saltLength: 48 };
  const key = await importKey(spki, algorithm);
  return key !== null && key.algorithm.modulusLength === 4096 && crypto.subtle.verify(algorithm, key, signature, tbs);
}

/**
 * Whether the P-384 key `spki` signed `message`; `signature` is r then s, 48 bytes each.
 * @param {Uint8Array} message @param {Uint8Array} signature @param {Uint8Array} spki @returns {Promise<boolean>}
 */
export async function signedByP384(message, signature, spki) {
  const key = await importKey(spki, { name: "ECDSA", namedCurve: "P-384" });
  return key !== null && crypto.subtle.verify({ name: "ECDSA", hash: "SHA-384" }, key, signature, message);
}

/** The key, or null where the bytes are none, for example a point off the curve. */
async function importKey(spki, algorithm) {
  try {
    return await crypto.subtle.importKey("spki", spki, algorithm, false, ["verify"]);
  } catch (error) {
    if (error.name !== "DataError") throw error; // an engine without the algorithm must not read as a forgery
    return null;
  }
}

function isSpkiOf(spki, { head, tail, size }) {
  const text = hexOf(spki);
  return spki.length === size && text.startsWith(head) && text.endsWith(tail);
}

/** Split SIGNED{tbs, algorithm, signature}. */
export function parseSigned(raw, field) {
  const parts = readAll(readOnly(raw, SEQUENCE, field).content, field);
  if (parts.length !== 3) {
    throw new Malformed(field, `${parts.length} parts`, "three: content, algorithm, signature");
  }
  const [tbs, algorithm, signature] = parts;
  return {
    tbs: requireTag(tbs, SEQUENCE, field),
    algorithm,
    signature: parseBits(signature, `${field}.signatureValue`),
  };
}

/** Both AlgorithmIdentifiers are the one we accept, in one spelling (RFC 5280 §4.1.1.2). */
function requirePss(inner, outer, field) {
  if (!PSS_ALGORITHMS.includes(hexOf(inner.raw)) || hexOf(outer.raw) !== hexOf(inner.raw)) {
    throw new Malformed(field, "another algorithm", "RSASSA-PSS, SHA-384, MGF1-SHA-384, salt 48, named twice alike");
  }
}

/** The CN of a name of exactly AMD's six attributes, whose other values are fixed (check 7). */
function parseCommonName(element, field) {
  const name = new Map();
  for (const rdn of readAll(requireTag(element, SEQUENCE, field).content, field)) {
    const attribute = readOnly(requireTag(rdn, SET, field).content, SEQUENCE, field);
    const parts = readAll(attribute.content, field);
    if (parts.length !== 2) throw new Malformed(field, `${parts.length} parts`, "an attribute and its value");
    const key = NAME_ATTRIBUTES.get(parseOid(parts[0], field));
    if (key === undefined || name.has(key)) {
      throw new Malformed(field, "an unknown or repeated attribute", "CN, C, L, ST, O and OU once each");
    }
    name.set(key, parseText(parts[1], field));
  }
  if (!name.has("CN") || AMD_NAME.some(([key, value]) => name.get(key) !== value)) {
    const wanted = "O=Advanced Micro Devices, OU=Engineering, Santa Clara, CA, US";
    throw new Malformed(field, "another organisation", wanted);
  }
  return name.get("CN");
}

/**
 * Extensions by object identifier, each once, none critical that is unknown here.
 * @param {import("./der.js").Element} element @param {string} field @param {number} tag
 * @returns {Map<string, Uint8Array>}
 */
export function parseExtensions(element, field, tag) {
  return readExtensions(readOnly(requireTag(element, tag, field).content, SEQUENCE, field), field);
}

function readExtensions(listing, field) {
  const extensions = new Map();
  for (const entry of readAll(requireTag(listing, SEQUENCE, field).content, field)) {
    const parts = readAll(requireTag(entry, SEQUENCE, field).content, field);
    const critical = parts.length === 3 && hexOf(parts[1].raw) === "0101ff";
    if (parts.length !== 2 && !critical) {
      throw new Malformed(field, "a broken extension", "identifier, optional critical TRUE, value");
    }
    const oid = parseOid(parts[0], field);
    if (critical && !KNOWN_CRITICAL.includes(oid)) {
      throw new Malformed(field, `unknown critical extension ${oid}`, "extensions that are known here");
    }
    if (extensions.has(oid)) throw new Malformed(field, `extension ${oid} twice`, "each extension once");
    extensions.set(oid, requireTag(parts[parts.length - 1], OCTET_STRING, field).content);
  }
  return extensions;
}

function parseRevoked(entry) {
  const parts = readAll(requireTag(entry, SEQUENCE, "CRL.revoked").content, "CRL.revoked");
  if (![2, 3].includes(parts.length)) {
    throw new Malformed("CRL.revoked", `${parts.length} parts`, "a serial and a date");
  }
  parseTime(parts[1], "CRL.revoked.date");
  // A critical one could say that another authority's certificate is meant.
  if (parts.length === 3) readExtensions(parts[2], "CRL.revoked.extensions");
  return parseInteger(parts[0], "CRL.revoked.serial");
}

function requireExtension(extensions, arc) {
  const value = extensions.get(OID_AMD + arc);
  if (value === undefined) throw new Malformed("VEK.extensions", `no extension ${OID_AMD}${arc}`, "it exactly once");
  return value;
}

const parseIa5 = (value, field) => parseText(readOnly(value, IA5_STRING, field), field);

function smallInteger(extensions, arc) {
  const field = `VEK extension ${OID_AMD}${arc}`;
  const value = parseInteger(readOnly(requireExtension(extensions, arc), INTEGER, field), field);
  if (value > 255n) throw new Malformed(field, value, "0 to 255");
  return Number(value);
}

/** The chip's id: raw bytes (most issues), or wrapped in an OCTET STRING (some issues). */
function parseHwid(value, size) {
  const wrapped = value.length === size + 2 && value[0] === OCTET_STRING && value[1] === size;
  const hwid = wrapped ? value.subarray(2) : value;
  if (hwid.length !== size) throw new Malformed("VEK.hwID", `${hwid.length} bytes`, `${size} bytes`);
  return hwid;
}
