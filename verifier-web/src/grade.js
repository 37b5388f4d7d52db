// TCB status: which bulletins a report answers, and whether that makes it up to date (SPEC §13.3).

import { REVOKED } from "./bulletins.js";
import { Malformed } from "./errors.js";
import { failed, judged } from "./evidence.js";
import { parseTcb } from "./product.js";
import { PLATFORM_INFO, PLATFORM_WORDS } from "./report.js";

/** What a report says to a bulletin. `UNKNOWN` counts as not answered, but never as revoked. */
export const STATE = Object.freeze({
  ANSWERED: "answered",
  OPEN: "not answered",
  UNKNOWN: "cannot be told",
  WITHDRAWN: "withdrawn",
  UNPROVABLE: "no report can answer it",
  NOTHING_ASKED: "asks nothing of this product",
});

/** @typedef {import("./bulletins.js").TcbData} TcbData */
/** @typedef {import("./policy.js").AppraisalPolicy} AppraisalPolicy */
/** @typedef {import("./product.js").Product} Product */
/** @typedef {import("./report.js").AttestationReport} AttestationReport */
/**
 * One bulletin and what a report says to it; `why` has found and wanted where it does not answer. `lacking`: whether
 * it keeps the report from being up to date.
 * @typedef {{bulletin: import("./bulletins.js").Bulletin, name: string, state: string, why: string,
 *   lacking: boolean}} Finding
 */

/**
 * Every bulletin in order, with what `report` says to it.
 * @param {AttestationReport} report @param {Product} product @param {TcbData} data @returns {Finding[]}
 */
export function grade(report, product, data) {
  const reported = parseTcb(report.reportedTcb, product, "REPORTED_TCB");
  const stepping = steppingOf(report, product, data);
  return data.bulletins.map((bulletin) => {
    const [state, why] = find(bulletin, { report, reported, product, stepping });
    const lacking = state === STATE.OPEN || state === STATE.UNKNOWN;
    return { bulletin, name: `${bulletin.id} ${bulletin.title}`, state, why, lacking };
  });
}

/** @param {Finding[]} findings @returns {"up to date" | "needs update" | "revoked"} */
export function statusOf(findings) {
  const lacking = findings.filter((finding) => finding.lacking);
  if (lacking.some(({ state, bulletin }) => state === STATE.OPEN && bulletin.statusBelow === REVOKED)) return "revoked";
  return lacking.length ? "needs update" : "up to date";
}

/**
 * guest.tcb-status: the status, and each bulletin that is not answered.
 * @param {AttestationReport} report @param {Product} product @param {AppraisalPolicy} policy @param {TcbData} data
 * @param {Date} now @returns {import("./evidence.js").Check}
 */
export function checkStatus(report, product, { tcbStatus, tcbAccept }, data, now) {
  const id = "guest.tcb-status";
  const findings = grade(report, product, data);
  const isAccepted = (finding) => tcbAccept.includes(finding.bulletin.id);
  const counted = findings.filter((finding) => !isAccepted(finding));
  const status = statusOf(counted);
  const details = counted.filter((finding) => finding.lacking).map(({ name, why }) => `${name}: ${why}`);
  const accepted = findings.filter((finding) => finding.lacking && isAccepted(finding)).map(({ name }) => name);
  const found =
    status +
    (details.length ? `: ${details.join("; ")}` : "") +
    (accepted.length ? `; accepted by your policy: ${accepted.join(", ")}` : "");
  const reason = `TCB data ${data.sequence} of ${dayOf(data.issued)}`;
  const current = tcbStatus === "up-to-date";
  if (current && status === "up to date" && isExpired(data, now)) {
    return failed(id, `${found}, by data that expired on ${dayOf(data.expires)}`, "data in force", reason);
  }
  const held = current ? status === "up to date" : status !== "revoked";
  return judged(id, held, found, current ? "up to date" : "not revoked", reason);
}

/**
 * What no version shows of this product, what the policy accepts unanswered, and whether the data is old.
 * @param {AttestationReport} report @param {Product | null} product @param {AppraisalPolicy | null} policy
 * @param {TcbData} data @param {Date} now @returns {string[]}
 */
export function unprovenOf(report, product, policy, data, now) {
  if (product === null) return [];
  const lines = data.bulletins
    .filter(({ notProven }) => Object.hasOwn(notProven, product.name))
    .map(({ id, title, notProven }) => `${id} ${title}: ${notProven[product.name]}`);
  if (policy === null) return lines;
  const findings = findingsOrNone(report, product, data);
  const isAccepted = ({ bulletin }) => policy.tcbAccept.includes(bulletin.id);
  const accepted = findings.filter((finding) => finding.lacking && isAccepted(finding));
  lines.push(...accepted.map(({ name, why }) => `guest.tcb-status: ${name} is accepted by your policy: ${why}`));
  const left = findings.filter((finding) => !isAccepted(finding));
  if (statusOf(left) === "needs update" && policy.tcbStatus === "any-not-revoked") {
    const names = left.filter((finding) => finding.lacking).map(({ name }) => name);
    const line = "the firmware needs an update, which your policy does not demand";
    lines.push(`guest.tcb-status: ${line}: ${names.join(", ")}`);
  }
  if (isExpired(data, now)) {
    const expired = `TCB data ${data.sequence} expired on ${dayOf(data.expires)}`;
    lines.push(`guest.tcb-status: ${expired}: bulletins since ${dayOf(data.issued)} are not known here`);
  }
  return lines;
}

function findingsOrNone(report, product, data) {
  try {
    return grade(report, product, data);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return []; // guest.tcb-lattice names the fault
  }
}

function find(bulletin, { report, reported, product, stepping }) {
  const asked = bulletin.requirements.filter((row) => row.product === product.name);
  const rows = asked.filter((row) => row.withdrawn === null);
  if (!asked.length && Object.hasOwn(bulletin.notProven, product.name)) {
    return [STATE.UNPROVABLE, bulletin.notProven[product.name]];
  }
  if (!asked.length) return [STATE.NOTHING_ASKED, ""];
  if (!rows.length) {
    const last = asked.map((row) => row.withdrawn).sort();
    return [STATE.WITHDRAWN, `asked until ${last[last.length - 1]}`];
  }
  if (bulletin.smtOffAnswers && !hasBit(report.platformInfo, PLATFORM_INFO.SMT_EN)) {
    return [STATE.ANSWERED, "SMT is off"];
  }
  const held = rows.filter((row) => row.stepping === null || row.stepping === stepping);
  const gaps = held.flatMap((row) => gapsOf(row, report, reported));
  const unknown = held.flatMap((row) => hiddenMitigations(row, report));
  if (rows.some((row) => row.stepping !== null) && !held.some((row) => row.stepping !== null)) {
    unknown.push(noFloor(report, product, stepping));
  }
  if (!gaps.length && !unknown.length) return [STATE.ANSWERED, ""];
  return [gaps.length ? STATE.OPEN : STATE.UNKNOWN, [...gaps, ...unknown].join(", and ")];
}

/** What is below the requirement for certain, as found and wanted. */
function gapsOf(row, { platformInfo, launchMitigations, currentMitigations }, reported) {
  const gaps = Object.entries(row.floor)
    .filter(([part, least]) => reported[part] < least)
    .map(([part, least]) => `${part} ${reported[part]}, wanted at least ${least} on ${row.stepping ?? row.product}`);
  const off = row.platform.filter((word) => !hasBit(platformInfo, PLATFORM_WORDS[word]));
  gaps.push(...off.map((word) => `${word} off, wanted on`));
  if (launchMitigations !== null && currentMitigations !== null) {
    const lacking = row.mitigationBits.filter((bit) => !hasBit(launchMitigations & currentMitigations, bit));
    gaps.push(...lacking.map((bit) => `mitigation bit ${bit} off at launch or now, wanted on`));
  }
  return gaps;
}

function hiddenMitigations(row, { version, launchMitigations }) {
  if (launchMitigations !== null) return [];
  return row.mitigationBits.map((bit) => `mitigation bit ${bit} not shown by a version ${version} report, wanted on`);
}

function steppingOf({ cpuid }, product, data) {
  const isIt = (row) => row.product === product.name && row.model === cpuid.model && row.stepping === cpuid.stepping;
  return (cpuid && data.steppings.find(isIt)?.name) ?? null;
}

/** Why no floor of one stepping applies: then nobody can say that this one is patched. */
function noFloor({ version, cpuid }, product, stepping) {
  if (cpuid === null) return `a version ${version} report names no stepping, wanted one: the floor depends on it`;
  const model = cpuid.model.toString(16).padStart(2, "0");
  return `no floor is known here for ${stepping ?? `${product.name} model ${model}h stepping ${cpuid.stepping}`}`;
}

/** @param {bigint} bits @param {number} bit */
const hasBit = (bits, bit) => ((bits >> BigInt(bit)) & 1n) === 1n;

const isExpired = (data, now) => !(now.getTime() < data.expires * 1000);

/** @param {number} moment seconds since 1970 */
const dayOf = (moment) => new Date(moment * 1000).toISOString().slice(0, 10);
