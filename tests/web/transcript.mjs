// One JSON request per line on stdin, one JSON verdict (or {"malformed": …}) per line on stdout, for parity tests.

import { createInterface } from "node:readline";

import { base64Bytes, bytesOfHex, hexOf, sha256 } from "../../verifier-web/src/bytes.js";
import { openTcbData } from "../../verifier-web/src/bulletins.js";
import { canonicalize, encodeCanonical, parseJson } from "../../verifier-web/src/canonical.js";
import { certificatesOf, parseCertificateTable } from "../../verifier-web/src/certtable.js";
import { Malformed } from "../../verifier-web/src/errors.js";
import { decodePolicy, parsePolicy } from "../../verifier-web/src/policy.js";
import { parseLinks } from "../../verifier-web/src/loghistory.js";
import { parseNonce } from "../../verifier-web/src/binding.js";
import { checkRelease, judgeManifests } from "../../verifier-web/src/releases.js";
import { verifyAnswer, verifyQuote, verifyReport } from "../../verifier-web/src/verify.js";
import { parseWitnessPolicy } from "../../verifier-web/src/witnesses.js";

const bytesOf = (text) => (text === null || text === undefined ? null : base64Bytes(text));
const digestsOf = async (named) => {
  const rows = Object.entries(named).map(async ([name, bytes]) => [name, hexOf(await sha256(bytes))]);
  return Object.fromEntries(await Promise.all(rows));
};
const settingsOf = async (request) => ({
  now: new Date(request.now),
  policy: request.policy === null ? null : await decodePolicy(request.policy),
  announcement: bytesOf(request.announcement),
  acceptMock: request.accept_mock,
});
const quoteOf = (request) => parseJson(bytesOf(request.document), "quote");
const judgeQuote = async (request, releases = null) =>
  verifyQuote(quoteOf(request), {
    releases,
    witnesses: await witnessesOf(request),
    earlier: earlierOf(request.earlier ?? null),
    ...(await settingsOf(request)),
    nonce: request.nonce === null ? null : parseNonce(request.nonce),
    audience: request.audience,
  });
async function witnessesOf({ witnesses }) {
  return (witnesses ?? null) === null ? null : parseWitnessPolicy(bytesOf(witnesses));
}
function earlierOf(row) {
  if (row === null) return null;
  const seen = { vkey: row.vkey, size: row.size, root: bytesOfHex(row.root) };
  return { seen, proof: row.proof === null ? null : row.proof.map(bytesOf) };
}
async function releasesOf(request) {
  const { now, policy } = await settingsOf(request);
  const raws = request.manifests.map(bytesOf);
  return raws.length ? judgeManifests(raws, policy.releases, { now, minimum: policy.minimumSequence, seen: request.seen }) : null;
}

const ANSWERS = {
  report: async (request) => {
    const names = ["report", "vek", "intermediate", "ark", "crl"];
    const evidence = Object.fromEntries(names.map((name) => [name, bytesOf(request[name])]));
    const settings = await settingsOf(request);
    if (request.tcb) settings.tcb = await openTcbData(bytesOf(request.tcb), settings.policy.releases);
    return verifyReport(evidence, settings);
  },
  quote: (request) => judgeQuote(request),
  answer: async (request) => {
    const bodies = [request.receipt, request.request, request.response, request.proof].map(bytesOf);
    const witnesses = await witnessesOf(request);
    const links = request.links ? parseLinks(parseJson(bytesOf(request.links), "links"), "links") : null;
    const past = request.past ? { ...request, document: request.past, nonce: null } : null;
    const earlier = past && { verdict: await judgeQuote(past), document: quoteOf(past) };
    const beside = { earlier, headers: bytesOf(request.headers), witnesses, links };
    return verifyAnswer(await judgeQuote(request), quoteOf(request), ...bodies, beside);
  },
  manifest: async (request) => judgeQuote(request, await releasesOf(request)),
  release: async (request) =>
    checkRelease(await releasesOf(request), request.measurement, request.build, request.image),
  table: async (request) => {
    const entries = parseCertificateTable(bytesOf(request.table));
    const rows = entries.map(async ({ guid, name, payload }) => [guid, name, hexOf(await sha256(payload))]);
    return { entries: await Promise.all(rows), certificates: await digestsOf(certificatesOf(entries)) };
  },
  policy: async (request) => {
    await parsePolicy(bytesOf(request.document));
    return { loads: true };
  },
  json: (request) => {
    const value = parseJson(bytesOf(request.document), "test");
    const attempt = (encode) => {
      try {
        return hexOf(encode(value));
      } catch (error) {
        return malformed(error);
      }
    };
    return { strict: attempt(encodeCanonical), published: attempt(canonicalize) };
  },
};

function malformed(error) {
  if (!(error instanceof Malformed)) throw error;
  return { malformed: error.field, found: error.found, wanted: error.wanted };
}

async function answer(request) {
  try {
    return await ANSWERS[request.kind](request);
  } catch (error) {
    return malformed(error);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
