// What went wrong and what to do about it: an error of the API, in words for the person at the page.

/** An answer of the API that is no success; status 0: no answer came. */
export class ApiError extends Error {
  /** @param {{status: number, code?: string | null, message: string, retryAfter?: number | null, requestId?: string | null}} facts */
  constructor({ status, code = null, message, retryAfter = null, requestId = null }) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

/**
 * The error of an answer's status, headers and body; the message is the API's own where it gave one.
 * @param {number} status @param {{get: (name: string) => string | null}} headers @param {string} body
 */
export function errorOf(status, headers, body) {
  let said = {};
  try {
    said = Object(Object(JSON.parse(body)).error);
  } catch {
    // Not the API's shape: a proxy in between may have answered. The status has to do.
  }
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  return new ApiError({
    status,
    code: typeof said.code === "string" ? said.code : null,
    message: typeof said.message === "string" ? said.message : `The gateway answered with status ${status}.`,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
    requestId: headers.get("x-request-id"),
  });
}

/**
 * @param {{status: number, code: string | null, retryAfter: number | null}} error
 * @returns {{title: string, advice: string, action: {label: string, href: string} | null}}
 */
export function explain({ status, code, retryAfter }) {
  if (status === 0) return { title: "No connection", advice: "Is the gateway running, and are you online? Nothing was lost here: try again.", action: null };
  if (status === 401) return { title: "This key was not accepted", advice: "It may be mistyped, expired or revoked. Sign in with one that works.", action: { label: "Sign in", href: "#/signin" } };
  if (status === 402) return explainPayment(code);
  if (status === 403) return { title: "This key may not do that", advice: "It lacks the scope, or its tenant the policy. Use another key, or ask whoever made this one.", action: { label: "See the keys", href: "#/keys" } };
  if (status === 404) return { title: "Not here", advice: "It may have been removed, belong to another key, or not be switched on at this gateway.", action: null };
  if (status === 429) return { title: "Too many at once", advice: `The limit of this key or tenant is reached. Wait ${waitOf(retryAfter)} and try again.`, action: null };
  if (status >= 500) return { title: "The gateway could not do it", advice: "The fault is on its side, or its provider’s. Trying again is safe.", action: null };
  return { title: "The gateway refused this", advice: "What it says names what to change.", action: null };
}

/** @param {string | null} code */
function explainPayment(code) {
  const advice =
    code === "tenant_cap_reached"
      ? "The tenant has spent what its operator allows. Only the operator can raise that."
      : "The prepaid credits are used up. Top up, or use another key.";
  return { title: "Out of credits", advice, action: { label: "Credits", href: "#/credits" } };
}

/** @param {number | null} seconds */
const waitOf = (seconds) => (seconds === null ? "a moment" : seconds === 1 ? "one second" : `${Math.ceil(seconds)} seconds`);
