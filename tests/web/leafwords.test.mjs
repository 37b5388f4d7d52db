// The words for leaves: readable for what is known, safe for anything else.

import assert from "node:assert/strict";
import { test } from "node:test";

import { describeLeaf, timeOf } from "../../verifier-web/src/leafwords.js";

const words = (type, body) => {
  const { title, detail } = describeLeaf({ index: 0, prev: new Uint8Array(32), time: 0, type, body });
  return `${title} | ${detail}`;
};
const MEASUREMENT = "ab".repeat(48);

test("known leaves read as sentences", () => {
  assert.equal(
    words("startup", { measurement: MEASUREMENT, build: { version: "0.3.0" } }),
    "A build started | measurement abababababab…, build 0.3.0",
  );
  assert.equal(
    words("receipt", { commitment: `sha256:${"0c".repeat(32)}` }),
    "One call’s receipt | commitment 0c0c0c0c0c0c…",
  );
  assert.equal(words("configuration", { changed: ["prices", "models"] }), "The configuration changed | prices, models");
  assert.equal(
    words("identity.epoch", { epoch: 2, identity_key: "11".repeat(32), previous_identity_key: "22".repeat(32) }),
    "Identity epoch 2 began | key 111111111111…, after 222222222222…",
  );
  assert.equal(
    words("release.announce", { release: "1.2", measurements: [{ value: MEASUREMENT, covers: "workload" }] }),
    "A release was announced | 1.2: measurement abababababab…",
  );
  assert.equal(
    words("release.retire", { measurements: [MEASUREMENT, MEASUREMENT], reason: "a leak" }),
    "A release was retired | measurements abababababab…, abababababab…, because a leak",
  );
  assert.equal(
    words("log.continues", { origin: "gw/old", size: 7, reason: "a lost disk" }),
    "This log goes on from another | gw/old at 7 entries, because a lost disk",
  );
  assert.equal(timeOf({ time: 1_795_240_000 }), "2026-11-21 05:46:40 UTC");
});

test("a body that nobody foresaw is shown in ASCII and cut", () => {
  const odd = [{}, { build: 7 }, { changed: { a: 1 } }, { measurements: Array(100).fill({}) }, { release: "\u202egnp.exe" }];
  for (const type of ["startup", "configuration", "identity.epoch", "release.announce", "release.retire", "log.continues"]) {
    for (const body of [...odd, { reason: "x".repeat(9999), changed: Array(500).fill("y".repeat(9999)) }]) {
      const text = words(type, body);
      assert.match(text, /^[ -~…’]+$/);
      assert.ok(text.length < 1300, text);
    }
  }
  assert.equal(words("novel", { a: [1] }), 'Type novel | {"a":[1]}');
});
