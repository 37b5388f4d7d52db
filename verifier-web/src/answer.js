// One answer's evidence: its receipt, its place in the log, what joins that log's trees; from files or the gateway.

import { digest, isObject, parseJson } from "./canonical.js";
import { one } from "./drop.js";
import { Malformed } from "./errors.js";
import { NotServed, fetchPastQuote, fetchReceipt, fetchReceiptProof } from "./gateway.js";
import { gaps } from "./loghistory.js";
import { fetchEpoch, fetchLink } from "./logvisit.js";
import { decodeQuote } from "./quote.js";
import { parseReceipt } from "./receipt.js";
import { decodeAnswer, judgeReceiptLog, treesOf } from "./receiptlog.js";
import { checkpointOf } from "./stream.js";

/** @typedef {import("./examine.js").Examination} Examination */
/** A receipt as served, what the log shows of it, and the rest that it is judged by; null: not at hand. `headers` are
 * the answer's own, `checkpointQuote` that of the keyset which the receipt's stream checkpoint names.
 * @typedef {{name: string, bytes: Uint8Array, proof: Uint8Array | null, links: import("./loghistory.js").Links | null,
 *   headers: Uint8Array | null, checkpointQuote: any}} AnswerEvidence */

const BODIES = ["request", "response", "headers", "proof"];

/**
 * The answer's evidence as far as it lies in files; `kept` is the answer of a bundle, which counts once something is
 * given to judge it by.
 * @param {import("./drop.js").Dropped[]} files @param {any} kept @returns {AnswerEvidence | null}
 */
export function storedAnswer(files, kept) {
  const given = files.filter((file) => file.role === "receipt");
  if (given.length) return withFiles(files, given[0].name, one(given, "receipt", "a receipt").bytes);
  if (kept === null || !files.some((file) => BODIES.includes(file.role))) return null;
  const { receipt, ...rest } = decodeAnswer(kept);
  return withFiles(files, "the bundle’s receipt", receipt, rest);
}

/** A receipt with the proof and the head that were given as files, else with what is known of it already. */
function withFiles(files, name, bytes, known = { proof: null, links: null, headers: null, checkpointQuote: null }) {
  const [proof, headers] = ["proof", "headers"].map((role) => bodyOf(files, role));
  return { ...known, name, bytes, proof: proof ?? known.proof, headers: headers ?? known.headers };
}

/** Bodies are checked against a receipt: without one they must not look checked. */
export function requireReceipt({ files, receiptId }, stored) {
  if (stored === null && !receiptId && files.some((file) => BODIES.includes(file.role))) {
    throw new Malformed("receipt", "nothing", "the receipt's file or id: the rest is checked against it");
  }
}

/** When a receipt says that it was signed, where that is not later than `now`; else null. @returns {Date | null} */
export function signedAt(raw, now) {
  const receipt = parsedOrNull(() => parseReceipt(raw)); // receipt.format names the fault
  const time = receipt && new Date(receipt.servedAt * 1000);
  return time && time <= now ? time : null;
}

/** The one file of a role, null where none was given. */
export function bodyOf(files, role) {
  const bodies = files.filter((file) => file.role === role);
  return bodies.length ? one(bodies, role, "one file").bytes : null;
}

/**
 * The stored evidence, or the receipt by its id: then the API key leaves only for a gateway whose evidence has passed.
 * @param {Examination} examination @param {import("./evidence.js").Verdict} verdict @param {AnswerEvidence | null} stored
 * @returns {Promise<AnswerEvidence | null>}
 */
export async function findAnswer({ kind, origin, notices, request }, verdict, stored) {
  const { receiptId, apiKey } = request;
  if (kind !== "live" || (!receiptId && stored === null)) return stored;
  if (apiKey && verdict.verdict === "rejected") {
    notices.push("The gateway’s evidence was rejected, so your API key stayed here: nothing of the receipt was fetched.");
  }
  if (stored !== null || verdict.verdict === "rejected") return stored;
  return withFiles(request.files, receiptId, await fetchReceipt(origin, receiptId, apiKey));
}

/**
 * The same with what the gateway shows of its place in the log: by the caller's key, and once no witness is missing who
 * may still come.
 * @param {Examination} examination @param {AnswerEvidence} answer
 * @param {import("./identity.js").WorkloadLog | null} liveLog of the quote that was just fetched
 * @param {import("./witnesses.js").WitnessPolicy | null} witnesses @param {(text: string) => void} progress
 * @returns {Promise<AnswerEvidence>}
 */
export async function locate(examination, answer, liveLog, witnesses, progress) {
  const { origin, request, notices } = examination;
  const quote = decodeQuote(examination.quote);
  const located = { ...answer };
  const id = idOf(answer.bytes);
  if (answer.proof === null && request.apiKey && quote.workload.log !== null && id !== null) {
    progress("Waiting until a checkpoint of the log holds the receipt…");
    const seen = async (proof) =>
      (await judgeReceiptLog(quote, answer.bytes, null, proof, { witnesses })).every(
        (check) => check.id !== "receipt.witness" || check.outcome !== "fail",
      );
    located.proof = await fetchReceiptProof(origin, id, request.apiKey, seen);
    if (located.proof === null) {
      notices.push("No checkpoint of the log held this receipt within three seconds. Ask again in a moment.");
    }
  }
  located.links = await fetchLinks(origin, quote, located, liveLog);
  return located;
}

/**
 * The proofs that join the trees of quote, receipt and route; what is there already where none can be asked for. A log
 * that is not the live one may be a passed epoch, which the gateway lists.
 */
async function fetchLinks(origin, quote, { bytes, proof, links }, liveLog) {
  const { log } = quote.workload;
  if (proof === null || log === null) return links;
  let steps;
  try {
    steps = gaps(await treesOf(quote, bytes, proof));
  } catch (error) {
    if (error instanceof Malformed) return links; // receipt.log or log.inclusion names the fault
    throw error;
  }
  const live = log.vkey === liveLog?.vkey;
  const epoch = live || !steps.length ? null : await fetchEpoch(origin, log.vkey);
  if (steps.length && epoch === null && !live) return links;
  const rows = steps.map(async ([old, size]) => [`${old}-${size}`, await fetchLink(origin, old, size, epoch)]);
  return new Map(await Promise.all(rows));
}

/** The id that a receipt gives itself, which becomes a part of an address. */
function idOf(raw) {
  const receipt = parsedOrNull(() => parseReceipt(raw));
  return receipt && /^[\w-]{1,128}$/.test(receipt.receiptId) ? receipt.receiptId : null;
}

function parsedOrNull(parse) {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/**
 * The evidence of the keyset that signed the receipt, where it is not the one just verified.
 * @returns {Promise<{quote: any, now: Date} | null>}
 */
export async function pastQuote(examination, answer, document) {
  let receipt, verified;
  try {
    receipt = parseJson(answer.bytes, "receipt");
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

/**
 * The judged evidence of the keyset that the receipt's stream checkpoint names, where it is not the verified one.
 * @param {Examination} examination @param {AnswerEvidence} answer
 * @param {(quote: any, now: Date, nonce: null, earlier: null) => Promise<import("./evidence.js").Verdict>} judge
 * @returns {Promise<{verdict: import("./evidence.js").Verdict, document: any} | null>}
 */
export async function checkpointQuote({ kind, origin, quote }, answer, judge) {
  const checkpoint = parsedOrNull(() => checkpointOf(parseReceipt(answer.bytes))); // receipt.stream names the fault
  const keyset = parsedOrNull(() => decodeQuote(quote).keyset); // so does bind.quote
  if (checkpoint === null || keyset === null || checkpoint.keysetDigest === (await digest(keyset.document))) return null;
  let document = answer.checkpointQuote;
  try {
    if (document === null && kind === "live") {
      document = parseJson(await fetchPastQuote(origin, checkpoint.keysetDigest), "quote");
    }
  } catch (error) {
    if (!(error instanceof NotServed)) throw error; // receipt.stream says so by name
  }
  if (document === null) return null;
  return { verdict: await judge(document, new Date(checkpoint.time * 1000), null, null), document };
}
