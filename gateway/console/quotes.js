// The gateway's evidence, as it shows it to everybody, unverified: what the pages tell of it before any check.
import { base64Bytes, hexOf } from "/verifier/src/bytes.js";
import { parseReport } from "/verifier/src/report.js";
import { ask } from "./api.js";

/**
 * @typedef {{mock: boolean, teeType: string, measurement: string, build: any, audience: string, notAfter: number,
 *   log: {origin: string, size: string} | null}} Claim `mock` is the gateway's own word: a check holds it to that
 */

/** Ask for evidence without a nonce, which all who ask share. @returns {Promise<Claim>} */
export async function fetchClaim() {
  const quote = await ask("/attestation/quote", { method: "POST", body: {}, as: "nobody" });
  const report = parseReport(/** @type {Uint8Array} */ (base64Bytes(quote.report_b64)));
  const lines = String(quote.log?.checkpoint ?? "").split("\n");
  return {
    mock: quote.tee_type === "mock",
    teeType: String(quote.tee_type),
    measurement: hexOf(report.measurement),
    build: quote.workload.build,
    audience: quote.workload.audience,
    notAfter: quote.keyset.not_after,
    log: quote.log ? { origin: lines[0], size: lines[1] } : null,
  };
}
