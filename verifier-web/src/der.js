// A strict DER reader for the few shapes that AMD's certificates use (SPEC §3.1, X.690 §10).

import { hexOf } from "./bytes.js";
import { Malformed } from "./errors.js";

export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OID = 0x06;
export const UTF8_STRING = 0x0c;
export const PRINTABLE_STRING = 0x13;
export const IA5_STRING = 0x16;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
export const SET = 0x31;
export const CONTEXT_0 = 0xa0;
export const CONTEXT_3 = 0xa3;

/** @typedef {{tag: number, content: Uint8Array, raw: Uint8Array}} Element one DER element, `raw` being all of it */

const hexByte = (/** @type {number} */ byte) => `0x${byte.toString(16).padStart(2, "0")}`;

/**
 * Split the first element off `raw`.
 * @param {Uint8Array} raw @param {string} field
 * @returns {[Element, Uint8Array]} the element and the bytes after it
 */
export function readElement(raw, field) {
  if (raw.length < 2) throw new Malformed(field, `${raw.length} bytes`, "a DER element");
  const [tag, first] = raw;
  if ((tag & 0x1f) === 0x1f) throw new Malformed(field, "a multi-byte tag", "a single-byte tag");
  let start = 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count < 1 || count > 3 || raw.length < 2 + count) {
      throw new Malformed(field, `length octet ${hexByte(first)}`, "a definite length of at most 3 octets");
    }
    start += count;
    length = raw.subarray(2, start).reduce((value, byte) => value * 256 + byte, 0);
    if (length < 0x80 || raw[2] === 0) throw new Malformed(field, "a length in long form", "the shortest length");
  }
  const end = start + length;
  if (raw.length < end) throw new Malformed(field, `${raw.length - start} bytes of content`, `${length} bytes`);
  return [{ tag, content: raw.subarray(start, end), raw: raw.subarray(0, end) }, raw.subarray(end)];
}

/**
 * Every element of `raw`, which must end with the last one.
 * @param {Uint8Array} raw @param {string} field @returns {Element[]}
 */
export function readAll(raw, field) {
  const elements = [];
  for (let rest = raw; rest.length > 0; ) {
    const [element, after] = readElement(rest, field);
    elements.push(element);
    rest = after;
  }
  return elements;
}

/**
 * The one element that `raw` consists of; trailing bytes are refused.
 * @param {Uint8Array} raw @param {number} tag @param {string} field
 */
export function readOnly(raw, tag, field) {
  const [element, rest] = readElement(raw, field);
  if (rest.length > 0) throw new Malformed(field, `${rest.length} bytes after the element`, "nothing after it");
  return requireTag(element, tag, field);
}

/** @param {Element} element @param {number} tag @param {string} field */
export function requireTag(element, tag, field) {
  if (element.tag !== tag) throw new Malformed(field, `tag ${hexByte(element.tag)}`, `tag ${hexByte(tag)}`);
  return element;
}

/**
 * A non-negative INTEGER in its shortest form.
 * @param {Element} element @param {string} field @returns {bigint}
 */
export function parseInteger(element, field) {
  const { content } = requireTag(element, INTEGER, field);
  if (content.length === 0 || (content.length > 1 && content[0] === 0 && content[1] < 0x80)) {
    throw new Malformed(field, `integer bytes ${hexOf(content) || "none"}`, "the shortest integer");
  }
  if (content[0] >= 0x80) throw new Malformed(field, "a negative integer", "an integer of at least 0");
  return BigInt(`0x${hexOf(content)}`);
}

/**
 * An OBJECT IDENTIFIER in dotted form, for example `1.3.6.1.4.1.3704.1.2`.
 * @param {Element} element @param {string} field
 */
export function parseOid(element, field) {
  const { content } = requireTag(element, OID, field);
  if (content.length === 0 || content.length > 64 || content[content.length - 1] >= 0x80) {
    throw new Malformed(field, "a broken object identifier", "an object identifier");
  }
  const arcs = [BigInt(Math.floor(content[0] / 40)), BigInt(content[0] % 40)];
  let arc = 0n; // a hostile arc may have more bits than a number holds
  let fresh = true;
  for (const byte of content.subarray(1)) {
    if (fresh && byte === 0x80) {
      throw new Malformed(field, "a padded object identifier", "the shortest object identifier");
    }
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    fresh = byte < 0x80;
    if (fresh) {
      arcs.push(arc);
      arc = 0n;
    }
  }
  return arcs.join(".");
}

/**
 * A UTF8String, PrintableString or IA5String as text; printable ASCII only.
 * @param {Element} element @param {string} field
 */
export function parseText(element, field) {
  if (![UTF8_STRING, PRINTABLE_STRING, IA5_STRING].includes(element.tag)) {
    throw new Malformed(field, `tag ${hexByte(element.tag)}`, "a text string");
  }
  if (element.content.some((byte) => byte < 0x20 || byte >= 0x7f)) {
    throw new Malformed(field, "unprintable characters", "printable ASCII");
  }
  return String.fromCharCode(...element.content);
}

/** A BIT STRING of whole bytes. @param {Element} element @param {string} field */
export function parseBits(element, field) {
  const { content } = requireTag(element, BIT_STRING, field);
  if (content.length === 0 || content[0] !== 0) {
    throw new Malformed(field, "a bit string with unused bits", "whole bytes");
  }
  return content.subarray(1);
}

/**
 * UTCTime (1950 to 2049) or GeneralizedTime, in UTC to the second (RFC 5280 §4.1.2.5).
 * @param {Element} element @param {string} field @returns {Date}
 */
export function parseTime(element, field) {
  const text = Array.from(element.content.subarray(0, 16), (byte) => String.fromCharCode(byte)).join("");
  const shape = { [UTC_TIME]: /^[0-9]{12}Z$/, [GENERALIZED_TIME]: /^[0-9]{14}Z$/ }[element.tag];
  if (!shape?.test(text)) {
    throw new Malformed(field, "a broken time", "UTCTime or GeneralizedTime, to the second, in UTC");
  }
  const century = element.tag === GENERALIZED_TIME ? "" : text < "50" ? "20" : "19";
  const [year, ...rest] = (century + text).match(/^[0-9]{4}|[0-9]{2}/g);
  const iso = `${year}-${rest[0]}-${rest[1]}T${rest[2]}:${rest[3]}:${rest[4]}.000Z`;
  const moment = new Date(iso);
  // There is no year 0; and Date rolls 31 April over to 1 May, and 24:00 to the next day.
  if (year === "0000" || Number.isNaN(moment.getTime()) || moment.toISOString() !== iso) {
    throw new Malformed(field, "a date that does not exist", "a date");
  }
  return moment;
}
