// Signed notes of C2SP: a text and the signatures below it, and the keys that verify them (SPEC §15.2).

import { base64Bytes, encodeBase64, encodeUtf8, equalBytes, hexOf, sha256 } from "./bytes.js";
import { shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { verifyEd25519 } from "./identity.js";

export const MAX_NOTE_SIZE = 64 << 10; // a checkpoint with a hundred signatures
const MAX_SIGNATURES = 100;
const DASH = "\u2014 ";
// White space as Python has it: JavaScript's own \s lacks U+0085 and counts U+FEFF in.
export const SPACE = " \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const NAME = new RegExp(`^[^+\\u0000-\\u001f\\u007f${SPACE}]{1,256}$`, "u");
export const LOG_KEY = 1; // Ed25519: a log's own signature over the text
export const WITNESS_KEY = 4; // cosignature/v1: a witness's timestamped signature
const KEY_TYPES = [LOG_KEY, WITNESS_KEY];

/** A verifying key (`vkey`): whose it is, what it signs, four bytes that name it on a line, and its public key.
 * @typedef {{name: string, type: number, keyId: Uint8Array, publicKey: Uint8Array, vkey: string}} NoteKey */
/** @typedef {{name: string, keyId: Uint8Array, blob: Uint8Array}} NoteSignature */
/** A parsed note. `text` ends with a line break; no signature is verified yet.
 * @typedef {{text: string, signatures: NoteSignature[]}} Note */

/**
 * A verifying key from its `vkey` line; a key id that is not the key's own is refused.
 * @param {string} vkey @param {string} field @returns {Promise<NoteKey>}
 */
export async function parseNoteKey(vkey, field) {
  const [name, id, ...rest] = vkey.split("+");
  if (rest.length === 0 || !NAME.test(name)) {
    throw new Malformed(field, shown(vkey), "NAME+KEY ID+KEY, a C2SP verifying key");
  }
  const raw = noteBase64(rest.join("+"), field);
  if (raw.length !== 33 || !KEY_TYPES.includes(raw[0])) {
    throw new Malformed(field, `${raw.length} bytes of key`, "an Ed25519 key of type 1 or 4, 33 bytes");
  }
  const keyId = await keyIdOf(name, raw);
  if (id !== hexOf(keyId)) {
    throw new Malformed(field, `key id ${shown(id)}`, `${hexOf(keyId)}, which belongs to this key`);
  }
  return Object.freeze({ name, type: raw[0], keyId, publicKey: raw.subarray(1), vkey });
}

const keyIdOf = async (name, raw) =>
  (await sha256(Uint8Array.of(...encodeUtf8(`${name}\n`), ...raw))).subarray(0, 4);

/** The same public key under another name. @param {NoteKey} key @param {string} name @returns {Promise<NoteKey>} */
export async function renamedKey({ type, publicKey }, name) {
  const raw = Uint8Array.of(type, ...publicKey);
  const keyId = await keyIdOf(name, raw);
  return Object.freeze({ name, type, keyId, publicKey, vkey: `${name}+${hexOf(keyId)}+${encodeBase64(raw)}` });
}

/**
 * A note from its text, which JSON or a parser of UTF-8 has read.
 * @param {string} whole @param {string} field @returns {Note}
 */
export function parseNote(whole, field) {
  const size = encodeUtf8(whole).length;
  if (size > MAX_NOTE_SIZE) throw new Malformed(field, `${size} bytes`, `at most ${MAX_NOTE_SIZE}`);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) throw new Malformed(field, "a control character", "text");
  const gap = whole.lastIndexOf("\n\n");
  const lines = whole.slice(gap + 2).split("\n");
  if (gap <= 0 || lines.pop() !== "") {
    throw new Malformed(field, "no signature lines", "a text, an empty line, and signature lines");
  }
  if (lines.length < 1 || lines.length > MAX_SIGNATURES) {
    throw new Malformed(field, `${lines.length} signature lines`, `1 to ${MAX_SIGNATURES}`);
  }
  return Object.freeze({
    text: whole.slice(0, gap + 1),
    signatures: lines.map((line) => parseSignature(line, field)),
  });
}

/** @returns {NoteSignature} */
function parseSignature(line, field) {
  const [, name, encoded] = /^([^ ]*) ?([^]*)$/.exec(line.startsWith(DASH) ? line.slice(DASH.length) : "");
  if (!NAME.test(name)) throw new Malformed(field, shown(line), "a signature line: a dash, a name, base64");
  const raw = noteBase64(encoded, field);
  if (raw.length <= 4) {
    throw new Malformed(field, `a signature of ${raw.length} bytes`, "a key id of 4 bytes and a signature");
  }
  return Object.freeze({ name, keyId: raw.subarray(0, 4), blob: raw.subarray(4) });
}

/**
 * Whether this log key signed the note; one bad line of it refuses the note, lines of other keys are ignored.
 * @param {Note} note @param {NoteKey} key @param {string} field @returns {Promise<boolean>}
 */
export async function verifyNote(note, key, field) {
  const lines = signaturesBy(note, key);
  for (const { blob } of lines) {
    if (!(await verifyEd25519(key.publicKey, blob, encodeUtf8(note.text)))) {
      throw new Malformed(field, `a bad signature by ${key.name}`, "a good signature, or none by this key");
    }
  }
  return lines.length > 0;
}

/** The lines that name this key. @param {Note} note @param {NoteKey} key @returns {NoteSignature[]} */
export const signaturesBy = (note, key) =>
  note.signatures.filter((line) => line.name === key.name && equalBytes(line.keyId, key.keyId));

function noteBase64(text, field) {
  const raw = base64Bytes(text);
  if (raw === null || raw.length === 0 || encodeBase64(raw) !== text) {
    throw new Malformed(field, shown(text), "standard base64, canonical, with padding");
  }
  return raw;
}
