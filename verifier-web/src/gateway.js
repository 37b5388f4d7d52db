// The page's only network: requests to the one gateway that the reader named, bounded, without cookies or redirects.
import { MAX_ANNOUNCEMENT_SIZE } from "./announcement.js";
import { hexOf } from "./bytes.js";

const MAX_QUOTE_SIZE = 1 << 20; // ours is about 20 kB
const MAX_RECEIPT_SIZE = 1 << 18;
const MAX_PROOF_SIZE = 1 << 19; // two leaves with their proofs
const MAX_CONSISTENCY_SIZE = 1 << 14; // at most some hundred hashes
const MAX_PAGE_SIZE = 1 << 18; // a checkpoint, some links, and over a thousand epochs
// Milliseconds before each attempt at a receipt's proof: a log signs about once in a second.
const PROOF_PAUSES = [0, 500, 500, 1000, 1000];
const QUORUM_PAUSES = [2000, 2000, 2000, 2000, 2000, 2000]; // after them: witnesses follow within some seconds
const TIMEOUT_MS = 30_000; // a busy device may hold a report back for a while

/** A gateway that did not answer as it should. */
export class Unavailable extends Error {}

/** It answered 404: it has no such thing, or not yet. */
export class NotServed extends Unavailable {}

/**
 * The origin of a gateway's URL, as its workload's `audience` spells it; null if it cannot be one.
 * @param {string} text
 * @returns {string | null}
 */
export function parseOrigin(text) {
  let url;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
  } catch {
    return null;
  }
  const local = ["localhost", "127.0.0.1"].includes(url.hostname);
  const allowed = url.protocol === "https:" || (url.protocol === "http:" && local);
  return allowed && !url.username && !url.password ? url.origin : null;
}

/**
 * A fresh quote over `nonce` (32 bytes), unverified.
 * @param {string} origin
 * @param {Uint8Array} nonce
 * @returns {Promise<Uint8Array>}
 */
export function fetchQuote(origin, nonce) {
  const body = JSON.stringify({ nonce: hexOf(nonce) });
  return request(`${origin}/attestation/quote`, MAX_QUOTE_SIZE, {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });
}

/**
 * The stored quote of an earlier keyset, unverified.
 * @param {string} origin
 * @param {string} keysetDigest `sha256:<hex>`, already checked for its form
 * @returns {Promise<Uint8Array>}
 */
export function fetchPastQuote(origin, keysetDigest) {
  return request(`${origin}/attestation/keysets/${keysetDigest}`, MAX_QUOTE_SIZE, { method: "GET" });
}

/**
 * A receipt as served, unverified. `apiKey` goes into this one request and nowhere else.
 * @param {string} origin
 * @param {string} receiptId
 * @param {string} apiKey
 * @returns {Promise<Uint8Array>}
 */
export function fetchReceipt(origin, receiptId, apiKey) {
  const headers = { authorization: `Bearer ${apiKey}` };
  return request(`${origin}/v1/aci/receipts/${encodeURIComponent(receiptId)}`, MAX_RECEIPT_SIZE, {
    method: "GET",
    headers,
  });
}

/**
 * Where the log has a receipt, as served, unverified; null while no checkpoint holds it. A checkpoint follows within
 * seconds, and the witnesses that `seen` misses soon after: so long this waits. `apiKey` goes into these requests alone.
 * @param {string} origin
 * @param {string} receiptId
 * @param {string} apiKey
 * @param {(proof: Uint8Array) => Promise<boolean>} seen
 * @returns {Promise<Uint8Array | null>}
 */
export async function fetchReceiptProof(origin, receiptId, apiKey, seen) {
  const url = `${origin}/v1/aci/receipts/${encodeURIComponent(receiptId)}/proof`;
  const headers = { authorization: `Bearer ${apiKey}` };
  let proof = null;
  for (const [attempt, pause] of [...PROOF_PAUSES, ...QUORUM_PAUSES].entries()) {
    if (proof === null && attempt >= PROOF_PAUSES.length) return null;
    await new Promise((resolve) => setTimeout(resolve, pause));
    proof = (await orNull(request(url, MAX_PROOF_SIZE, { method: "GET", headers }))) ?? proof;
    if (proof !== null && (await seen(proof))) return proof;
  }
  return proof;
}

/**
 * What the gateway shows of its release's announcement, unverified; null where it shows none.
 * @param {string} origin
 * @returns {Promise<Uint8Array | null>}
 */
export function fetchAnnouncement(origin) {
  return orNull(request(`${origin}/attestation/announcement`, MAX_ANNOUNCEMENT_SIZE, { method: "GET" }));
}

/**
 * The document that should show one tree of the log to extend another, unverified; null where there is none.
 * @param {string} origin
 * @param {number} old
 * @param {number} size
 * @param {number | null} epoch the number of a passed one, null for the live one
 * @returns {Promise<Uint8Array | null>}
 */
export function fetchConsistency(origin, old, size, epoch = null) {
  const place = epoch === null ? "" : `/epochs/${epoch}`;
  const url = `${origin}/attestation/transparency${place}/consistency?from=${old}&to=${size}`;
  return orNull(request(url, MAX_CONSISTENCY_SIZE, { method: "GET" }));
}

/**
 * The log's own page, which lists its passed epochs, unverified; null where there is none.
 * @param {string} origin
 * @returns {Promise<Uint8Array | null>}
 */
export function fetchLogPage(origin) {
  return orNull(request(`${origin}/attestation/transparency`, MAX_PAGE_SIZE, { method: "GET" }));
}

/**
 * A tile of the log, unverified; null where there is none.
 * @param {string} origin
 * @param {string} path `tile/…`
 * @param {number} limit bytes
 * @returns {Promise<Uint8Array | null>}
 */
export function fetchTile(origin, path, limit) {
  return orNull(request(`${origin}/attestation/transparency/${path}`, limit, { method: "GET" }));
}

/** @param {Promise<Uint8Array>} answer */
async function orNull(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof NotServed) return null;
    throw error;
  }
}

/**
 * @param {string} url
 * @param {number} limit bytes
 * @param {RequestInit} options
 * @returns {Promise<Uint8Array>}
 */
async function request(url, limit, options) {
  let response;
  try {
    response = await fetch(url, {
      ...options,
      // A redirect would send the request, and with it an API key, to a host that the reader did not name.
      redirect: "error",
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const why =
      error instanceof DOMException && error.name === "TimeoutError"
        ? `no answer in ${TIMEOUT_MS / 1000} seconds`
        : "no answer that a browser may read";
    throw new Unavailable(`${url}: ${why}. It may be down, redirect, or not allow requests from web pages (CORS).`);
  }
  if (response.status === 404) throw new NotServed(`${url}: answered with status 404.`);
  if (response.status !== 200) {
    throw new Unavailable(
      `${url}: answered with status ${response.status}${response.status === 429 ? ": it is busy, try again" : ""}.`,
    );
  }
  return readBounded(response, url, limit);
}

/**
 * @param {Response} response
 * @param {string} url
 * @param {number} limit bytes
 * @returns {Promise<Uint8Array>}
 */
async function readBounded(response, url, limit) {
  const chunks = [];
  let size = 0;
  const reader = response.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      size += part.value.length;
      if (size > limit) {
        await reader?.cancel();
        throw new Unavailable(`${url}: answered more than ${limit} bytes.`);
      }
      chunks.push(part.value);
    }
  } catch (error) {
    throw error instanceof Unavailable ? error : new Unavailable(`${url}: the answer broke off.`);
  }
  const whole = new Uint8Array(size);
  chunks.reduce((at, chunk) => (whole.set(chunk, at), at + chunk.length), 0);
  return whole;
}
