// The questions that a person asks, and the state that the checks of a verdict give to each.
import { CHECKS } from "./checks.js";

/**
 * @typedef {import("./evidence.js").Check} Check
 * @typedef {import("./evidence.js").Verdict} Verdict
 * @typedef {{id: string, title: string, state: "pass"|"fail"|"skip"|"mock", why: string, trust: string,
 *   checks: Check[], skipped: Check[], evidence: {label: string, value: string}[]}} Answer
 */

// `deciding`: a question stays open while one of these was skipped, even where the verdict does not require it
// (a stored file is judged without a nonce of ours, and still nobody may read "fresh").
// `evidence`: the values worth seeing first. `mockTrust`: what is left of the trust when a mock was accepted.
// `imageTrust`: instead of `trust`, where a boot image was accepted. `absent`: why no check of the question ran at all.
export const QUESTIONS = [
  {
    id: "genuine",
    title: "Is it a genuine AMD chip?",
    deciding: ["hw.signature"],
    evidence: { Processor: "hw.product", Root: "hw.root" },
    trust:
      "AMD. The digests of its root and intermediate keys are written into this page; evidence cannot change them.",
    mockTrust: "Nothing: the root was made in software, and you ticked the box that accepts it.",
    absent: "No hardware check was carried out.",
  },
  {
    id: "debug",
    title: "Is debugging off, and the firmware one that you accept?",
    deciding: ["guest.debug", "guest.tcb-floor", "guest.tcb-status"],
    evidence: { "Launch policy": "guest.debug", Firmware: "guest.tcb-floor", "Firmware status": "guest.tcb-status" },
    trust: "AMD’s secure processor, which signed these values; the floors are your policy’s, the bulletins AMD’s.",
    mockTrust: "Nothing: software signed these values about itself.",
    absent: "No policy was given, so no value of the report was judged.",
  },
  {
    id: "build",
    title: "Is the build a known one?",
    deciding: ["code.measurement"],
    evidence: { Measurement: "code.measurement", "Boot image": "code.boot-image", Release: "code.release" },
    trust:
      "You: your policy names the measurement, or the people whose signed release lists it. No keys of ours are built in yet.",
    imageTrust:
      "You, as to which firmware and image are meant. AMD, for the firmware; AWS, whose NitroTPM alone names the image.",
    mockTrust: "You, as to which measurement is meant; but software can name any measurement.",
    absent: "No policy was given, so the measurement was compared with nothing.",
  },
  {
    id: "keys",
    title: "Do the keys belong to it?",
    deciding: ["bind.report-data", "bind.workload"],
    evidence: { "Committed in the report": "bind.report-data", Address: "bind.audience" },
    trust: "The chip: its signature covers a digest of the keys, rebuilt here from the keys themselves.",
    mockTrust: "Nothing beyond the mock’s own signature.",
    absent: "A bare report names no keys; a quote does.",
  },
  {
    id: "fresh",
    title: "Is the evidence fresh?",
    deciding: ["bind.nonce"],
    evidence: { Nonce: "bind.nonce", "Keys valid until": "bind.keyset-expiry" },
    trust: "This page: it made the random nonce that the report answers. The clock is this device’s.",
    mockTrust: "This page’s random nonce, but software answered it.",
    absent: "A bare report answers no nonce of yours.",
  },
  {
    id: "answer",
    title: "Is the answer untouched?",
    deciding: ["receipt.signature", "receipt.request", "receipt.response"],
    evidence: { Receipt: "receipt.format", Response: "receipt.response" },
    trust: "The receipt key, which the report commits to, and the bytes that you hold.",
    mockTrust: "The receipt key, for which only a mock vouches, and the bytes that you hold.",
    absent: "",
  },
];

const BY_AMD = "A genuine AMD chip runs a build that you accept, and holds the keys shown below.";
const BY_AWS =
  "A genuine AMD chip protects the memory and holds the keys shown below; that it booted an image you accept, AWS says.";

/** @type {Map<string, {id: string, title: string, section: string, question: string, does_not_prove: string}>} */
const KNOWN = new Map(CHECKS.map((row) => [row.id, row]));

/**
 * What is known of a check's id. An unknown id still gets a row: it is shown, never dropped.
 * @param {string} id
 */
export function describeCheck(id) {
  return KNOWN.get(id) ?? { id, title: id, section: "", question: "", does_not_prove: "" };
}

/**
 * The questions in order, each with its state; the answer's only if a receipt was judged.
 * @param {Verdict} verdict
 * @returns {Answer[]}
 */
export function answerQuestions(verdict) {
  const asked = verdict.checks.some((check) => describeCheck(check.id).question === "answer");
  return QUESTIONS.filter((question) => asked || question.id !== "answer").map((question) => answer(question, verdict));
}

/**
 * @param {typeof QUESTIONS[number]} question
 * @param {Verdict} verdict
 * @returns {Answer}
 */
function answer(question, verdict) {
  const checks = verdict.checks.filter((check) => describeCheck(check.id).question === question.id);
  const skipped = checks.filter((check) => check.outcome === "skip");
  const { state, why, open } = stateOf(question, checks, verdict);
  // Named already, as the reason of the state, or not demanded: then the reader still learns of it.
  const unanswered = skipped.filter((check) => check.id !== open);
  const evidence = Object.entries(question.evidence)
    .map(([label, id]) => ({ label, check: checks.find((check) => check.id === id) }))
    .filter(({ check }) => check && check.outcome !== "skip")
    .map(({ label, check }) => ({ label, value: /** @type {Check} */ (check).found }));
  return {
    id: question.id,
    title: question.title,
    state,
    why,
    trust: verdict.mock ? question.mockTrust : (hasImage(verdict) && question.imageTrust) || question.trust,
    checks,
    skipped: unanswered,
    evidence,
  };
}

/** Whether an accepted boot image was named. @param {Verdict} verdict */
const hasImage = (verdict) =>
  verdict.checks.some((check) => check.id === "code.boot-image" && check.outcome === "pass");

/**
 * Fail beats not checked beats mock beats pass.
 * @param {typeof QUESTIONS[number]} question
 * @param {Check[]} checks
 * @param {Verdict} verdict
 * @returns {{state: "pass"|"fail"|"skip"|"mock", why: string, open?: string}} `open`: the check that leaves it open
 */
function stateOf(question, checks, verdict) {
  const failed = checks.filter((check) => check.outcome === "fail");
  if (failed.length) return { state: "fail", why: failed.map((check) => describeCheck(check.id).title).join("; ") };
  if (!checks.length) return { state: "skip", why: question.absent };
  const done = new Set(checks.filter((check) => check.outcome === "pass").map((check) => check.id));
  const required = verdict.required.filter((id) => describeCheck(id).question === question.id);
  const open = [...question.deciding, ...required].find((id) => !done.has(id));
  if (open) {
    const reason = checks.find((check) => check.id === open)?.reason || "it never ran";
    return { state: "skip", why: `“${describeCheck(open).title}” was not checked (${reason}).`, open };
  }
  const ground = groundOf(question, verdict);
  if (ground) return { state: "skip", why: `The values hold, but rest on “${ground}”, which fails.` };
  if (verdict.mock && question.id === "genuine")
    return { state: "mock", why: "A key made in software signed this, not a chip.", open: "hw.root" };
  const document = checks.find((check) => check.id === "code.platform-evidence");
  if (document?.outcome === "skip" && document.reason.startsWith("MOCK"))
    return { state: "mock", why: "A key made in software named the boot image, not AWS.", open: document.id };
  return { state: "pass", why: "" };
}

/**
 * The first question that fails among those that this one rests on: what a forged chip says of itself is no answer.
 * @param {typeof QUESTIONS[number]} question
 * @param {Verdict} verdict
 */
function groundOf(question, verdict) {
  const failing = (id) =>
    verdict.checks.some((check) => check.outcome === "fail" && describeCheck(check.id).question === id);
  const below = question.id === "genuine" ? [] : question.id === "answer" ? ["genuine", "keys"] : ["genuine"];
  return QUESTIONS.find((other) => below.includes(other.id) && failing(other.id))?.title;
}

/**
 * The headline. Green (`pass`) only when the verdict is `verified`, no mock was accepted and no question stays open.
 * @param {Verdict} verdict
 * @returns {{state: "pass"|"fail"|"partial"|"mock", word: string, sentence: string}}
 */
export function headline(verdict) {
  if (verdict.verdict === "rejected") return { state: "fail", word: "Rejected", sentence: rejection(verdict) };
  if (verdict.mock) {
    return {
      state: "mock",
      word: "Mock",
      sentence: "The checks hold on a mock, made in software: this proves nothing about hardware.",
    };
  }
  if (verdict.verdict !== "verified") {
    return {
      state: "partial",
      word: "Authentic",
      sentence: "AMD’s signatures are real, but no policy was applied: any build could have made this report.",
    };
  }
  const rows = answerQuestions(verdict);
  const open = rows.filter((row) => row.state !== "pass");
  if (open.length) {
    const titles = open.map((row) => `“${row.title}”`).join(" and ");
    return {
      state: "partial",
      word: "Verified in part",
      sentence: `Every required check holds, but this evidence cannot answer ${titles}`,
    };
  }
  const answered = rows.some((row) => row.id === "answer") ? " It signed for exactly the answer that you hold." : "";
  return {
    state: "pass",
    word: "Verified",
    sentence: (hasImage(verdict) ? BY_AWS : BY_AMD) + answered,
  };
}

/**
 * @param {Verdict} verdict
 * @returns {string}
 */
function rejection(verdict) {
  const [failed, ...others] = verdict.checks.filter((check) => check.outcome === "fail");
  const more = others.length
    ? `, and ${others.length} more ${others.length === 1 ? "check fails" : "checks fail"}`
    : "";
  if (failed) return `“${describeCheck(failed.id).title}” does not hold${more}.`;
  const done = new Set(verdict.checks.filter((check) => check.outcome !== "skip").map((check) => check.id));
  const first = verdict.required.filter((id) => !done.has(id)).sort()[0];
  if (!first) return verdict.sentence;
  const reason = verdict.checks.find((check) => check.id === first)?.reason || "it never ran";
  return `“${describeCheck(first).title}” is required but was not checked (${reason}).`;
}
