// Our own vectors, one fault each: the browser's code must give every one its expected verdict.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { parseNonce } from "../../verifier-web/src/binding.js";
import { base64Bytes, bytesOfHex, encodeUtf8, hexOf, sha256 } from "../../verifier-web/src/bytes.js";
import { encodeCanonical, parseJson } from "../../verifier-web/src/canonical.js";
import { openTcbData } from "../../verifier-web/src/bulletins.js";
import { certificatesOf, parseCertificateTable } from "../../verifier-web/src/certtable.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { decodePolicy, parsePolicy } from "../../verifier-web/src/policy.js";
import { decodeAnswer } from "../../verifier-web/src/receiptlog.js";
import { judgeManifests } from "../../verifier-web/src/releases.js";
import { verifyAnswer, verifyQuote, verifyReport } from "../../verifier-web/src/verify.js";
import { parseWitnessPolicy } from "../../verifier-web/src/witnesses.js";

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "..", "vectors");
const readJson = (...path) => JSON.parse(readFileSync(join(FOLDER, ...path), "utf8"));
const SHARED = new Map(Object.entries(readJson("collateral.json")));
const PLACEHOLDER = /\$\{([^}]*)\}/g;

const EVERY = ["about", "stage", "expect"];
const JUDGED = [...EVERY, "now", "policy", "accept_mock"];
const QUOTED = [...JUDGED, "nonce", "audience"];
// The names of each stage's vectors; a vector with another name, or without one, fails.
const NAMES = {
  report: [...JUDGED, "report", "vek", "intermediate", "ark", "crl"],
  quote: [...QUOTED, "document"],
  log: [...QUOTED, "document", "witnesses", "earlier"],
  announcement: [...QUOTED, "document", "announcement"],
  place: [...QUOTED, "document", "answer", "request", "response", "witnesses"],
  answer: [...QUOTED, "quote", "receipt", "request", "response"],
  head: [...QUOTED, "quote", "receipt", "request", "response", "headers"],
  manifest: [...QUOTED, "quote", "manifests", "seen"],
  policy: [...EVERY, "document"],
  json: [...EVERY, "input"],
  table: [...EVERY, "input"],
  tcb: [...JUDGED, "report", "vek", "intermediate", "ark", "crl", "envelope"],
};

const read = new Set();

/** The bytes of a piece of collateral. */
function shared(name) {
  assert.ok(SHARED.has(name), `no collateral ${name}`);
  read.add(name);
  return base64Bytes(SHARED.get(name));
}

const optional = (text) => (text === null ? null : base64Bytes(text));

/** A text with its collateral in place of `${name}`. */
function filled(text) {
  return text.replace(PLACEHOLDER, (_, name) => {
    read.add(name);
    return SHARED.get(name);
  });
}

const parseQuoteText = (text) => parseJson(encodeUtf8(filled(text)), "quote");

const settingsOf = async (vector) => ({
  now: new Date(vector.now),
  policy: vector.policy === null ? null : await decodePolicy(vector.policy),
  acceptMock: vector.accept_mock,
});

const judge = async (vector, document, given = {}) =>
  verifyQuote(document, {
    ...given,
    ...(await settingsOf(vector)),
    nonce: vector.nonce === null ? null : parseNonce(vector.nonce),
    audience: vector.audience,
  });

function shortOf({ verdict, checks, required }) {
  const done = new Set(checks.filter((check) => check.outcome !== "skip").map((check) => check.id));
  return {
    verdict,
    fails: checks.filter((check) => check.outcome === "fail").map((check) => check.id),
    missing: [...required].filter((id) => !done.has(id)).sort(),
  };
}

const digestOf = async (bytes) => hexOf(await sha256(bytes));

function evidenceOf(vector) {
  const [vek, intermediate, ark] = [vector.vek, vector.intermediate, vector.ark].map(shared);
  const crl = vector.crl === null ? null : shared(vector.crl);
  return { report: base64Bytes(vector.report), vek, intermediate, ark, crl };
}

/** What a vector says was seen before. */
function earlierOf(row) {
  if (row === null) return null;
  const seen = { vkey: row.vkey, size: row.size, root: bytesOfHex(row.root) };
  return { seen, proof: row.proof === null ? null : row.proof.map((value) => base64Bytes(value)) };
}

const READERS = {
  report: async (vector) => shortOf(await verifyReport(evidenceOf(vector), await settingsOf(vector))),
  quote: async (vector) => shortOf(await judge(vector, parseQuoteText(vector.document))),
  log: async ({ witnesses, earlier, ...vector }) => {
    const given = { witnesses: witnesses === null ? null : await parseWitnessPolicy(base64Bytes(witnesses)) };
    return shortOf(await judge(vector, parseQuoteText(vector.document), { ...given, earlier: earlierOf(earlier) }));
  },
  announcement: async ({ announcement, ...vector }) =>
    shortOf(await judge(vector, parseQuoteText(vector.document), { announcement: optional(announcement) })),
  place: async ({ witnesses: policy, ...vector }) => {
    const witnesses = policy === null ? null : await parseWitnessPolicy(base64Bytes(policy));
    const kept = JSON.parse(filled(JSON.stringify(vector.answer)));
    const { receipt, proof, links, headers, checkpointQuote: past } = decodeAnswer(kept);
    const document = parseQuoteText(vector.document);
    const bodies = [vector.request, vector.response].map(optional);
    const verdict = await judge(vector, document, { witnesses });
    const earlier = past && { verdict: await judge({ ...vector, nonce: null }, past), document: past };
    return shortOf(await verifyAnswer(verdict, document, receipt, ...bodies, proof, { earlier, headers, witnesses, links }));
  },
  answer: async (vector) => {
    const document = parseQuoteText(new TextDecoder().decode(shared(vector.quote)));
    const bodies = [vector.receipt, vector.request, vector.response].map(optional);
    return shortOf(await verifyAnswer(await judge(vector, document), document, ...bodies));
  },
  head: async (vector) => {
    const document = parseQuoteText(new TextDecoder().decode(shared(vector.quote)));
    const given = [vector.receipt, vector.request, vector.response].map(optional);
    const headers = base64Bytes(vector.headers);
    return shortOf(await verifyAnswer(await judge(vector, document), document, ...given, null, { headers }));
  },
  manifest: async (vector) => {
    const { policy, now } = await settingsOf(vector);
    const raws = vector.manifests.map(encodeUtf8);
    const known = { now, minimum: policy.minimumSequence, seen: vector.seen };
    const releases = raws.length ? await judgeManifests(raws, policy.releases, known) : null;
    return shortOf(await judge(vector, parseQuoteText(new TextDecoder().decode(shared(vector.quote))), { releases }));
  },
  tcb: async (vector) => {
    const settings = await settingsOf(vector);
    const evidence = evidenceOf(vector);
    if (vector.envelope !== null) {
      settings.tcb = await openTcbData(encodeUtf8(vector.envelope), settings.policy.releases);
    }
    const verdict = await verifyReport(evidence, settings);
    const [status] = verdict.checks.find(({ id }) => id === "guest.tcb-status").found.split("; accepted by your policy: ");
    const found = { ...shortOf(verdict), status };
    if (!("not_proven" in vector.expect)) return found;
    return { ...found, not_proven: verdict.not_proven.filter((line) => /^(AMD-SB-|guest\.tcb-status:)/.test(line)) };
  },
  policy: async (vector) => {
    await parsePolicy(encodeUtf8(vector.document));
    return { loads: true };
  },
  json: (vector) => {
    const canonical = encodeCanonical(parseJson(base64Bytes(vector.input), "test"));
    return { canonical: new TextDecoder().decode(canonical) };
  },
  table: async (vector) => {
    const entries = parseCertificateTable(base64Bytes(vector.input));
    const certificates = Object.entries(certificatesOf(entries));
    return {
      entries: await Promise.all(entries.map(async ({ guid, name, payload }) => [guid, name, await digestOf(payload)])),
      certificates: Object.fromEntries(
        await Promise.all(certificates.map(async ([name, raw]) => [name, await digestOf(raw)])),
      ),
    };
  },
};

async function findingOf(stage, vector) {
  try {
    return await READERS[stage](vector);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { malformed: error.field };
  }
}

const stages = readdirSync(FOLDER, { withFileTypes: true }).filter((row) => row.isDirectory() && row.name !== "__pycache__");

test("the stages are the known ones", () => {
  assert.deepEqual(stages.map((row) => row.name).sort(), Object.keys(NAMES).sort());
});

for (const { name: stage } of stages) {
  test(`${stage} vectors`, async (t) => {
    for (const file of readdirSync(join(FOLDER, stage)).sort()) {
      await t.test(file, async () => {
        const vector = readJson(stage, file);
        assert.equal(vector.stage, stage);
        assert.deepEqual(Object.keys(vector).sort(), [...NAMES[stage]].sort());
        assert.deepEqual(await findingOf(stage, vector), vector.expect, vector.about);
      });
    }
  });
}

test("every piece of collateral is read", () => {
  assert.deepEqual([...SHARED.keys()].filter((name) => !read.has(name)), []);
});
