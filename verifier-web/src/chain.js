// Authentic? Whether AMD's hardware signed this report: checks 6 to 14 of SPEC §6, in order.

import { equalBytes, hexOf, isZero, sha256 } from "./bytes.js";
import { parseCertificate, parseCrl, parseVekExtensions, requireP384Spki, signedBy, signedByP384 } from "./certs.js";
import { failed, judged, passed, skipped, unparsed } from "./evidence.js";
import { MOCK_ARK_CN, MOCK_ASK_CN, parseTcb, productOfCpuid, productOfName, tcbText } from "./product.js";
import { SIGNED_SIZE } from "./report.js";

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./evidence.js").Evidence} Evidence */
/** @typedef {import("./report.js").AttestationReport} AttestationReport */
/** @typedef {import("./product.js").Product} Product */
/** @typedef {import("./certs.js").Certificate} Certificate */
/**
 * The parsed certificates of one piece of evidence.
 * @typedef {object} Chain
 * @property {Certificate} vek
 * @property {import("./certs.js").VekExtensions} extensions
 * @property {Certificate} intermediate
 * @property {Certificate} ark
 */
/**
 * The transcript of these checks; `product` and `chain` are null where parsing already failed.
 * @typedef {{checks: Check[], product: Product | null, chain: Chain | null, mock: boolean}} Authenticated
 */

export const CHECKS = Object.freeze([
  "hw.certificate",
  "hw.product",
  "hw.chain",
  "hw.root",
  "hw.validity",
  "hw.revocation",
  "hw.signature",
  "hw.tcb-certificate",
  "hw.chip-id",
]);
const MOCK_REASON =
  "MOCK: a root made on this machine, accepted because you asked; it proves nothing about hardware";
const REFUSED_MOCK_REASON =
  "this is a MOCK: no hardware vouches for it; --accept-mock accepts it, for trying things out";

/**
 * Run checks 6 to 14. The signature is checked over `evidence.report` as received, never over a re-serialised one.
 * @param {Evidence} evidence @param {AttestationReport} report @param {{now: Date, acceptMock: boolean}} options
 * @returns {Promise<Authenticated>}
 */
export async function authenticate(evidence, report, { now, acceptMock }) {
  let chain;
  try {
    chain = parseChain(evidence);
  } catch (error) {
    const rest = CHECKS.slice(1).map((id) => skipped(id, "the certificates do not parse"));
    return { checks: [unparsed("hw.certificate", error), ...rest], product: null, chain: null, mock: false };
  }
  const mock = acceptMock && chain.ark.subjectCn === MOCK_ARK_CN;
  const [product, productCheck] = checkProduct(report, chain);
  const checks = [
    checkCertificate(report, chain), // 7, 8
    productCheck, // 6, 13
    await checkChain(chain, report.signingKey), // 9
    await checkRoot(chain, report.signingKey, product, mock), // 9
    checkValidity(chain, now), // 10
    await checkRevocation(evidence.crl, chain, now), // 11
    await checkSignature(evidence.report, report, chain.vek), // 12
    checkTcb(report, chain.extensions, product), // 13
    checkChipId(report, chain.extensions, product), // 14
  ];
  return { checks, product, chain, mock };
}

/** @param {Evidence} evidence @returns {Chain} */
function parseChain(evidence) {
  const vek = parseCertificate(evidence.vek, "VEK");
  requireP384Spki(vek.spki, "VEK.spki");
  return {
    vek,
    extensions: parseVekExtensions(vek),
    intermediate: parseCertificate(evidence.intermediate, "ASK"),
    ark: parseCertificate(evidence.ark, "ARK"),
  };
}

/** The leaf is of the kind that the report says signed it: name and extensions agree. */
function checkCertificate(report, { vek, extensions }) {
  const wanted = report.signingKey === "VCEK" ? "SEV-VCEK with hwID" : "SEV-VLEK with cspID";
  const found = `${vek.subjectCn} with ${extensions.hwid ? "hwID" : "cspID"}`;
  return judged("hw.certificate", found === wanted, found, wanted, `the report names ${report.signingKey}`);
}

/** @returns {[Product | null, Check]} */
function checkProduct({ cpuid }, { extensions }) {
  const named = productOfName(extensions.productName);
  const found = `certificate for ${extensions.productName}`;
  if (cpuid === null) {
    // Version 2 carries no CPUID, and Turin never emits version 2.
    const known = named !== null && !("fmc" in named.tcbLayout);
    return [known ? named : null, judged("hw.product", known, found, "Milan or Genoa for a version 2 report")];
  }
  const product = productOfCpuid(cpuid.family, cpuid.model);
  const [family, model] = [cpuid.family, cpuid.model].map((value) => `0x${value.toString(16).padStart(2, "0")}`);
  const cpu = `family ${family} model ${model}`;
  if (product === null) return [null, failed("hw.product", cpu, "a CPU of Milan, Genoa or Turin")];
  const wanted = `${product.name}, the CPU that the report names (${cpu})`;
  return [product, judged("hw.product", named === product, found, wanted)];
}

/** VEK signed by ASK or ASVK, that by ARK, that by itself, and every name the one of its role. */
async function checkChain({ vek, intermediate, ark }, signingKey) {
  const wantedCn = intermediateCn(ark.subjectCn, signingKey);
  const found = [vek, intermediate, ark].map((signed) => `${signed.subjectCn} by ${signed.issuerCn}`).join(", ");
  const root = ark.subjectCn;
  const wanted = `${vek.subjectCn} by ${wantedCn}, ${wantedCn} by ${root}, ${root} by ${root}`;
  const links = [
    [ark, ark],
    [intermediate, ark],
    [vek, intermediate],
  ];
  if (found !== wanted || links.some(([signed, signer]) => !equalBytes(signed.issuer, signer.subject))) {
    return failed("hw.chain", found, wanted);
  }
  for (const [signed, signer] of links) {
    if (!(await signedBy(signed.tbs, signed.signature, signer.spki))) {
      const broken = `${signed.subjectCn}: signature does not verify`;
      return failed("hw.chain", broken, `a signature by ${signer.subjectCn}`);
    }
  }
  return passed("hw.chain", found, wanted);
}

function intermediateCn(arkCn, signingKey) {
  if (arkCn === MOCK_ARK_CN) return MOCK_ASK_CN;
  const line = arkCn.replace(/^ARK-/, "");
  return signingKey === "VCEK" ? `SEV-${line}` : `SEV-VLEK-${line}`;
}

/** ARK and ASK or ASVK are AMD's, by pins compiled in here. */
async function checkRoot({ intermediate, ark }, signingKey, product, mock) {
  if (mock) return skipped("hw.root", MOCK_REASON);
  const found = `${ark.subjectCn} ${await fingerprint(ark.raw)}`;
  if (product === null) return failed("hw.root", found, "the AMD root of a known product");
  const pins = [
    [ark, product.ark],
    [intermediate, signingKey === "VCEK" ? product.ask : product.asvk],
  ];
  for (const [certificate, pin] of pins) {
    const digest = await fingerprint(certificate.raw);
    if (digest !== pin.derSha256 || (await fingerprint(certificate.spki)) !== pin.spkiSha256) {
      const reason = ark.subjectCn === MOCK_ARK_CN ? REFUSED_MOCK_REASON : "";
      const wanted = `AMD's ${pin.commonName} ${pin.derSha256}`;
      return failed("hw.root", `${certificate.subjectCn} ${digest}`, wanted, reason);
    }
  }
  return passed("hw.root", found, `AMD's ${product.ark.commonName} ${product.ark.derSha256}`);
}

const fingerprint = async (bytes) => hexOf(await sha256(bytes));

/** At verification time, never at report time: KDS issues a VCEK anew on every request. */
function checkValidity({ vek, intermediate, ark }, now) {
  const start = new Date(Math.max(vek.notBefore, intermediate.notBefore, ark.notBefore));
  const end = new Date(Math.min(vek.notAfter, intermediate.notAfter, ark.notAfter));
  const wanted = `between ${isoSeconds(start)} and ${isoSeconds(end)}`;
  return judged("hw.validity", start <= now && now <= end, isoSeconds(now), wanted);
}

/** The serial that can be revoked is the intermediate's: every VEK has serial 0. */
async function checkRevocation(raw, chain, now) {
  if (raw === null) return skipped("hw.revocation", "no revocation list was given");
  let crl;
  try {
    crl = parseCrl(raw);
  } catch (error) {
    return unparsed("hw.revocation", error);
  }
  const serial = `0x${chain.intermediate.serial.toString(16)}`;
  const wanted = `a list signed by ${chain.ark.subjectCn}, fresh, without serial ${serial}`;
  const problem = await revocationProblem(crl, chain, now);
  if (problem !== null) return failed("hw.revocation", problem, wanted);
  const found = `list of ${isoSeconds(crl.thisUpdate)}, next ${isoSeconds(crl.nextUpdate)}`;
  return passed("hw.revocation", found, wanted);
}

async function revocationProblem(crl, { intermediate, ark }, now) {
  if (!equalBytes(crl.issuer, ark.subject) || !(await signedBy(crl.tbs, crl.signature, ark.spki))) {
    return `a list that ${ark.subjectCn} did not sign`;
  }
  if (!(crl.thisUpdate <= now && now < crl.nextUpdate)) {
    return `a list for ${isoSeconds(crl.thisUpdate)} to ${isoSeconds(crl.nextUpdate)}, at ${isoSeconds(now)}`;
  }
  const revoked = [intermediate, ark].find((certificate) => crl.revoked.has(certificate.serial));
  return revoked ? `${revoked.subjectCn} serial 0x${revoked.serial.toString(16)} revoked` : null;
}

async function checkSignature(raw, report, vek) {
  const held = await signedByP384(raw.subarray(0, SIGNED_SIZE), report.signature, vek.spki);
  const found = held ? "a signature that verifies" : "a signature that does not verify";
  return judged("hw.signature", held, found, `ECDSA P-384 by ${vek.subjectCn} over bytes 0x000 to 0x29f`);
}

function checkTcb(report, { spls }, product) {
  if (product === null) return skipped("hw.tcb-certificate", "the product is unknown");
  let reported;
  try {
    reported = parseTcb(report.reportedTcb, product, "REPORTED_TCB");
  } catch (error) {
    return unparsed("hw.tcb-certificate", error);
  }
  const names = Object.keys(reported);
  const certified = Object.fromEntries(names.map((name) => [name, spls[name] ?? -1]));
  const held = names.length === Object.keys(spls).length && names.every((name) => reported[name] === spls[name]);
  const wanted = `REPORTED_TCB ${tcbText(reported)}`;
  return judged("hw.tcb-certificate", held, `certificate for ${tcbText(certified)}`, wanted);
}

/** A key taken from chip A must not speak for chip B; a VLEK names no chip. */
function checkChipId({ chipId }, { hwid }, product) {
  if (product === null) return skipped("hw.chip-id", "the product is unknown");
  if (hwid === null) {
    const held = isZero(chipId);
    return judged("hw.chip-id", held, held ? "zero" : hexOf(chipId), "zero: a VLEK names no chip");
  }
  const wanted = new Uint8Array(64);
  wanted.set(hwid);
  const held = equalBytes(chipId, wanted) && !isZero(wanted) && hwid.length === product.hwidSize;
  return judged("hw.chip-id", held, hexOf(chipId), `${hexOf(wanted)}, the certificate's hwID`);
}

/** @param {Date} moment @returns {string} for example `2026-05-01T00:00:00Z` */
export const isoSeconds = (moment) => `${moment.toISOString().slice(0, 19)}Z`;
