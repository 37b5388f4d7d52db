// What is in the log: the checks of a quote's checkpoint and `startup` leaf (SPEC §15.9).

import { equalBytes, hexOf } from "./bytes.js";
import { digest, digestBytes, shown } from "./canonical.js";
import { isoSeconds } from "./chain.js";
import { openCheckpoint, verifyLeaf } from "./checkpoint.js";
import { Malformed } from "./errors.js";
import { failed, judged, passed, skipped, unparsed } from "./evidence.js";
import { digestText, requireMembers } from "./identity.js";
import { parseEntry } from "./leaf.js";
import { verifyConsistency } from "./merkle.js";
import { LOG_KEY, parseNoteKey } from "./note.js";

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./quote.js").Quote} Quote */
/** @typedef {import("./witnesses.js").WitnessPolicy} WitnessPolicy */
/** The newest checkpoint of a log that this verifier has seen: the log's vkey, the size and root of its tree.
 * @typedef {{vkey: string, size: number, root: Uint8Array}} SeenLog */
/** What was seen before, and the proof that the smaller tree became the larger; null if the gateway gave none.
 * @typedef {{seen: SeenLog, proof: readonly Uint8Array[] | null}} Earlier */

const CHECKPOINT = "quote.log.checkpoint";
export const INCLUSION = "log.inclusion";
const STARTUP = "log.startup";
export const WITNESS = "log.witness";
export const CONSISTENCY = "log.consistency";
export const CHECKS = Object.freeze([INCLUSION, STARTUP, WITNESS, CONSISTENCY]);
const REQUIRED = Object.freeze(CHECKS.slice(0, 2)); // wherever the workload names a log
const PLAIN = ["keyset_digest", "workload_digest", "measurement", "audience"];
const OBJECTS = ["build", "configuration"];

/**
 * The `log.*` checks. A workload that names a log must show its start there, and one that names none shows none.
 * @param {Quote} quote @param {import("./report.js").AttestationReport | null} report
 * @param {WitnessPolicy | null} witnesses @param {Earlier | null} earlier @returns {Promise<Check[]>}
 */
export async function judgeLog(quote, report, witnesses, earlier) {
  const named = quote.workload.log;
  const carried = quote.log;
  if (named === null && carried === null) {
    return CHECKS.map((id) => skipped(id, "the workload names no transparency log"));
  }
  if (named === null || carried === null) {
    const found = carried === null ? "the quote shows no log" : "the quote shows a log";
    const disagree = failed(INCLUSION, found, `${named?.origin ?? "none"}, as the workload document says`);
    return [disagree, ...CHECKS.slice(1).map((id) => skipped(id, "quote and workload disagree"))];
  }
  return [
    await checkInclusion(named, carried),
    await checkStartup(quote, carried, report),
    await checkWitness(named, carried, witnesses),
    await checkConsistency(named, carried, earlier),
  ];
}

/**
 * What of the log's checks must pass: the start, where the workload names a log; own witnesses and what was seen bind
 * every quote.
 * @param {Quote} quote @param {WitnessPolicy | null} witnesses @param {Earlier | null} earlier
 */
export const requiredOfLog = (quote, witnesses, earlier) => [
  ...(quote.workload.log !== null ? REQUIRED : []),
  ...(witnesses?.demands ? [WITNESS] : []),
  ...(earlier !== null ? [CONSISTENCY] : []),
];

/** The key of the workload's log. @param {import("./identity.js").WorkloadLog} named */
export async function logKey({ origin, vkey }) {
  const field = "workload.log.vkey";
  const key = await parseNoteKey(vkey, field);
  if (key.type !== LOG_KEY) throw new Malformed(field, `a key of type ${key.type}`, "a log's key, of type 1");
  if (key.name !== origin) throw new Malformed(field, `the key of ${shown(key.name)}`, `${origin}, the log's origin`);
  return key;
}

async function checkInclusion(named, { index, leaf, proof, checkpoint: note }) {
  let checkpoint;
  try {
    checkpoint = await verifyLeaf(leaf, { index, hashes: proof, checkpoint: note }, await logKey(named), "quote.log");
  } catch (error) {
    return unparsed(INCLUSION, error);
  }
  const found = `leaf ${index} of ${checkpoint.size}, root ${hexOf(checkpoint.root)}`;
  return passed(INCLUSION, found, `the startup leaf in a checkpoint signed by ${named.vkey}`);
}

/** The leaf says of this start what the quote says of itself. */
async function checkStartup({ keyset, workload }, carried, report) {
  if (report === null) return skipped(STARTUP, "the report does not parse");
  let entry, said;
  try {
    entry = parseEntry(carried.leaf, "quote.log.startup.leaf_b64");
    said = await saidBy(entry);
  } catch (error) {
    return unparsed(STARTUP, error);
  }
  const wanted = {
    index: String(carried.index),
    keyset_digest: await digestBytes(keyset.canonical),
    workload_digest: await digestBytes(workload.canonical),
    measurement: hexOf(report.measurement),
    audience: workload.audience,
    build: await digest(workload.document.build),
    configuration: await digest(workload.document.configuration),
  };
  for (const [name, value] of Object.entries(wanted)) {
    if (said[name] !== value) return failed(STARTUP, `${name} ${shown(said[name])} in the log`, `${value}, in the quote`);
  }
  const time = isoSeconds(new Date(entry.time * 1000));
  return passed(STARTUP, `logged at ${time}, by the log's own clock`, "this keyset, workload, measurement and build");
}

/**
 * The log's tree as this quote shows it, for the next time; null where it shows none.
 * @param {Quote} quote @returns {Promise<SeenLog | null>}
 */
export async function seenLog({ workload, log }) {
  if (workload.log === null || log === null) return null;
  const { size, root } = await openCheckpoint(log.checkpoint, await logKey(workload.log), CHECKPOINT);
  return { vkey: workload.log.vkey, size, root };
}

/** The smaller of the two trees, that of the quote and the one seen before, is a beginning of the larger. */
async function checkConsistency(named, carried, earlier) {
  if (earlier === null) return skipped(CONSISTENCY, "no earlier checkpoint of this log is known here");
  const { seen, proof } = earlier;
  if (named.vkey !== seen.vkey) {
    const why = "a new log may hide what the old one said; --accept-new-log accepts it";
    return failed(CONSISTENCY, `log ${named.vkey}`, `${seen.vkey}, seen before at this address`, why);
  }
  let sizes;
  try {
    const now = await openCheckpoint(carried.checkpoint, await logKey(named), CHECKPOINT);
    if (now.size === seen.size) {
      const same = equalBytes(now.root, seen.root);
      const found = `root ${hexOf(now.root)} of ${now.size} leaves`;
      const why = same ? "" : "a split view: the log signed two trees of one size";
      return judged(CONSISTENCY, same, found, `${hexOf(seen.root)}, seen before`, why);
    }
    sizes = `${seen.size} leaves seen before and ${now.size} now`;
    if (proof === null) return failed(CONSISTENCY, `no proof for ${sizes}`, "one from the gateway");
    const [old, larger] = seen.size < now.size ? [seen, now] : [now, seen];
    await verifyConsistency(old.size, old.root, larger.size, larger.root, proof);
  } catch (error) {
    return unparsed(CONSISTENCY, error);
  }
  return passed(CONSISTENCY, sizes, "one history");
}

/** The quorum of the verifier's policy cosigned the very checkpoint that the log signed. */
async function checkWitness(named, carried, policy) {
  if (policy === null) return skipped(WITNESS, "no witness policy was given");
  if (!policy.demands) return skipped(WITNESS, "your witness policy asks for no witness");
  let key;
  try {
    key = await logKey(named);
  } catch (error) {
    return unparsed(WITNESS, error);
  }
  return checkQuorum(WITNESS, carried.checkpoint, key, policy, CHECKPOINT);
}

/**
 * The policy names this log, and its quorum cosigned this checkpoint of it.
 * @param {string} id @param {string} whole @param {import("./note.js").NoteKey} key @param {WitnessPolicy} policy
 * @param {string} field @returns {Promise<Check>}
 */
export async function checkQuorum(id, whole, key, policy, field) {
  let times;
  try {
    const { note } = await openCheckpoint(whole, key, field);
    times = await policy.cosigned(note, field);
  } catch (error) {
    return unparsed(id, error);
  }
  if (!policy.logs.some((log) => log.vkey === key.vkey)) {
    return failed(id, `log ${key.vkey}`, "a log that your witness policy names");
  }
  const rows = [...times].map(([name, time]) => `${name} at ${isoSeconds(new Date(time * 1000))}`);
  return judged(id, policy.reached(times.keys()), rows.join(", ") || "no cosignature", policy.describe());
}

/** What a startup leaf names, each as one text. @param {import("./leaf.js").LogEntry} entry */
async function saidBy({ index, type, body }) {
  const field = "quote.log.startup.leaf_b64";
  if (type !== "startup") throw new Malformed(`${field}.type`, shown(type), "startup");
  requireMembers(body, [...PLAIN, ...OBJECTS, "report_digest"], `${field}.body`, { exact: true });
  digestText(body.report_digest, `${field}.body.report_digest`);
  const said = { index: String(index) };
  for (const name of PLAIN) {
    if (typeof body[name] !== "string") throw new Malformed(`${field}.body.${name}`, shown(body[name]), "text");
    said[name] = body[name];
  }
  for (const name of OBJECTS) said[name] = await digest(body[name]);
  return said;
}
