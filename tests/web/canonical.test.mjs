// Canonical JSON by the standard's vectors, strict parsing, and the constants of ACI/1 that rest on them.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { encodeStatement, parseNonce, reportDataOf } from "../../verifier-web/src/binding.js";
import { encodeUtf8, hexOf } from "../../verifier-web/src/bytes.js";
import { canonicalize, digestBytes, encodeCanonical, parseJson, RawNumber } from "../../verifier-web/src/canonical.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { parseKeyset } from "../../verifier-web/src/identity.js";
import { decodeBase64, parseBundle } from "../../verifier-web/src/quote.js";
import { verifyReceipt } from "../../verifier-web/src/receipt.js";
import { FOLDER, needsVectors, readText, readVector } from "./vectors.mjs";

const vectors = needsVectors();
const textOf = (bytes) => new TextDecoder().decode(bytes);
const parse = (text) => parseJson(encodeUtf8(text), "test");

test("RFC 8785 vectors", vectors, () => {
  const names = readdirSync(join(FOLDER, "jcs-rfc8785/testdata/input"));
  assert.ok(names.length >= 6);
  for (const name of names) {
    const value = parseJson(readVector(`jcs-rfc8785/testdata/input/${name}`), name);
    const wanted = readText(`jcs-rfc8785/testdata/outhex/${name.replace(".json", ".txt")}`).replace(/\s+/g, "");
    assert.equal(hexOf(canonicalize(value)), wanted, name);
  }
});

test("what canonicalises two ways is refused", () => {
  const bad = ["[1.0]", "[1e3]", "[0.5]", "[9007199254740992]", "[-9007199254740992]", '{"ä":1}', '["\\ud800"]'];
  for (const text of bad) {
    assert.throws(() => encodeCanonical(parse(text)), Malformed, text);
  }
  const text = '{"b":[9007199254740991,-0,true,null],"a":"ä\\u0007","__proto__":{"x":1}}';
  assert.equal(
    textOf(encodeCanonical(parse(text))),
    '{"__proto__":{"x":1},"a":"ä\\u0007","b":[9007199254740991,0,true,null]}',
  );
});

test("what is not one strict JSON value is refused", () => {
  const bad = [
    "", " ", "{", "[1,]", '{"a":1,}', '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', "[NaN]", "[-Infinity]", "01", "1.", "+1",
    "[1] 2", "'a'", '"a', '"\n"', '"\\x41"', '"\\u12"', "nul", "\ufeff1", "[".repeat(65) + "]".repeat(65), "{1:2}",
    "1".repeat(4301),
  ];
  for (const text of bad) assert.throws(() => parse(text), Malformed, JSON.stringify(text.slice(0, 20)));
  for (const bytes of [[0x22, 0xff, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xc0, 0x80, 0x22]]) {
    assert.throws(() => parseJson(Uint8Array.from(bytes), "test"), /invalid UTF-8 at byte 1/);
  }
  assert.deepEqual(parse(`${"[".repeat(64)}${"]".repeat(64)}`).length, 1);
  assert.equal(parse('"\ufffd\\ud83d\\ude00"'), "\ufffd\u{1f600}");
  assert.deepEqual(parse("1.0"), new RawNumber("1.0", true));
});

test("ACI/1: keyset digest, REPORT_DATA with and without nonce, receipt signature", vectors, async () => {
  const text = readText("aci-1/test-vectors.md");
  const blocks = [...text.matchAll(/^\{.*\}$/gm)].map((match) => match[0]);
  const constant = (name) => text.match(new RegExp(`${name} = ([0-9a-z:]+)`))[1];
  const keyset = parseKeyset(parse(blocks[0]));
  assert.equal(textOf(keyset.canonical), blocks[0]);
  const digest = await digestBytes(keyset.canonical);
  assert.equal(digest, constant("workload_keyset_digest"));

  const nonce = parseNonce(JSON.parse(blocks[1]).nonce);
  const [fresh, stale] = [encodeStatement(digest, nonce), encodeStatement(digest, null)];
  assert.deepEqual([textOf(fresh), textOf(stale)], blocks.slice(1, 3));
  const reportDatas = [...text.matchAll(/report_data = (?:sha256\(statement\) = )?([0-9a-f]{64})/g)].map((m) => m[1]);
  const found = await Promise.all([fresh, stale].map(reportDataOf));
  assert.deepEqual(found.map(hexOf), reportDatas.map((half) => half + "00".repeat(32)));

  const [request, response] = blocks.filter((block) => /^\{"(messages|choices)"/.test(block)).map(encodeUtf8);
  const receipt = blocks.find((block) => block.includes('"signature"'));
  const checks = await verifyReceipt(encodeUtf8(receipt), keyset, request, response);
  const outcomes = Object.fromEntries(checks.map((check) => [check.id, check.outcome]));
  assert.deepEqual(outcomes, {
    "receipt.format": "pass",
    "receipt.keyset": "pass",
    "receipt.signature": "pass",
    "receipt.request": "pass",
    "receipt.response": "pass",
    "receipt.complete": "fail", // these receipts have no `stream` event
  });
  const forged = receipt.replace("demo-model", "demo-modem");
  const signature = (await verifyReceipt(encodeUtf8(forged), keyset, request, response))[2];
  assert.deepEqual([signature.id, signature.outcome], ["receipt.signature", "fail"]);
});

test("base64 has one spelling", () => {
  assert.deepEqual([...decodeBase64("AAE=", "x")], [0, 1]);
  assert.deepEqual([...decodeBase64("", "x")], []);
  for (const text of ["AAE", "AAF=", "AAE=\n", " AAE=", "A", "AAA=A", "=", "AAAA=", "AA-_", "ä"]) {
    assert.throws(() => decodeBase64(text, "x"), Malformed, text);
  }
});

test("a bundle names its origin, a bare quote has none", () => {
  const quote = { format: "saferouter/quote/v1" };
  const bundle = { format: "saferouter/evidence/v1", origin: "https://gw.example.com", quote };
  const read = (value) => parseBundle(encodeUtf8(JSON.stringify(value)));
  assert.equal(read(quote).origin, "");
  assert.equal(read(bundle).origin, "https://gw.example.com");
  assert.equal(read(bundle).document.format, quote.format);
  for (const value of [[], {}, { ...bundle, format: "x" }, { ...bundle, quote: 1 }, { ...bundle, origin: null }]) {
    assert.throws(() => read(value), Malformed);
  }
});
