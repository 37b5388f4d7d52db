// What a receipt says of credentials in the prompt, and that its other events say the same (SPEC §7.7).

import { isObject, kindOf, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { requireMembers, requireText } from "./identity.js";

const [REDACTED, REFUSED, OFF] = ["redacted", "refused", "off"];
const OUTCOMES = ["clean", REDACTED, REFUSED, OFF];
const MAX_PLACES = 16;
const LOG = "receipt.event_log";

/** @typedef {Map<string, Record<string, import("./canonical.js").Json>>} Events */

/** That an event's `leak_scan` is one. @param {Record<string, any>} event @param {string} where */
export function requireLeakScan(event, where) {
  const path = `${where}.leak_scan`;
  requireMembers(event.leak_scan, ["outcome", "findings"], path, { exact: true });
  const { outcome, findings } = event.leak_scan;
  if (!OUTCOMES.includes(outcome)) {
    throw new Malformed(`${path}.outcome`, shown(outcome), `one of ${OUTCOMES.join(", ")}`);
  }
  if (!Array.isArray(findings)) throw new Malformed(`${path}.findings`, kindOf(findings), "a list");
  findings.forEach((row, at) => requireFinding(row, `${path}.findings[${at}]`));
  if (findings.length > 0 !== [REDACTED, REFUSED].includes(outcome)) {
    throw new Malformed(`${path}.findings`, `${findings.length} of them`, `what goes with the outcome ${outcome}`);
  }
}

/** That what was refused was not forwarded, and what was redacted not as it came. @param {Events} events */
export function requireAgreement(events) {
  const forwarded = events.get("request.forwarded");
  if (outcomeOf(events, "route") === REFUSED) {
    throw new Malformed(`${LOG}.route.leak_scan.outcome`, REFUSED, "another one: what is refused has no route");
  }
  if (outcomeOf(events, "route.refused") === REFUSED && forwarded !== undefined) {
    throw new Malformed(`${LOG}.request.forwarded`, "a request that was forwarded", "none: it was refused");
  }
  const received = events.get("request.received")?.body_hash;
  if (outcomeOf(events, "route") !== REDACTED || received === undefined) return;
  const wanted = "another one: credentials were redacted";
  if (forwarded?.body_hash === received) {
    throw new Malformed(`${LOG}.request.forwarded.body_hash`, "that of the request as received", wanted);
  }
  const tried = events.get("attempts")?.tried;
  for (const [at, row] of (Array.isArray(tried) ? tried : []).entries()) {
    if (isObject(row) && row.body_hash === received) {
      throw new Malformed(`${LOG}.attempts.tried[${at}].body_hash`, "that of the request as received", wanted);
    }
  }
}

/** The scan in words, where there is something to say of it. @param {Events} events @returns {string} */
export function tellLeakScan(events) {
  const { outcome, findings } = scanOf(events, "route") ?? scanOf(events, "route.refused") ?? {};
  if (outcome === OFF) return "it was not scanned for credentials";
  if (![REDACTED, REFUSED].includes(outcome)) return "";
  const kinds = findings.map(({ kind, count }) => `${kind} ${count}`).join(", ");
  return outcome === REFUSED
    ? `it was refused for the credentials in it: ${kinds}`
    : `credentials in it were redacted before anybody was asked: ${kinds}`;
}

function requireFinding(row, path) {
  requireMembers(row, ["kind", "count", "at"], path, { exact: true });
  requireText(row.kind, `${path}.kind`, 64);
  if (!Number.isSafeInteger(row.count) || row.count < 1) {
    throw new Malformed(`${path}.count`, shown(row.count), "an integer from 1 on");
  }
  if (!Array.isArray(row.at) || row.at.length > MAX_PLACES) {
    throw new Malformed(`${path}.at`, kindOf(row.at), `a list of at most ${MAX_PLACES} places`);
  }
  for (const place of row.at) requireText(place, `${path}.at`, 128);
}

const scanOf = (events, type) => events.get(type)?.leak_scan;
const outcomeOf = (events, type) => scanOf(events, type)?.outcome;
