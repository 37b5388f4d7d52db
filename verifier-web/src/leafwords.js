// Leaves in words a reader knows. All that stands in a leaf is foreign text: bounded, printable, and never believed.

import { encodeCanonical, isObject, shown } from "./canonical.js";

const MAX_WORDS = 120; // characters of one value
const MAX_NAMED = 8; // members or rows of one leaf
const DIGITS = 12; // of a digest: enough to tell two apart at a glance

/** @typedef {import("./leaf.js").LogEntry} LogEntry */

const COMMITTED = {
  route: "One call was routed",
  receipt: "One call’s receipt",
  audit: "An audit record",
  "key.seal": "A provider key was sealed",
  "key.release": "A provider key was released",
  "key.revoke": "A provider key was revoked",
};

// What each plain type says, by its body; members that are not there read as null.
const PLAIN = {
  startup: (body) => ["A build started", `${measurementOf(body.measurement)}, build ${word(body.build?.version)}`],
  configuration: (body) => ["The configuration changed", listed(body.changed)],
  "identity.epoch": (body) => [
    `Identity epoch ${word(body.epoch)} began`,
    `key ${short(body.identity_key)}${body.previous_identity_key ? `, after ${short(body.previous_identity_key)}` : ""}`,
  ],
  "release.announce": (body) => ["A release was announced", `${word(body.release)}: ${measurementsOf(body.measurements)}`],
  "release.retire": (body) => [
    "A release was retired",
    `${measurementsOf(body.measurements)}, because ${word(body.reason)}`,
  ],
  "log.continues": (body) => [
    "This log goes on from another",
    `${word(body.origin)} at ${word(body.size)} entries, because ${word(body.reason)}`,
  ],
};

/**
 * What a leaf says: a heading and one line of detail.
 * @param {LogEntry} entry @returns {{title: string, detail: string}}
 */
export function describeLeaf({ type, body }) {
  if (Object.hasOwn(COMMITTED, type)) {
    return { title: COMMITTED[type], detail: `commitment ${short(body.commitment)}` };
  }
  const [title, detail] = Object.hasOwn(PLAIN, type) ? PLAIN[type](body) : [`Type ${word(type)}`, word(body)];
  return { title, detail };
}

/** The time of a leaf, which is the log's own word. @param {LogEntry} entry */
export const timeOf = ({ time }) =>
  new Date(time * 1000)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, " UTC");

const measurementOf = (value) => `measurement ${short(value)}`;

function measurementsOf(rows) {
  const values = (Array.isArray(rows) ? rows : [rows]).map((row) => (isObject(row) ? row.value : row));
  const more = values.length > MAX_NAMED ? ` and ${values.length - MAX_NAMED} more` : "";
  return `${values.length === 1 ? "measurement" : "measurements"} ${values.slice(0, MAX_NAMED).map(short).join(", ")}${more}`;
}

function listed(values) {
  if (!Array.isArray(values)) return word(values);
  const more = values.length > MAX_NAMED ? ` and ${values.length - MAX_NAMED} more` : "";
  return values.slice(0, MAX_NAMED).map(word).join(", ") + more;
}

/** A digest or a key by its first digits; anything else as it is. */
function short(value) {
  const hex = typeof value === "string" ? /^(?:sha256:)?([0-9a-f]{32,})$/.exec(value)?.[1] : undefined;
  return hex ? `${hex.slice(0, DIGITS)}…` : word(value);
}

/** A value as it is if it is plain text, else quoted in ASCII or as JSON: no letter may turn a line around. */
function word(value) {
  if (value === undefined || value === null) return "nothing";
  if (typeof value !== "string") return cut(new TextDecoder().decode(encodeCanonical(value)));
  return cut(/^[ -~]+$/.test(value) ? value : shown(value));
}

const cut = (text) => (text.length <= MAX_WORDS ? text : `${text.slice(0, MAX_WORDS)}…`);
