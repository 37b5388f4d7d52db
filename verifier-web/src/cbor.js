// A strict CBOR reader for the few shapes that NitroTPM documents use (SPEC §11.1, RFC 8949).

import { Malformed } from "./errors.js";

const MAX_DEPTH = 4; // a document is 3 deep; deeper input is an attack on the parser
const [UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP] = [0, 1, 2, 3, 4, 5];
const OPEN_MAP = 0xbf;
const BREAK = 0xff;
const NULL = 0xf6;
const WANTED = "integers, byte strings, text, arrays, maps and null, in their shortest form";

/** @typedef {any} Item a number, Uint8Array, string, array, Map or null */

/**
 * The one item that `raw` consists of. Every length is definite, but for a map that is the outermost item: AWS
 * writes its payload so. A map's keys are integers or text, each once. Tags, floats and simple values other than
 * null are refused.
 * @param {Uint8Array} raw @param {string} field @returns {Item}
 */
export function parseCbor(raw, field) {
  const reader = new Reader(raw, field);
  const item = reader.item(0);
  if (reader.at !== raw.length) {
    throw new Malformed(field, `${raw.length - reader.at} bytes after the item`, "nothing after it");
  }
  return item;
}

class Reader {
  constructor(raw, field) {
    this.raw = raw;
    this.field = field;
    this.at = 0;
  }

  item(depth) {
    if (depth > MAX_DEPTH) throw new Malformed(this.field, `nesting beyond ${MAX_DEPTH}`, `at most ${MAX_DEPTH}`);
    const start = this.at;
    const [head] = this.take(1);
    if (head === NULL) return null;
    if (head === OPEN_MAP && depth === 0) return this.members(null, depth);
    const value = this.argument(start, head);
    switch (head >> 5) {
      case UNSIGNED:
        return value;
      case NEGATIVE:
        return -1 - value;
      case BYTES:
        return this.take(value);
      case TEXT:
        return this.text(value);
      case ARRAY:
        return Array.from({ length: this.count(value) }, () => this.item(depth + 1));
      default:
        return this.members(this.count(value), depth);
    }
  }

  take(size) {
    const end = this.at + size;
    if (end > this.raw.length) this.refuseCut();
    const taken = this.raw.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  /** The number in an item's head, in its shortest form (RFC 8949 §4.2.1). */
  argument(start, head) {
    const short = head & 0x1f;
    const shown = `head 0x${head.toString(16).padStart(2, "0")} at byte ${start}`;
    if (head >> 5 > MAP || short > 27) throw new Malformed(this.field, shown, WANTED);
    if (short < 24) return short;
    const size = 1 << (short - 24);
    const value = this.take(size).reduce((sum, byte) => sum * 256 + byte, 0); // inexact only beyond 2^53
    const least = size === 1 ? 24 : 2 ** (4 * size);
    if (value < least || value > Number.MAX_SAFE_INTEGER) throw new Malformed(this.field, shown, WANTED);
    return value;
  }

  /** A number of elements, each of which takes a byte at least: a larger one reserves nothing. */
  count(value) {
    if (value > this.raw.length - this.at) this.refuseCut();
    return value;
  }

  text(size) {
    const bytes = this.take(size);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Malformed(this.field, "text that is no UTF-8", "UTF-8");
    }
  }

  /** The members of a map; `count` is null where a break ends it. */
  members(count, depth) {
    const members = new Map();
    while (members.size !== count) {
      if (count === null && this.raw[this.at] === BREAK) {
        this.at += 1;
        break;
      }
      const key = this.item(depth + 1);
      if (!(typeof key === "number" || typeof key === "string") || members.has(key)) {
        throw new Malformed(this.field, "a map key twice, or of another kind", "integers or text, each once");
      }
      members.set(key, this.item(depth + 1));
    }
    return members;
  }

  refuseCut() {
    throw new Malformed(this.field, `${this.raw.length} bytes`, "more: an item is cut short");
  }
}
