// Whether several trees of one log are one history, by the log's consistency proofs (SPEC §15.9).

import { encodeBase64, equalBytes, hexOf } from "./bytes.js";
import { isInteger, kindOf, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { failed, passed, skipped, unparsed } from "./evidence.js";
import { requireMembers } from "./identity.js";
import { MAX_PROOF_HASHES, MAX_TREE_SIZE, verifyConsistency } from "./merkle.js";
import { decodeBase64 } from "./quote.js";

const MAX_LINKS = 4; // one from each tree to the next: those of a quote, a receipt and a route

/** Consistency proofs by the sizes of their trees, `OLD-NEW`; null where the log gave none.
 * @typedef {Map<string, readonly Uint8Array[] | null>} Links */
/** @typedef {import("./checkpoint.js").Checkpoint} Checkpoint */

/**
 * A consistency proof as a gateway serves it: `{"from","to","proof"}`.
 * @param {import("./canonical.js").Json} value @param {string} path @returns {[string, readonly Uint8Array[]]}
 */
export function parseLink(value, path) {
  requireMembers(value, ["from", "to", "proof"], path);
  const hashes = value.proof;
  for (const size of [value.from, value.to]) {
    if (!isInteger(size) || !(size >= 0 && size <= MAX_TREE_SIZE)) {
      throw new Malformed(path, shown(size), `a size, 0 to ${MAX_TREE_SIZE}`);
    }
  }
  if (!Array.isArray(hashes) || hashes.length > MAX_PROOF_HASHES) {
    throw new Malformed(`${path}.proof`, kindOf(hashes), `a list of at most ${MAX_PROOF_HASHES} hashes`);
  }
  return [`${value.from}-${value.to}`, hashes.map((each) => decodeBase64(each, `${path}.proof`))];
}

/** A list of served consistency proofs. @param {import("./canonical.js").Json} value @returns {Links} */
export function parseLinks(value, path) {
  if (!Array.isArray(value) || value.length > MAX_LINKS) {
    throw new Malformed(path, kindOf(value), `a list of at most ${MAX_LINKS} proofs`);
  }
  return new Map(value.map((each) => parseLink(each, path)));
}

/** The proofs that the log gave, as it served them. @param {Links} links */
export function encodeLinks(links) {
  const given = [...links].filter(([, proof]) => proof !== null);
  return given.map(([sizes, proof]) => {
    const [from, to] = sizes.split("-").map(Number);
    return { from, to, proof: proof.map(encodeBase64) };
  });
}

/** The sizes between which a consistency proof has to lead. @param {readonly Checkpoint[]} trees */
export function gaps(trees) {
  const sizes = [...new Set(trees.map((tree) => tree.size))].sort((one, other) => one - other);
  return sizes.slice(1).map((size, at) => [sizes[at], size]);
}

/**
 * Each tree is the beginning of the next larger one. Without `links` only trees of one size can be compared.
 * @param {string} id @param {readonly Checkpoint[]} trees @param {Links | null} links
 * @returns {Promise<import("./evidence.js").Check>}
 */
export async function judgeHistory(id, trees, links) {
  const ordered = [...trees].sort((one, other) => one.size - other.size);
  for (const [at, following] of ordered.slice(1).entries()) {
    const tree = ordered[at];
    if (tree.size === following.size && !equalBytes(tree.root, following.root)) {
      const found = `root ${hexOf(following.root)} of ${tree.size} leaves`;
      const why = "a split view: the log signed two trees of one size";
      return failed(id, found, `${hexOf(tree.root)}, shown beside it`, why);
    }
  }
  const steps = gaps(ordered);
  if (steps.length > 0 && links === null) {
    return skipped(id, `no proof was given that the log of ${steps[0][0]} leaves grew to ${steps[0][1]}`);
  }
  const roots = new Map(ordered.map((tree) => [tree.size, tree.root]));
  for (const [old, size] of steps) {
    const proof = links?.get(`${old}-${size}`) ?? null;
    if (proof === null) return failed(id, `no proof from ${old} to ${size} leaves`, "one from the log");
    try {
      await verifyConsistency(old, roots.get(old), size, roots.get(size), proof);
    } catch (error) {
      return unparsed(id, error);
    }
  }
  return passed(id, `trees of ${[...roots.keys()].join(", ")} leaves`, "one history");
}
