// Checkpoints of a stream: how much of an answer had left, signed while it left (SPEC §7.4).

import { encodeUtf8, hexOf } from "./bytes.js";
import { digestBytes, encodeCanonical, shown } from "./canonical.js";
import { isoSeconds } from "./chain.js";
import { Malformed } from "./errors.js";
import { failed, passed, skipped, unparsed } from "./evidence.js";
import { digestText, hexBytes, requireMembers, requireText, seconds, verifyEd25519 } from "./identity.js";
import { parseReceipt } from "./receipt.js";

export const CHECK = "receipt.stream";
const CONTEXT = "saferouter/stream/v1\n";
const MEMBERS = ["receipt_id", "workload_keyset_digest", "events", "bytes", "body_hash", "time", "signature"];
const FIELD = "receipt.event_log.stream";

/** @typedef {import("./canonical.js").Json} Json */
/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./identity.js").Workload} Workload */
/** @typedef {import("./receipt.js").Receipt} Receipt */
/**
 * A parsed checkpoint: the first `size` bytes of an answer, `events` events, hash to `bodyHash`.
 * @typedef {{receiptId: string, keysetDigest: string, events: number, size: number, bodyHash: string, time: number,
 *   signature: Uint8Array, document: Json}} StreamCheckpoint
 */

/** Parse a checkpoint's JSON. @param {Json} document @param {string} field @returns {StreamCheckpoint} */
export function parseStreamCheckpoint(document, field) {
  requireMembers(document, MEMBERS, field, { exact: true });
  return Object.freeze({
    receiptId: requireText(document.receipt_id, `${field}.receipt_id`),
    keysetDigest: digestText(document.workload_keyset_digest, `${field}.workload_keyset_digest`),
    events: count(document.events, `${field}.events`),
    size: count(document.bytes, `${field}.bytes`),
    bodyHash: digestText(document.body_hash, `${field}.body_hash`),
    time: seconds(document.time, `${field}.time`),
    signature: hexBytes(document.signature, 64, `${field}.signature`),
    document,
  });
}

/** The bytes that a checkpoint's signature covers. @param {Json} document */
export function streamMessage(document) {
  const { signature: _, ...signed } = document;
  return new Uint8Array([...encodeUtf8(CONTEXT), ...encodeCanonical(signed)]);
}

/** The checkpoint that a receipt carries, null where it carries none. @param {Receipt} receipt */
export function checkpointOf(receipt) {
  const event = receipt.events.get("stream");
  const carried = event !== undefined && Object.hasOwn(event, "checkpoint");
  return carried ? parseStreamCheckpoint(event.checkpoint, `${FIELD}.checkpoint`) : null;
}

/**
 * `receipt.stream`: how far the answer had left while it was signed for. `workload` is that of the quote which vouches
 * for the receipt; `earlier` that of the verified quote of the keyset which the checkpoint names, null if not at hand:
 * a receipt made after a crash holds a checkpoint of the boot that died. `response` is null if not given.
 * @param {Uint8Array} raw @param {Workload} workload @param {Uint8Array | null} response
 * @param {Workload | null} earlier @returns {Promise<Check>}
 */
export async function judgeStream(raw, workload, response, earlier) {
  let receipt;
  try {
    receipt = parseReceipt(raw);
  } catch (error) {
    unparsed("receipt.format", error); // only a receipt that does not parse is expected here
    return skipped(CHECK, "the receipt does not parse");
  }
  try {
    const checkpoint = checkpointOf(receipt);
    if (checkpoint === null) {
      return skipped(CHECK, "the receipt carries no checkpoint: the answer was no stream, or a short one");
    }
    return (
      contradiction(checkpoint, receipt) ??
      (await unsigned(checkpoint, receipt, workload, earlier)) ??
      (await prefix(checkpoint, receipt, response))
    );
  } catch (error) {
    return unparsed(CHECK, error);
  }
}

/** What the checkpoint says that its receipt cannot mean. @returns {Check | null} */
function contradiction(checkpoint, receipt) {
  const event = receipt.events.get("stream");
  if (checkpoint.receiptId !== receipt.receiptId) {
    return failed(CHECK, `a checkpoint of ${shown(checkpoint.receiptId)}`, `${receipt.receiptId}, this receipt`);
  }
  for (const [name, said] of [
    ["bytes", checkpoint.size],
    ["events", checkpoint.events],
  ]) {
    const left = count(event[name], `${FIELD}.${name}`);
    if (said > left) return failed(CHECK, `${said} ${name} in the checkpoint`, `at most ${left}, as the receipt says`);
  }
  const bodyHash = receipt.events.get("response.returned")?.body_hash;
  if (checkpoint.size === event.bytes && checkpoint.bodyHash !== bodyHash) {
    const wanted = `${shown(bodyHash)}, the receipt's hash of as many bytes`;
    return failed(CHECK, `${checkpoint.bodyHash} in the checkpoint`, wanted);
  }
  return null;
}

/** Whether no stream key at hand has signed it. A renewed keyset has another digest and the same workload. */
async function unsigned(checkpoint, receipt, workload, earlier) {
  const message = streamMessage(checkpoint.document);
  const known = [workload, earlier].map((each) => each?.streamKey ?? null).filter((key) => key !== null);
  for (const key of known) if (await verifyEd25519(key, checkpoint.signature, message)) return null;
  if (checkpoint.keysetDigest !== receipt.keysetDigest && earlier === null) {
    return skipped(CHECK, `the checkpoint is of keyset ${checkpoint.keysetDigest}, of which no verified evidence is at hand`);
  }
  if (!known.length) return failed(CHECK, "a checkpoint", "none: the workload names no stream_key");
  const wanted = `Ed25519 by stream key ${hexOf(known.at(-1))} of the workload`;
  return failed(CHECK, "a signature that does not verify", wanted);
}

/** A signed prefix of the answer, compared with the answer if that is at hand. @returns {Promise<Check>} */
async function prefix(checkpoint, receipt, response) {
  const { size, events, bodyHash } = checkpoint;
  const stream = receipt.events.get("stream");
  const moment = isoSeconds(new Date(checkpoint.time * 1000));
  const found = `the first ${size} of ${stream.bytes} bytes and ${events} of ${stream.events} events had left at ${moment}`;
  if (response === null) {
    return passed(CHECK, found, "a signed beginning of the answer", "the response was not given");
  }
  if (response.length < size) {
    const wanted = `at least ${size}, which the checkpoint covers`;
    return failed(CHECK, `${response.length} bytes in the response that was given`, wanted);
  }
  const observed = await digestBytes(response.subarray(0, size));
  const wanted = `${observed}, the SHA-256 of the first ${size} bytes of the response that was given`;
  if (bodyHash !== observed) return failed(CHECK, `${bodyHash} in the checkpoint`, wanted);
  return passed(CHECK, found, "a signed beginning of the response that was given");
}

function count(value, field) {
  if (!Number.isSafeInteger(value) || value < 0) throw new Malformed(field, shown(value), "an integer of at least 0");
  return value;
}
