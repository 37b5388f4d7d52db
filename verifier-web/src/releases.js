// Which releases are in force: signed manifests, judged under the release keys of a policy (SPEC §12.3).

import { shown } from "./canonical.js";
import { isoSeconds } from "./chain.js";
import { openEnvelope } from "./envelope.js";
import { Malformed } from "./errors.js";
import { failed, passed } from "./evidence.js";
import { parseManifest, PAYLOAD_TYPE } from "./manifest.js";

const MAX_MANIFESTS = 64; // a chain from one's oldest release in use to the newest
export const CHECK = "code.release";

/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {import("./manifest.js").Measured} Measured */
/** @typedef {import("./policy.js").AppraisalPolicy} AppraisalPolicy */
/**
 * What manifests say at the time `now`: a chain, the newest last. With a `fault` it is empty: none of them counts.
 * Only judgeManifests makes one; its signatures are then judged.
 * @typedef {{now: Date, chain: readonly Manifest[], fault: Malformed | null}} Releases
 */

/**
 * Open manifests (envelopes, in any order) and judge them as one chain. `minimum` is the policy's minimum_sequence;
 * `seen` is the highest sequence that this verifier ever accepted from these signers, null if it never did.
 * @param {Uint8Array[]} raws @param {import("./envelope.js").Signers} signers
 * @param {{now: Date, minimum: number, seen: number | null}} circumstances @returns {Promise<Releases>}
 */
export async function judgeManifests(raws, signers, { now, minimum, seen }) {
  try {
    const chain = await openChain(raws, signers);
    requireCurrent(chain.at(-1), now, minimum, seen ?? 0);
    return Object.freeze({ now, chain, fault: null });
  } catch (fault) {
    if (!(fault instanceof Malformed)) throw fault;
    return Object.freeze({ now, chain: [], fault });
  }
}

async function openChain(raws, signers) {
  if (raws.length < 1 || raws.length > MAX_MANIFESTS) {
    throw new Malformed("manifests", raws.length, `1 to ${MAX_MANIFESTS}`);
  }
  const chain = [];
  for (const [index, raw] of raws.entries()) {
    const field = `manifests[${index}]`;
    const payload = await openEnvelope(raw, signers, PAYLOAD_TYPE, field);
    chain.push(await parseManifest(payload, `${field}.payload`));
  }
  chain.sort((one, other) => one.sequence - other.sequence);
  for (const [index, newer] of chain.slice(1).entries()) {
    const older = chain[index];
    // Two of one number, a gap or a fork: in each case somebody may be kept from a retirement.
    if (newer.previous !== older.digest) {
      const found = `manifest ${newer.sequence} after ${newer.previous ?? "none"}`;
      throw new Malformed("manifests", found, `after ${older.digest}, manifest ${older.sequence}`);
    }
  }
  requireOneMeaning(chain);
  return chain;
}

/** No measurement covers a workload by one manifest and firmware by another: the laxer one would win. */
function requireOneMeaning(chain) {
  const known = new Map();
  for (const { value, covers } of chain.flatMap(({ measurements }) => measurements)) {
    if ((known.get(value) ?? covers) !== covers) {
      const found = `${value} as workload and as firmware`;
      throw new Malformed("manifests", found, "one meaning: leave out the manifests that are wrong");
    }
    known.set(value, covers);
  }
}

function requireCurrent(newest, now, minimum, seen) {
  for (const [least, whose] of [
    [minimum, "the policy's minimum_sequence"],
    [seen, "seen here before"],
  ]) {
    if (newest.sequence < least) {
      throw new Malformed("manifests", `manifest ${newest.sequence}`, `at least manifest ${least}, ${whose}`);
    }
  }
  if (newest.expires <= now) {
    const found = `manifest ${newest.sequence}, expired since ${isoSeconds(newest.expires)}`;
    throw new Malformed("manifests", found, "a newer one, or one that has not expired");
  }
}

/** The manifest whose retirements rule over the whole chain. @param {Releases} releases @returns {Manifest | null} */
export const newestOf = (releases) => releases.chain.at(-1) ?? null;

/**
 * The policy with the reference values of the releases in force beside its own.
 * @param {AppraisalPolicy} policy @param {Releases | null} releases @returns {AppraisalPolicy}
 */
export function accepting(policy, releases) {
  const newest = releases && newestOf(releases);
  if (policy.releases === null || newest === null) return policy;
  const inForce = entriesOf(releases).filter(([manifest, entry]) => whyNot(releases, manifest, entry) === null);
  const joined = (own, kind) => [
    ...new Set([...own, ...inForce.filter(([, { covers }]) => covers === kind).map(([, { value }]) => value)]),
  ];
  const running = releases.chain.filter((manifest) => ended(releases, manifest) === null);
  const images = running.flatMap((manifest) => manifest.bootImages);
  const known = new Map([...policy.bootImages, ...images].map((image) => [image.join(), image]));
  return Object.freeze({
    ...policy,
    measurements: joined(policy.measurements, "workload"),
    firmwareMeasurements: joined(policy.firmwareMeasurements, "firmware"),
    bootImages: [...known.values()],
    tcbFloor: raised(policy.tcbFloor, newest.tcbFloor),
  });
}

/** A manifest raises the policy's floor and never lowers it. */
function raised(floors, demanded) {
  const rows = Object.entries(floors).map(([name, own]) => {
    const parts = Object.entries(demanded[name] ?? {}).map(([part, least]) => [part, Math.max(least, own[part] ?? 0)]);
    return [name, { ...own, ...Object.fromEntries(parts) }];
  });
  return Object.fromEntries(rows);
}

/**
 * Whether a signed release in force is what runs. `measurement` is the report's, 96 lowercase hex; `build` is the
 * workload's, null for a bare report; `image` is the boot image (PCR 4, 7 and 12) of verified platform evidence, null
 * without any.
 * @param {Releases} releases @param {string} measurement @param {any} build @param {string[] | null} [image]
 * @returns {import("./evidence.js").Check}
 */
export function checkRelease(releases, measurement, build, image = null) {
  const { fault } = releases;
  if (fault !== null) return failed(CHECK, `${fault.field}: ${fault.found}`, fault.wanted);
  const wanted = "a release of the signed manifests, in force";
  const reasons = [];
  for (const [manifest, entry] of entriesOf(releases)) {
    if (entry.value !== measurement) continue;
    const reason = whyNot(releases, manifest, entry) ?? difference(manifest, entry, build, image);
    if (reason === null) {
      const found = `${manifest.release}, by manifest ${manifest.sequence} until ${isoSeconds(manifest.expires)}`;
      return passed(CHECK, found, wanted);
    }
    reasons.push(`${manifest.release}, ${reason}`);
  }
  if (reasons.length === 0) {
    const retired = retirement(releases, measurement);
    reasons.push(`measurement ${measurement}, ${retired ? retiredWords(retired) : "in none of the manifests"}`);
  }
  return failed(CHECK, reasons[0], wanted);
}

/** Every measurement of the chain with its manifest, those of the newest first. @returns {[Manifest, Measured][]} */
const entriesOf = ({ chain }) =>
  [...chain].reverse().flatMap((manifest) => manifest.measurements.map((entry) => [manifest, entry]));

/** The retirement of a release or measurement that is due, by the newest manifest. */
const retirement = (releases, what) =>
  newestOf(releases)?.retired.find((row) => row.what === what && row.since <= releases.now);

/** Why this entry of a signed manifest is not in force, or null. */
function whyNot(releases, manifest, entry) {
  const over = ended(releases, manifest);
  if (over !== null) return over;
  const retired = retirement(releases, entry.value);
  if (retired) return `whose measurement is ${retiredWords(retired)}`;
  if (entry.validFrom !== null && entry.validFrom > releases.now) {
    return `whose measurement is valid from ${isoSeconds(entry.validFrom)} on`;
  }
  return null;
}

/** Why this release is no longer in force, or null. */
function ended(releases, manifest) {
  const retired = retirement(releases, manifest.release);
  if (retired) return `whose release is ${retiredWords(retired)}`;
  if (manifest.expires > releases.now) return null;
  return `whose manifest ${manifest.sequence} expired on ${isoSeconds(manifest.expires)}`;
}

/** How what runs differs from what was released, or null. */
function difference(manifest, entry, build, image) {
  if (entry.covers === "firmware") {
    if (image === null) return "known by its firmware alone: no verified platform evidence says what was booted";
    const same = (other) => other.every((value, at) => value === image[at]);
    if (!manifest.bootImages.some(same)) return "whose manifest does not list the boot image";
  }
  if (build === null) return null;
  const said = (name, released) => `but ${name} ${shown(build[name])} where ${shown(released)} was released`;
  if (build.source_digest !== manifest.sourceDigest) return said("source_digest", manifest.sourceDigest);
  if (build.image_digest !== manifest.imageDigest) return said("image_digest", manifest.imageDigest);
  // An installed package knows no commit and says none; its source digest names the same bytes.
  const commit = build.repo_commit;
  return commit === null || commit === manifest.repoCommit ? null : said("repo_commit", manifest.repoCommit);
}

const retiredWords = ({ since, reason }) => `retired since ${isoSeconds(since)}: ${reason}`;
