// The verdict, top to bottom: a report, a quote, a receipt (SPEC §6). No clock, no network, no page.

import { CHECK as ANNOUNCEMENT_CHECK, judgeAnnouncement } from "./announcement.js";
import { appraise, CHECKS as APPRAISAL_CHECKS, EC2_FIRMWARE_ONLY } from "./appraise.js";
import { encodeStatement, parseNonce, reportDataOf } from "./binding.js";
import { encodeUtf8, equalBytes, hexOf } from "./bytes.js";
import { digestBytes, isObject, parseJson } from "./canonical.js";
import { authenticate, CHECKS as CHAIN_CHECKS, isoSeconds } from "./chain.js";
import { BUILT_IN } from "./bulletins.js";
import { failed, judged, newVerdict, passed, skipped, unparsed } from "./evidence.js";
import { unprovenOf } from "./grade.js";
import { CHECK as HEAD_CHECK, judgeHead } from "./httpsig.js";
import { identityMessage, MAX_KEYSET_SECONDS, subjectOf, verifyEd25519 } from "./identity.js";
import { CHECKS as LOG_CHECKS, judgeLog, requiredOfLog } from "./logchecks.js";
import { CHECKS as PLATFORM_CHECKS, judgeDocument, vouchedImage } from "./nitrochecks.js";
import { decodeQuote, FORMAT } from "./quote.js";
import { CHECKS as RECEIPT_CHECKS, parseReceipt, verifyReceipt } from "./receipt.js";
import { CHECKS as PLACE_CHECKS, judgeReceiptLog, requiredOf } from "./receiptlog.js";
import { accepting, CHECK as RELEASE_CHECK, checkRelease } from "./releases.js";
import { parseReport } from "./report.js";
import { CHECK as STREAM_CHECK, judgeStream } from "./stream.js";

/** @typedef {import("./canonical.js").Json} Json */
/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./evidence.js").Evidence} Evidence */
/** @typedef {import("./evidence.js").Verdict} Verdict */
/** @typedef {import("./policy.js").AppraisalPolicy} AppraisalPolicy */
/** @typedef {import("./releases.js").Releases} Releases */
/** @typedef {import("./report.js").AttestationReport} AttestationReport */
/** @typedef {import("./bulletins.js").TcbData} TcbData */

const REPORT_CHECKS = ["hw.report", ...CHAIN_CHECKS];
const BIND_CHECKS = [
  "bind.quote",
  "bind.report-data",
  "bind.nonce",
  "bind.workload",
  "bind.identity",
  "bind.keyset-expiry",
  "bind.audience",
];
// Checks that a policy may leave without a demand; everything else of full scope must be carried out.
const OPTIONAL = ["guest.mitigations", "guest.pins"];
// Checks that can prove less than their titles say: the reason of a pass is then a line of what is not proven.
const CAVEATS = ["code.measurement", "code.boot-image", ANNOUNCEMENT_CHECK];
const NO_RELEASE_KEYS = "no signed release manifest is built in yet; the measurement stands on your policy alone";
const NOT_BUILT = [
  skipped("channel.binding", "evidence alone cannot say who holds your connection, and this release does not bind it"),
];
const LIMITS = [
  "model weights and anything after an upstream that is not itself attested",
  "physical attacks on the host (TEE.fail, Battering RAM)",
];

/**
 * Judge a bare report. Without a policy: authenticity only, whose verdict is never `verified`.
 * @param {Evidence} evidence
 * @param {{now: Date, policy: AppraisalPolicy | null, acceptMock?: boolean, tcb?: TcbData, releases?: Releases | null,
 *   announcement?: Uint8Array | null}} options
 * @returns {Promise<Verdict>}
 */
export async function verifyReport(evidence, options) {
  const { now, acceptMock = false, tcb = BUILT_IN, releases = null, announcement = null } = options;
  const policy = options.policy && accepting(options.policy, releases);
  const { checks, report, mock, unproven } = await checkReport(evidence, { now, policy, acceptMock, tcb });
  if (policy?.releases) checks.push(releaseCheck(policy, releases, report, null, null));
  const image = demandsImage(report, policy);
  checks.push(...(await checkAnnouncement(policy, announcement, report, null, image, now)));
  if (image) {
    checks.push(...PLATFORM_CHECKS.map((id) => skipped(id, "a bare report carries no platform evidence; a quote does")));
  }
  return conclude(checks, { policy, mock, quote: false, fresh: true, addressed: true, image, unproven });
}

/**
 * Judge a quote document in full scope. `nonce` is the 32 bytes that this verifier itself sent, null for stored
 * evidence; `audience` is the origin that it used, null if unknown. A missing policy fails code.measurement:
 * nothing is expected by default. `releases` are manifests judged under the keys of this very policy, null where none
 * was given. `witnesses` are those of this verifier, whose quorum is then required; `earlier` is what it saw of this
 * gateway's log before; `announcement` is what the release's owner hands out of its place in a release log, null if it
 * is not at hand.
 * @param {Json} document
 * @param {object} options
 * @param {Date} options.now
 * @param {AppraisalPolicy | null} options.policy
 * @param {Uint8Array | null} options.nonce
 * @param {string | null} options.audience
 * @param {boolean} [options.acceptMock]
 * @param {TcbData} [options.tcb]
 * @param {Releases | null} [options.releases]
 * @param {import("./witnesses.js").WitnessPolicy | null} [options.witnesses]
 * @param {import("./logchecks.js").Earlier | null} [options.earlier]
 * @param {Uint8Array | null} [options.announcement]
 * @returns {Promise<Verdict>}
 */
export async function verifyQuote(document, options) {
  const { now, nonce, audience, acceptMock = false, tcb = BUILT_IN, releases = null } = options;
  const { witnesses = null, earlier = null, announcement = null } = options;
  const policy = options.policy && accepting(options.policy, releases);
  let quote;
  try {
    quote = decodeQuote(document);
  } catch (error) {
    const code = [RELEASE_CHECK, ...(policy?.announcement ? [ANNOUNCEMENT_CHECK] : [])];
    const rest = [...REPORT_CHECKS, ...APPRAISAL_CHECKS, ...BIND_CHECKS.slice(1), ...code, ...LOG_CHECKS];
    const checks = [unparsed("bind.quote", error), ...rest.map((id) => skipped(id, "the quote does not parse"))];
    return conclude(checks, { policy, mock: false, quote: true, fresh: true, addressed: true });
  }
  const { checks, report, mock, unproven } = await checkReport(quote.evidence, { now, policy, acceptMock, tcb });
  if (policy === null) checks.push(...unappraised(report));
  checks.push(...(await checkBinding(quote, report, { now, nonce, audience })));
  const platform = await checkPlatform(quote, { now, policy, nonce, acceptMock });
  checks.push(releaseCheck(policy, releases, report, quote.workload.document.build, platform.image));
  const image = demandsImage(report, policy) || isEc2(checks);
  checks.push(...(await checkAnnouncement(policy, announcement, report, platform.image, image, now)));
  checks.push(...platform.checks, ...(await judgeLog(quote, report, witnesses, earlier)));
  const verdict = conclude(checks, {
    policy,
    mock,
    quote: true,
    fresh: nonce !== null,
    addressed: audience !== null,
    image,
    logged: requiredOfLog(quote, witnesses, earlier),
    platformMock: platform.mock,
    unproven,
  });
  if (quote.stale === null) return verdict;
  const mark = `the gateway marks this evidence stale since ${quote.stale.since}: ${quote.stale.reason}`;
  const notProven = [`that the attestation device still works: ${mark}`, ...verdict.not_proven];
  return newVerdict({ scope: verdict.scope, mock: verdict.mock, checks: verdict.checks, required: verdict.required, notProven });
}

/**
 * Extend the verdict on a quote by the receipt of one answer. Both bodies are required of a full verdict. `proof` is
 * what the gateway serves of the receipt's place in the log, null if it is not at hand; `earlier` the quote of the keyset
 * that the receipt's stream checkpoint names, with the verdict on it, null where that is this quote's; `headers` the
 * answer's head as the client got it, null if not at hand; and what else is known of the log.
 * @param {Verdict} quoteVerdict @param {Json} quoteDocument @param {Uint8Array} receipt
 * @param {Uint8Array | null} request @param {Uint8Array | null} response @param {Uint8Array | null} [proof]
 * @param {{earlier?: {verdict: Verdict, document: Json} | null, headers?: Uint8Array | null}
 *   & import("./receiptlog.js").Surroundings} [beside]
 * @returns {Promise<Verdict>}
 */
export async function verifyAnswer(
  quoteVerdict,
  quoteDocument,
  receipt,
  request,
  response,
  proof = null,
  { earlier = null, headers = null, ...around } = {},
) {
  const { scope, mock, checks, not_proven: notProven } = quoteVerdict;
  const required = [...quoteVerdict.required, ...RECEIPT_CHECKS, ...requiredOf(around)];
  let quote;
  try {
    quote = decodeQuote(quoteDocument);
  } catch (error) {
    unparsed("bind.quote", error); // only a quote that does not parse is expected here
    const ids = [...RECEIPT_CHECKS, STREAM_CHECK, HEAD_CHECK, ...PLACE_CHECKS];
    const skips = ids.map((id) => skipped(id, "the quote does not parse"));
    return newVerdict({ scope, mock, checks: [...checks, ...skips], required, notProven });
  }
  const found = await verifyReceipt(receipt, quote.keyset, request, response);
  found.push(await judgeStream(receipt, quote.workload, response, workloadOf(earlier)));
  found.push(await judgeHead(receipt, quote.workload, response, headers));
  const last = [...(await judgeReceiptLog(quote, receipt, response, proof, around)), checkUpstream(receipt)];
  const open = last.filter((check) => check.outcome !== "fail" && check.reason).map(openLine);
  return newVerdict({
    scope,
    mock,
    checks: [...checks, ...found, ...last],
    required,
    notProven: [...notProven.filter((line) => !line.startsWith("upstream.")), ...open],
  });
}

/** The workload of an earlier keyset's quote; null where that was not given, or not verified. */
const workloadOf = (earlier) =>
  earlier?.verdict.verdict === "verified" ? decodeQuote(earlier.document).workload : null;

/** What the receipt says of the upstream; until upstreams are attested this is never a pass. */
function checkUpstream(raw) {
  const id = "upstream.provenance";
  let event;
  try {
    event = parseReceipt(raw).events.get("upstream.verified");
  } catch (error) {
    unparsed(id, error);
    return skipped(id, "the receipt does not parse");
  }
  if (event === undefined) return skipped(id, "no upstream answered");
  if (event.result === "verified") {
    return skipped(id, "the receipt cites an attested upstream session, which was not given");
  }
  return skipped(id, "the upstream is not attested: at most its TLS certificate is known");
}

/**
 * The checks of the report, the report, whether it is a mock, and what its TCB leaves unproven.
 * @returns {Promise<{checks: Check[], report: AttestationReport | null, mock: boolean, unproven: string[]}>}
 */
async function checkReport(evidence, { now, policy, acceptMock, tcb }) {
  let report;
  try {
    report = parseReport(evidence.report); // 1 to 5
  } catch (error) {
    const rest = [...CHAIN_CHECKS, ...(policy ? APPRAISAL_CHECKS : [])];
    const skips = rest.map((id) => skipped(id, "the report does not parse"));
    return { checks: [unparsed("hw.report", error), ...skips], report: null, mock: false, unproven: [] };
  }
  const found = `version ${report.version}, ${evidence.report.length} bytes`;
  const authenticated = await authenticate(evidence, report, { now, acceptMock });
  const checks = [passed("hw.report", found, "a well-formed report"), ...authenticated.checks];
  if (policy) {
    const cspId = authenticated.chain?.extensions.cspId ?? null;
    checks.push(...appraise(report, authenticated.product, cspId, policy, tcb, now));
  }
  const unproven = unprovenOf(report, authenticated.product, policy, tcb, now);
  return { checks, report, mock: authenticated.mock, unproven };
}

function unappraised(report) {
  const found = report ? hexOf(report.measurement) : "no measurement";
  const wanted = "a measurement that you accept: no release is built in yet, so give a policy";
  const skips = APPRAISAL_CHECKS.slice(0, -1).map((id) => skipped(id, "no policy was given"));
  return [...skips, failed("code.measurement", found, wanted)];
}

/** What the signed manifests say of this measurement and, in a quote, of this build and boot image. @returns {Check} */
function releaseCheck(policy, releases, report, build, image) {
  if (!policy?.releases) return skipped(RELEASE_CHECK, NO_RELEASE_KEYS);
  if (!releases) return skipped(RELEASE_CHECK, "your policy names release keys, and no signed manifest was given");
  if (!report) return skipped(RELEASE_CHECK, "the report does not parse");
  return checkRelease(releases, hexOf(report.measurement), build, image);
}

/** Whether the release was announced early enough, where the policy asks for that. @returns {Promise<Check[]>} */
async function checkAnnouncement(policy, announcement, report, image, firmware, now) {
  if (!policy?.announcement) return [];
  const measurement = report && hexOf(report.measurement);
  return [await judgeAnnouncement(policy.announcement, announcement, measurement, image, { firmware, now })];
}

/** @param {import("./quote.js").Quote} quote @returns {Promise<Check[]>} */
async function checkBinding(quote, report, { now, nonce, audience }) {
  const keysetDigest = await digestBytes(quote.keyset.canonical);
  const committed = subjectOf(await digestBytes(quote.workload.canonical));
  return [
    passed("bind.quote", FORMAT, "a well-formed quote"),
    ...(await checkStatement(quote.statement, keysetDigest, report, nonce)), // 16, 23
    judged("bind.workload", quote.keyset.subject === committed, quote.keyset.subject, committed),
    await checkIdentity(quote, keysetDigest),
    checkExpiry(quote.keyset.notAfter, now),
    audience === null
      ? skipped("bind.audience", "the origin is unknown")
      : judged(
          "bind.audience",
          quote.workload.audience === audience,
          `attested for ${quote.workload.audience}`,
          `${audience}, the address that was used`,
        ),
  ];
}

/** Rebuild the statement and REPORT_DATA; the served statement must be those very bytes. */
async function checkStatement(statement, keysetDigest, report, nonce) {
  let claimed;
  try {
    claimed = nonceOf(statement);
  } catch (error) {
    return [unparsed("bind.report-data", error), skipped("bind.nonce", "the statement does not parse")];
  }
  const rebuilt = encodeStatement(keysetDigest, nonce ?? claimed);
  const bound = await checkReportData(statement, rebuilt, report);
  if (nonce === null) return [bound, skipped("bind.nonce", "stored evidence: no nonce of yours is in it")];
  const held = claimed !== null && equalBytes(claimed, nonce);
  const found = claimed ? hexOf(claimed) : "no nonce";
  return [bound, judged("bind.nonce", held, found, `${hexOf(nonce)}, sent by this verifier`)];
}

async function checkReportData(statement, rebuilt, report) {
  const id = "bind.report-data";
  const wanted = new TextDecoder().decode(rebuilt);
  if (statement !== wanted) return failed(id, `statement ${statement}`, `statement ${wanted}`);
  if (report === null) return skipped(id, "the report does not parse");
  const expected = await reportDataOf(rebuilt);
  const held = equalBytes(report.reportData, expected);
  return judged(id, held, hexOf(report.reportData), `${hexOf(expected)}, from keyset and nonce`);
}

/** The nonce that a statement claims, or null. @param {string} statement @returns {Uint8Array | null} */
function nonceOf(statement) {
  const document = parseJson(encodeUtf8(statement), "statement");
  const nonce = isObject(document) && Object.hasOwn(document, "nonce") ? document.nonce : "";
  return nonce === null ? null : parseNonce(nonce);
}

/** Whether Amazon's certificate signed for an accepted measurement: it covers firmware, whatever the policy says. */
const isEc2 = (checks) => checks.some(({ id, reason }) => id === "code.measurement" && reason === EC2_FIRMWARE_ONLY);

/** Whether the measurement is one that covers firmware only: then platform evidence must say what was booted. */
const demandsImage = (report, policy) =>
  report !== null && policy !== null && policy.firmwareMeasurements.includes(hexOf(report.measurement));

/** Platform evidence (24): a document that is there is judged, and the workload says which must be there. */
async function checkPlatform({ evidence, statement, workload, platformEvidence }, { now, policy, nonce, acceptMock }) {
  const listed = (kinds) => kinds.join(", ") || "no platform evidence";
  const carried = listed([...platformEvidence.keys()]);
  const named = listed(workload.platformKinds);
  if (carried !== named) {
    const [genuine, bound, image] = PLATFORM_CHECKS;
    const disagree = failed(bound, `the quote carries ${carried}`, `${named}, as the workload document says`);
    const why = "quote and workload disagree";
    return { checks: [skipped(genuine, why), disagree, skipped(image, why)], mock: false, image: null };
  }
  const document = platformEvidence.get("nitrotpm");
  if (document === undefined) {
    const why = "the quote carries no platform evidence";
    return { checks: PLATFORM_CHECKS.map((id) => skipped(id, why)), mock: false, image: null };
  }
  const given = { report: evidence.report, nonce: nonce ?? claimedNonce(statement), live: nonce !== null, now, policy };
  const { checks, mock } = await judgeDocument(document, given, { acceptMock });
  return { checks, mock, image: vouchedImage(document, checks) };
}

/** The nonce of a statement, null where it does not parse: bind.report-data names that fault. */
function claimedNonce(statement) {
  try {
    return nonceOf(statement);
  } catch (error) {
    unparsed("bind.report-data", error);
    return null;
  }
}

/** The persistent identity signed this keyset: continuity across boots, not trust by itself. */
async function checkIdentity({ workload, identitySignature }, keysetDigest) {
  const held = await verifyEd25519(workload.identityKey, identitySignature, identityMessage(keysetDigest));
  const found = held ? "a signature that verifies" : "a signature that does not verify";
  const wanted = `Ed25519 by identity ${hexOf(workload.identityKey)} over the keyset digest`;
  return judged("bind.identity", held, found, wanted);
}

function checkExpiry(notAfter, now) {
  const left = (notAfter - now) / 1000;
  const held = left > 0 && left <= MAX_KEYSET_SECONDS;
  return judged("bind.keyset-expiry", held, isoSeconds(notAfter), "in the future, at most 7 days ahead");
}

/**
 * What must have passed, and what stays unproven. `image`: platform evidence is demanded; `logged`: these of the log.
 * @returns {Verdict}
 */
function conclude(checks, options) {
  const { policy, mock, quote, fresh, addressed, image = false, logged = [] } = options;
  const { platformMock = false, unproven = [] } = options;
  const full = quote || policy !== null;
  const excused = new Set([
    ...(!full || policy?.revocationRequired === false ? ["hw.revocation"] : []),
    ...(fresh ? [] : ["bind.nonce"]),
    ...(addressed ? [] : ["bind.audience"]),
    ...(mock ? ["hw.root"] : []),
    ...(platformMock ? [PLATFORM_CHECKS[0]] : []),
    ...OPTIONAL,
  ]);
  const asked = [
    ...REPORT_CHECKS,
    ...(full ? APPRAISAL_CHECKS : []),
    ...(quote ? BIND_CHECKS : []),
    ...(policy?.releases && policy.releaseRequired ? [RELEASE_CHECK] : []),
    ...(policy?.announcement ? [ANNOUNCEMENT_CHECK] : []),
    ...(image ? PLATFORM_CHECKS : []),
    ...logged,
  ];
  const all = quote ? [...checks, ...NOT_BUILT] : checks;
  const unjudged = [];
  if (full && !quote) {
    unjudged.push("bind.*: a bare report: nobody judged what its REPORT_DATA commits to, nor its freshness");
  }
  if (!full) unjudged.push("guest.*, code.*: no policy was given, so no value of the report was judged");
  return newVerdict({
    scope: full ? "full" : "authenticity",
    mock: mock || platformMock,
    checks: all,
    required: asked.filter((id) => !excused.has(id)),
    notProven: [
      ...all.filter((check) => check.outcome === "skip").map(openLine),
      ...all.filter((check) => check.outcome === "pass" && check.reason && CAVEATS.includes(check.id)).map(openLine),
      ...unproven,
      ...unjudged,
      ...LIMITS,
    ],
  });
}

/** @param {Check} check */
const openLine = (check) => `${check.id}: ${check.reason}`;
