// What the shield shows on a click: the finding, its questions, what was left out, and the way to a better verifier.
import { icon } from "/verifier/src/dom.js";
import { answerQuestions, describeCheck } from "/verifier/src/questions.js";
import { h, saveFile } from "./dom.js";
import { openDialog } from "./dialog.js";

const WORDS = { pass: "Holds", fail: "Fails", skip: "Not checked", mock: "Mock" };
const UNNAMED = {
  pin: ["As you pinned it", "It is the build that this gateway named when you pinned it."],
  none: ["Not named by you", "It is the build that the gateway itself names: nobody told this browser which one to expect."],
};
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
    examination ? questions(examination.verdict, finding.ground) : null,
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

/** The questions as the verifier asks them, and each check that was left out. @param {any} verdict @param {import("./judgement.js").Ground} ground */
export function questions(verdict, ground) {
  const rows = answerQuestions(verdict).map((row) => questionNode(row, verdict.mock, ground));
  const open = verdict.checks.filter((check) => check.outcome === "skip");
  const left = open.map((check) => h("li", {}, `${describeCheck(check.id).title}: ${check.reason}`));
  return [
    h("ul", { class: "questions" }, rows),
    open.length ? h("details", {}, h("summary", {}, `${open.length} checks were not carried out`), h("ul", { class: "small-list" }, left)) : null,
  ];
}

/** The verifier takes the measurement that it is given for the reader's own; here the gateway may have named it. */
function questionNode(row, mock, ground) {
  const named = row.id !== "build" || row.state !== "pass" || ground === "reader";
  const [state, word, why] = named ? [row.state, WORDS[row.state], row.why] : ["partial", UNNAMED[ground][0], UNNAMED[ground][1]];
  return h(
    "li",
    { "data-state": mock && state === "pass" ? "quiet" : state },
    icon(state),
    h("div", {}, h("b", {}, row.title), " ", h("span", { class: "state" }, word), why ? h("p", {}, why) : null),
  );
}

function about(call, finding) {
  // Nothing that only the stream says: a provider writes there too.
  const rows = [
    ["Receipt", call.receiptId],
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
