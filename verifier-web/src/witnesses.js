// Whose cosignatures make a checkpoint believable: C2SP tlog-policy files and their quorum (SPEC §15.3).

import { equalBytes } from "./bytes.js";
import { decodeUtf8, shown } from "./canonical.js";
import { cosignedAt } from "./checkpoint.js";
import { Malformed } from "./errors.js";
import { LOG_KEY, parseNoteKey, SPACE, WITNESS_KEY } from "./note.js";

export const MAX_POLICY_SIZE = 64 << 10;
const MAX_WITNESSES = 100;
const NONE = "none"; // the quorum of who asks for no witness
const THRESHOLD = /^[1-9][0-9]{0,2}$/; // one spelling, and no more than MAX_WITNESSES asks for
const GAP = new RegExp(`[\\u0009-\\u000d\\u001c-\\u001f${SPACE}]+`, "u"); // where Python's split() cuts

/** @typedef {import("./note.js").NoteKey} NoteKey */
/** A witness by its local name and its key (type 4). @typedef {{name: string, key: NoteKey}} Witness */
/** At least `threshold` of these members, witnesses or groups. @typedef {{threshold: number, members: string[]}} Group */

/** The logs that one believes, and the witnesses that one wants on their checkpoints. */
export class WitnessPolicy {
  constructor() {
    /** @type {NoteKey[]} */
    this.logs = [];
    /** @type {Map<string, Witness>} */
    this.witnesses = new Map();
    /** @type {Map<string, Group>} */
    this.groups = new Map();
    /** @type {string | null} */
    this.quorum = null;
  }

  /** Whether this policy wants a cosignature. */
  get demands() {
    return this.quorum !== NONE;
  }

  /** Whether these witnesses, by name, make up the quorum. @param {Iterable<string>} cosigned */
  reached(cosigned) {
    return !this.demands || this.#holds(/** @type {string} */ (this.quorum), new Set(cosigned));
  }

  #holds(name, cosigned) {
    const group = this.groups.get(name);
    if (group === undefined) return cosigned.has(name);
    return group.members.filter((member) => this.#holds(member, cosigned)).length >= group.threshold;
  }

  /**
   * When each witness of this policy cosigned, by its name.
   * @param {import("./note.js").Note} note @param {string} field @returns {Promise<Map<string, number>>}
   */
  async cosigned(note, field) {
    const times = new Map();
    for (const { name, key } of this.witnesses.values()) {
      const time = await cosignedAt(note, key, field);
      if (time !== null) times.set(name, time);
    }
    return times;
  }

  /** The quorum in words. */
  describe() {
    const group = this.groups.get(this.quorum ?? NONE);
    if (group) return `${group.threshold} of ${group.members.join(", ")}`;
    return this.demands ? `witness ${this.quorum}` : "no witness";
  }

  /** Whether a witness or a group stands above. @param {string} name */
  knows(name) {
    return this.witnesses.has(name) || this.groups.has(name);
  }
}

// What each keyword adds to a policy; `words` stand behind it on its line.
const KEYWORDS = {
  log: async (policy, words, place) => {
    if (words.length < 1 || words.length > 2) throw new Malformed(place, `${words.length} words`, "log VKEY [URL]");
    policy.logs.push(await keyOf(words[0], LOG_KEY, "a log's key, of type 1", place));
  },
  witness: async (policy, words, place) => {
    if (words.length < 2 || words.length > 3) {
      throw new Malformed(place, `${words.length} words`, "witness NAME VKEY [URL]");
    }
    requireNew(policy, words[0], place);
    const key = await keyOf(words[1], WITNESS_KEY, "a witness's key, of type 4", place);
    if ([...policy.witnesses.values()].some((other) => equalBytes(other.key.publicKey, key.publicKey))) {
      throw new Malformed(place, "a key that another witness has", "a key of its own: one person is one witness");
    }
    policy.witnesses.set(words[0], { name: words[0], key });
  },
  group: (policy, words, place) => {
    if (words.length < 3) throw new Malformed(place, `${words.length} words`, "group NAME all|any|K MEMBER…");
    const [name, demand, ...members] = words;
    requireNew(policy, name, place);
    const stranger = members.find((member) => !policy.knows(member));
    if (stranger !== undefined) throw new Malformed(place, shown(stranger), "a witness or a group that stands above");
    if (new Set(members).size !== members.length) throw new Malformed(place, "a member twice", "each member once");
    const wordsFor = new Map([["all", members.length], ["any", 1]]);
    const threshold = wordsFor.get(demand) ?? (THRESHOLD.test(demand) ? Number(demand) : 0);
    if (threshold < 1 || threshold > members.length) {
      throw new Malformed(place, shown(demand), `all, any, or 1 to ${members.length}`);
    }
    policy.groups.set(name, { threshold, members });
  },
  quorum: (policy, words, place) => {
    if (words.length !== 1 || policy.quorum !== null) {
      throw new Malformed(place, "another quorum", "one line, quorum NAME");
    }
    if (words[0] !== NONE && !policy.knows(words[0])) {
      throw new Malformed(place, shown(words[0]), "none, or a witness or a group that stands above");
    }
    policy.quorum = words[0];
  },
};

async function keyOf(vkey, type, wanted, place) {
  const key = await parseNoteKey(vkey, place);
  if (key.type !== type) throw new Malformed(place, `a key of type ${key.type}`, wanted);
  return key;
}

function requireNew(policy, name, place) {
  if (name === NONE || policy.knows(name)) throw new Malformed(place, shown(name), "a name that is not taken");
  if (policy.witnesses.size + policy.groups.size >= MAX_WITNESSES) {
    throw new Malformed(place, "more witnesses and groups", `at most ${MAX_WITNESSES}`);
  }
}

/**
 * A policy from its file (C2SP tlog-policy). A quorum is required: silence could mean none.
 * @param {Uint8Array} raw @returns {Promise<WitnessPolicy>}
 */
export async function parseWitnessPolicy(raw) {
  const field = "witness policy";
  if (raw.length > MAX_POLICY_SIZE) throw new Malformed(field, `${raw.length} bytes`, `at most ${MAX_POLICY_SIZE}`);
  const policy = new WitnessPolicy();
  for (const [at, line] of decodeUtf8(raw, field).split("\n").entries()) {
    const [keyword, ...words] = line.split(GAP).filter(Boolean);
    if (keyword === undefined || keyword.startsWith("#")) continue;
    const place = `${field}, line ${at + 1}`;
    if (!Object.hasOwn(KEYWORDS, keyword)) throw new Malformed(place, shown(keyword), "log, witness, group or quorum");
    await KEYWORDS[keyword](policy, words, place);
  }
  if (policy.quorum === null) throw new Malformed(field, "no quorum", "a line quorum NAME, or quorum none");
  if (policy.logs.length === 0) throw new Malformed(field, "no log", "a line log VKEY");
  return policy;
}
