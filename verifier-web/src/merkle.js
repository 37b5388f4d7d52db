// The Merkle tree of RFC 6962 as a verifier needs it: hashes, and the roots that proofs lead to (SPEC §15.1).

import { equalBytes, hexOf, sha256 } from "./bytes.js";
import { Malformed } from "./errors.js";

export const HASH_SIZE = 32;
export const MAX_TREE_SIZE = 2 ** 53 - 1; // beyond it numbers would blur
export const MAX_PROOF_HASHES = 63;

/** The hash of a leaf's bytes. @param {Uint8Array} leaf @returns {Promise<Uint8Array>} 32 bytes */
export const hashLeaf = (leaf) => hashOf(0, leaf, new Uint8Array());

/** @param {Uint8Array} left @param {Uint8Array} right @returns {Promise<Uint8Array>} 32 bytes */
export const hashChildren = (left, right) => hashOf(1, left, right);

function hashOf(prefix, left, right) {
  const bytes = new Uint8Array(1 + left.length + right.length);
  bytes[0] = prefix;
  bytes.set(left, 1);
  bytes.set(right, 1 + left.length);
  return sha256(bytes);
}

// Indices go beyond 32 bits: JavaScript's own operators on bits would cut them.
const isOdd = (number) => number % 2 === 1;
const half = (number) => Math.floor(number / 2);

/**
 * The root that this proof leads to (RFC 9162 §2.1.3.2).
 * @param {Uint8Array} leafHash @param {number} index @param {number} size @param {readonly Uint8Array[]} proof
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function rootFromInclusion(leafHash, index, size, proof) {
  requireSize("tree size", size);
  if (index < 0 || index >= size) throw new Malformed("index", index, `0 to ${size - 1}`);
  requireHashes([leafHash, ...proof]);
  let at = index;
  let last = size - 1;
  let root = leafHash;
  for (const sibling of proof) {
    if (last === 0) throw new Malformed("inclusion proof", `${proof.length} hashes`, "fewer, for a tree of this size");
    if (isOdd(at) || at === last) {
      root = await hashChildren(sibling, root);
      while (at > 0 && !isOdd(at)) [at, last] = [half(at), half(last)];
    } else {
      root = await hashChildren(root, sibling);
    }
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw new Malformed("inclusion proof", `${proof.length} hashes`, "more, for a tree of this size");
  return root;
}

/**
 * That the tree of `size` leaves extends the one of `oldSize` (RFC 9162 §2.1.4.2); throws Malformed otherwise.
 * @param {number} oldSize @param {Uint8Array} oldRoot @param {number} size @param {Uint8Array} root
 * @param {readonly Uint8Array[]} proof
 */
export async function verifyConsistency(oldSize, oldRoot, size, root, proof) {
  requireSize("old size", oldSize);
  requireSize("new size", size);
  requireHashes([oldRoot, root, ...proof]);
  if (oldSize > size) throw new Malformed("old size", oldSize, `at most ${size}`);
  if (oldSize === 0) throw new Malformed("old size", 0, "at least 1: every tree extends the empty one");
  if (oldSize === size) {
    if (proof.length > 0) throw new Malformed("consistency proof", `${proof.length} hashes`, "none");
    requireRoot("old root", oldRoot, root);
    return;
  }
  const [older, newer] = await walk(oldSize, oldRoot, size, proof);
  requireRoot("old root", older, oldRoot);
  requireRoot("new root", newer, root);
}

/** The two roots that a consistency proof leads to. @returns {Promise<[Uint8Array, Uint8Array]>} */
async function walk(oldSize, oldRoot, size, proof) {
  let at = oldSize - 1;
  let last = size - 1;
  while (isOdd(at)) [at, last] = [half(at), half(last)];
  const hashes = at === 0 ? [oldRoot, ...proof] : proof; // a complete tree is a node of the larger one
  const refuse = (wanted) => new Malformed("consistency proof", `${hashes.length} hashes`, wanted);
  if (hashes.length === 0) throw new Malformed("consistency proof", "no hashes", "some, for trees of these sizes");
  let [older, newer] = [hashes[0], hashes[0]];
  for (const sibling of hashes.slice(1)) {
    if (last === 0) throw refuse("fewer, for trees of these sizes");
    if (isOdd(at) || at === last) {
      [older, newer] = [await hashChildren(sibling, older), await hashChildren(sibling, newer)];
      while (at > 0 && !isOdd(at)) [at, last] = [half(at), half(last)];
    } else {
      newer = await hashChildren(newer, sibling);
    }
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw refuse("more, for trees of these sizes");
  return [older, newer];
}

function requireSize(name, size) {
  if (!Number.isSafeInteger(size) || size < 0) throw new Malformed(name, size, `0 to ${MAX_TREE_SIZE}`);
}

function requireHashes(hashes) {
  for (const value of hashes) {
    if (value.length !== HASH_SIZE) throw new Malformed("hash", `${value.length} bytes`, `${HASH_SIZE} bytes`);
  }
}

function requireRoot(name, found, wanted) {
  if (equalBytes(found, wanted)) return;
  throw new Malformed(name, hexOf(found), name === "old root" ? hexOf(wanted) : `${hexOf(wanted)}, by the proof`);
}
