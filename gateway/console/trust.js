// Which build this browser accepts: the reader's own word, a pin of the first visit, or none.
import { fetchClaim } from "./quotes.js";
import { keep, recall } from "./session.js";

const MEASUREMENT = /^[0-9a-f]{96}$/;
let claimed = /** @type {Promise<import("./quotes.js").Claim> | null} */ (null); // once per load of the page

/**
 * @typedef {{measurement: string, policy: string, ground: "reader" | "pin", at: number}} Trust one of measurement and
 *   policy, the other is ""; `at` in seconds
 */

/** What was accepted here, null if nothing. @returns {Trust | null} */
export function trusted() {
  const kept = recall("trust", null);
  const sound = kept && (MEASUREMENT.test(kept.measurement) || kept.policy) && ["reader", "pin"].includes(kept.ground);
  return sound ? kept : null;
}

/** @param {Trust | null} trust */
export const trust = (trust) => keep("trust", trust);

/** What the gateway says of itself, unverified: only to fill in what nobody named. */
export function claim() {
  claimed ??= fetchClaim().catch((error) => {
    claimed = null;
    throw error;
  });
  return claimed;
}

/** @param {string} text */
export const isMeasurement = (text) => MEASUREMENT.test(text);
