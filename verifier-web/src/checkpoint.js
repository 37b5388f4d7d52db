// Checkpoints of a log (C2SP tlog-checkpoint), their cosignatures, and what leads a leaf to one (SPEC §15.2, §15.3, §15.5).

import { encodeUtf8, equalBytes, hexOf } from "./bytes.js";
import { shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { HASH_SIZE, hashLeaf, MAX_PROOF_HASHES, MAX_TREE_SIZE, rootFromInclusion } from "./merkle.js";
import { verifyEd25519 } from "./identity.js";
import { MAX_NOTE_SIZE, parseNote, signaturesBy, verifyNote, WITNESS_KEY } from "./note.js";
import { decodeBase64 } from "./quote.js";

const HEADER = "c2sp.org/tlog-proof@v1";
const MAX_PROOF_SIZE = MAX_NOTE_SIZE + 64 * MAX_PROOF_HASHES;
const MAX_COSIGNATURE_TIME = 253402300799; // the last second of the year 9999

/** @typedef {import("./note.js").NoteKey} NoteKey */
/** A tree by its origin, size and root (32 bytes), and the note that says so.
 * @typedef {{origin: string, size: number, root: Uint8Array, note: import("./note.js").Note}} Checkpoint */
/** Where a leaf stands: its index, the hashes from it to the root, and the signed checkpoint.
 * @typedef {{index: number, hashes: readonly Uint8Array[], checkpoint: string}} LeafProof */

/**
 * A checkpoint that this log signed: a note of exactly three lines.
 * @param {string} whole @param {NoteKey} key @param {string} field @returns {Promise<Checkpoint>}
 */
export async function openCheckpoint(whole, key, field) {
  const note = parseNote(whole, field);
  const lines = note.text.split("\n");
  if (lines.length !== 4 || !lines[0]) {
    throw new Malformed(field, `${lines.length - 1} lines`, "3: origin, size and root");
  }
  const [origin, size, encoded] = lines;
  const root = decodeBase64(encoded, `${field}.root`);
  if (root.length !== HASH_SIZE) throw new Malformed(`${field}.root`, `${root.length} bytes`, `${HASH_SIZE} bytes`);
  const checkpoint = Object.freeze({ origin, size: parseSize(size, `${field}.size`), root, note });
  if (!(await verifyNote(note, key, field))) {
    throw new Malformed(field, "no signature by the log's key", `one by ${key.vkey}`);
  }
  if (origin !== key.name) throw new Malformed(`${field}.origin`, shown(origin), key.name);
  return checkpoint;
}

/**
 * When this witness cosigned, seconds since 1970; null if it did not. A bad cosignature refuses the note.
 * @param {import("./note.js").Note} note @param {NoteKey} key @param {string} field @returns {Promise<number | null>}
 */
export async function cosignedAt(note, key, field) {
  if (key.type !== WITNESS_KEY) {
    throw new Malformed(field, `${key.name}, a key of type ${key.type}`, "a witness's key, of type 4");
  }
  let newest = null;
  for (const { blob } of signaturesBy(note, key)) {
    const time = blob.length === 72 ? new DataView(blob.buffer, blob.byteOffset).getBigUint64(0) : 0n;
    const inRange = time > 0n && time <= BigInt(MAX_COSIGNATURE_TIME);
    const message = encodeUtf8(`cosignature/v1\ntime ${time}\n${note.text}`);
    if (!inRange || !(await verifyEd25519(key.publicKey, blob.subarray(8), message))) {
      throw new Malformed(field, `a bad cosignature by ${key.name}`, "a good one, or none by this witness");
    }
    newest = Math.max(newest ?? 0, Number(time));
  }
  return newest;
}

/** A size or an index: decimal, no leading zeros. @param {string} text @param {string} field @returns {number} */
function parseSize(text, field) {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text) || Number(text) > MAX_TREE_SIZE) {
    throw new Malformed(field, shown(text), `a decimal number up to ${MAX_TREE_SIZE}`);
  }
  return Number(text);
}

/**
 * A proof from its text, C2SP tlog-proof; `extra` lines are refused: nothing here signs them.
 * @param {string} whole @param {string} field @returns {LeafProof}
 */
export function parseLeafProof(whole, field) {
  const size = encodeUtf8(whole).length;
  if (size > MAX_PROOF_SIZE) throw new Malformed(field, `${size} bytes`, `at most ${MAX_PROOF_SIZE}`);
  const gap = whole.indexOf("\n\n");
  const head = gap < 0 ? whole : whole.slice(0, gap);
  if (!/^[\u0000-\u007f]*$/.test(head)) {
    throw new Malformed(field, "a byte outside ASCII before the checkpoint", "ASCII");
  }
  const [header, place = "", ...encoded] = head.split("\n");
  if (gap < 0 || header !== HEADER || !place.startsWith("index ")) {
    throw new Malformed(field, "other lines", `${HEADER}, index N, hashes, an empty line and a checkpoint`);
  }
  if (encoded.length > MAX_PROOF_HASHES) {
    throw new Malformed(field, `${encoded.length} hashes`, `at most ${MAX_PROOF_HASHES}`);
  }
  const hashes = encoded.map((line) => decodeBase64(line, `${field}.hashes`));
  if (hashes.some((value) => value.length !== HASH_SIZE)) {
    throw new Malformed(`${field}.hashes`, "a hash of another size", `${HASH_SIZE} bytes`);
  }
  const index = parseSize(place.slice("index ".length), `${field}.index`);
  return Object.freeze({ index, hashes, checkpoint: whole.slice(gap + 2) });
}

/**
 * The checkpoint of this log that holds the leaf at the proof's index.
 * @param {Uint8Array} leaf @param {LeafProof} proof @param {NoteKey} key @param {string} field
 * @returns {Promise<Checkpoint>}
 */
export async function verifyLeaf(leaf, { index, hashes, checkpoint: whole }, key, field) {
  const checkpoint = await openCheckpoint(whole, key, `${field}.checkpoint`);
  const root = await rootFromInclusion(await hashLeaf(leaf), index, checkpoint.size, hashes);
  if (!equalBytes(root, checkpoint.root)) {
    throw new Malformed(field, `root ${hexOf(root)} from this leaf`, `${hexOf(checkpoint.root)}, the checkpoint's`);
  }
  return checkpoint;
}
