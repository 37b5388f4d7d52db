// The shared vectors for the tests of the browser verifier: where they are, and the SNP cases among them.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const FOLDER = process.env.SAFEROUTER_VECTORS ?? join(ROOT, "..", "shared", "vectors");

/** Options for a test that needs the vectors: skipped where they are absent, unless they are required. */
export function needsVectors() {
  if (existsSync(join(FOLDER, "MANIFEST.json"))) return {};
  const reason = "no vectors: set SAFEROUTER_VECTORS";
  if (process.env.SAFEROUTER_REQUIRE_VECTORS === "1") throw new Error(reason);
  return { skip: reason };
}

/** @param {string} path @returns {Uint8Array} */
export const readVector = (path) => new Uint8Array(readFileSync(join(FOLDER, path)));

/** @param {string} path */
export const readText = (path) => readFileSync(join(FOLDER, path), "utf8");

export const readManifest = () => JSON.parse(readText("MANIFEST.json"));

/** Every report and derived case; a derived one inherits its original's certificates and time. */
export function allCases(manifest) {
  const reports = new Map(manifest.reports.map((row) => [row.id, row]));
  const real = manifest.reports.map((row) => newCase(row, row.files, row.verification_time));
  const derived = manifest.derived.map((row) => {
    // One original is not among the files; its time lies in its certificate's validity.
    const origin = reports.get(row.derived_from) ?? reports.get("genoa-v3-vcek-microsoft");
    const line = row.derived_from.split("-")[0];
    const files = { ...row.files, intermediate: `roots/ask-${line}.der`, root: `roots/ark-${line}.der` };
    return newCase(row, files, origin.verification_time);
  });
  return [...real, ...derived];
}

function newCase(record, files, at) {
  return {
    id: record.id,
    record,
    now: new Date(at),
    evidence: () => ({
      report: readVector(files.report),
      vek: readVector(files.vek),
      intermediate: readVector(files.intermediate),
      ark: readVector(files.root),
      crl: null,
    }),
  };
}
