// The word that a release was announced before it was served: a leaf, and the witnesses' time on it (SPEC §16).

import { hexOf } from "./bytes.js";
import { kindOf, parseJson, shown } from "./canonical.js";
import { isoSeconds } from "./chain.js";
import { parseLeafProof, verifyLeaf } from "./checkpoint.js";
import { Malformed } from "./errors.js";
import { failed, judged, skipped, unparsed } from "./evidence.js";
import { digestText, hexBytes, requireMembers, requireText } from "./identity.js";
import { parseEntry } from "./leaf.js";
import { decodeBase64, wellFormed } from "./quote.js";

export const FORMAT = "saferouter/announcement/v1";
const ANNOUNCE = "release.announce";
export const MAX_ANNOUNCEMENT_SIZE = 1 << 18; // a leaf of 64 KiB and a proof of 68 KiB, in JSON
export const CHECK = "code.announcement";
const RETIREMENT =
  "a proof of inclusion cannot show that no retirement followed: that is for the newest manifest to say";
const PCRS = ["pcr4", "pcr7", "pcr12"];
const HOUR = 3_600_000;

/** What a policy demands: an entry of this log that the quorum has cosigned so many hours ago.
 * @typedef {object} AnnouncementDemand
 * @property {import("./note.js").NoteKey} log
 * @property {import("./witnesses.js").WitnessPolicy} witnesses
 * @property {number} minimumHours */
/** What a `release.announce` leaf names: each measurement with what it covers, and boot images (PCR 4, 7 and 12).
 * @typedef {{release: string, covers: Map<string, string>, bootImages: string[][]}} AnnouncedRelease */

/**
 * The leaf, and the proof that it stands in a log; neither is verified.
 * @param {Uint8Array} raw
 */
function parseAnnouncement(raw) {
  const field = "announcement";
  if (raw.length > MAX_ANNOUNCEMENT_SIZE) {
    throw new Malformed(field, `${raw.length} bytes`, `at most ${MAX_ANNOUNCEMENT_SIZE}`);
  }
  const document = parseJson(raw, field);
  requireMembers(document, ["format", "leaf_b64", "proof"], field, { exact: true });
  if (document.format !== FORMAT) throw new Malformed(`${field}.format`, shown(document.format), FORMAT);
  const proof = parseLeafProof(wellFormed(document.proof, `${field}.proof`), `${field}.proof`);
  return { leaf: decodeBase64(document.leaf_b64, `${field}.leaf_b64`), proof };
}

/**
 * `code.announcement`: this build stands in the log, and stood there early enough. `measurement` is the report's, null
 * without a report; `image` the boot image of verified platform evidence; with `firmware` the measurement alone says
 * nothing of what was booted.
 * @param {AnnouncementDemand} demand @param {Uint8Array | null} raw @param {string | null} measurement
 * @param {string[] | null} image @param {{firmware: boolean, now: Date}} circumstances
 * @returns {Promise<import("./evidence.js").Check>}
 */
export async function judgeAnnouncement(demand, raw, measurement, image, { firmware, now }) {
  if (raw === null) return skipped(CHECK, "your policy demands an announcement, and none was given");
  if (measurement === null) return skipped(CHECK, "the report does not parse");
  let leaf, proof, announced, times;
  try {
    ({ leaf, proof } = parseAnnouncement(raw));
    const { note } = await verifyLeaf(leaf, proof, demand.log, "announcement.proof");
    announced = announcedBy(leaf, proof);
    times = await demand.witnesses.cosigned(note, "announcement.proof.checkpoint");
  } catch (error) {
    return unparsed(CHECK, error);
  }
  const fault = differenceOf(announced, measurement, image, firmware);
  if (fault !== null) return failed(CHECK, fault, `an announcement of ${measurement}`);
  const since = completeAt(demand.witnesses, times);
  if (since === null) {
    return failed(CHECK, `cosigned by ${[...times.keys()].join(", ") || "nobody"}`, demand.witnesses.describe());
  }
  const moment = isoSeconds(new Date(since * 1000));
  const found = `${announced.release}, entry ${proof.index} of ${demand.log.name}, cosigned by ${moment}`;
  const held = now.getTime() - since * 1000 >= demand.minimumHours * HOUR;
  const wanted = `at least ${demand.minimumHours} hours before ${isoSeconds(now)}`;
  return judged(CHECK, held, found, wanted, held ? RETIREMENT : "");
}

/**
 * The second by which the quorum was complete; null if it never was. Nobody's word but the witnesses' counts.
 * @param {import("./witnesses.js").WitnessPolicy} policy @param {Map<string, number>} times
 */
function completeAt(policy, times) {
  const reachedBy = (time) => policy.reached([...times].filter(([, its]) => its <= time).map(([name]) => name));
  return [...times.values()].sort((one, other) => one - other).find(reachedBy) ?? null;
}

/** @returns {AnnouncedRelease} */
function announcedBy(leaf, { index }) {
  const field = "announcement.leaf_b64";
  const entry = parseEntry(leaf, field);
  if (entry.type !== ANNOUNCE) throw new Malformed(`${field}.type`, shown(entry.type), ANNOUNCE);
  if (entry.index !== index) throw new Malformed(`${field}.index`, shown(entry.index), `${index}, by the proof`);
  return parseAnnounced(entry.body, `${field}.body`);
}

/** The body of a `release.announce` leaf. @returns {AnnouncedRelease} */
function parseAnnounced(body, field) {
  const members = ["release", "manifest_digest", "build", "measurements", "boot_images"];
  requireMembers(body, members, field, { exact: true });
  digestText(body.manifest_digest, `${field}.manifest_digest`);
  requireMembers(body.build, ["source_digest", "image_digest"], `${field}.build`, { exact: true });
  const covers = new Map();
  for (const row of rowsOf(body.measurements, `${field}.measurements`)) {
    requireMembers(row, ["value", "platform", "covers"], `${field}.measurements`, { exact: true });
    if (!["workload", "firmware"].includes(row.covers)) {
      throw new Malformed(`${field}.measurements.covers`, shown(row.covers), "workload or firmware");
    }
    const value = hexOf(hexBytes(row.value, 48, `${field}.measurements.value`));
    if (covers.has(value)) throw new Malformed(`${field}.measurements.value`, `${value} twice`, "each measurement once");
    covers.set(value, row.covers);
  }
  const bootImages = rowsOf(body.boot_images, `${field}.boot_images`).map((row) => {
    requireMembers(row, PCRS, `${field}.boot_images`, { exact: true });
    return PCRS.map((name) => hexOf(hexBytes(row[name], 48, `${field}.boot_images.${name}`)));
  });
  return { release: requireText(body.release, `${field}.release`), covers, bootImages };
}

/** How what runs differs from what was announced; null if it does not. @param {AnnouncedRelease} announced */
function differenceOf({ release, covers, bootImages }, measurement, image, firmware) {
  const covered = covers.get(measurement);
  if (covered === undefined) return `${release}, without this measurement`;
  if (covered === "workload" && !firmware) return null;
  if (image === null) {
    return `${release}, known by its firmware alone: no verified platform evidence says what was booted`;
  }
  return bootImages.some((listed) => listed.join() === image.join()) ? null : `${release}, without the boot image`;
}

function rowsOf(value, field) {
  if (!Array.isArray(value)) throw new Malformed(field, kindOf(value), "an array");
  return value;
}
