// What an answer says of its own place in the log: the attestation block, as the client received it (SPEC §7.3).

import { isObject, parseJson } from "./canonical.js";

const BLOCKS = ["_sf_attestation", "attestation"];
// A quote inside a JSON string stands behind a backslash, so this finds member names and nothing that a model said.
const NAME = '"rekor_index"';

/**
 * Every `rekor_index` that this answer shows, a JSON object or a stream of events.
 * @param {Uint8Array} body @returns {import("./canonical.js").Json[]}
 */
export function routeIndices(body) {
  const found = [];
  for (const raw of documentsOf(body)) {
    const document = parseJson(raw, "response");
    // The Responses API carries the whole answer inside its last event.
    for (const part of [document, isObject(document) ? document.response : null]) {
      const blocks = isObject(part) ? BLOCKS.map((name) => part[name]) : [];
      found.push(...blocks.filter(isBlock).map((block) => block.rekor_index));
    }
  }
  return found.filter((index) => index !== null && index !== undefined);
}

const isBlock = (value) => value !== undefined && isObject(value);

/** The JSON texts that name an index: the body, or the data of its events. @param {Uint8Array} body */
function documentsOf(body) {
  const text = new TextDecoder("latin1").decode(body); // one character for every byte
  if (/^[ \t\r\n]*\{/.test(text)) return text.includes(NAME) ? [body] : [];
  const documents = [];
  let at = 0;
  for (const line of text.split(/[\r\n]/)) {
    if (line.startsWith("data:") && line.includes(NAME)) documents.push(body.subarray(at + 5, at + line.length));
    at += line.length + 1;
  }
  return documents;
}
