// Real AMD reports, derived faults and certificate tables: the manifest's verdict on every one, by the browser's code.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hexOf, sha256 } from "../../verifier-web/src/bytes.js";
import { parseCertificate } from "../../verifier-web/src/certs.js";
import { certificatesOf, parseCertificateTable } from "../../verifier-web/src/certtable.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { decodePolicy, parsePolicy, policyForMeasurements } from "../../verifier-web/src/policy.js";
import { PRODUCTS } from "../../verifier-web/src/product.js";
import { parseReport } from "../../verifier-web/src/report.js";
import { verifyReport } from "../../verifier-web/src/verify.js";
import { allCases, needsVectors, readManifest, readVector } from "./vectors.mjs";

const vectors = needsVectors();
const cases = vectors.skip ? [] : allCases(readManifest());
const caseOf = (id) => cases.find((candidate) => candidate.id === id);

// The check that must name the fault of each derived case.
const DERIVED_FAILS = {
  "cross-product-vcek": "hw.product",
  "key-info-says-vlek": "hw.certificate",
  "len-0x2a0": "hw.report",
  "len-1183": "hw.report",
  "measurement-byte-flip": "hw.signature",
  "report-data-byte-flip": "hw.signature",
  "sig-algo-0": "hw.report",
  "sig-big-endian-48": "hw.signature",
  "sig-r-plus-n": "hw.report",
  "vcek-report-with-vlek": "hw.certificate",
  "vcek-tampered-spl": "hw.chain",
  "version-1": "hw.report",
  "version-max": "hw.report",
  "with-msg-report-rsp-header": "hw.report",
};
// The real reports whose firmware answers BadRAM and EntrySign; the TCB status of all others is `revoked`.
const NOT_REVOKED = ["genoa-v3-vcek-microsoft", "genoa-v3-vcek-veraison-tsm", "turin-v5-vcek-microsoft"];
const REASON_CHECKS = [
  ["POLICY.DEBUG set", "guest.debug"],
  ["ALIAS_CHECK_COMPLETE not set", "guest.platform"],
  ["REPORTED_TCB below", "guest.tcb-floor"],
  ["VMPL 1 != 0", "guest.vmpl"],
  ["note: CURRENT_TCB != COMMITTED_TCB", "guest.tcb-lattice"],
];

test("every crypto verdict is the manifest's", vectors, async (t) => {
  for (const { id, record, now, evidence } of cases) {
    await t.test(id, async () => {
      const verdict = await verifyReport(evidence(), { now, policy: null });
      const wanted = { accept: "authentic", reject: "rejected" }[record.expected_verdict.crypto];
      assert.equal(verdict.verdict, wanted, verdict.sentence);
      const failure = verdict.checks.find((check) => check.outcome === "fail");
      if (id in DERIVED_FAILS) assert.equal(failure.id, DERIVED_FAILS[id]);
    });
  }
  const ids = cases.map((one) => one.id);
  assert.deepEqual(Object.keys(DERIVED_FAILS).filter((id) => !ids.includes(id)), []);
});

test("a strict policy fails exactly where the manifest gives a reason", vectors, async () => {
  let count = 0;
  for (const { id, record, now, evidence } of cases) {
    const reasons = record.expected_verdict.strict_policy_reasons;
    if (!reasons) continue;
    const measurement = hexOf(parseReport(evidence().report).measurement);
    const policy = await decodePolicy({ measurements: [measurement], revocation: "when-given" });
    const verdict = await verifyReport(evidence(), { now, policy });
    const wanted = reasons.map((reason) => REASON_CHECKS.find(([start]) => reason.startsWith(start))[1]);
    if (!NOT_REVOKED.includes(id)) wanted.push("guest.tcb-status");
    const found = verdict.checks.filter((check) => check.outcome === "fail" && !check.id.startsWith("hw."));
    assert.deepEqual(found.map((check) => check.id).sort(), wanted.sort(), id);
    assert.equal(verdict.verdict === "verified", record.expected_verdict.strict_policy === "accept", id);
    count += 1;
  }
  assert.equal(count, 9);
});

test("full scope requires revocation", vectors, async () => {
  const { evidence, now } = caseOf("turin-v5-vcek-microsoft");
  const policy = await policyForMeasurements(hexOf(parseReport(evidence().report).measurement));
  const verdict = await verifyReport(evidence(), { now, policy });
  assert.equal(
    verdict.sentence,
    "Rejected: hw.revocation is required but was not checked: no revocation list was given.",
  );
});

test("a revocation list counts only within its window, and only its own product's", vectors, async () => {
  const { evidence } = caseOf("milan-v2-vcek-virtee");
  const crl = readVector("crl/vcek-milan.crl.der");
  const outcomeAt = async (list, now) => {
    const verdict = await verifyReport({ ...evidence(), crl: list }, { now, policy: null });
    return verdict.checks.find((check) => check.id === "hw.revocation").outcome;
  };
  assert.equal(await outcomeAt(crl, new Date("2025-05-06T00:00:00Z")), "fail");
  assert.equal(await outcomeAt(crl, new Date("2025-05-08T00:00:00Z")), "pass");
  assert.equal(await outcomeAt(crl, new Date("2026-05-12T00:00:00Z")), "fail");
  assert.equal(await outcomeAt(readVector("crl/vcek-genoa.crl.der"), new Date("2025-05-08T00:00:00Z")), "fail");
});

test("parsed fields are the manifest's", vectors, () => {
  for (const { id, record, evidence } of cases) {
    const { expected } = record;
    if (!expected) continue;
    const report = parseReport(evidence().report);
    assert.equal(report.policy, Number(expected.policy), id);
    assert.equal(report.platformInfo, BigInt(expected.platform_info), id);
    assert.equal(report.currentFirmware.join("."), expected.current_fw, id);
    for (const name of ["measurement", "report_data", "host_data", "chip_id", "report_id", "id_key_digest"]) {
      assert.equal(hexOf(report[camel(name)]), expected[name], `${id} ${name}`);
    }
    for (const name of ["reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"]) {
      assert.equal(hexOf(report[camel(name)]), expected[name].raw_hex_le, `${id} ${name}`);
    }
    if (expected.cpuid) assert.deepEqual(Object.values(report.cpuid), Object.values(expected.cpuid), id);
  }
});

test("the nine pins are the real certificates", vectors, async () => {
  for (const { name, ...product } of PRODUCTS.values()) {
    for (const role of ["ark", "ask", "asvk"]) {
      const certificate = parseCertificate(readVector(`roots/${role}-${name.toLowerCase()}.der`), role);
      const digests = await Promise.all([certificate.raw, certificate.spki].map(sha256));
      const [derSha256, spkiSha256] = digests.map(hexOf);
      assert.deepEqual({ commonName: certificate.subjectCn, derSha256, spkiSha256 }, { ...product[role] });
    }
  }
});

test("certificate tables", vectors, async () => {
  for (const row of readManifest().cert_tables) {
    const raw = readVector(row.file);
    if (row.expected === "reject") {
      assert.throws(() => parseCertificateTable(raw), Malformed, row.id);
      continue;
    }
    const entries = parseCertificateTable(raw);
    const found = await Promise.all(
      entries.map(async ({ guid, payload }) => [guid, payload.length, hexOf(await sha256(payload))]),
    );
    assert.deepEqual(found, row.entries.map((entry) => [entry.guid, entry.length, entry.sha256]), row.id);
    for (const [name, certificate] of Object.entries(certificatesOf(entries))) parseCertificate(certificate, name);
  }
});

test("a policy without measurements, with a misspelt demand or in TOML does not load", async () => {
  const bytes = (text) => new TextEncoder().encode(text);
  const field = async (text) => {
    try {
      await parsePolicy(bytes(text));
    } catch (error) {
      return error.field;
    }
    return null;
  };
  const measurements = `"measurements": ["${"ab".repeat(48)}"]`;
  assert.equal(await field(` {${measurements}}`), null);
  assert.equal(await field("{}"), "policy.measurements");
  assert.equal(await field(`{${measurements}, "vmlp": 1}`), "policy.vmlp");
  assert.equal(await field(`{${measurements}, "vmpl": 1.0}`), "policy.vmpl");
  await assert.rejects(() => parsePolicy(bytes("vmpl = 0")), /this page reads the JSON form/);
});

function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}
