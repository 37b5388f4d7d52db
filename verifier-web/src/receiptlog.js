// Where the log has an answer: its receipt, the decision that routed it, who saw both, and one history (SPEC §15.9).

import { routeIndices } from "./block.js";
import { encodeBase64 } from "./bytes.js";
import { digest, isObject, kindOf, parseJson, shown } from "./canonical.js";
import { openCheckpoint, parseLeafProof, verifyLeaf } from "./checkpoint.js";
import { Malformed } from "./errors.js";
import { failed, passed, skipped, unparsed } from "./evidence.js";
import { hexBytes, requireMembers } from "./identity.js";
import { parseEntry } from "./leaf.js";
import { checkQuorum, logKey } from "./logchecks.js";
import { encodeLinks, judgeHistory, parseLinks } from "./loghistory.js";
import { parseNote, renamedKey } from "./note.js";
import { decodeBase64, wellFormed } from "./quote.js";
import { parseReceipt } from "./receipt.js";

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./note.js").NoteKey} NoteKey */
/** @typedef {import("./quote.js").Quote} Quote */
/** A leaf that was proven to stand in the log: where, in which tree, and the note with that tree's root.
 * @typedef {{leaf: string, index: number, commitment: string | null, key: NoteKey,
 *   checkpoint: import("./checkpoint.js").Checkpoint, note: string}} Place */
/** What else is known: the verifier's own witnesses, and the log's consistency proofs. null: not given.
 * @typedef {{witnesses?: import("./witnesses.js").WitnessPolicy | null,
 *   links?: import("./loghistory.js").Links | null}} Surroundings */

export const CHECKS = Object.freeze(["receipt.log", "receipt.route", "receipt.witness", "receipt.consistency"]);
const [RECEIPT, ROUTE, WITNESS, CONSISTENCY] = CHECKS;
export const MAX_PROOF_SIZE = 1 << 19; // two leaves with their proofs
const EPOCH = /\/[0-9a-f]{16}$/; // what follows the origin of a log from its second epoch on (SPEC §15.7)

/** Own witnesses bind the receipt's checkpoint too; all else a verdict may go without. @param {Surroundings} around */
export const requiredOf = ({ witnesses = null }) => (witnesses?.demands ? [WITNESS] : []);

/**
 * The checks of `proof`, which is what the gateway serves of the receipt's place; null if it is not at hand.
 * @param {Quote} quote @param {Uint8Array} receipt @param {Uint8Array | null} response @param {Uint8Array | null} proof
 * @param {Surroundings} around @returns {Promise<Check[]>}
 */
export async function judgeReceiptLog(quote, receipt, response, proof, { witnesses = null, links = null }) {
  const named = quote.workload.log;
  if (named === null) return skips(CHECKS, "the workload names no transparency log");
  if (proof === null) return skips(CHECKS, "no proof from the log was given");
  let parsed, signed;
  try {
    parsed = parseReceipt(receipt);
    signed = await digest(parsed.document);
  } catch (error) {
    unparsed(RECEIPT, error);
    return skips(CHECKS, "the receipt does not parse");
  }
  let key, whole, place;
  try {
    key = await logKey(named);
    whole = parseProof(proof);
    place = await findReceipt(key, parsed, signed, whole);
  } catch (error) {
    return [unparsed(RECEIPT, error), ...skips(CHECKS.slice(1), "the receipt's place in the log is not proven")];
  }
  const stands = passed(RECEIPT, `leaf ${place.index} of ${place.checkpoint.size}`, `a leaf that commits to ${signed}`);
  const [route, decided] = await checkRoute(key, parsed, whole.route, place, response);
  const places = decided === null ? [place] : [place, decided];
  return [
    stands,
    route,
    await checkWitness(places, witnesses),
    await checkConsistency(quote, key, places, links),
  ];
}

/**
 * The trees that a history must join: those of the quote, the receipt and the route.
 * @param {Quote} quote @param {Uint8Array} receipt @param {Uint8Array} proof
 */
export async function treesOf(quote, receipt, proof) {
  if (quote.workload.log === null) return [];
  const key = await logKey(quote.workload.log);
  const parsed = parseReceipt(receipt);
  const whole = parseProof(proof);
  const place = await findReceipt(key, parsed, await digest(parsed.document), whole);
  const [, decided] = await checkRoute(key, parsed, whole.route, place, null);
  return joinedTrees(quote, key, decided === null ? [place] : [place, decided]);
}

/**
 * An answer's evidence from a bundle (SPEC §4.6).
 * @param {import("./canonical.js").Json} value
 */
export function decodeAnswer(value) {
  const path = "bundle.answer";
  requireMembers(value, ["receipt_b64", "proof_b64", "consistency", "headers_b64", "checkpoint_quote"], path);
  const { proof_b64: proof, consistency: links, headers_b64: headers, checkpoint_quote: checkpointQuote } = value;
  if (checkpointQuote !== null && !isObject(checkpointQuote)) {
    throw new Malformed(`${path}.checkpoint_quote`, kindOf(checkpointQuote), "a quote or null");
  }
  return Object.freeze({
    receipt: decodeBase64(value.receipt_b64, `${path}.receipt_b64`),
    proof: proof === null ? null : decodeBase64(proof, `${path}.proof_b64`),
    links: links === null ? null : parseLinks(links, `${path}.consistency`),
    headers: headers === null ? null : decodeBase64(headers, `${path}.headers_b64`),
    checkpointQuote,
  });
}

/** The member `answer` of a bundle (SPEC §4.6). @param {import("./answer.js").AnswerEvidence} answer */
export const encodeAnswer = ({ bytes, proof, links, headers, checkpointQuote }) => ({
  receipt_b64: encodeBase64(bytes),
  proof_b64: proof === null ? null : encodeBase64(proof),
  consistency: links === null ? null : encodeLinks(links),
  headers_b64: headers === null ? null : encodeBase64(headers),
  checkpoint_quote: checkpointQuote,
});

const skips = (ids, why) => ids.map((id) => skipped(id, why));

function parseProof(raw) {
  if (raw.length > MAX_PROOF_SIZE) throw new Malformed("proof", `${raw.length} bytes`, `at most ${MAX_PROOF_SIZE}`);
  const whole = parseJson(raw, "proof");
  requireMembers(whole, ["document", "receipt", "route"], "proof");
  requireMembers(whole.document, ["receipt_id", "receipt_digest", "salt"], "proof.document", { exact: true });
  return whole;
}

/** The place of this very receipt. @returns {Promise<Place>} */
async function findReceipt(key, receipt, signed, { document, receipt: shownLeaf }) {
  const wanted = { receipt_digest: signed, receipt_id: receipt.receiptId };
  for (const [name, value] of Object.entries(wanted)) {
    if (document[name] !== value) {
      throw new Malformed(`proof.document.${name}`, shown(document[name]), `${value}, this receipt`);
    }
  }
  hexBytes(document.salt, 32, "proof.document.salt");
  const place = await openLeaf(shownLeaf, "receipt", key);
  requireCommitment(place, "receipt", await digest(document));
  return place;
}

/** The log held the decision before it held the receipt, at the index that the answer names. */
async function checkRoute(key, receipt, shownLeaf, place, response) {
  const event = receipt.events.get("route");
  if (event === undefined && shownLeaf === null) {
    return [skipped(ROUTE, "the receipt has no route: the call was refused before one was chosen"), null];
  }
  if (event === undefined) return [failed(ROUTE, "the proof of a route", "none: the receipt has no route"), null];
  if (shownLeaf === null) {
    const why = "an earlier epoch of the log may hold it, of which the gateway gave no proof";
    return [failed(ROUTE, "no proof of the route", "one: the receipt has a route", why), null];
  }
  let committed, decided, reason;
  try {
    committed = await digest(event);
    hexBytes(event.salt, 32, "receipt.event_log.route.salt");
    decided = await openLeaf(shownLeaf, "route", key);
    requireCommitment(decided, "route", committed);
    requirePlanned(event, receipt.events);
    reason = requireOrder(decided, place, routeIndices(response ?? new Uint8Array()));
  } catch (error) {
    return [unparsed(ROUTE, error), null];
  }
  const found = `leaf ${decided.index} of ${decided.checkpoint.size}`;
  return [passed(ROUTE, found, `a leaf that commits to ${committed}`, reason), decided];
}

/** That only those were asked whom the logged decision names, and that the one who answered was sent what was forwarded. */
function requirePlanned(route, events) {
  const attempts = events.get("attempts");
  if (attempts === undefined) return;
  const log = "receipt.event_log";
  const others = Object.hasOwn(route, "fallback") ? requireRows(route.fallback, `${log}.route.fallback`) : [];
  const planned = [route, ...others].map((row) => asked(row, `${log}.route`));
  const tried = requireRows(attempts.tried ?? null, `${log}.attempts.tried`);
  tried.forEach((row, at) => {
    const place = `${log}.attempts.tried[${at}]`;
    const [provider, model] = asked(row, place);
    if (!planned.some((each) => each[0] === provider && each[1] === model)) {
      throw new Malformed(place, "a provider or a model that the route does not name", "one that it names");
    }
  });
  const answered = attempts.answered ?? null;
  if (answered === null) return;
  const place = `${log}.attempts.answered`;
  if (!Number.isInteger(answered) || answered < 0 || answered >= tried.length) {
    throw new Malformed(place, "another value", "the number of an attempt, or null");
  }
  const forwarded = events.get("request.forwarded") ?? {};
  if ((tried[answered].body_hash ?? null) !== (forwarded.body_hash ?? null)) {
    throw new Malformed(place, "an attempt with another body", "the one whose body is that of request.forwarded");
  }
}

function requireRows(value, path) {
  if (!Array.isArray(value)) throw new Malformed(path, kindOf(value), "a list");
  return value;
}

/** Whom a row names: provider and its own name of the model. */
function asked(row, path) {
  const names = ["provider_id", "upstream_model"];
  requireMembers(row, names, path);
  for (const name of names) {
    if (typeof row[name] !== "string") throw new Malformed(`${path}.${name}`, kindOf(row[name]), "text");
  }
  return names.map((name) => row[name]);
}

/** That route comes before receipt, and where the answer says; what of that cannot be told. @returns {string} */
function requireOrder(decided, place, named) {
  const same = decided.key.vkey === place.key.vkey;
  if (same && decided.index >= place.index) {
    throw new Malformed("proof.route", `leaf ${decided.index}`, `one before ${place.index}, the receipt's leaf`);
  }
  for (const index of named) {
    if (index !== decided.index) {
      throw new Malformed("response.rekor_index", shown(index), `${decided.index}, the route's leaf`);
    }
  }
  const untold = [];
  if (!same) untold.push(`it stands in another epoch, ${decided.key.name}: which leaf came first cannot be told`);
  if (named.length === 0) untold.push("the response names no leaf to compare with");
  return untold.join("; ");
}

/** A leaf that its proof leads to a checkpoint of this log, or, a route, of another epoch. @returns {Promise<Place>} */
async function openLeaf(value, name, key) {
  const path = `proof.${name}`;
  requireMembers(value, ["leaf_b64", "proof"], path, { exact: true });
  const leaf = decodeBase64(value.leaf_b64, `${path}.leaf_b64`);
  const entry = parseEntry(leaf, `${path}.leaf_b64`);
  const proof = parseLeafProof(wellFormed(value.proof, `${path}.proof`), `${path}.proof`);
  const own = name === "route" ? await keyOfEpoch(key, proof.checkpoint, `${path}.proof.checkpoint`) : key;
  const checkpoint = await verifyLeaf(leaf, proof, own, `${path}.proof`);
  if (entry.index !== proof.index) {
    throw new Malformed(path, `leaf ${entry.index} by its own word`, `${proof.index}, by the proof`);
  }
  const commitment = entry.type === name ? entry.body.commitment : null;
  return { leaf: name, index: proof.index, commitment, key: own, checkpoint, note: proof.checkpoint };
}

function requireCommitment({ commitment }, name, committed) {
  if (commitment === committed) return;
  const found = commitment ? `a leaf that commits to ${shown(commitment)}` : "a leaf of another type";
  throw new Malformed(`proof.${name}`, found, `one of type ${name}, ${committed}`);
}

/** The same key under the origin that this note names, where that is an epoch of this log; else the key. */
async function keyOfEpoch(key, note, field) {
  const [origin] = parseNote(note, field).text.split("\n", 1);
  return origin.replace(EPOCH, "") === key.name.replace(EPOCH, "") ? renamedKey(key, origin) : key;
}

/** The quorum of the verifier's policy cosigned every checkpoint that the proof leads to. */
async function checkWitness(places, policy) {
  if (policy === null) return skipped(WITNESS, "no witness policy was given");
  if (!policy.demands) return skipped(WITNESS, "your witness policy asks for no witness");
  const checks = [];
  for (const { leaf, note, key } of places) {
    const check = await checkQuorum(WITNESS, note, key, policy, `proof.${leaf}.proof.checkpoint`);
    if (check.outcome === "fail") return { ...check, reason: `the checkpoint of the ${leaf}'s leaf` };
    checks.push(check);
  }
  return checks[0];
}

/** The trees of the quote, the receipt and the route are beginnings of one another. */
async function checkConsistency(quote, key, places, links) {
  let trees;
  try {
    trees = await joinedTrees(quote, key, places);
  } catch (error) {
    unparsed(CONSISTENCY, error);
    return skipped(CONSISTENCY, "the quote's checkpoint does not verify");
  }
  return judgeHistory(CONSISTENCY, trees, links);
}

async function joinedTrees({ log }, key, places) {
  if (log === null) throw new Malformed("quote.log", "null", "the log that the workload names");
  const first = await openCheckpoint(log.checkpoint, key, "quote.log.checkpoint");
  return [first, ...places.filter((place) => place.key.vkey === key.vkey).map((place) => place.checkpoint)];
}
