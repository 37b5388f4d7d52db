// The shield of an answer: this page fetches the evidence itself, checks it, and says what it found.
import { icon } from "/verifier/src/dom.js";
import { Malformed } from "/verifier/src/errors.js";
import { examine } from "/verifier/src/examine.js";
import { NotServed, Unavailable } from "/verifier/src/gateway.js";
import { h, say, show } from "./dom.js";
import { judge, unchecked } from "./judgement.js";
import { ApiError } from "./problems.js";
import { apiKey } from "./session.js";
import { openShield } from "./shieldview.js";
import { claim, trusted } from "./trust.js";

const RECEIPT_PAUSES = [300, 1000, 3000]; // milliseconds before asking again for a receipt that is not served yet
const ICONS = { pass: "pass", pinned: "pass", partial: "partial", mock: "mock", fail: "fail", skip: "skip" };
const NOTHING = { examination: null, measurement: "", ground: /** @type {const} */ ("none") };
let queue = Promise.resolve(); // one device answers all: checks follow one another

/**
 * @typedef {import("./calling.js").Call} Call
 * @typedef {import("./judgement.js").Judgement & {examination: any | null, measurement: string,
 *   ground: import("./judgement.js").Ground}} Finding
 */

/** Check one answer, after those that were asked for before. @param {Call} call @returns {Promise<Finding>} */
export function check(call) {
  const turn = queue.then(() => checkNow(call));
  queue = turn.then(() => undefined, () => undefined); // the asker hears of a failure, not who comes after
  return turn;
}

/** @param {Call} call @returns {Promise<Finding>} */
async function checkNow(call) {
  const why = call.stopped
    ? "You stopped this answer: its receipt may cover more than the bytes that came."
    : call.error
      ? "The call failed, and only whole answers are checked here. Its receipt can be read at the verifier."
      : call.receiptId
        ? ""
        : "The answer named no receipt.";
  if (why) return { ...unchecked(why), ...NOTHING };
  for (const pause of [...RECEIPT_PAUSES, null]) {
    try {
      return await examined(call);
    } catch (error) {
      if (!(error instanceof NotServed) || pause === null) return { ...unchecked(wordsOf(error)), ...NOTHING };
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  throw new Error("unreachable");
}

/** @param {Call} call @returns {Promise<Finding>} */
async function examined(call) {
  const claimed = await claim();
  const trust = trusted();
  const files = [
    { name: "request.json", role: "request", bytes: call.request },
    { name: "response.txt", role: "response", bytes: call.response },
  ];
  if (trust?.policy) files.push({ name: "policy.json", role: "policy", bytes: new TextEncoder().encode(trust.policy) });
  const measurement = trust?.policy ? "" : (trust?.measurement ?? claimed.measurement);
  const request = {
    ...{ live: true, origin: location.origin, files, measurement, acceptMock: claimed.mock, at: null },
    ...{ receiptId: call.receiptId, apiKey: apiKey(), rememberMock: false, acceptNewLog: false },
  };
  const examination = await examine(/** @type {any} */ (request), () => undefined);
  const ground = trust?.ground ?? "none";
  return { ...judge(examination.verdict, ground), examination, measurement, ground };
}

/** An error that nobody foresaw is still no verdict. @param {unknown} error */
function wordsOf(error) {
  if (error instanceof Malformed) return `${error.field}: found ${error.found}, wanted ${error.wanted}.`;
  if (error instanceof Unavailable || error instanceof ApiError) return error.message;
  return `This page failed: ${error instanceof Error ? error.message : String(error)}.`;
}

/**
 * The shield of a call: a button that says the state, and shows on a click what was checked.
 * @param {Call} call @param {(finding: Finding) => void} [told] what was found, once it is
 */
export function shield(call, told = () => undefined) {
  let finding = /** @type {Finding | null} */ (null);
  const button = h("button", { type: "button", class: "shield", "data-state": "wait", disabled: true });
  const run = async () => {
    button.disabled = true;
    button.dataset.state = "wait";
    show(button, h("span", { class: "spinner", "aria-hidden": "true" }), "Checking…");
    finding = await check(call);
    button.disabled = false;
    button.dataset.state = finding.state;
    show(button, stateIcon(finding.state), finding.label);
    told(finding);
    say(`Answer complete. ${finding.label}.`);
  };
  button.addEventListener("click", () => finding && openShield(call, finding, run));
  run();
  return button;
}

/** @param {import("./judgement.js").State} state */
export const stateIcon = (state) => icon(/** @type {any} */ (ICONS[state]));
