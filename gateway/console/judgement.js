// What the shield may say of a verdict. Pure: it never says more than the checks that were carried out.

// Every one of these must have passed for a shield without reserve; a skip is none. hw.root is not asked of a mock.
export const ESSENTIAL = [
  ...["hw.signature", "hw.root", "hw.revocation", "guest.debug", "code.measurement"],
  ...["bind.report-data", "bind.nonce", "bind.workload", "bind.identity", "bind.keyset-expiry", "bind.audience"],
  ...["log.inclusion", "log.startup"],
  ...["receipt.format", "receipt.keyset", "receipt.signature", "receipt.request", "receipt.response"],
  ...["receipt.complete", "receipt.log", "receipt.route"],
];

/**
 * @typedef {"pass" | "pinned" | "partial" | "mock" | "fail" | "skip"} State
 * @typedef {{state: State, label: string, sentence: string}} Judgement
 * @typedef {"reader" | "pin" | "none"} Ground who named the build: the reader, the first visit, or only the gateway
 */

/** No check was carried out, and why. @param {string} why @returns {Judgement} */
export const unchecked = (why) => ({ state: "skip", label: "Not checked", sentence: why });

/**
 * @param {{verdict: string, mock: boolean, sentence: string, checks: readonly {id: string, outcome: string, reason: string}[]}} verdict
 * @param {Ground} ground
 * @returns {Judgement}
 */
export function judge(verdict, ground) {
  if (verdict.verdict !== "verified") return { state: "fail", label: "Not verified", sentence: verdict.sentence };
  const done = new Set(verdict.checks.filter((check) => check.outcome === "pass").map((check) => check.id));
  const open = ESSENTIAL.filter((id) => !done.has(id) && !(verdict.mock && ["hw.root", "hw.revocation"].includes(id)));
  if (verdict.mock) return judgeMock(open);
  if (open.length) return { state: "partial", label: "Not fully checked", sentence: `${listed(open)} could not be checked.` };
  return GROUNDS[ground] ?? GROUNDS.none;
}

/** @param {string[]} open @returns {Judgement} */
function judgeMock(open) {
  const rest = open.length ? ` ${listed(open)} could not be checked.` : " The receipt is for exactly these bytes.";
  const sentence = `Software signed this evidence, not a chip: it proves nothing about hardware.${rest}`;
  return { state: "mock", label: open.length ? "MOCK, not fully checked" : "MOCK", sentence };
}

/** @type {Record<Ground, Judgement>} */
const GROUNDS = {
  reader: {
    state: "pass",
    label: "Verified",
    sentence: "A genuine AMD chip runs the build that you named, and signed for exactly the bytes that left and came here.",
  },
  pin: {
    state: "pinned",
    label: "Same build as before",
    sentence: "Every check holds, for the build that this gateway named when you pinned it. Whether that is a good build, a release says.",
  },
  none: {
    state: "partial",
    label: "Build not named",
    sentence: "Every check holds, but for a build that the gateway itself named: nobody told this browser which one to expect.",
  },
};

/** @param {string[]} ids */
const listed = (ids) => ids.join(", ");
