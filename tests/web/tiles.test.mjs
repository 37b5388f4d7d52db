// Tiles, the proofs that are read off them, and leaves that are proven and chained.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encodeUtf8, hexOf, sha256 } from "../../verifier-web/src/bytes.js";
import { encodeCanonical } from "../../verifier-web/src/canonical.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { readLeaves } from "../../verifier-web/src/leafpages.js";
import { hashLeaf, rootFromInclusion } from "../../verifier-web/src/merkle.js";
import { parseEntries, parseHashes, tilePath, TileTree, tileWidth } from "../../verifier-web/src/tiles.js";

const bodyHash = { commitment: `sha256:${"9".repeat(64)}` };

/** A log of chained leaves; `faults` replaces members of the leaf at an index. */
async function newLeaves(count, faults = {}) {
  const leaves = [];
  for (let index = 0; index < count; index += 1) {
    const prev = index === 0 ? "00".repeat(32) : hexOf(await sha256(leaves[index - 1]));
    const entry = { body: bodyHash, index, prev, time: 1_795_240_000 + index, type: "route", v: 1, ...faults[index] };
    leaves.push(encodeCanonical(entry));
  }
  return leaves;
}

/** RFC 6962 §2.1, by its own recursion. */
async function rootOf(hashes) {
  if (hashes.length === 1) return hashes[0];
  let middle = 1;
  while (middle * 2 < hashes.length) middle *= 2;
  const [left, right] = [await rootOf(hashes.slice(0, middle)), await rootOf(hashes.slice(middle))];
  return sha256(Uint8Array.of(1, ...left, ...right));
}

const join = (parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** What a log of these leaves serves; `asked` collects the paths. `whole` takes away partial tiles that were completed. */
async function serverOf(leaves, asked, { whole = false, shownLeaves = leaves } = {}) {
  const levels = [await Promise.all(leaves.map(hashLeaf))];
  while (levels.at(-1).length >= 256) {
    const below = levels.at(-1);
    const tiles = Array.from({ length: Math.floor(below.length / 256) }, (_, at) => below.slice(256 * at, 256 * at + 256));
    levels.push(await Promise.all(tiles.map(rootOf)));
  }
  return async (path, limit) => {
    asked.push(path);
    const [, level, numbers, width] = /^tile\/(entries|\d)\/([x0-9/]+?)(?:\.p\/(\d+))?$/.exec(path);
    const from = 256 * Number(numbers.replace(/[x/]/g, ""));
    const to = from + Number(width ?? 256);
    const rows = level === "entries" ? shownLeaves.map((leaf) => [leaf.length >> 8, leaf.length & 255, ...leaf]) : levels[level];
    if (rows.length < to || (whole && width && rows.length >= from + 256)) return null;
    const raw = join(rows.slice(from, to));
    assert.ok(raw.length <= limit, path);
    return raw;
  };
}

test("paths are those of the standard", () => {
  assert.equal(tilePath(0, 0), "tile/0/000");
  assert.equal(tilePath(null, 1234067, 8), "tile/entries/x001/x234/067.p/8");
  assert.equal(tilePath(3, 999), "tile/3/999");
  assert.deepEqual([tileWidth(null, 0, 7), tileWidth(0, 1, 300), tileWidth(1, 0, 300), tileWidth(0, 2, 300)], [7, 44, 1, 0]);
});

test("tiles of another size or width are refused", () => {
  const malformed = (read) => assert.throws(read, Malformed);
  malformed(() => parseEntries(Uint8Array.of(0), 1, "tile"));
  malformed(() => parseEntries(Uint8Array.of(0, 2, 1), 1, "tile"));
  malformed(() => parseEntries(Uint8Array.of(0, 1, 7, 0, 0), 1, "tile"));
  malformed(() => parseHashes(new Uint8Array(33), 1, "tile"));
  assert.deepEqual(parseEntries(Uint8Array.of(0, 1, 7, 0, 0), 2, "tile").map((leaf) => leaf.length), [1, 0]);
});

for (const size of [1, 2, 3, 255, 256, 257, 600, 1025]) {
  test(`every leaf of ${size} is proven`, async () => {
    const leaves = Array.from({ length: size }, (_, at) => encodeUtf8(`leaf ${at}`));
    const root = await rootOf(await Promise.all(leaves.map(hashLeaf)));
    const tree = new TileTree(size, await serverOf(leaves, []));
    for (const index of new Set([0, 1, size >> 1, size - 2, size - 1].filter((at) => at >= 0 && at < size))) {
      const proof = await tree.proveInclusion(index);
      assert.deepEqual(await rootFromInclusion(await hashLeaf(await tree.leaf(index)), index, size, proof), root);
    }
  });
}

test("each tile is asked for once", async () => {
  const leaves = await newLeaves(290);
  const asked = [];
  const tree = new TileTree(290, await serverOf(leaves, asked));
  const rows = await readLeaves(tree, await rootOf(await Promise.all(leaves.map(hashLeaf))), 270, 290);
  assert.ok(rows.every((row) => row.state === "pass"));
  assert.deepEqual(asked.toSorted(), ["tile/0/001.p/34", "tile/1/000.p/1", "tile/entries/001.p/34"]);
});

test("a partial tile that was completed since is read from the complete one; a tile that is gone is a fault", async () => {
  const leaves = await newLeaves(512);
  const root = await rootOf(await Promise.all(leaves.slice(0, 290).map(hashLeaf)));
  const grown = await serverOf(leaves, [], { whole: true });
  assert.ok((await readLeaves(new TileTree(290, grown), root, 280, 290)).every((row) => row.state === "pass"));
  await assert.rejects(new TileTree(600, grown).leaf(599), Malformed);
});

test("a tile that could not be fetched is asked for again", async () => {
  const leaves = await newLeaves(3);
  const serve = await serverOf(leaves, []);
  let fails = 1;
  const tree = new TileTree(3, (path, limit) => (fails-- > 0 ? Promise.reject(new Error("down")) : serve(path, limit)));
  await assert.rejects(tree.leaf(0), /down/);
  assert.deepEqual(await tree.leaf(0), leaves[0]);
});

const statesOf = async (leaves, options = {}, start = 0) => {
  const root = await rootOf(await Promise.all(leaves.map(hashLeaf)));
  const tree = new TileTree(leaves.length, await serverOf(leaves, [], options));
  return (await readLeaves(tree, root, start, leaves.length)).map((row) => row.state);
};

test("a leaf that was altered fails, and the next one cannot be chained", async () => {
  const leaves = await newLeaves(5);
  assert.deepEqual(await statesOf(leaves), Array(5).fill("pass"));
  const shownLeaves = [...leaves];
  shownLeaves[2] = encodeUtf8(new TextDecoder().decode(leaves[2]).replace('"v":1', '"v":2'));
  assert.deepEqual(await statesOf(leaves, { shownLeaves }), ["pass", "pass", "fail", "skip", "pass"]);
  assert.deepEqual(await statesOf(leaves, { shownLeaves }, 3), ["skip", "pass"]); // the leaf before the first row counts
});

test("a log that contradicts itself fails at that leaf", async () => {
  const wrong = { prev: "11".repeat(32) };
  assert.deepEqual(await statesOf(await newLeaves(4, { 0: wrong })), ["fail", "pass", "pass", "pass"]);
  assert.deepEqual(await statesOf(await newLeaves(4, { 2: wrong })), ["pass", "pass", "fail", "pass"]);
  assert.deepEqual(await statesOf(await newLeaves(4, { 2: { index: 7 } })), ["pass", "pass", "fail", "pass"]);
  assert.deepEqual(await statesOf(await newLeaves(3, { 1: { type: "novel" } })), ["pass", "skip", "pass"]);
});
