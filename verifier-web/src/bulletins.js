// TCB data: AMD's bulletins and what each asks of a report, built in or in a signed update (SPEC §13).

import { equalBytes } from "./bytes.js";
import { encodeCanonical, kindOf, parseJson, shown, step } from "./canonical.js";
import { openEnvelope } from "./envelope.js";
import { Malformed } from "./errors.js";
import { requireMembers, requireText, seconds } from "./identity.js";
import { PRODUCTS } from "./product.js";
import { PLATFORM_WORDS } from "./report.js";
import { TCB_DATA } from "./tcb.js";

export const FORMAT = "saferouter/tcb/v1";
export const PAYLOAD_TYPE = "application/vnd.saferouter.tcb+json";
export const REVOKED = "revoked";
const NEEDS_UPDATE = "needs-update";
export const BULLETIN_ID = /^AMD-SB-[0-9]{4,6}$/;
const MAX_ROWS = 256; // AMD publishes a few bulletins a year, each for a handful of CPUs

/** @typedef {import("./canonical.js").Json} Json */
/**
 * A CPU by name, for example `Milan B1`: microcode versions compare only within one.
 * @typedef {{name: string, product: string, model: number, stepping: number}} Stepping
 */
/**
 * What a bulletin asks of one product, or of one stepping of it; `withdrawn` is the day it stopped asking.
 * @typedef {{product: string, stepping: string | null, floor: import("./product.js").Tcb, platform: string[],
 *   mitigationBits: number[], withdrawn: string | null}} Requirement
 */
/**
 * One bulletin; a report below it has the status `statusBelow`. `notProven`, by product: what no version can show.
 * @typedef {{id: string, title: string, published: string | null, statusBelow: string, smtOffAnswers: boolean,
 *   requirements: Requirement[], notProven: Record<string, string>, note: string | null}} Bulletin
 */
/**
 * A dated table of bulletins; `sequence` only grows, `issued` and `expires` are seconds since 1970.
 * @typedef {{sequence: number, issued: number, expires: number, steppings: Stepping[], bulletins: Bulletin[]}} TcbData
 */

/**
 * The data of a signed update, never older than the built-in one.
 * @param {Uint8Array} raw @param {import("./envelope.js").Signers} signers @returns {Promise<TcbData>}
 */
export async function openTcbData(raw, signers) {
  const payload = await openEnvelope(raw, signers, PAYLOAD_TYPE, "tcb");
  const document = parseJson(payload, "tcb.payload");
  const data = decodeTcbData(document);
  if (!equalBytes(payload, encodeCanonical(document))) {
    throw new Malformed("tcb.payload", "another spelling of it", "the canonical form (RFC 8785) of the document");
  }
  if (data.sequence < BUILT_IN.sequence) {
    throw new Malformed("tcb.sequence", data.sequence, `at least ${BUILT_IN.sequence}, which is built in`);
  }
  return data;
}

/** TCB data from its parsed document; an unknown member is refused. @param {Json} document @returns {TcbData} */
export function decodeTcbData(document) {
  const names = ["format", "sequence", "issued", "expires", "steppings", "bulletins"];
  requireMembers(document, names, "tcb", { exact: true });
  if (document.format !== FORMAT) throw new Malformed("tcb.format", shown(document.format), FORMAT);
  const [issued, expires] = ["issued", "expires"].map((name) => seconds(document[name], `tcb.${name}`));
  if (expires <= issued) throw new Malformed("tcb.expires", expires, `a time after it was issued, ${issued}`);
  const steppings = list(document.steppings, "tcb.steppings").map((row, at) => stepping(row, `tcb.steppings[${at}]`));
  requireUnique(
    steppings.map((row) => row.name),
    "tcb.steppings",
  );
  const rows = list(document.bulletins, "tcb.bulletins");
  const bulletins = rows.map((row, at) => bulletin(row, `tcb.bulletins[${at}]`, steppings));
  requireUnique(
    bulletins.map((row) => row.id),
    "tcb.bulletins",
  );
  const sequence = integer(document.sequence, "tcb.sequence", Number.MAX_SAFE_INTEGER);
  return Object.freeze({ sequence, issued, expires, steppings, bulletins });
}

function stepping(row, path) {
  requireMembers(row, ["name", "product", "model", "stepping"], path, { exact: true });
  return Object.freeze({
    name: requireText(row.name, `${path}.name`, 64),
    product: productName(row.product, `${path}.product`),
    model: integer(row.model, `${path}.model`, 255),
    stepping: integer(row.stepping, `${path}.stepping`, 255),
  });
}

function bulletin(row, path, steppings) {
  const names = ["id", "title", "published", "status_below", "smt_off_answers", "requirements", "not_proven", "note"];
  requireMembers(row, names, path, { exact: true });
  if (!BULLETIN_ID.test(requireText(row.id, `${path}.id`, 64))) {
    throw new Malformed(`${path}.id`, shown(row.id), "a bulletin's id, for example AMD-SB-3019");
  }
  if (![REVOKED, NEEDS_UPDATE].includes(row.status_below)) {
    throw new Malformed(`${path}.status_below`, shown(row.status_below), `${REVOKED} or ${NEEDS_UPDATE}`);
  }
  if (typeof row.smt_off_answers !== "boolean") {
    throw new Malformed(`${path}.smt_off_answers`, kindOf(row.smt_off_answers), "a boolean");
  }
  const asked = list(row.requirements, `${path}.requirements`);
  return Object.freeze({
    id: row.id,
    title: requireText(row.title, `${path}.title`, 64),
    published: date(row.published, `${path}.published`),
    statusBelow: row.status_below,
    smtOffAnswers: row.smt_off_answers,
    requirements: asked.map((each, at) => requirement(each, `${path}.requirements[${at}]`, steppings)),
    notProven: Object.fromEntries(
      members(row.not_proven, `${path}.not_proven`).map(([name, value]) => [
        productName(name, `${path}.not_proven`),
        requireText(value, `${path}.not_proven.${step(name)}`),
      ]),
    ),
    note: row.note === null ? null : requireText(row.note, `${path}.note`),
  });
}

function requirement(row, path, steppings) {
  const names = ["product", "stepping", "floor", "platform", "mitigation_bits", "withdrawn"];
  requireMembers(row, names, path, { exact: true });
  const product = productName(row.product, `${path}.product`);
  const known = steppings.filter((each) => each.product === product).map((each) => each.name);
  if (row.stepping !== null && !known.includes(row.stepping)) {
    throw new Malformed(`${path}.stepping`, shown(row.stepping), `null or a stepping of ${product}`);
  }
  const layout = Object.keys(PRODUCTS.get(product)?.tcbLayout ?? {});
  const floor = new Map(members(row.floor, `${path}.floor`));
  const unknown = [...floor.keys()].find((part) => !layout.includes(part));
  if (unknown !== undefined) {
    throw new Malformed(`${path}.floor.${step(unknown)}`, "an unknown component", `one of ${layout.join(", ")}`);
  }
  const words = list(row.platform, `${path}.platform`);
  const other = words.findIndex((word) => typeof word !== "string" || !Object.hasOwn(PLATFORM_WORDS, word));
  if (other >= 0) {
    throw new Malformed(`${path}.platform`, shown(words[other]), `one of ${Object.keys(PLATFORM_WORDS).join(", ")}`);
  }
  const bits = list(row.mitigation_bits, `${path}.mitigation_bits`);
  const parts = layout.filter((part) => floor.has(part));
  return Object.freeze({
    product,
    stepping: row.stepping,
    floor: Object.fromEntries(parts.map((part) => [part, integer(floor.get(part), `${path}.floor.${part}`, 255)])),
    platform: words,
    mitigationBits: bits.map((bit) => integer(bit, `${path}.mitigation_bits`, 63)),
    withdrawn: date(row.withdrawn, `${path}.withdrawn`),
  });
}

function list(value, path) {
  if (!Array.isArray(value) || value.length > MAX_ROWS) {
    const found = Array.isArray(value) ? `${value.length} items` : kindOf(value);
    throw new Malformed(path, found, `an array of at most ${MAX_ROWS} items`);
  }
  return value;
}

function members(value, path) {
  requireMembers(value, [], path);
  return Object.keys(value)
    .sort()
    .map((name) => [name, value[name]]);
}

function requireUnique(values, path) {
  if (new Set(values).size !== values.length) throw new Malformed(path, "a name twice", "each name once");
}

function productName(value, path) {
  if (!PRODUCTS.has(value)) throw new Malformed(path, shown(value), "Milan, Genoa or Turin");
  return value;
}

function integer(value, path, maximum) {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new Malformed(path, shown(value), `0 to ${maximum}`);
  }
  return value;
}

function date(value, path) {
  if (value === null || (typeof value === "string" && /^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$/.test(value))) return value;
  throw new Malformed(path, shown(value), "null, YYYY-MM or YYYY-MM-DD");
}

/** The highest version of each component that any bulletin asks of every stepping of a product. */
function defaultFloor(data) {
  const floorOf = ({ name, tcbLayout }) => {
    const asked = data.bulletins
      .flatMap((each) => each.requirements)
      .filter((row) => row.product === name && row.stepping === null && row.withdrawn === null);
    const highest = Object.keys(tcbLayout).map((part) => [part, Math.max(-1, ...asked.map((row) => row.floor[part] ?? -1))]);
    return [name, Object.freeze(Object.fromEntries(highest.filter(([, version]) => version >= 0)))];
  };
  return Object.freeze(Object.fromEntries([...PRODUCTS.values()].map(floorOf)));
}

export const BUILT_IN = decodeTcbData(TCB_DATA);
// A policy may set its own floor; a signed update changes the status of a report, never this floor.
/** @type {Record<string, import("./product.js").Tcb>} */
export const DEFAULT_TCB_FLOOR = defaultFloor(BUILT_IN);
