// From what the reader gave to a verdict: fetches where asked, calls the verifier, and keeps what the result shows.
import { BUILT_IN, openTcbData } from "./bulletins.js";
import { base64Bytes } from "./bytes.js";
import { digest, isObject, parseJson } from "./canonical.js";
import { collectEvidence, one } from "./drop.js";
import { Malformed } from "./errors.js";
import { fetchAnnouncement, fetchPastQuote, fetchQuote, fetchReceipt, fetchReceiptProof } from "./gateway.js";
import { findEarlier, keepSeen } from "./logvisit.js";
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
 *   notices: string[], receipt: {name: string, bytes: Uint8Array, proof: Uint8Array | null} | null,
 *   earlier: import("./logchecks.js").Earlier | null, request: Request}} Examination
 */

/**
 * @param {Request} request
 * @param {(text: string) => void} progress
 * @returns {Promise<Examination>}
 */
export async function examine(request, progress) {
  requireReceiptFor(request);
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
    earlier: null,
  };
  if (request.live) return examineLive(request, settings, shared, progress);
  const quotes = request.files.filter((file) => file.role === "quote");
  if (quotes.length === 0 && request.files.some((file) => file.role === "report")) {
    return examineReport(request, settings, shared);
  }
  if (request.files.some((file) => file.role === "report")) {
    throw new Malformed("evidence", "a quote and a raw report", "one of the two: remove the other");
  }
  const { origin, document } = parseBundle(one(quotes, "evidence", "a quote, a bundle or a raw report").bytes);
  if (origin)
    shared.notices.push(`The file says that it came from ${origin}. That is its own word: the address is not checked.`);
  return withQuote({ ...shared, kind: "stored", origin }, document, settings, progress);
}

/** Bodies are checked against a receipt: without one they must not look checked. @param {Request} request */
function requireReceiptFor({ files, receiptId }) {
  const has = (role) => files.some((file) => file.role === role);
  if (["request", "response", "proof"].some(has) && !has("receipt") && !receiptId) {
    throw new Malformed("receipt", "nothing", "the receipt's file or id: request, response and proof are checked against it");
  }
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
  const earlier = remembers(request) && !request.acceptNewLog ? await findEarlier(request.origin, document) : null;
  return withQuote({ ...shared, kind: "live", origin: request.origin, nonce, earlier }, document, settings, progress);
}

/** Demos come and go at one address, and a mock's log proves nothing: it is remembered only if that is asked for. */
const remembers = ({ acceptMock, rememberMock }) => rememberMock || !acceptMock;

/** Judge a quote, and the receipt that came or can be fetched with it. */
async function withQuote(examination, document, settings, progress) {
  const { kind, origin, request } = examination;
  const judge = (quote, now, nonce, earlier) =>
    verifyQuote(quote, { ...settings, now, nonce, earlier, audience: kind === "live" ? origin : null });
  let verdict = await judge(document, examination.now, examination.nonce, examination.earlier);
  const found = { ...examination, notices: [...examination.notices], quote: document };
  if (kind === "live" && remembers(request) && verdict.verdict !== "rejected") {
    found.notices.push(...(await keepSeen(origin, document)));
  }
  found.receipt = await findReceipt(found, verdict, progress);
  if (!found.receipt) return { ...found, verdict, evidence: evidenceOf(document) };
  // A gateway that was rejected as it is now is not replaced by what it once was.
  const past = verdict.verdict === "rejected" ? null : await pastQuote(found, document);
  if (past) {
    Object.assign(found, {
      quote: past.quote,
      now: past.now,
      nonce: null,
      clock: "the receipt’s own time, asserted by the gateway",
    });
    verdict = await judge(past.quote, past.now, null, null);
  }
  const bodies = ["request", "response"].map((role) => bodyOf(request.files, role));
  verdict = await verifyAnswer(verdict, found.quote, found.receipt.bytes, ...bodies, found.receipt.proof);
  return { ...found, verdict, evidence: evidenceOf(found.quote) };
}

/**
 * The receipt from a file, or by its id: then the API key leaves only for a gateway whose evidence has passed. With it
 * its place in the log, from a file or from that gateway.
 */
async function findReceipt(examination, verdict, progress) {
  const { kind, origin, notices, quote } = examination;
  const { files, receiptId, apiKey } = examination.request;
  const given = files.filter((file) => file.role === "receipt");
  const proof = bodyOf(files, "proof");
  const asks = kind === "live" && Boolean(apiKey);
  if (asks && verdict.verdict === "rejected" && (receiptId || given.length)) {
    notices.push("The gateway’s evidence was rejected, so your API key stayed here: nothing of the receipt was fetched.");
  }
  const trusted = asks && verdict.verdict !== "rejected";
  if (!given.length && (!receiptId || !trusted)) return null;
  const receipt = given.length
    ? one(given, "receipt", "a receipt")
    : { name: receiptId, bytes: await fetchReceipt(origin, receiptId, apiKey) };
  const id = receiptIdOf(receipt.bytes);
  if (proof !== null || !trusted || id === null || !quote.workload.log) return { ...receipt, proof };
  progress("Waiting until a checkpoint of the log holds the receipt…");
  const fetched = await fetchReceiptProof(origin, id, apiKey);
  if (fetched === null) {
    notices.push("The gateway showed no checkpoint that holds this receipt within three seconds. Ask again in a moment.");
  }
  return { ...receipt, proof: fetched };
}

/** The id that a receipt gives itself; null where it is none, which receipt.format will say. */
function receiptIdOf(raw) {
  try {
    const { receipt_id: id } = Object(parseJson(raw, "receipt"));
    return typeof id === "string" && /^[\w-]{1,128}$/.test(id) ? id : null; // it becomes a part of an address
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/**
 * The evidence of the keyset that signed the receipt, where it is not the one just verified.
 * @returns {Promise<{quote: any, now: Date} | null>}
 */
async function pastQuote(examination, document) {
  let receipt, verified;
  try {
    receipt = parseJson(examination.receipt.bytes, "receipt");
    verified = await digest(decodeQuote(document).keyset.document);
  } catch {
    return null; // verifyAnswer names the fault
  }
  const named = isObject(receipt) ? receipt.workload_keyset_digest : null;
  if (typeof named !== "string" || !/^sha256:[0-9a-f]{64}$/.test(named) || named === verified) return null;
  examination.notices.push(
    `This receipt was made under other keys (${named}) than the ones just verified (${verified}). ` +
      "The gateway may have restarted since, or the receipt belongs to another gateway.",
  );
  if (examination.kind !== "live" || !Number.isSafeInteger(receipt.served_at)) return null;
  try {
    const quote = parseJson(await fetchPastQuote(examination.origin, named), "quote");
    examination.notices.push(
      "The gateway handed out its stored evidence for those earlier keys. " +
        "All that follows judges that evidence, at the receipt’s time, and not the gateway as it is now.",
    );
    return { quote, now: new Date(receipt.served_at * 1000) };
  } catch (error) {
    examination.notices.push(`The evidence of those earlier keys could not be fetched: ${error.message}`);
    return null;
  }
}

function bodyOf(files, role) {
  const bodies = files.filter((file) => file.role === role);
  return bodies.length ? one(bodies, `${role} body`, "one file").bytes : null;
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
