// Tiles of a log: its tree and its leaves as files of 256, and proofs read off them (C2SP tlog-tiles; SPEC §15.6).

import { Malformed } from "./errors.js";
import { HASH_SIZE, hashChildren } from "./merkle.js";

export const TILE_WIDTH = 256;
export const MAX_LEAF_SIZE = 65_535; // a leaf stands behind a length of two bytes
const MAX_KEPT_TILES = 64; // a proof touches one tile per level

/**
 * A tile's path; `level` null is a tile of leaves, `width` below 256 a partial one.
 * @param {number | null} level @param {number} number @param {number} [width]
 */
export function tilePath(level, number, width = TILE_WIDTH) {
  const groups = [String(number % 1000).padStart(3, "0")];
  for (let rest = Math.floor(number / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  return `tile/${level ?? "entries"}/${groups.join("/")}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

/** How wide a tile is in a tree of `size` leaves, 0 to 256. @returns {number} */
export function tileWidth(level, number, size) {
  const nodes = Math.floor(size / TILE_WIDTH ** (level ?? 0));
  return Math.max(0, Math.min(TILE_WIDTH, nodes - number * TILE_WIDTH));
}

/** The leaves of an entry tile of this width. @param {Uint8Array} raw @param {number} width @param {string} field */
export function parseEntries(raw, width, field) {
  const leaves = [];
  for (let at = 0; at < raw.length; ) {
    const end = at + 2 + raw[at] * 256 + (raw[at + 1] ?? 0);
    if (at + 2 > raw.length || end > raw.length) throw new Malformed(field, `a leaf to byte ${end}`, `${raw.length} bytes`);
    leaves.push(raw.subarray(at + 2, end));
    at = end;
  }
  if (leaves.length !== width) throw new Malformed(field, `${leaves.length} leaves`, width);
  return leaves;
}

/** The hashes of a tile of this width. @param {Uint8Array} raw @param {number} width @param {string} field */
export function parseHashes(raw, width, field) {
  if (raw.length !== width * HASH_SIZE) throw new Malformed(field, `${raw.length} bytes`, width * HASH_SIZE);
  return Array.from({ length: width }, (_, at) => raw.subarray(at * HASH_SIZE, (at + 1) * HASH_SIZE));
}

/** Fetches one file of the log, unverified; null where there is none.
 * @typedef {(path: string, limit: number) => Promise<Uint8Array | null>} FetchTile */

/** The tree of one checkpoint, read from tiles. Nothing of it is verified: a proof that is read here is yet to hold. */
export class TileTree {
  /** @param {number} size leaves @param {FetchTile} fetchTile */
  constructor(size, fetchTile) {
    this.size = size;
    this.fetchTile = fetchTile;
    /** @type {Map<string, Promise<Uint8Array[]>>} */
    this.kept = new Map();
  }

  /** One leaf. @param {number} index @returns {Promise<Uint8Array>} */
  async leaf(index) {
    const tile = await this.#tile(null, Math.floor(index / TILE_WIDTH), MAX_LEAF_SIZE + 2, parseEntries);
    return tile[index % TILE_WIDTH];
  }

  /** The root of the complete subtree of 2^level leaves at `index` of its level. @returns {Promise<Uint8Array>} */
  async node(level, index) {
    const height = level % 8;
    const first = index * 2 ** height;
    const tile = await this.#tile(Math.floor(level / 8), Math.floor(first / TILE_WIDTH), HASH_SIZE, parseHashes);
    let row = tile.slice(first % TILE_WIDTH, (first % TILE_WIDTH) + 2 ** height);
    while (row.length > 1) {
      row = await Promise.all(row.filter((_, at) => at % 2 === 0).map((left, at) => hashChildren(left, row[2 * at + 1])));
    }
    return row[0];
  }

  /** The hashes that should lead from a leaf to the root (RFC 9162 §2.1.3.1). @param {number} index */
  proveInclusion(index) {
    return this.#path(index, 0, this.size);
  }

  async #path(index, from, to) {
    if (to - from === 1) return [];
    const middle = from + largestBelow(to - from);
    return index < middle
      ? [...(await this.#path(index, from, middle)), await this.#root(middle, to)]
      : [...(await this.#path(index, middle, to)), await this.#root(from, middle)];
  }

  /** The root over these leaves, which begin where a complete subtree begins. */
  async #root(from, to) {
    const width = to - from;
    const level = Math.floor(Math.log2(width));
    if (2 ** level === width) return this.node(level, from / width);
    const middle = from + largestBelow(width);
    return hashChildren(await this.#root(from, middle), await this.#root(middle, to));
  }

  #tile(level, number, itemSize, parse) {
    const path = tilePath(level, number, tileWidth(level, number, this.size));
    if (!this.kept.has(path)) {
      if (this.kept.size >= MAX_KEPT_TILES) this.kept.clear();
      const fetched = this.#fetch(level, number, itemSize, parse);
      fetched.catch(() => this.kept.delete(path)); // to be asked for again
      this.kept.set(path, fetched);
    }
    return this.kept.get(path);
  }

  /** A partial tile may have been completed, and taken away, since. */
  async #fetch(level, number, itemSize, parse) {
    const width = tileWidth(level, number, this.size);
    for (const wide of new Set([width, TILE_WIDTH])) {
      const path = tilePath(level, number, wide);
      const raw = await this.fetchTile(path, wide * itemSize);
      if (raw !== null) return parse(raw, wide, path).slice(0, width);
    }
    throw new Malformed(tilePath(level, number, width), "nothing", "the tile: the log does not serve what it signed");
  }
}

/** The largest power of two below `width`, which is at least 2. */
function largestBelow(width) {
  let power = 1;
  while (power * 2 < width) power *= 2;
  return power;
}
