// One streamed call: the exact bytes that left and came, and what they say so far.
import { send } from "./api.js";
import { addEvent, newCompletion } from "./completion.js";
import { ApiError } from "./problems.js";
import { EventParser } from "./sse.js";

const MAX_ANSWER = 64 << 20; // bytes kept for the receipt's check; no answer of a chat comes near it

/**
 * What is known of a call. `request` and `response` are the bytes as sent and received: the receipt hashes those.
 * @typedef {{completion: import("./completion.js").Completion, request: Uint8Array, response: Uint8Array,
 *   receiptId: string, started: number, firstToken: number | null, ended: number | null, stopped: boolean,
 *   error: Error | null, standIn: string | null}} Call times in milliseconds of this page's clock
 */

/**
 * Ask, and tell of each piece; the call ends with its `error` set rather than thrown, so that what came stays.
 * @param {Record<string, unknown>} body of /v1/chat/completions @param {AbortSignal} signal @param {(call: Call) => void} tell
 * @returns {Promise<Call>}
 */
export async function call(body, signal, tell) {
  const request = new TextEncoder().encode(JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }));
  const made = /** @type {Call} */ ({
    completion: newCompletion(),
    request,
    response: new Uint8Array(),
    receiptId: "",
    started: performance.now(),
    firstToken: null,
    ended: null,
    stopped: false,
    error: null,
    standIn: null,
  });
  const pieces = /** @type {Uint8Array[]} */ ([]);
  try {
    await carry(made, pieces, signal, tell);
  } catch (error) {
    made.stopped = signal.aborted;
    if (!signal.aborted) made.error = error instanceof Error ? error : new Error(String(error));
  }
  made.response = joined(pieces);
  made.ended = performance.now();
  const said = made.completion.error;
  if (said && !made.error) made.error = new ApiError({ status: 502, ...said });
  tell(made);
  return made;
}

/** @param {Call} made @param {Uint8Array[]} pieces @param {AbortSignal} signal @param {(call: Call) => void} tell */
async function carry(made, pieces, signal, tell) {
  const response = await send("/v1/chat/completions", { method: "POST", body: made.request, signal });
  made.receiptId = response.headers.get("x-receipt-id") ?? "";
  made.standIn = response.headers.get("x-sf-fallback-to");
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  let size = 0;
  for (let part = await piece(reader, signal); part; part = await piece(reader, signal)) {
    size += part.length;
    if (size > MAX_ANSWER) {
      await reader.cancel();
      throw new Error(`The answer is longer than the ${MAX_ANSWER} bytes that this page keeps.`);
    }
    pieces.push(part);
    for (const event of parser.push(decoder.decode(part, { stream: true }))) addEvent(made.completion, event.data);
    if (made.firstToken === null && (made.completion.text || made.completion.reasoning)) made.firstToken = performance.now();
    tell(made);
  }
  if (!made.completion.done && !made.completion.error) throw new ApiError({ status: 0, message: "The answer broke off before its end." });
}

/** The next piece, null at the end. @returns {Promise<Uint8Array | null>} */
async function piece(reader, signal) {
  try {
    const { done, value } = await reader.read();
    return done ? null : value;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError({ status: 0, message: "The answer broke off before its end." });
  }
}

/** @param {Uint8Array[]} pieces */
function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, part) => sum + part.length, 0));
  pieces.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
