// The tree in the browser: published vectors of inclusion and consistency, and trees too large for 32 bits.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { base64Bytes, equalBytes, sha256 } from "../../verifier-web/src/bytes.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { rootFromInclusion, verifyConsistency } from "../../verifier-web/src/merkle.js";
import { FOLDER, needsVectors, readText } from "./vectors.mjs";

// Its roots have 12 bytes. Here a hash has 32.
const POLICY_DIFFERENCES = ["consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"];
const bytesOf = (text) => base64Bytes(text ?? "");

async function refuses(work) {
  try {
    return (await work()) === false;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return true;
  }
}

const JUDGES = {
  inclusion: async ({ leafHash, leafIdx, treeSize, root, proof }) =>
    equalBytes(await rootFromInclusion(bytesOf(leafHash), leafIdx, treeSize, proof), bytesOf(root)),
  consistency: ({ size1, root1, size2, root2, proof }) =>
    verifyConsistency(size1, bytesOf(root1), size2, bytesOf(root2), proof),
};

test("published vectors differ in policy only", needsVectors(), async () => {
  const differ = [];
  let count = 0;
  for (const [kind, judge] of Object.entries(JUDGES)) {
    const files = readdirSync(join(FOLDER, "merkle", kind), { recursive: true }).filter((name) => name.endsWith(".json"));
    for (const name of files) {
      const vector = JSON.parse(readText(`merkle/${kind}/${name}`));
      const proof = (vector.proof ?? []).map(bytesOf);
      if ((await refuses(() => judge({ ...vector, proof }))) !== vector.wantErr) differ.push(`${kind}/${name}`);
      count += 1;
    }
  }
  assert.equal(count, 196);
  assert.deepEqual(differ, POLICY_DIFFERENCES);
});

test("a tree cannot shrink, and nothing is proven from the empty one", async () => {
  const root = new Uint8Array(32);
  await assert.rejects(verifyConsistency(4, root, 3, root, []), /at most 3/);
  await assert.rejects(verifyConsistency(0, root, 3, root, []), /every tree extends the empty one/);
  await assert.rejects(verifyConsistency(2 ** 53, root, 3, root, []), Malformed);
});

test("sizes beyond 32 bits keep all their bits", async () => {
  // 2^52 leaves are a complete tree: with one more leaf it is the left node of the new one.
  const [old, leaf] = await Promise.all(["old", "leaf"].map((text) => sha256(new TextEncoder().encode(text))));
  const root = await sha256(Uint8Array.of(1, ...old, ...leaf));
  await verifyConsistency(2 ** 52, old, 2 ** 52 + 1, root, [leaf]);
  await assert.rejects(verifyConsistency(2 ** 52 - 1, old, 2 ** 52 + 1, root, [leaf]), /more, for trees/);
  await assert.rejects(verifyConsistency(2 ** 52, old, 2 ** 52 + 1, old, [leaf]), /by the proof/);
});
