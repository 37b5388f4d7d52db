// From what the reader gave to a verdict: fetches where asked, calls the verifier, and keeps what the result shows.
import { bodyOf, checkpointQuote, findAnswer, locate, pastQuote, requireReceipt, signedAt, storedAnswer } from "./answer.js";
import { BUILT_IN, openTcbData } from "./bulletins.js";
import { base64Bytes } from "./bytes.js";
import { parseJson } from "./canonical.js";
import { collectEvidence, one } from "./drop.js";
import { Malformed } from "./errors.js";
import { fetchAnnouncement, fetchQuote } from "./gateway.js";
import { earlierOfPast, joined, keepSeen, knownLog } from "./logvisit.js";
import { loadSeen, remember } from "./memory.js";
import { BUILT_IN_POLICY, parsePolicy, policyForMeasurements } from "./policy.js";
import { decodeQuote, parseBundle } from "./quote.js";
import { judgeManifests, newestOf } from "./releases.js";
import { verifyAnswer, verifyQuote, verifyReport } from "./verify.js";
import { parseWitnessPolicy } from "./witnesses.js";

/**
 * @typedef {import("./drop.js").Dropped} Dropped
 * @typedef {{live: boolean, origin: string, files: Dropped[], measurement: string, acceptMock: boolean,
 *   at: Date | null, receiptId: string, apiKey: string, rememberMock: boolean, acceptNewLog: boolean}} Request
 * @typedef {import("./evidence.js").Evidence} Evidence
 * @typedef {{verdict: import("./evidence.js").Verdict, kind: "live"|"stored"|"report", origin: string, quote: any,
 *   evidence: Evidence | null, nonce: Uint8Array | null, now: Date, clock: string, policyName: string, tcb: import("./bulletins.js").TcbData,
 *   notices: string[], receipt: import("./answer.js").AnswerEvidence | null, stored: import("./answer.js").AnswerEvidence | null,
 *   known: import("./logchecks.js").SeenLog | null, earlier: import("./logchecks.js").Earlier | null,
 *   request: Request}} Examination
 */

/**
 * @param {Request} request
 * @param {(text: string) => void} progress
 * @returns {Promise<Examination>}
 */
export async function examine(request, progress) {
  const { policy, policyName } = await choosePolicy(request);
  const now = request.at ?? new Date();
  const tcb = await chooseTcbData(request, policy);
  const { releases, notices } = await judgeReleases(request, policy, now);
  const witnesses = await chooseWitnesses(request);
  const announcement = await chooseAnnouncement(request, policy);
  const settings = { now, policy, acceptMock: request.acceptMock, tcb, releases, witnesses, announcement };
  const clock = request.at ? "a time asserted by you" : "this device’s clock";
  const shared = {
    request,
    policyName,
    tcb,
    clock,
    now,
    nonce: null,
    quote: null,
    notices,
    receipt: null,
    known: null,
    earlier: null,
    stored: null,
  };
  if (request.live) {
    shared.stored = storedAnswer(request.files, null);
    requireReceipt(request, shared.stored);
    return examineLive(request, settings, shared, progress);
  }
  const quotes = request.files.filter((file) => file.role === "quote");
  if (quotes.length === 0 && request.files.some((file) => file.role === "report")) {
    return examineReport(request, settings, shared);
  }
  if (request.files.some((file) => file.role === "report")) {
    throw new Malformed("evidence", "a quote and a raw report", "one of the two: remove the other");
  }
  const { origin, document, answer } = parseBundle(one(quotes, "evidence", "a quote, a bundle or a raw report").bytes);
  if (origin)
    shared.notices.push(`The file says that it came from ${origin}. That is its own word: the address is not checked.`);
  const stored = storedAnswer(request.files, answer);
  requireReceipt(request, stored);
  if (answer !== null && stored === null) {
    shared.notices.push("The file holds an answer’s receipt, which was not judged: give its request and response too.");
  }
  // The keys of that day have ended long ago: without the reader's own time the receipt's is the one to judge by.
  const signed = request.at === null && stored !== null ? signedAt(stored.bytes, now) : null;
  const moment = signed ? { now: signed, clock: "the receipt’s own time" } : {};
  return withQuote({ ...shared, ...moment, stored, kind: "stored", origin }, document, settings, progress);
}

/** @param {Request} request */
async function choosePolicy(request) {
  const files = request.files.filter((file) => file.role === "policy");
  if (files.length && request.measurement) throw new Malformed("policy", "a file and a measurement", "one of the two");
  if (request.measurement) {
    return { policy: await policyForMeasurements(request.measurement), policyName: "one measurement, strict defaults" };
  }
  if (!files.length) {
    // Without a policy a bare report is judged for authenticity; a gateway, by what is built in.
    const bare = !request.live && !request.files.some((file) => file.role === "quote");
    return { policy: bare ? null : BUILT_IN_POLICY, policyName: "none" };
  }
  const file = one(files, "policy", "a policy file");
  return { policy: await parsePolicy(file.bytes), policyName: file.name };
}

/**
 * The given manifests under the policy's release keys; the highest sequence is remembered once it is accepted.
 * @param {Request} request
 */
async function judgeReleases(request, policy, now) {
  const raws = request.files.filter((file) => file.role === "manifest").map((file) => file.bytes);
  if (!raws.length) return { releases: null, notices: [] };
  if (!policy?.releases) {
    const wanted = "a policy with a table \u201creleases\u201d: keys and threshold say whose manifests count";
    throw new Malformed("release manifest", "no release keys", wanted);
  }
  const { releases: signers, minimumSequence: minimum } = policy;
  const seen = await loadSeen(signers);
  const releases = await judgeManifests(raws, signers, { now, minimum, seen: seen ?? null });
  const newest = newestOf(releases);
  if (newest) await remember(signers, newest.sequence);
  const forgetful = "This browser keeps no memory for this page: an older manifest than last time would go unnoticed.";
  return { releases, notices: seen === undefined ? [forgetful] : [] };
}

/** Newer TCB data counts only by the keys of the reader's own policy. @param {Request} request */
async function chooseTcbData({ files }, policy) {
  const given = files.filter((file) => file.role === "tcb");
  if (!given.length) return BUILT_IN;
  if (!policy?.releases) {
    throw new Malformed("tcb", "no keys to check it with", "keys and a threshold under releases in your policy");
  }
  return openTcbData(one(given, "tcb", "one file").bytes, policy.releases);
}

/** The proof that the release was announced, where the policy asks for it: a file, or what a live gateway shows. */
async function chooseAnnouncement({ files, live, origin }, policy) {
  const given = files.filter((file) => file.role === "announcement");
  if (given.length && !policy?.announcement) {
    const wanted = "a table announcement in your policy: it says in which log, and cosigned by whom";
    throw new Malformed("announcement", "no release log to look for it in", wanted);
  }
  if (given.length) return one(given, "announcement", "one file").bytes;
  return live && policy?.announcement ? fetchAnnouncement(origin) : null;
}

/** Whose cosignatures the reader wants, null where none were named. @param {Request} request */
async function chooseWitnesses({ files }) {
  const given = files.filter((file) => file.role === "witnesses");
  return given.length ? parseWitnessPolicy(one(given, "witness policy", "one file").bytes) : null;
}

async function examineReport(request, settings, shared) {
  const evidence = collectEvidence(request.files);
  const verdict = await verifyReport(evidence, settings);
  const notices = [...shared.notices];
  if (request.files.some((file) => file.role === "receipt")) {
    notices.push("The receipt was not judged: a bare report names no keys. Give the quote instead.");
  }
  return { ...shared, verdict, evidence, notices, kind: "report", origin: "" };
}

async function examineLive(request, settings, shared, progress) {
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  progress("Asking the gateway for evidence…");
  const document = parseJson(await fetchQuote(request.origin, nonce), "quote");
  progress("Checking…");
  const known = remembers(request) ? knownLog(request.origin) : null;
  const earlier = known && !request.acceptNewLog ? await joined(request.origin, document, known) : null;
  return withQuote({ ...shared, kind: "live", origin: request.origin, nonce, known, earlier }, document, settings, progress);
}

/** Demos come and go at one address, and a mock's log proves nothing: it is remembered only if that is asked for. */
const remembers = ({ acceptMock, rememberMock }) => rememberMock || !acceptMock;

/** Judge a quote, and the answer whose receipt came or can be fetched with it. */
async function withQuote(examination, document, settings, progress) {
  const { kind, origin, request } = examination;
  const judge = (quote, now, nonce, earlier) =>
    verifyQuote(quote, { ...settings, now, nonce, earlier, audience: kind === "live" ? origin : null });
  let verdict = await judge(document, examination.now, examination.nonce, examination.earlier);
  const found = { ...examination, notices: [...examination.notices], quote: document };
  const accepted = verdict.verdict !== "rejected";
  if (kind === "live" && remembers(request) && accepted) {
    found.notices.push(...(await keepSeen(origin, document, examination.known)));
  }
  let answer = await findAnswer(found, verdict, examination.stored);
  if (answer === null) return { ...found, verdict, evidence: evidenceOf(document) };
  // A gateway that was rejected as it is now is not replaced by what it once was.
  const past = accepted ? await pastQuote(found, answer, document) : null;
  if (past) {
    const clock = "the receipt’s own time, asserted by the gateway";
    Object.assign(found, { quote: past.quote, now: past.now, nonce: null, clock });
    verdict = await judge(past.quote, past.now, null, await earlierOfPast(origin, past.quote, document));
  }
  if (kind === "live" && accepted && decodes(found.quote)) {
    const liveLog = decodeQuote(document).workload.log;
    answer = await locate(found, answer, liveLog, settings.witnesses, progress);
  }
  const bodies = ["request", "response"].map((role) => bodyOf(request.files, role));
  const earlier = await checkpointQuote(found, answer, judge);
  answer = { ...answer, checkpointQuote: earlier && earlier.document };
  const beside = { earlier, headers: answer.headers, witnesses: settings.witnesses, links: answer.links };
  verdict = await verifyAnswer(verdict, found.quote, answer.bytes, ...bodies, answer.proof, beside);
  return { ...found, verdict, receipt: answer, evidence: evidenceOf(found.quote) };
}

/**
 * The raw bytes of a quote, for showing; null where they do not decode (the verdict then says so).
 * @returns {Evidence | null}
 */
function evidenceOf(document) {
  const bytes = (value) => (typeof value === "string" ? base64Bytes(value) : null);
  const { vek_b64, ask_b64, ark_b64, crl_b64 } = Object(Object(document).endorsements);
  const found = {
    report: bytes(Object(document).report_b64),
    vek: bytes(vek_b64),
    intermediate: bytes(ask_b64),
    ark: bytes(ark_b64),
  };
  return Object.values(found).every(Boolean) ? { ...found, crl: bytes(crl_b64) } : null;
}

/** Whether a quote parses; bind.quote says why not. */
function decodes(document) {
  try {
    return Boolean(decodeQuote(document));
  } catch (error) {
    if (error instanceof Malformed) return false;
    throw error;
  }
}
