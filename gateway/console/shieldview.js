// What the shield shows on a click: the finding, its questions, what was left out, and the way to a better verifier.
import { icon } from "/verifier/src/dom.js";
import { answerQuestions, describeCheck } from "/verifier/src/questions.js";
import { h, saveFile } from "./dom.js";
import { openDialog } from "./dialog.js";

const WORDS = { pass: "Holds", fail: "Fails", skip: "Not checked", mock: "Mock" };
const TONES = { pinned: "pass" };

/** @param {import("./calling.js").Call} call @param {import("./shield.js").Finding} finding @param {() => void} again */
export function openShield(call, finding, again) {
  const { examination } = finding;
  const { close } = openDialog("What was checked", [
    h(
      "div",
      { class: "finding", "data-state": finding.state },
      h("p", { class: "finding-word" }, icon(TONES[finding.state] ?? finding.state), finding.label),
      h("p", {}, finding.sentence),
    ),
    h("p", { class: "hint" }, "This page was served by the gateway that it checks, so it can notice faults and never vouch for the gateway. ", h("a", { href: "#/attestation", onclick: () => close() }, "Why, and which verifier to prefer"), "."),
    examination ? questions(examination.verdict) : null,
    about(call, finding),
    h(
      "div",
      { class: "row" },
      h("a", { class: "button", href: verifierLink(finding), target: "_blank", rel: "noopener" }, "Open the verifier"),
      h("button", { type: "button", onclick: () => saveEvidence(call, finding) }, "Save its files"),
      h("button", { type: "button", onclick: () => (close(), again()) }, "Check again"),
    ),
  ]);
}

/** The questions as the verifier asks them, and each check that was left out. */
function questions(verdict) {
  const rows = answerQuestions(verdict).map((row) =>
    h(
      "li",
      { "data-state": verdict.mock && row.state === "pass" ? "quiet" : row.state },
      icon(row.state),
      h("div", {}, h("b", {}, row.title), " ", h("span", { class: "state" }, WORDS[row.state]), row.why ? h("p", {}, row.why) : null),
    ),
  );
  const open = verdict.checks.filter((check) => check.outcome === "skip");
  return [
    h("ul", { class: "questions" }, rows),
    open.length
      ? h("details", {}, h("summary", {}, `${open.length} checks were not carried out`), h("ul", { class: "small-list" }, open.map((check) => h("li", {}, `${describeCheck(check.id).title}: ${check.reason}`))))
      : null,
  ];
}

function about(call, finding) {
  const block = call.completion.attestation ?? {};
  const rows = [
    ["Receipt", call.receiptId],
    ["Provider", block.provider_id],
    ["Trust tier", block.tier_observed],
    ["Policy", block.policy_id],
    ["Build", finding.measurement],
    ["Bytes", `${call.request.length} sent, ${call.response.length} received`],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("code", {}, value)))));
}

/** The gateway's own copy, which says so itself. @param {{measurement: string, examination: any}} finding */
export function verifierLink({ measurement, examination }) {
  const values = new URLSearchParams({ target: location.origin });
  if (measurement) values.set("measurement", measurement);
  if (examination?.verdict.mock) values.set("mock", "1");
  return `/verifier/#${values}`;
}

/** Request, response and receipt as they are, for a verifier elsewhere. */
function saveEvidence(call, { examination }) {
  saveFile("request.json", new Blob([call.request]));
  saveFile("response.txt", new Blob([call.response]));
  if (examination?.receipt) saveFile("receipt.json", new Blob([examination.receipt.bytes]));
}
