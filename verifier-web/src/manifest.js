// Release manifest: the in-toto statement that says what a release measures to, read strictly (SPEC §12.2).

import { equalBytes, hexOf } from "./bytes.js";
import { digestBytes, encodeCanonical, isObject, kindOf, parseJson, shown } from "./canonical.js";
import { Malformed } from "./errors.js";
import { digestText, hexBytes, requireMembers, requireText, seconds } from "./identity.js";
import { decodeFloors } from "./policy.js";

export const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "urn:saferouter:predicate:release:v1";
const MAX_SUBJECTS = 64; // firmware, kernel, initrd, root file system, wheels
const MAX_MEASUREMENTS = 1024; // a release for every size of every machine type is below a hundred
const MAX_BOOT_IMAGES = 64;
const MAX_RETIRED = 1024;
const MAX_VCPUS = 4096;

const PREDICATE = [
  "version",
  "release",
  "sequence",
  "expires",
  "previous",
  "source",
  "build",
  "measurements",
  "boot_images",
  "tcb_floor",
  "retired",
];
const MEASUREMENT = ["value", "platform", "covers", "machine", "vcpus", "recipe", "valid_from", "note"];
const NAME = "[a-z0-9][a-z0-9-]{0,31}";
const VERSION = "[0-9A-Za-z][0-9A-Za-z.+-]{0,63}";
const COMMIT = "[0-9a-f]{40}([0-9a-f]{24})?";

/** @typedef {import("./canonical.js").Json} Json */
/**
 * An expected launch measurement (96 lowercase hex). `firmware` alone never says what a guest runs.
 * @typedef {{value: string, covers: "workload" | "firmware", validFrom: Date | null}} Measured
 */
/** @typedef {{what: string, since: Date, reason: string}} Retired a release (`NAME VERSION`) or a measurement */
/**
 * A parsed manifest; `digest` is that of its payload, which the next one names as `previous`.
 * @typedef {object} Manifest
 * @property {string} release NAME VERSION
 * @property {number} sequence
 * @property {Date} expires
 * @property {string | null} previous
 * @property {string} repoCommit
 * @property {string} sourceDigest
 * @property {string | null} imageDigest
 * @property {Measured[]} measurements
 * @property {string[][]} bootImages PCR 4, 7 and 12 of NitroTPM, 96 lowercase hex each
 * @property {Record<string, import("./product.js").Tcb>} tcbFloor
 * @property {Retired[]} retired
 * @property {string} digest
 */

/** Read the payload of a manifest's envelope. @param {Uint8Array} payload @param {string} field @returns {Promise<Manifest>} */
export async function parseManifest(payload, field) {
  const statement = parseJson(payload, field);
  if (!equalBytes(encodeCanonical(statement), payload)) {
    throw new Malformed(field, "another spelling", "the RFC 8785 form");
  }
  requireMembers(statement, ["_type", "subject", "predicateType", "predicate"], field, { exact: true });
  for (const [name, wanted] of [
    ["_type", STATEMENT_TYPE],
    ["predicateType", PREDICATE_TYPE],
  ]) {
    if (statement[name] !== wanted) throw new Malformed(`${field}.${name}`, shown(statement[name]), wanted);
  }
  requireSubjects(statement.subject, `${field}.subject`);
  return parsePredicate(statement.predicate, `${field}.predicate`, await digestBytes(payload));
}

/** @returns {Manifest} */
function parsePredicate(value, path, digest) {
  requireMembers(value, PREDICATE, path, { exact: true });
  if (value.version !== 1) throw new Malformed(`${path}.version`, shown(value.version), "1");
  const { release, source, build } = value;
  requireMembers(release, ["name", "version"], `${path}.release`, { exact: true });
  requireMembers(source, ["repo_url", "repo_commit"], `${path}.source`, { exact: true });
  requireMembers(build, ["source_digest", "image_digest"], `${path}.build`, { exact: true });
  const name = pattern(release.name, NAME, `${path}.release.name`, "lowercase letters, digits and dashes");
  const version = pattern(release.version, VERSION, `${path}.release.version`, "a version, for example 1.2.0");
  const sequence = integer(value.sequence, `${path}.sequence`, Number.MAX_SAFE_INTEGER);
  const expires = moment(value.expires, `${path}.expires`);
  const previous = value.previous === null ? null : digestText(value.previous, `${path}.previous`);
  requireText(source.repo_url, `${path}.source.repo_url`);
  return Object.freeze({
    release: `${name} ${version}`,
    sequence,
    expires,
    previous,
    repoCommit: pattern(source.repo_commit, COMMIT, `${path}.source.repo_commit`, "40 or 64 lowercase hex"),
    sourceDigest: digestText(build.source_digest, `${path}.build.source_digest`),
    imageDigest: build.image_digest === null ? null : digestText(build.image_digest, `${path}.build.image_digest`),
    measurements: parseMeasurements(value.measurements, `${path}.measurements`),
    bootImages: parseBootImages(value.boot_images, `${path}.boot_images`),
    tcbFloor: parseFloors(value.tcb_floor, `${path}.tcb_floor`),
    retired: rowsOf(value.retired, `${path}.retired`, 0, MAX_RETIRED).map(parseRetired),
    digest,
  });
}

function requireSubjects(value, path) {
  const names = new Set();
  for (const [place, row] of rowsOf(value, path, 1, MAX_SUBJECTS)) {
    requireMembers(row, ["name", "digest"], place, { exact: true });
    const name = requireText(row.name, `${place}.name`);
    if (names.has(name)) throw new Malformed(`${place}.name`, `${shown(name)} twice`, "each artefact once");
    requireMembers(row.digest, ["sha256", "sha384"], `${place}.digest`, { exact: true });
    hexBytes(row.digest.sha256, 32, `${place}.digest.sha256`);
    hexBytes(row.digest.sha384, 48, `${place}.digest.sha384`);
    names.add(name);
  }
}

/** @returns {Measured[]} */
function parseMeasurements(value, path) {
  const measurements = new Map();
  for (const [place, row] of rowsOf(value, path, 0, MAX_MEASUREMENTS)) {
    requireMembers(row, MEASUREMENT, place, { exact: true });
    const measured = hexOf(hexBytes(row.value, 48, `${place}.value`));
    if (measurements.has(measured)) {
      throw new Malformed(`${place}.value`, `${measured} twice`, "each measurement once");
    }
    if (!["workload", "firmware"].includes(row.covers)) {
      throw new Malformed(`${place}.covers`, shown(row.covers), "workload or firmware");
    }
    if (row.recipe !== null && !isObject(row.recipe)) {
      throw new Malformed(`${place}.recipe`, kindOf(row.recipe), "a launch document or null");
    }
    pattern(row.platform, NAME, `${place}.platform`, "qemu, ec2, gce or another lowercase name");
    if (row.machine !== null) requireText(row.machine, `${place}.machine`);
    if (row.vcpus !== null) integer(row.vcpus, `${place}.vcpus`, MAX_VCPUS);
    const validFrom = row.valid_from === null ? null : moment(row.valid_from, `${place}.valid_from`);
    if (row.note !== null) requireText(row.note, `${place}.note`);
    measurements.set(measured, Object.freeze({ value: measured, covers: row.covers, validFrom }));
  }
  return [...measurements.values()];
}

/** @returns {string[][]} */
function parseBootImages(value, path) {
  return rowsOf(value, path, 0, MAX_BOOT_IMAGES).map(([place, row]) => {
    requireMembers(row, ["pcr4", "pcr7", "pcr12"], place, { exact: true });
    return [4, 7, 12].map((n) => hexOf(hexBytes(row[`pcr${n}`], 48, `${place}.pcr${n}`)));
  });
}

function parseFloors(value, path) {
  if (!isObject(value)) throw new Malformed(path, kindOf(value), "an object");
  return decodeFloors(value, path);
}

/** @returns {Retired} */
function parseRetired([place, row]) {
  const kind = isObject(row) && Object.hasOwn(row, "measurement") ? "measurement" : "release";
  requireMembers(row, [kind, "since", "reason"], place, { exact: true });
  const what =
    kind === "measurement"
      ? hexOf(hexBytes(row[kind], 48, `${place}.${kind}`))
      : pattern(row[kind], `${NAME} ${VERSION}`, `${place}.${kind}`, "NAME VERSION, for example saferouter 1.2.0");
  const since = moment(row.since, `${place}.since`);
  return Object.freeze({ what, since, reason: requireText(row.reason, `${place}.reason`) });
}

/** The items of an array of bounded length, each with its place for a message. @returns {[string, Json][]} */
function rowsOf(value, path, least, most) {
  if (!Array.isArray(value) || value.length < least || value.length > most) {
    const found = Array.isArray(value) ? `${value.length} items` : kindOf(value);
    throw new Malformed(path, found, `an array of ${least} to ${most} items`);
  }
  return value.map((item, index) => [`${path}[${index}]`, item]);
}

function integer(value, path, most) {
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new Malformed(path, shown(value), `an integer of 1 to ${most}`);
  }
  return value;
}

const moment = (value, path) => new Date(seconds(value, path) * 1000);

function pattern(value, source, path, wanted) {
  if (typeof value !== "string" || !new RegExp(`^(?:${source})$`).test(value)) {
    throw new Malformed(path, shown(value), wanted);
  }
  return value;
}
