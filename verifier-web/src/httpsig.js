// HTTP message signatures of buffered answers (RFC 9421), over their digest (RFC 9530) and the request (SPEC §7.5).

import { base64Bytes, bytesOfHex, encodeBase64, encodeUtf8, equalBytes, hexOf, latin1Of } from "./bytes.js";
import { digestBytes, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { failed, passed, skipped, unparsed } from "./evidence.js";
import { verifyEd25519 } from "./identity.js";
import { parseReceipt } from "./receipt.js";

export const CHECK = "receipt.http-signature";
const LABEL = "saferouter";
const TAG = "saferouter/answer/v1";
const COVERED = ['"@status"', '"content-type"', '"content-digest"', '"x-receipt-id"', '"@method";req', '"@path";req'];
const FIELDS = ["content-type", "x-receipt-id", "content-digest", "signature-input", "signature"];
const MAX_HEAD_SIZE = 1 << 16; // what servers and clients allow for all headers of one message
const STREAM_TYPE = "text/event-stream";
const STATUS_LINE = /^HTTP\/[0-9.]{1,3} ([0-9]{3})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?$/;
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)$/;
// One spelling of each field, the one that gateways make: whatever else a parser could read into it is refused.
const OPENING = `${LABEL}=(${COVERED.join(" ")})`;
const PARAMETERS =
  /^;created=(?:0|[1-9][0-9]{0,11});keyid="([0-9a-f]{64})";alg="ed25519";tag="saferouter\/answer\/v1"$/;
const SIGNATURE = /^saferouter=:([A-Za-z0-9+/]{86}==):$/;

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./identity.js").Workload} Workload */
/** @typedef {{status: number, fields: Map<string, string>}} AnswerHead */

/**
 * The bytes that are signed (RFC 9421 §2.5): covered components by identifier and value, then the parameters.
 * @param {[string, string][]} covered @param {string} parameters
 */
export function signatureBase(covered, parameters) {
  const identifiers = covered.map(([identifier]) => identifier).join(" ");
  const lines = covered.map(([identifier, value]) => `${identifier}: ${value}`);
  return encodeUtf8([...lines, `"@signature-params": (${identifiers})${parameters}`].join("\n"));
}

/**
 * Parse the two fields in the one spelling that a gateway gives them.
 * @param {string} input @param {string} signature @param {string} field
 * @returns {{parameters: string, key: Uint8Array, signature: Uint8Array}}
 */
export function parseSignature(input, signature, field) {
  const parameters = input.startsWith(OPENING) ? input.slice(OPENING.length) : "";
  const key = PARAMETERS.exec(parameters)?.[1];
  if (key === undefined) {
    const wanted = `${OPENING} with created, keyid, alg and tag ${TAG}`;
    throw new Malformed(`${field}.signature-input`, shown(input), wanted);
  }
  const text = SIGNATURE.exec(signature)?.[1];
  const raw = text === undefined ? null : base64Bytes(text);
  if (raw === null || encodeBase64(raw) !== text) {
    throw new Malformed(`${field}.signature`, shown(signature), `${LABEL}=:64 bytes in base64:`);
  }
  return { parameters, key: bytesOfHex(key), signature: raw };
}

/**
 * Parse what `curl -D FILE` writes: heads one after another, of which the last counts.
 * @param {Uint8Array} raw @returns {AnswerHead}
 */
export function parseHead(raw) {
  if (raw.length > MAX_HEAD_SIZE) throw new Malformed("headers", `${raw.length} bytes`, `at most ${MAX_HEAD_SIZE}`);
  if (raw.some((byte) => byte > 0x7f)) throw new Malformed("headers", "a byte beyond ASCII", "ASCII");
  const blocks = latin1Of(raw)
    .split(/\r?\n\r?\n/)
    .filter(Boolean);
  const [first, ...lines] = (blocks.at(-1) ?? "").split(/\r?\n/);
  const status = STATUS_LINE.exec(first)?.[1];
  if (status === undefined) throw new Malformed("headers", shown(first), "a status line, as curl -D writes it");
  const fields = new Map();
  for (const line of lines.filter(Boolean)) {
    const row = FIELD_LINE.exec(line);
    if (row === null) throw new Malformed("headers", shown(line), "a field and its value");
    const name = row[1].toLowerCase();
    if (fields.has(name) && FIELDS.includes(name)) throw new Malformed(`headers.${name}`, "the field twice", "once");
    fields.set(name, row[2].replace(/[ \t]+$/, ""));
  }
  return { status: Number(status), fields };
}

/**
 * `receipt.http-signature`: the gateway signed this head, over this body, for this request and receipt. `workload` is
 * that of the quote which vouches for the receipt; `headers` null where none were given.
 * @param {Uint8Array} raw @param {Workload} workload @param {Uint8Array | null} response
 * @param {Uint8Array | null} headers @returns {Promise<Check>}
 */
export async function judgeHead(raw, workload, response, headers) {
  if (headers === null) return skipped(CHECK, "the answer's headers were not given");
  let receipt;
  try {
    receipt = parseReceipt(raw);
  } catch (error) {
    unparsed("receipt.format", error); // only a receipt that does not parse is expected here
    return skipped(CHECK, "the receipt does not parse");
  }
  const contentType = receipt.events.get("response.returned")?.content_type;
  if (typeof contentType === "string" && contentType.startsWith(STREAM_TYPE)) {
    return skipped(CHECK, "a stream's head is sent before its end is known, and is not signed");
  }
  try {
    return await judge(receipt, workload, response, parseHead(headers));
  } catch (error) {
    return unparsed(CHECK, error);
  }
}

/** @param {AnswerHead} head @returns {Promise<Check>} */
async function judge(receipt, { httpSignatureKey }, response, { status, fields }) {
  for (const name of FIELDS) {
    if (!fields.has(name)) throw new Malformed(`headers.${name}`, "nothing", "a value: a buffered answer is signed");
  }
  const { parameters, key, signature } = parseSignature(fields.get("signature-input"), fields.get("signature"), "headers");
  if (httpSignatureKey === null || !equalBytes(key, httpSignatureKey)) {
    const known = httpSignatureKey === null ? "none" : hexOf(httpSignatureKey);
    return failed(CHECK, `key ${hexOf(key)}`, `${known}, the workload's http_signature_key`);
  }
  for (const [name, found, wanted, source] of await compared(receipt, response, status, fields)) {
    if (found !== wanted) return failed(CHECK, `${name} ${shown(found)}`, `${shown(wanted)}, ${source}`);
  }
  const digest = fields.get("content-digest");
  const values = [status, fields.get("content-type"), digest, fields.get("x-receipt-id")];
  values.push(receipt.method, receipt.endpoint);
  const base = signatureBase(
    COVERED.map((identifier, at) => [identifier, String(values[at])]),
    parameters,
  );
  const wanted = `Ed25519 by ${hexOf(key)} over this head, for ${receipt.method} ${receipt.endpoint}`;
  const held = await verifyEd25519(key, signature, base);
  if (!held) return failed(CHECK, "a signature that does not verify", wanted);
  return passed(CHECK, `status ${status}, ${digest}`, wanted);
}

/** What the head says beside what receipt and response say: a name, the one, the other, and whose word that is. */
async function compared(receipt, response, status, fields) {
  const said = "as the receipt says";
  const returned = receipt.events.get("response.returned");
  const hashes = [[returned?.body_hash, said]];
  if (response !== null) hashes.push([await digestBytes(response), "of the response that was given"]);
  return [
    ["x-receipt-id", fields.get("x-receipt-id"), receipt.receiptId, said],
    ["status", status, returned?.status, said],
    ["content-type", fields.get("content-type"), returned?.content_type, said],
    ...hashes.map(([bodyHash, source]) => ["content-digest", fields.get("content-digest"), fieldOf(bodyHash), source]),
  ];
}

/** The Content-Digest field of a body with that digest. */
const fieldOf = (bodyHash) => bodyHash && `sha-256=:${encodeBase64(bytesOfHex(bodyHash.slice(7)))}:`;
