// AppraisalPolicy: what its owner accepts, read strictly from JSON (SPEC §5).

import { bytesOfHex, encodeUtf8 } from "./bytes.js";
import { cut, isInteger, isObject, parseJson, RawNumber, shown, kindOf, step } from "./canonical.js";
import { MAX_SIGNERS, newSigners } from "./envelope.js";
import { Malformed } from "./errors.js";
import { BULLETIN_ID, DEFAULT_TCB_FLOOR } from "./bulletins.js";
import { requireText } from "./identity.js";
import { LOG_KEY, parseNoteKey } from "./note.js";
import { PRODUCTS } from "./product.js";
import { wellFormed } from "./quote.js";
import { GUEST_POLICY, PLATFORM_WORDS } from "./report.js";
import { parseWitnessPolicy } from "./witnesses.js";

const MAX_POLICY_SIZE = 1 << 20;
const MAX_HOURS = 24 * 3650; // ten years
// Words of a policy file and the bits they speak of. DEBUG and MIGRATE_MA are never acceptable and have no word.
export const GUEST_PERMISSIONS = Object.freeze({ smt: GUEST_POLICY.SMT, cxl: GUEST_POLICY.CXL_ALLOW });
export const GUEST_RESTRICTIONS = Object.freeze({
  "single-socket": GUEST_POLICY.SINGLE_SOCKET,
  "mem-aes-256-xts": GUEST_POLICY.MEM_AES_256_XTS,
  "rapl-dis": GUEST_POLICY.RAPL_DIS,
  "ciphertext-hiding-dram": GUEST_POLICY.CIPHERTEXT_HIDING_DRAM,
  "page-swap-disable": GUEST_POLICY.PAGE_SWAP_DISABLE,
});
// The registers that make a boot image: loader or unified kernel, Secure Boot policy, command line (SPEC §11.4).
export const BOOT_IMAGE_PCRS = Object.freeze([4, 7, 12]);
// Bytes of each pin. An empty list of pins means: any value.
const PIN_SIZES = Object.entries({
  chip_ids: 64,
  id_key_digests: 48,
  author_key_digests: 48,
  host_data: 32,
  family_ids: 16,
  image_ids: 16,
});

/** @typedef {import("./product.js").Tcb} Tcb */
/**
 * What is acceptable. Measurements or release keys are required; every default is the strict one. Lists of words are
 * sorted.
 * @typedef {object} AppraisalPolicy
 * @property {readonly string[]} measurements 96 lowercase hex each; may be empty where release keys are named
 * @property {readonly string[]} firmwareMeasurements these cover firmware only, and demand a boot image
 * @property {readonly string[][]} bootImages PCR 4, 7 and 12, 96 lowercase hex each
 * @property {number} vmpl
 * @property {{major: number, minor: number}} minimumAbi
 * @property {number} minimumGuestSvn
 * @property {Record<string, Tcb>} tcbFloor by product
 * @property {Record<string, Tcb>} launchTcbFloor by product
 * @property {"any-not-revoked" | "up-to-date"} tcbStatus
 * @property {string[]} tcbAccept ids of bulletins that need not be answered
 * @property {string[]} guestAllow
 * @property {string[]} guestRequire
 * @property {string[]} platformRequire
 * @property {string[]} platformForbid
 * @property {bigint} requiredMitigations
 * @property {boolean} allowProvisionalFirmware
 * @property {Record<string, string[]>} pins
 * @property {string[]} cspIds
 * @property {boolean} revocationRequired
 * @property {import("./envelope.js").Signers | null} releases whose signed releases and TCB data count (SPEC §12, §13)
 * @property {number} minimumSequence of the newest manifest
 * @property {boolean} releaseRequired false: the keys serve TCB data, and a manifest need not be given
 * @property {import("./announcement.js").AnnouncementDemand | null} announcement that releases be announced before they
 *   are served (SPEC §16)
 */

const ROOT_NAMES = [
  "measurements",
  "firmware_measurements",
  "boot_images",
  "vmpl",
  "minimum_abi",
  "minimum_guest_svn",
  "tcb_floor",
  "launch_tcb_floor",
  "tcb_status",
  "tcb_accept",
  "guest_policy",
  "platform",
  "required_mitigations",
  "allow_provisional_firmware",
  "pins",
  "revocation",
  "releases",
  "announcement",
];

/**
 * The policy of a gateway's check without a policy. Release keys of ours would stand here; no release is signed yet.
 * @type {AppraisalPolicy | null}
 */
export const BUILT_IN_POLICY = null;

/** The strict defaults for these launch measurements (96 lowercase hex each). @param {...string} measurements */
export const policyForMeasurements = (...measurements) => decodePolicy({ measurements });

/** Read a policy file in its JSON form. @param {Uint8Array} raw @returns {Promise<AppraisalPolicy>} */
export async function parsePolicy(raw) {
  if (raw.length > MAX_POLICY_SIZE) {
    throw new Malformed("policy", `${raw.length} bytes`, `at most ${MAX_POLICY_SIZE}`);
  }
  const first = raw.find((byte) => byte !== 0x20 && (byte < 0x09 || byte > 0x0d));
  if (first !== 0x7b) {
    throw new Malformed("policy", "TOML or another form", "JSON: this page reads the JSON form");
  }
  return decodePolicy(parseJson(raw, "policy"));
}

/**
 * A policy from its parsed document. An unknown name is refused: it may be a misspelt demand.
 * @param {import("./canonical.js").Json} document @returns {Promise<AppraisalPolicy>}
 */
export async function decodePolicy(document) {
  const root = new Table(document, "policy", ROOT_NAMES);
  const named = Object.hasOwn(document, "releases");
  const none = { releases: null, minimumSequence: 0, releaseRequired: true };
  const table = named ? decodeReleases(root.take("releases", "an object", null)) : none;
  const byRelease = table.releases !== null && table.releaseRequired;
  const { firmwareMeasurements, bootImages } = decodeFirmware(root);
  const fallback = byRelease || firmwareMeasurements.length > 0 ? [] : null;
  const measurements = hexList(root.take("measurements", "an array", fallback), "policy.measurements", 48);
  if (measurements.length === 0 && firmwareMeasurements.length === 0 && !byRelease) {
    throw new Malformed("policy.measurements", "an empty list", "at least one measurement");
  }
  const both = firmwareMeasurements.find((value) => measurements.includes(value));
  if (both !== undefined) {
    const wanted = "a measurement that `measurements` does not name too";
    throw new Malformed("policy.firmware_measurements", both, wanted);
  }
  const guest = new Table(root.take("guest_policy", "an object", {}), "policy.guest_policy", ["allow", "require"]);
  const platform = new Table(root.take("platform", "an object", {}), "policy.platform", ["require", "forbid"]);
  const pins = new Table(root.take("pins", "an object", {}), "policy.pins", [...PIN_SIZES.map(([name]) => name), "csp_ids"]);
  const revocation = root.take("revocation", "text", "required");
  if (!["required", "when-given"].includes(revocation)) {
    throw new Malformed("policy.revocation", revocation, "required or when-given");
  }
  const tcbStatus = root.take("tcb_status", "text", "any-not-revoked");
  if (!["any-not-revoked", "up-to-date"].includes(tcbStatus)) {
    throw new Malformed("policy.tcb_status", shown(tcbStatus), "any-not-revoked or up-to-date");
  }
  const integer = (name, maximum) => boundedInteger(root.take(name, "an integer", 0), `policy.${name}`, maximum);
  const policy = {
    measurements,
    firmwareMeasurements,
    bootImages,
    vmpl: integer("vmpl", 3),
    minimumAbi: parseAbi(root.take("minimum_abi", "text", "0.0")),
    minimumGuestSvn: integer("minimum_guest_svn", 2 ** 32 - 1),
    tcbFloor: merged(decodeFloors(root.take("tcb_floor", "an object", {}), "policy.tcb_floor")),
    launchTcbFloor: decodeFloors(root.take("launch_tcb_floor", "an object", {}), "policy.launch_tcb_floor"),
    tcbStatus,
    tcbAccept: bulletinIds(root.take("tcb_accept", "an array", [])),
    guestAllow: decodeWords(guest, "allow", GUEST_PERMISSIONS, ["smt"]),
    guestRequire: decodeWords(guest, "require", GUEST_RESTRICTIONS, []),
    platformRequire: decodeWords(platform, "require", PLATFORM_WORDS, ["alias-check-complete"]),
    platformForbid: decodeWords(platform, "forbid", PLATFORM_WORDS, []),
    requiredMitigations: BigInt(integer("required_mitigations", Number.MAX_SAFE_INTEGER)),
    allowProvisionalFirmware: root.take("allow_provisional_firmware", "a boolean", false),
    pins: Object.fromEntries(
      PIN_SIZES.map(([name, size]) => [name, hexList(pins.take(name, "an array", []), `policy.pins.${name}`, size)]),
    ),
    cspIds: textList(pins.take("csp_ids", "an array", []), "policy.pins.csp_ids"),
    revocationRequired: revocation === "required",
    ...table,
    announcement: Object.hasOwn(document, "announcement")
      ? await decodeAnnouncement(root.take("announcement", "an object", null))
      : null,
  };
  return Object.freeze(policy);
}

/** A table of the document; a name that it does not know is refused at once: it may be a misspelt demand. */
class Table {
  constructor(value, path, names) {
    if (!isObject(value)) throw new Malformed(path, kindOf(value), "a table");
    const [unknown] = Object.keys(value)
      .filter((name) => !names.includes(name))
      .sort();
    if (unknown !== undefined) {
      throw new Malformed(`${path}.${step(unknown)}`, "an unknown name", `one of ${[...names].sort().join(", ")}`);
    }
    this.members = value;
    this.path = path;
  }

  /** The member `name`, of that kind; `fallback` where it is missing, unless that is null. */
  take(name, kind, fallback) {
    if (!Object.hasOwn(this.members, name)) {
      if (fallback === null) throw new Malformed(`${this.path}.${name}`, "nothing", "a value: it is required");
      return fallback;
    }
    const value = this.members[name];
    if (kindOf(value) !== kind) throw new Malformed(`${this.path}.${name}`, kindOf(value), kind);
    return value;
  }
}

/** Measurements of firmware, and the boot images that they demand: one without the other demands nothing. */
function decodeFirmware(root) {
  const path = "policy.boot_images";
  const names = BOOT_IMAGE_PCRS.map((index) => `pcr${index}`);
  const listed = root.take("firmware_measurements", "an array", []);
  const firmwareMeasurements = hexList(listed, "policy.firmware_measurements", 48);
  const bootImages = root.take("boot_images", "an array", []).map((row) => {
    const table = new Table(row, path, names);
    return hexList(
      names.map((name) => table.take(name, "text", null)),
      path,
      48,
    );
  });
  if (firmwareMeasurements.length > 0 && bootImages.length === 0) {
    throw new Malformed(path, "nothing", "at least one boot image: firmware_measurements cover none");
  }
  if (bootImages.length > 0 && firmwareMeasurements.length === 0) {
    const wanted = "at least one measurement: nothing else demands a boot image";
    throw new Malformed("policy.firmware_measurements", "nothing", wanted);
  }
  return { firmwareMeasurements, bootImages };
}

function boundedInteger(value, path, maximum) {
  if (value instanceof RawNumber || value < 0 || value > maximum) throw new Malformed(path, value, `0 to ${maximum}`);
  return value;
}

function parseAbi(value) {
  if (!/^[0-9]{1,3}\.[0-9]{1,3}$/.test(value)) {
    throw new Malformed("policy.minimum_abi", cut(value, 64), "MAJOR.MINOR, for example 1.55");
  }
  const [major, minor] = value.split(".").map((part) => boundedInteger(Number(part), "policy.minimum_abi", 255));
  return Object.freeze({ major, minor });
}

/** Whose signed releases count, the least sequence of the newest, and whether one must be given. */
function decodeReleases(value) {
  const path = "policy.releases";
  const table = new Table(value, path, ["keys", "threshold", "minimum_sequence", "required"]);
  const keys = hexList(table.take("keys", "an array", null), `${path}.keys`, 32).map(bytesOfHex);
  const threshold = boundedInteger(table.take("threshold", "an integer", null), `${path}.threshold`, MAX_SIGNERS);
  const least = table.take("minimum_sequence", "an integer", 0);
  const minimumSequence = boundedInteger(least, `${path}.minimum_sequence`, Number.MAX_SAFE_INTEGER);
  const releaseRequired = table.take("required", "a boolean", true);
  try {
    return { releases: newSigners(keys, threshold), minimumSequence, releaseRequired };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Malformed(`${path}.${error.field}`, error.found, error.wanted);
  }
}

/** In which log releases must stand, whose cosignatures date them, and how old they must be. */
async function decodeAnnouncement(value) {
  const path = "policy.announcement";
  const table = new Table(value, path, ["log", "witnesses", "minimum_hours"]);
  const log = await parseNoteKey(requireText(table.take("log", "text", null), `${path}.log`), `${path}.log`);
  if (log.type !== LOG_KEY) throw new Malformed(`${path}.log`, `a key of type ${log.type}`, "a log's key, of type 1");
  const witnesses = await announcementWitnesses(table.take("witnesses", "text", null), `${path}.witnesses`);
  if (!witnesses.logs.some((named) => named.vkey === log.vkey)) {
    throw new Malformed(`${path}.witnesses`, "no line for the log", `a line log ${log.vkey}`);
  }
  const hours = table.take("minimum_hours", "an integer", null);
  return Object.freeze({ log, witnesses, minimumHours: boundedInteger(hours, `${path}.minimum_hours`, MAX_HOURS) });
}

async function announcementWitnesses(value, path) {
  const raw = encodeUtf8(wellFormed(value, path));
  let witnesses;
  try {
    witnesses = await parseWitnessPolicy(raw);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Malformed(error.field.replace("witness policy", path), error.found, error.wanted);
  }
  if (!witnesses.demands) {
    throw new Malformed(path, "quorum none", "witnesses: only they say when a release was announced");
  }
  return witnesses;
}

/** Least versions by product and component, 0 to 255 each. */
export function decodeFloors(table, path) {
  const floors = {};
  for (const [name, components] of Object.entries(table)) {
    const product = PRODUCTS.get(name);
    if (!product) throw new Malformed(`${path}.${step(name)}`, "an unknown product", "Milan, Genoa or Turin");
    const rows = new Table(components, `${path}.${name}`, Object.keys(product.tcbLayout));
    const parts = Object.keys(product.tcbLayout).filter((part) => Object.hasOwn(components, part));
    const floor = (part) => boundedInteger(rows.take(part, "an integer", null), `${path}.${name}.${part}`, 255);
    floors[name] = Object.fromEntries(parts.map((part) => [part, floor(part)]));
  }
  return floors;
}

/** The default floor with this policy's components in place of its own: only a lower number lowers it. */
function merged(floors) {
  const rows = Object.entries(DEFAULT_TCB_FLOOR).map(([name, floor]) => [name, { ...floor, ...floors[name] }]);
  return Object.fromEntries(rows);
}

function bulletinIds(values) {
  const other = textList(values, "policy.tcb_accept").find((value) => !BULLETIN_ID.test(value));
  if (other !== undefined) {
    throw new Malformed("policy.tcb_accept", shown(other), "ids of bulletins, for example AMD-SB-3019");
  }
  return [...values];
}

function textList(values, path) {
  const other = values.find((value) => typeof value !== "string");
  if (other !== undefined) throw new Malformed(path, kindOf(other), "a list of strings");
  return [...values];
}

function hexList(values, path, size) {
  const texts = textList(values, path);
  const other = texts.find((value) => value.length !== 2 * size || !/^[0-9a-f]*$/.test(value));
  if (other !== undefined) {
    throw new Malformed(path, shown(other), `${2 * size} lowercase hex characters`);
  }
  return texts;
}

function decodeWords(table, name, known, fallback) {
  const path = `${table.path}.${name}`;
  const words = textList(table.take(name, "an array", fallback), path);
  const other = words.find((word) => !Object.hasOwn(known, word));
  if (other !== undefined) {
    throw new Malformed(path, shown(other), `one of ${Object.keys(known).join(", ")}`);
  }
  return [...new Set(words)].sort();
}
