// Canonical JSON (RFC 8785), strict parsing, and the digests over it (SPEC §1).

import { encodeUtf8, hexOf, sha256 } from "./bytes.js";
import { Malformed } from "./errors.js";

export const MAX_DEPTH = 64; // our documents are at most 8 deep; deeper input is an attack on the parser
const MAX_INTEGER_DIGITS = 4300;

/**
 * A JSON number that a JavaScript number would blur: one with a fraction or an exponent (`1.0` must not pass for
 * `1` where a digest covers it), or an integer beyond 2^53-1. It keeps its spelling.
 */
export class RawNumber {
  /** @param {string} literal @param {boolean} fractional */
  constructor(literal, fractional) {
    this.literal = literal;
    this.fractional = fractional;
    Object.freeze(this);
  }

  toJSON() {
    return Number(this.literal);
  }

  toString() {
    return this.literal;
  }
}

/** @typedef {null | boolean | number | string | RawNumber | Json[] | {[name: string]: Json}} Json */

/**
 * The RFC 8785 bytes of `value`. Refuses what canonicalises two ways: numbers with a fraction or exponent,
 * integers beyond 2^53-1, member names outside ASCII.
 * @param {Json} value @returns {Uint8Array}
 */
export function encodeCanonical(value) {
  requireUnambiguous(value, "document", 0);
  return encodeUtf8(serialize(value, () => new Malformed("document", "a lone surrogate", "text that UTF-8 can carry")));
}

/**
 * RFC 8785 as published, fractions and all: for foreign documents and the standard's own vectors.
 * @param {Json} value @returns {Uint8Array}
 */
export const canonicalize = (value) =>
  encodeUtf8(serialize(value, () => new Malformed("document", "no I-JSON value", "an I-JSON value")));

/** `sha256:<64 lowercase hex>` over the canonical form. @param {Json} value */
export const digest = async (value) => digestBytes(encodeCanonical(value));

/** `sha256:<64 lowercase hex>` over bytes exactly as observed. @param {Uint8Array} bytes */
export const digestBytes = async (bytes) => `sha256:${hexOf(await sha256(bytes))}`;

/**
 * Parse JSON strictly: UTF-8, no duplicate names, no NaN, at most 64 deep. Objects have no prototype.
 * @param {Uint8Array} raw @param {string} field @returns {Json}
 */
export function parseJson(raw, field) {
  const depth = nesting(raw);
  if (depth > MAX_DEPTH) throw new Malformed(field, `nesting ${depth} deep`, `at most ${MAX_DEPTH}`);
  return new Reader(decodeUtf8(raw, field), field).document();
}

/** The text of bytes that are UTF-8 to the last one. @param {Uint8Array} raw @param {string} field */
export function decodeUtf8(raw, field) {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw); // a BOM is neither JSON nor a keyword: keep it
  const broken = firstInvalidByte(raw, text);
  if (broken !== null) throw new Malformed(field, `invalid UTF-8 at byte ${broken}`, "UTF-8");
  return text;
}

/** Whether `value` is a JSON object. @param {unknown} value */
export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof RawNumber);

/** Whether `value` is an integer; one beyond 2^53-1 is an integer too. @param {unknown} value */
export const isInteger = (value) => Number.isInteger(value) || (value instanceof RawNumber && !value.fractional);

/** What kind of JSON value this is, in the words that every verifier prints. @param {Json} value */
export function kindOf(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "an array";
  if (isObject(value)) return "an object";
  if (typeof value === "boolean") return "a boolean";
  if (typeof value === "string") return "text";
  return isInteger(value) ? "an integer" : "a number with a fraction";
}

/** The first `limit` characters, where a character outside the BMP is one. @param {string} text */
export const cut = (text, limit) => Array.from(text.slice(0, 2 * limit)).slice(0, limit).join("");

/** A value for a message, printable and short: text quoted in ASCII, integers as they are, else its kind. */
export function shown(value) {
  if (typeof value === "string") return quoted(value).slice(0, 200);
  return isInteger(value) ? String(value).slice(0, 32) : kindOf(value);
}

/** A member's name as a step of a path in a message: as it is if plain and short, else quoted. */
export const step = (name) => (/^[A-Za-z0-9_.-]{1,64}$/.test(name) ? name : shown(name));

const quoted = (text) =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** An upper bound of the nesting depth; brackets inside strings do not count. @param {Uint8Array} raw */
function nesting(raw) {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at];
    if (byte === 0x22) inString = !inString;
    else if (inString) at += byte === 0x5c ? 1 : 0;
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, (depth += 1));
    else if (byte === 0x5d || byte === 0x7d) depth -= 1;
  }
  return deepest;
}

/** Where decoding had to put a replacement character that the bytes do not spell, or null. */
function firstInvalidByte(raw, text) {
  let byte = 0;
  let from = 0;
  for (let at = text.indexOf("\ufffd"); at >= 0; at = text.indexOf("\ufffd", from)) {
    byte += encodeUtf8(text.slice(from, at)).length;
    if (raw[byte] !== 0xef || raw[byte + 1] !== 0xbf || raw[byte + 2] !== 0xbd) return byte;
    byte += 3;
    from = at + 1;
  }
  return null;
}

/** Reads one JSON value off a text. JSON.parse would hide duplicate names and the spelling of numbers. */
class Reader {
  constructor(text, field) {
    this.text = text;
    this.field = field;
    this.at = 0;
  }

  document() {
    this.skipSpace();
    const value = this.value();
    this.skipSpace();
    if (this.at < this.text.length) throw this.error();
    return value;
  }

  error() {
    return new Malformed(this.field, "broken JSON", "one JSON value");
  }

  /** What the sticky pattern matches here, consumed; null if it does not match. */
  take(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match) this.at = pattern.lastIndex;
    return match;
  }

  skipSpace() {
    this.take(/[ \t\n\r]*/y);
  }

  value() {
    const next = this.text[this.at];
    if (next === '"') return this.string();
    if (next === "{") return this.object();
    if (next === "[") return this.array();
    const word = this.take(/true|false|null/y)?.[0];
    if (word === "null") return null;
    return word ? word === "true" : this.number();
  }

  number() {
    const match = this.take(/(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y);
    if (!match) throw this.error();
    const [literal, whole, fraction, exponent] = match;
    if (fraction || exponent) return new RawNumber(literal, true);
    const digits = whole.replace("-", "").length;
    if (digits > MAX_INTEGER_DIGITS) throw this.error();
    const value = Number(literal);
    // Plus zero: `-0` is the integer 0.
    return Number.isSafeInteger(value) ? value + 0 : new RawNumber(literal, false);
  }

  array() {
    const items = [];
    this.at += 1;
    this.skipSpace();
    if (this.take(/\]/y)) return items;
    for (;;) {
      items.push(this.value());
      this.skipSpace();
      if (this.take(/\]/y)) return items;
      if (!this.take(/,/y)) throw this.error();
      this.skipSpace();
    }
  }

  object() {
    const members = [];
    this.at += 1;
    this.skipSpace();
    while (members.length > 0 || !this.take(/\}/y)) {
      if (this.text[this.at] !== '"') {
        throw this.error();
      }
      const name = this.string();
      this.skipSpace();
      if (!this.take(/:/y)) throw this.error();
      this.skipSpace();
      members.push([name, this.value()]);
      this.skipSpace();
      if (this.take(/\}/y)) break;
      if (!this.take(/,/y)) throw this.error();
      this.skipSpace();
    }
    return this.uniqueMembers(members);
  }

  uniqueMembers(members) {
    const object = Object.create(null); // so that `__proto__` is a member like any other
    for (const [name, value] of members) object[name] = value;
    if (Object.keys(object).length !== members.length) throw this.error();
    return object;
  }

  string() {
    const begin = this.at;
    this.at += 1;
    for (let text = ""; ; ) {
      text += this.take(/[^"\\\u0000-\u001f]*/y)[0];
      const stop = this.text[this.at];
      if (stop === undefined) throw this.error();
      if (stop !== '"' && stop !== "\\") throw this.error();
      this.at += 1;
      if (stop === '"') return text;
      if (this.at === this.text.length) throw this.error();
      text += this.escaped();
    }
  }

  escaped() {
    const letter = this.take(/["\\/bfnrt]/y)?.[0];
    if (letter) return { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }[letter] ?? letter;
    const code = this.take(/u([0-9a-fA-F]{4})(?=[^])/y)?.[1]; // at least a quote must follow
    if (code) return String.fromCharCode(parseInt(code, 16));
    if (this.text[this.at] === "u") throw this.error();
    throw this.error();
  }
}

function serialize(value, refusal) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") {
    // A lone surrogate has no UTF-8.
    if (!value.isWellFormed()) throw refusal();
    return JSON.stringify(value);
  }
  if (typeof value === "number" || value instanceof RawNumber) return serializeNumber(value, refusal);
  if (Array.isArray(value)) return `[${value.map((member) => serialize(member, refusal)).join(",")}]`;
  if (!isObject(value)) throw refusal();
  const names = Object.keys(value).sort(); // by UTF-16 code units, as RFC 8785 §3.2.3 has it
  const members = names.map((name) => `${serialize(name, refusal)}:${serialize(value[name], refusal)}`);
  return `{${members.join(",")}}`;
}

function serializeNumber(value, refusal) {
  const number = Number(value instanceof RawNumber ? value.literal : value);
  if (!Number.isFinite(number)) throw refusal();
  if (isInteger(value) && !Number.isSafeInteger(number)) throw refusal();
  return JSON.stringify(number); // ECMAScript's own form is the one that RFC 8785 §3.2.2.3 prescribes
}

function requireUnambiguous(value, path, depth) {
  if (depth > MAX_DEPTH) throw new Malformed(path, `nesting beyond ${MAX_DEPTH}`, `at most ${MAX_DEPTH}`);
  if (typeof value === "number" || value instanceof RawNumber) {
    if (!isInteger(value)) throw new Malformed(path, "a number with a fraction or exponent", "an integer or a string");
    if (!Number.isSafeInteger(value)) {
      throw new Malformed(path, "an integer beyond 2^53-1", "a safe integer or a string");
    }
  } else if (Array.isArray(value)) {
    value.forEach((member, index) => requireUnambiguous(member, `${path}[${index}]`, depth + 1));
  } else if (isObject(value)) {
    for (const [name, member] of Object.entries(value)) {
      if (!/^[\u0000-\u007f]*$/.test(name)) {
        throw new Malformed(path, "a member name outside ASCII", "ASCII member names");
      }
      requireUnambiguous(member, `${path}.${step(name)}`, depth + 1);
    }
  }
}
