// The three checks of a NitroTPM document: genuine, about this very report, and of an accepted image (SPEC §11).

import { equalBytes, hexOf, sha256 } from "./bytes.js";
import { isoSeconds } from "./chain.js";
import { failed, judged, passed, skipped, unparsed } from "./evidence.js";
import {
  AWS_ROOT_CN,
  AWS_ROOT_SHA256,
  chainProblem,
  MAX_SKEW_MS,
  MOCK_ROOT_CN,
  parseChain,
  validity,
} from "./nitrochain.js";
import { parseDocument } from "./nitrodocument.js";
import { BOOT_IMAGE_PCRS } from "./policy.js";
import { SIGNED_SIZE } from "./report.js";

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./policy.js").AppraisalPolicy} AppraisalPolicy */
/**
 * What a document is judged against. `nonce` is the one that it must carry, null if none; `live` says whether that is
 * one that this verifier sent just now.
 * @typedef {{report: Uint8Array, nonce: Uint8Array | null, live: boolean, now: Date, policy: AppraisalPolicy | null}}
 *   Circumstances
 */

export const CHECKS = Object.freeze(["code.platform-evidence", "bind.platform-evidence", "code.boot-image"]);
const [GENUINE, BOUND, IMAGE] = CHECKS;
const MOCK_REASON = "MOCK: a document made on this machine, accepted because you asked; AWS vouches for nothing in it";
const REFUSED_MOCK_REASON =
  "this is a MOCK: AWS does not vouch for it; --accept-mock accepts it, for trying things out";
const BY_AWS = "vouched for by AWS NitroTPM, not by AMD: the firmware that AMD measured does not authenticate that TPM";

/**
 * The checks of a document, and whether its root is the accepted mock.
 * @param {Uint8Array} raw @param {Circumstances} given @param {{acceptMock: boolean}} options
 * @returns {Promise<{checks: Check[], mock: boolean}>}
 */
export async function judgeDocument(raw, given, { acceptMock }) {
  let document;
  let chain;
  try {
    document = parseDocument(raw);
    chain = parseChain(document);
  } catch (error) {
    const rest = CHECKS.slice(1).map((id) => skipped(id, "the document does not parse"));
    return { checks: [unparsed(GENUINE, error), ...rest], mock: false };
  }
  const mock = acceptMock && chain[0].subjectCn === MOCK_ROOT_CN;
  const genuine = await checkGenuine(document, chain, given.now, mock);
  return { checks: [genuine, await checkBinding(document, given), checkImage(document, given.policy)], mock };
}

/**
 * The image (PCR 4, 7 and 12) of a document that these checks found genuine and about our report, else null.
 * @param {Uint8Array} raw @param {Check[]} checks @returns {string[] | null}
 */
export function vouchedImage(raw, [genuine, bound]) {
  const vouched = genuine.outcome !== "fail" && bound.outcome === "pass";
  return vouched ? imageOf(parseDocument(raw)) : null;
}

/** Signatures, then validity, then the root: an accepted mock lacks nothing but the last. */
async function checkGenuine(document, chain, now, mock) {
  const wanted = `a document signed under AWS's ${AWS_ROOT_CN} ${AWS_ROOT_SHA256}`;
  const problem = await chainProblem(document, chain);
  if (problem !== null) return failed(GENUINE, problem, wanted);
  const [start, end] = validity(chain);
  if (now < start - MAX_SKEW_MS || now > end) {
    const why = "AWS's certificates live for hours: judge stored evidence at a time in between (--at)";
    return failed(GENUINE, isoSeconds(now), `between ${isoSeconds(start)} and ${isoSeconds(end)}`, why);
  }
  if (mock) return skipped(GENUINE, MOCK_REASON);
  const [root] = chain;
  const digest = hexOf(await sha256(root.raw));
  const found = `${document.moduleId} under ${root.subjectCn} ${digest}`;
  const reason = root.subjectCn === MOCK_ROOT_CN ? REFUSED_MOCK_REASON : "";
  return digest === AWS_ROOT_SHA256 ? passed(GENUINE, found, wanted) : failed(GENUINE, found, wanted, reason);
}

/** The image vouches for the report of its own machine: no digest runs the other way (24). */
async function checkBinding({ userData, nonce, timestamp }, given) {
  const report = await sha256(given.report.subarray(0, SIGNED_SIZE));
  if (userData === null || !equalBytes(userData, report)) {
    return failed(BOUND, `user_data ${shown(userData)}`, `${hexOf(report)}, from this very report`);
  }
  if (shown(nonce) !== shown(given.nonce)) return failed(BOUND, `nonce ${shown(nonce)}`, `nonce ${shown(given.nonce)}`);
  const made = isoSeconds(timestamp);
  const early = given.live && timestamp < given.now - MAX_SKEW_MS;
  if (early || timestamp - given.now > MAX_SKEW_MS) {
    return failed(BOUND, `made at ${made}`, `within 5 minutes of ${isoSeconds(given.now)}`);
  }
  return passed(BOUND, `about this report, made at ${made}`, "user_data, nonce and time of this report");
}

/** PCR 4 is the boot loader or unified kernel image, 7 the Secure Boot policy, 12 the command line. */
function checkImage(document, policy) {
  if (policy === null) return skipped(IMAGE, "no policy was given");
  if (policy.bootImages.length === 0) return skipped(IMAGE, "the policy names no boot image");
  const found = imageText(imageOf(document));
  const accepted = policy.bootImages.map(imageText);
  const held = accepted.includes(found);
  return judged(IMAGE, held, found, `one of ${accepted.join("; ")}`, held ? BY_AWS : "");
}

const imageOf = ({ pcrs }) => BOOT_IMAGE_PCRS.map((index) => shown(pcrs.get(index) ?? null));

const imageText = (image) => image.map((value, at) => `PCR${BOOT_IMAGE_PCRS[at]} ${value}`).join(", ");

/** @param {Uint8Array | null} value */
const shown = (value) => (value === null ? "none" : hexOf(value) || "empty");
