// Recognising files by their content, and sorting certificates into their roles. Nothing here is trusted yet.
import { FORMAT as ANNOUNCEMENT } from "./announcement.js";
import { PAYLOAD_TYPE as TCB_TYPE } from "./bulletins.js";
import { hexOf } from "./bytes.js";
import { isObject, parseJson } from "./canonical.js";
import { decodePemOrDer, parseCertificate } from "./certs.js";
import { certificatesOf, parseCertificateTable } from "./certtable.js";
import { Malformed } from "./errors.js";
import { PAYLOAD_TYPE as MANIFEST_TYPE } from "./manifest.js";

/**
 * @typedef {"quote"|"report"|"certificate"|"crl"|"table"|"policy"|"manifest"|"announcement"|"tcb"|"witnesses"|"receipt"
 *   |"request"|"response"|"headers"|"proof"|"unknown"} Role
 * @typedef {{name: string, role: Role, bytes: Uint8Array}} Dropped
 */

/** The roles, as the reader sees them. */
export const ROLES = {
  quote: "Quote or bundle",
  report: "Raw report",
  certificate: "Certificate or chain",
  crl: "Revocation list",
  table: "Certificate table",
  policy: "Policy",
  manifest: "Release manifest",
  announcement: "Announcement",
  tcb: "Signed TCB data",
  witnesses: "Witness policy",
  receipt: "Receipt",
  request: "Request body",
  response: "Response body",
  headers: "Response headers",
  proof: "Receipt’s proof",
  unknown: "Not recognised: choose",
};
export const MAX_FILE_SIZE = 64 << 20; // an answer that somebody checks; evidence is far smaller
const REPORT_SIZE = 1184;
const MAX_JSON_SIZE = 4 << 20; // a chat request with pictures may be larger: then its name decides
const MAX_TABLE_SIZE = 0x4000; // the kernel's bound of a certificate table
const KEY_INFO = 0x48; // of a report: bits 4 to 2 name the signing key, 1 is VLEK

/**
 * The role of a file, by its content first and its name second.
 * @param {string} name
 * @param {Uint8Array} bytes
 * @returns {Role}
 */
export function recognise(name, bytes) {
  const text = decodeText(bytes);
  if (text === null) return recogniseBinary(bytes) ?? roleOfName(name);
  if (text.includes("-----BEGIN ")) return text.includes("-----BEGIN X509 CRL") ? "crl" : "certificate";
  if (/^quorum\s+\S/m.test(text) && /^log\s+\S/m.test(text)) return "witnesses";
  if (/^\s*\{/.test(text) && bytes.length <= MAX_JSON_SIZE) return recogniseJson(bytes) ?? roleOfName(name);
  if (/^(data|event|id|:)/.test(text)) return "response"; // server-sent events
  if (/^HTTP\/[0-9.]+ [0-9]{3}/.test(text)) return "headers"; // as curl -D writes them
  return recogniseBinary(bytes) ?? roleOfName(name);
}

/**
 * @param {Uint8Array} bytes
 * @returns {Role | null}
 */
function recogniseBinary(bytes) {
  if (bytes[0] === 0x30 && bytes.length > 64) return tbsStartsWithVersion(bytes) ? "certificate" : "crl";
  if (bytes.length === REPORT_SIZE) return "report";
  if (bytes.length > MAX_TABLE_SIZE) return null;
  try {
    return parseCertificateTable(bytes).length ? "table" : null;
  } catch {
    return null;
  }
}

/**
 * Inside the two outer sequences a v3 certificate opens with [0], a revocation list with an integer.
 * @param {Uint8Array} der
 */
function tbsStartsWithVersion(der) {
  const header = (/** @type {number} */ at) => (der[at + 1] < 0x80 ? 2 : 2 + (der[at + 1] & 0x7f));
  const tbs = header(0);
  return der[tbs + header(tbs)] === 0xa0;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Role | null}
 */
function recogniseJson(bytes) {
  let document;
  try {
    document = parseJson(bytes, "file");
  } catch {
    return null;
  }
  if (!isObject(document)) return null;
  const has = (/** @type {string[]} */ ...names) => names.some((name) => Object.hasOwn(document, name));
  if (typeof document.format === "string" && /^saferouter\/(quote|evidence)\//.test(document.format)) return "quote";
  if (document.format === ANNOUNCEMENT) return "announcement";
  if (document.payloadType === TCB_TYPE) return "tcb";
  if (has("receipt_id") && has("event_log")) return "receipt";
  if (isObject(document.document) && has("receipt")) return "proof";
  if (document.payloadType === MANIFEST_TYPE) return "manifest";
  if (has("measurements", "firmware_measurements", "releases")) return "policy";
  if (has("choices", "output", "candidates", "usage", "error", "stop_reason")) return "response";
  if (has("messages", "input", "prompt", "contents")) return "request";
  return null;
}

/**
 * @param {string} name
 * @returns {Role}
 */
function roleOfName(name) {
  const found = ["headers", "request", "response", "proof", "receipt", "witnesses", "policy", "report"].find((role) =>
    name.toLowerCase().includes(role),
  );
  return /** @type {Role} */ (found ?? "unknown");
}

/**
 * @param {Uint8Array} bytes
 * @returns {string | null} null where the bytes are not text
 */
function decodeText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

/**
 * The evidence of a bare report: its one report and the certificates given with it, in whatever files they came.
 * @param {Dropped[]} files
 * @returns {{report: Uint8Array, vek: Uint8Array, intermediate: Uint8Array, ark: Uint8Array, crl: Uint8Array | null}}
 */
export function collectEvidence(files) {
  const report = one(
    files.filter((file) => file.role === "report").map((file) => file.bytes),
    "raw report",
    "a report of 1184 bytes",
  );
  const vlek = ((report[KEY_INFO] >> 2) & 7) === 1;
  const found = { vek: new Map(), intermediate: new Map(), ark: new Map(), crl: new Map() };
  for (const { place, bytes, isVlek } of endorsementsOf(files)) found[place].set(hexOf(bytes), { bytes, isVlek });
  // Host tables often hold both kinds; where one kind alone was given, the verifier itself judges whether it fits.
  const pick = (/** @type {"vek"|"intermediate"|"ark"|"crl"} */ place) => {
    const all = [...found[place].values()];
    const fitting = all.filter((row) => row.isVlek === null || row.isVlek === vlek);
    return (fitting.length ? fitting : all).map((row) => row.bytes);
  };
  return {
    report,
    vek: one(pick("vek"), "chip certificate", "a VCEK or VLEK"),
    intermediate: one(pick("intermediate"), "intermediate certificate", "AMD’s ASK or ASVK"),
    ark: one(pick("ark"), "root certificate", "AMD’s ARK"),
    crl: found.crl.size ? one(pick("crl"), "revocation list", "one list") : null,
  };
}

/**
 * @param {Dropped[]} files
 * @returns {{place: "vek"|"intermediate"|"ark"|"crl", bytes: Uint8Array, isVlek: boolean | null}[]}
 */
function endorsementsOf(files) {
  return files.flatMap((file) => {
    if (file.role === "crl")
      return decodePemOrDer(file.bytes, file.name).map((bytes) => ({ place: "crl", bytes, isVlek: null }));
    if (file.role === "certificate")
      return decodePemOrDer(file.bytes, file.name).map((bytes) => placeOf(bytes, file.name));
    if (file.role !== "table") return [];
    const { crl, ...certificates } = certificatesOf(parseCertificateTable(file.bytes));
    const rows = Object.values(certificates)
      .filter(Boolean)
      .map((bytes) => placeOf(bytes, file.name));
    return crl ? [...rows, { place: "crl", bytes: crl, isVlek: null }] : rows;
  });
}

/**
 * Where a certificate belongs, by the name it claims; whether the claim is true is for the verifier to say.
 * @param {Uint8Array} bytes
 * @param {string} field
 */
function placeOf(bytes, field) {
  const { subjectCn } = parseCertificate(bytes, field);
  if (subjectCn === "SEV-VCEK" || subjectCn === "SEV-VLEK")
    return { place: "vek", bytes, isVlek: subjectCn === "SEV-VLEK" };
  if (/(^|-)ARK(-|$)/.test(subjectCn)) return { place: "ark", bytes, isVlek: null };
  return { place: "intermediate", bytes, isVlek: subjectCn.startsWith("SEV-VLEK-") };
}

/**
 * The only item of a list.
 * @template T
 * @param {T[]} items
 * @param {string} field
 * @param {string} wanted
 * @returns {T}
 */
export function one(items, field, wanted) {
  if (items.length === 1) return items[0];
  throw new Malformed(field, items.length ? `${items.length} different ones` : "none", items.length ? "one" : wanted);
}
