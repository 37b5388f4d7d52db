// The gateway's API, for the pages: one request, JSON or an ApiError. The key goes into a header, never into an address.
import { ApiError, errorOf } from "./problems.js";
import { adminToken, apiKey } from "./session.js";

/**
 * @typedef {{method?: string, body?: unknown, as?: "key" | "admin" | "nobody", signal?: AbortSignal,
 *   headers?: Record<string, string>}} Options
 */

/** The JSON of an answer, null of an empty one. @param {string} path @param {Options} [options] @returns {Promise<any>} */
export async function ask(path, options = {}) {
  const response = await send(path, options);
  const text = await textOf(response);
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError({ status: response.status, message: `${path} answered with something that is no JSON.` });
  }
}

/** An answer as a file. @param {string} path @returns {Promise<Blob>} */
export async function askFile(path) {
  return (await send(path, {})).blob();
}

/** All of a list, page by page, up to `most` rows. @param {string} path @param {Options} [options] @param {number} [most] */
export async function askAll(path, options = {}, most = 1000) {
  const rows = [];
  let page = await ask(path, options);
  for (rows.push(...page.data); page.has_more && page.data.length && rows.length < most; rows.push(...page.data)) {
    const after = encodeURIComponent(page.data.at(-1).id);
    page = await ask(`${path}${path.includes("?") ? "&" : "?"}after=${after}`, options);
  }
  return rows;
}

/** A successful answer, its body unread; else ApiError. @param {string} path @param {Options} options @returns {Promise<Response>} */
export async function send(path, { method = "GET", body, as = "key", signal, headers = {} }) {
  const token = as === "admin" ? adminToken() : as === "key" ? apiKey() : "";
  if (as !== "nobody" && !token) throw new ApiError({ status: 401, message: as === "admin" ? "This needs the admin token." : "You are signed out." });
  const sent = { ...headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  if (body !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body),
      signal,
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ status: 0, message: "No answer came from the gateway." });
  }
  if (!response.ok) throw errorOf(response.status, response.headers, await textOf(response));
  return response;
}

/** @param {Response} response */
async function textOf(response) {
  try {
    return await response.text();
  } catch {
    throw new ApiError({ status: 0, message: "The answer broke off." });
  }
}
