// The Merkle tree of RFC 6962 as a verifier needs it: hashes, and the root that a proof leads to (SPEC §15.1).

import { sha256 } from "./bytes.js";
import { Malformed } from "./errors.js";

export const HASH_SIZE = 32;
export const MAX_TREE_SIZE = 2 ** 53 - 1; // beyond it numbers would blur
export const MAX_PROOF_HASHES = 63;

/** The hash of a leaf's bytes. @param {Uint8Array} leaf @returns {Promise<Uint8Array>} 32 bytes */
export const hashLeaf = (leaf) => hashOf(0, leaf, new Uint8Array());

/** @param {Uint8Array} left @param {Uint8Array} right @returns {Promise<Uint8Array>} 32 bytes */
const hashChildren = (left, right) => hashOf(1, left, right);

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

function requireSize(name, size) {
  if (!Number.isSafeInteger(size) || size < 0) throw new Malformed(name, size, `0 to ${MAX_TREE_SIZE}`);
}

function requireHashes(hashes) {
  for (const value of hashes) {
    if (value.length !== HASH_SIZE) throw new Malformed("hash", `${value.length} bytes`, `${HASH_SIZE} bytes`);
  }
}
