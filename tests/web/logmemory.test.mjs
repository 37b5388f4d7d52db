// What a browser remembers of logs: the command line's form, read strictly, and joined without forgetting.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encodeUtf8 } from "../../verifier-web/src/bytes.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { encodeMemory, MAX_MEMORY_SIZE, mergeMemories, newerOf, parseMemory } from "../../verifier-web/src/logmemory.js";

const HOST = "https://gw.example.com";
const row = (changes = {}) => ({ vkey: "gw+00000000+AAAA", size: 7, root: "ab".repeat(32), ...changes });
const parse = (document) => parseMemory(encodeUtf8(typeof document === "string" ? document : JSON.stringify(document)), "m");

test("what is written is read again, and is the command line's text", () => {
  const text = `{\n "${HOST}": {\n  "vkey": "gw+00000000+AAAA",\n  "size": 7,\n  "root": "${"ab".repeat(32)}"\n }\n}\n`;
  assert.equal(encodeMemory(parse(text)), text);
  assert.equal(encodeMemory(parse('{"__proto__": ' + JSON.stringify(row()) + "}")).includes("__proto__"), true);
});

for (const document of [
  "x", "[]", `{"${HOST}": 1}`, `{"a": {}, "a": {}}`, " ".repeat(MAX_MEMORY_SIZE + 1), { [HOST]: row({ size: 0 }) },
  { [HOST]: row({ size: 1.5 }) }, { [HOST]: row({ size: "7" }) }, { [HOST]: row({ root: "AB".repeat(32) }) },
  { [HOST]: row({ vkey: "a\u202eb" }) }, { [HOST]: row({ more: 1 }) }, { [HOST]: row(), "https://b.example": {} },
]) {
  test(`${JSON.stringify(document).slice(0, 60)} is no memory`, () => assert.throws(() => parse(document), Malformed));
}

test("the larger tree of one log is kept, in either direction", () => {
  const [small, large] = [parse({ [HOST]: row() }), parse({ [HOST]: row({ size: 9 }) })];
  assert.equal(mergeMemories(small, large, "m").get(HOST).size, 9);
  assert.equal(mergeMemories(large, small, "m").get(HOST).size, 9);
  assert.equal(newerOf(undefined, small.get(HOST)), small.get(HOST));
  assert.deepEqual([...mergeMemories(small, parse({ "https://b.example": row() }), "m").keys()], [HOST, "https://b.example"]);
});

test("a file that disagrees with what is remembered changes nothing", () => {
  const kept = parse({ [HOST]: row() });
  for (const changes of [{ vkey: "other+00000000+AAAA", size: 99 }, { root: "cd".repeat(32) }]) {
    assert.throws(() => mergeMemories(kept, parse({ [HOST]: row(changes) }), "m"), Malformed);
  }
  assert.equal(kept.get(HOST).size, 7);
});
