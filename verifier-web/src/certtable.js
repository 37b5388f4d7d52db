// The host's certificate table (GHCB, SNP_GET_EXT_REPORT), untrusted and bounded (SPEC §3.5).

import { equalBytes, hexOf, isZero } from "./bytes.js";
import { decodePemOrDer } from "./certs.js";
import { Malformed } from "./errors.js";

const MAX_TABLE_SIZE = 0x4000; // SEV_FW_BLOB_MAX_SIZE of the kernel
const ENTRY_SIZE = 24;
const NAMES = new Map([
  ["63da758d-e664-4564-adc5-f4b93be8accd", "vcek"],
  ["a8074bc2-a25a-483e-aae6-39c045a0b8a1", "vlek"],
  ["4ab7b379-bbac-4fe4-a02f-05aef327c782", "ask"], // also ASVK
  ["c0b406a4-a803-4952-9743-3fb6014cd0ae", "ark"],
  ["92f81bc3-5811-4d3d-97ff-d19f88dc67ea", "crl"],
]);

/** @typedef {{guid: string, name: string | null, payload: Uint8Array}} TableEntry `name` if the GUID is known */

/**
 * The entries of a table, in order; no bytes at all mean no certificates.
 * @param {Uint8Array} raw @returns {TableEntry[]}
 */
export function parseCertificateTable(raw) {
  if (raw.length > MAX_TABLE_SIZE) {
    throw new Malformed("certificate table", `${raw.length} bytes`, `at most ${MAX_TABLE_SIZE}`);
  }
  if (raw.length === 0) return [];
  const rows = readHeader(raw);
  const headerSize = ENTRY_SIZE * (rows.length + 1);
  const entries = new Map();
  for (const { guid, offset, length } of rows) {
    const field = `certificate table entry ${guid}`;
    if (offset < headerSize || offset + length > raw.length || length === 0) {
      throw new Malformed(field, `bytes ${offset} to ${offset + length}`, `${headerSize} to ${raw.length}`);
    }
    const payload = raw.slice(offset, offset + length);
    if (entries.has(guid) && !equalBytes(entries.get(guid).payload, payload)) {
      throw new Malformed(field, "two different payloads", "one");
    }
    entries.set(guid, Object.freeze({ guid, name: NAMES.get(guid) ?? null, payload }));
  }
  return [...entries.values()];
}

/**
 * DER by name (`vcek`, `vlek`, `ask`, `ark`, `crl`) of the known entries; PEM is decoded.
 * @param {TableEntry[]} entries @returns {Record<string, Uint8Array>}
 */
export function certificatesOf(entries) {
  const found = {};
  for (const { name, payload } of entries) {
    if (name === null) continue;
    const blobs = decodePemOrDer(payload, name);
    if (blobs.length !== 1) throw new Malformed(name, `${blobs.length} certificates`, "one");
    found[name] = blobs[0];
  }
  return found;
}

/** @param {Uint8Array} raw */
function readHeader(raw) {
  const rows = [];
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  for (let at = 0; at + ENTRY_SIZE <= raw.length; at += ENTRY_SIZE) {
    if (isZero(raw.subarray(at, at + ENTRY_SIZE))) return rows;
    const guid = guidOf(raw.subarray(at, at + 16));
    rows.push({ guid, offset: view.getUint32(at + 16, true), length: view.getUint32(at + 20, true) });
  }
  throw new Malformed("certificate table", "no end", "an all-zero entry after the last one");
}

/** RFC 4122 byte order is what hosts send; the mixed-endian spelling of a known GUID is met in the wild. */
function guidOf(raw) {
  const [a, b, c, d] = [raw.slice(0, 4), raw.slice(4, 6), raw.slice(6, 8), raw.slice(8)];
  const mixed = guidText([a.reverse(), b.reverse(), c.reverse(), d]);
  return NAMES.has(mixed) ? mixed : guidText([raw.slice(0, 4), raw.slice(4, 6), raw.slice(6, 8), d]);
}

const guidText = ([a, b, c, d]) => [a, b, c, d.slice(0, 2), d.slice(2)].map(hexOf).join("-");
