// How a report commits to a keyset: the statement and REPORT_DATA (SPEC §4.2; ACI/1 §3.2).

import { bytesOfHex, hexOf, sha256 } from "./bytes.js";
import { encodeCanonical, shown } from "./canonical.js";
import { Malformed } from "./errors.js";

export const NONCE_SIZE = 32;
const PURPOSE = "aci.report_data.v1";

/** A nonce: 64 lowercase hex characters, 32 bytes. @param {unknown} value @returns {Uint8Array} */
export function parseNonce(value) {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) {
    throw new Malformed("nonce", shown(value), "64 lowercase hex characters (32 bytes)");
  }
  return bytesOfHex(value);
}

/**
 * The exact bytes that REPORT_DATA hashes.
 * @param {string} keysetDigest @param {Uint8Array | null} nonce 32 bytes @returns {Uint8Array}
 */
export const encodeStatement = (keysetDigest, nonce) =>
  encodeCanonical({ keyset_digest: keysetDigest, nonce: nonce && hexOf(nonce), purpose: PURPOSE });

/**
 * The 64 bytes of REPORT_DATA: SHA-256 of the statement, then 32 zero bytes.
 * @param {Uint8Array} statement @returns {Promise<Uint8Array>}
 */
export async function reportDataOf(statement) {
  const reportData = new Uint8Array(64);
  reportData.set(await sha256(statement));
  return reportData;
}
