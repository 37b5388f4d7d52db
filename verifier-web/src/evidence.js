// The values of verification: checks and the verdict over them (SPEC §6, RFC 9334).

import { Malformed } from "./errors.js";

/** @typedef {"pass" | "fail" | "skip"} Outcome a skip carries a reason and is never a pass */
/**
 * One line of the transcript; `id` is stable and listed in tee/checks.json.
 * @typedef {{id: string, outcome: Outcome, found: string, wanted: string, reason: string}} Check
 */
/**
 * Raw bytes as received, untrusted until verified. `intermediate` is the ASK for a VCEK, the ASVK for a VLEK.
 * @typedef {object} Evidence
 * @property {Uint8Array} report 1184 bytes
 * @property {Uint8Array} vek DER
 * @property {Uint8Array} intermediate DER
 * @property {Uint8Array} ark DER
 * @property {Uint8Array | null} crl DER
 */
/**
 * The transcript of a verification: everything was asked (`full`), or only whose hardware signed (`authenticity`).
 * @typedef {object} Verdict
 * @property {"verified" | "authentic" | "rejected"} verdict
 * @property {"full" | "authenticity"} scope
 * @property {boolean} mock
 * @property {readonly Check[]} checks
 * @property {readonly string[]} not_proven
 * @property {readonly string[]} required ids, sorted
 * @property {string} sentence the verdict in one sentence a newcomer understands
 */

/** @returns {Check} a check that was carried out and held */
export const passed = (id, found, wanted = "", reason = "") =>
  Object.freeze({ id, outcome: "pass", found, wanted, reason });

/** @returns {Check} a check that was carried out and did not hold */
export const failed = (id, found, wanted, reason = "") =>
  Object.freeze({ id, outcome: "fail", found, wanted, reason });

/** @returns {Check} a check that was not carried out, and why */
export const skipped = (id, reason) => Object.freeze({ id, outcome: "skip", found: "", wanted: "", reason });

/** @returns {Check} pass or fail, with the same words for both */
export const judged = (id, held, found, wanted, reason = "") =>
  (held === true ? passed : failed)(id, found, wanted, reason);

/**
 * The failed check of bytes that did not parse. Any other error is a fault of this program and goes on.
 * @param {string} id @param {unknown} error @returns {Check}
 */
export function unparsed(id, error) {
  if (!(error instanceof Malformed)) throw error;
  return failed(id, `${error.field}: ${error.found}`, error.wanted);
}

/**
 * Any failed check rejects; so does a required check that was skipped or never ran.
 * @param {object} parts
 * @param {"full" | "authenticity"} parts.scope
 * @param {boolean} parts.mock
 * @param {readonly Check[]} parts.checks
 * @param {Iterable<string>} parts.required
 * @param {readonly string[]} parts.notProven
 * @returns {Verdict}
 */
export function newVerdict({ scope, mock, checks, required, notProven }) {
  const wanted = [...new Set(required)].sort();
  const done = new Set(checks.filter((check) => check.outcome !== "skip").map((check) => check.id));
  const failure = checks.find((check) => check.outcome === "fail");
  const missing = wanted.find((id) => !done.has(id));
  const accepted = scope === "full" ? "verified" : "authentic";
  return Object.freeze({
    verdict: failure || missing ? "rejected" : accepted,
    scope,
    mock,
    checks: Object.freeze([...checks]),
    not_proven: Object.freeze([...notProven]),
    required: Object.freeze(wanted),
    sentence: rejection(failure, missing, checks) ?? acceptance(scope, mock),
  });
}

function acceptance(scope, mock) {
  const word = scope === "full" ? "Verified" : "Authentic: real signatures, but no policy was applied";
  return mock ? `${word}. MOCK: this proves nothing about hardware.` : `${word}.`;
}

function rejection(failure, missing, checks) {
  if (failure) {
    const reason = failure.reason && ` (${failure.reason})`;
    const others = checks.filter((check) => check.outcome === "fail" && check !== failure).map((check) => check.id);
    const also = others.length ? ` Also failed: ${others.join(", ")}.` : "";
    return `Rejected: ${failure.id} failed: found ${failure.found}, wanted ${failure.wanted}${reason}.${also}`;
  }
  if (missing) {
    const reason = checks.find((check) => check.id === missing)?.reason ?? "it never ran";
    return `Rejected: ${missing} is required but was not checked: ${reason}.`;
  }
  return null;
}
