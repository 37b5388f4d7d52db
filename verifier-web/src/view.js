// The result as DOM: the verdict first with what is not proven, then the questions, then every check.
import { hexOf } from "./bytes.js";
import { renderBulletins } from "./bulletinlist.js";
import { element, facts, icon } from "./dom.js";
import { renderLog, renderNewLog } from "./logview.js";
import { answerQuestions, describeCheck, headline } from "./questions.js";
import { renderCommand, renderRaw } from "./raw.js";

export const WORDS = { pass: "Pass", fail: "Fail", skip: "Not checked", partial: "Partial", mock: "Mock" };

/**
 * Show a result in `root` and move the focus to its verdict.
 * @param {HTMLElement} root
 * @param {import("./examine.js").Examination} found
 * @param {{command: string, policyFile: string | null, note: string}} equal
 * @param {() => void} acceptNewLog what the reader's word for a new log starts
 */
export function renderResult(root, found, equal, acceptNewLog) {
  const { verdict } = found;
  const parts = [
    renderVerdict(found, acceptNewLog),
    renderQuestions(verdict),
    renderLog(found),
    renderChecks(found),
    renderRaw(found),
    renderCommand(verdict, equal),
  ];
  root.replaceChildren(...parts.filter((part) => part !== null));
  root.dataset.verdict = verdict.verdict;
  root.dataset.mock = String(verdict.mock);
  show(root);
}

/**
 * No verdict at all: the input could not be read or the gateway could not be asked.
 * @param {HTMLElement} root
 * @param {string} message
 */
export function renderFailure(root, message) {
  const heading = banner("skip", "No verdict", "The checks were not completed.");
  root.replaceChildren(
    element("div", { class: "verdict", "data-state": "skip" }, heading, element("p", { class: "detail" }, message)),
  );
  root.dataset.verdict = "none";
  delete root.dataset.mock;
  show(root);
}

/** @param {HTMLElement} root */
function show(root) {
  root.hidden = false;
  /** @type {HTMLElement} */ (root.querySelector("#verdict")).focus();
}

function banner(state, word, sentence) {
  return element(
    "h2",
    { id: "verdict", tabindex: "-1" },
    element("span", { class: "word" }, icon(state), `${word}.`),
    " ",
    element("span", { class: "sentence" }, sentence),
  );
}

/** @param {import("./examine.js").Examination} found @param {() => void} acceptNewLog */
function renderVerdict(found, acceptNewLog) {
  const { verdict, notices } = found;
  const { state, word, sentence } = headline(verdict);
  const failed = verdict.checks.find((check) => check.outcome === "fail");
  return element(
    "div",
    { class: "verdict", "data-state": state },
    banner(state, word, sentence),
    failed
      ? facts([
          ["Found", failed.found],
          ["Wanted", failed.wanted],
          ["Reason", failed.reason],
        ])
      : null,
    verdict.mock && state === "fail"
      ? element("p", { class: "detail" }, "This is also a mock, which proves nothing about hardware.")
      : null,
    renderNewLog(found, acceptNewLog),
    ...notices.map((text) => element("p", { class: "notice" }, text)),
    renderNotProven(verdict),
    renderContext(found),
  );
}

/** What a reader must not conclude, beside the verdict: this run's gaps first, then the lasting limits. */
function renderNotProven(verdict) {
  const rows = verdict.not_proven.map((line) => {
    const [, id, rest] = /^([a-z]+\.[a-z-]+): (.*)$/s.exec(line) ?? [null, null, line];
    return id
      ? element("li", {}, `${describeCheck(id).title}: ${rest}`, " ", element("code", { class: "id" }, id))
      : element("li", {}, line);
  });
  return element("div", { class: "limits" }, element("h3", {}, "Not proven"), element("ul", {}, ...rows));
}

function renderContext({ origin, kind, now, clock, policyName, nonce }) {
  const source =
    kind === "live"
      ? `Asked ${origin}`
      : kind === "report"
        ? "A bare report"
        : `Stored evidence${origin ? ` of ${origin}` : ""}`;
  const nonceLine = nonce ? hexOf(nonce) : "none sent: this evidence was stored";
  return element(
    "div",
    { class: "context" },
    facts([
      ["Source", source],
      ["Judged at", `${isoTime(now)}, by ${clock}`],
      ["Policy", policyName],
      ["Nonce", nonceLine],
    ]),
  );
}

/** @param {Date} time */
function isoTime(time) {
  return time
    .toISOString()
    .replace("T", " ")
    .replace(/(\.\d+)?Z$/, " UTC");
}

function renderQuestions(verdict) {
  const rows = answerQuestions(verdict).map(renderQuestion);
  return element(
    "section",
    { class: "questions", "aria-labelledby": "questions" },
    element("h2", { id: "questions" }, "The questions"),
    element("ol", {}, ...rows),
  );
}

function renderQuestion(row) {
  const failed = row.checks.filter((check) => check.outcome === "fail");
  return element(
    "li",
    { class: "question", "data-question": row.id, "data-state": row.state },
    element("h3", {}, row.title),
    stateLabel(row.state),
    row.why && !failed.length ? element("p", { class: "why" }, row.why) : null,
    failed.length
      ? element(
          "p",
          { class: "why" },
          "Does not hold: ",
          ...failed.flatMap((check, at) => [at ? ", " : "", checkLink(check)]),
        )
      : null,
    facts(row.evidence.map(({ label, value }) => [label, value])),
    row.state !== "skip" ? element("p", { class: "trust" }, element("b", {}, "Source of trust: "), row.trust) : null,
    row.skipped.length
      ? element(
          "p",
          { class: "open" },
          "Also not checked: ",
          ...row.skipped.flatMap((check, at) => [
            at ? "; " : "",
            `“${describeCheck(check.id).title}” (${check.reason})`,
          ]),
          ".",
        )
      : null,
  );
}

/** A link to a check that also opens it. The fragment stays untouched: it may hold the form's parameters. */
function checkLink(check) {
  const link = element("a", { href: `#check-${check.id}` }, describeCheck(check.id).title);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const details = /** @type {HTMLDetailsElement} */ (document.getElementById(`check-${check.id}`));
    details.open = true;
    details.querySelector("summary")?.focus();
  });
  return link;
}

function stateLabel(state) {
  return element("span", { class: "state", "data-state": state }, icon(state), WORDS[state]);
}

function renderChecks(found) {
  const { verdict } = found;
  const count = (outcome) => verdict.checks.filter((check) => check.outcome === outcome).length;
  const required = new Set(verdict.required);
  const toggle = element("button", { type: "button", class: "small" }, "Open all");
  const list = element(
    "ul",
    { class: "checks" },
    ...verdict.checks.map((check) => renderCheck(check, required.has(check.id), found)),
  );
  toggle.addEventListener("click", () => {
    const open = toggle.textContent === "Open all";
    for (const details of list.querySelectorAll("details")) details.open = open;
    toggle.textContent = open ? "Close all" : "Open all";
  });
  return element(
    "section",
    { "aria-labelledby": "checks" },
    element("div", { class: "bar" }, element("h2", { id: "checks" }, "Every check"), toggle),
    element("p", { class: "hint" }, `${count("pass")} passed, ${count("fail")} failed, ${count("skip")} not checked.`),
    list,
  );
}

function renderCheck(check, required, found) {
  const { title, does_not_prove, section } = describeCheck(check.id);
  // Under an accepted mock a root is not checked, on purpose: its state is the mock itself.
  const state = check.outcome === "skip" && check.reason.startsWith("MOCK") ? "mock" : check.outcome;
  return element(
    "li",
    {},
    element(
      "details",
      {
        id: `check-${check.id}`,
        "data-check": check.id,
        "data-outcome": check.outcome,
        open: check.outcome === "fail",
      },
      element(
        "summary",
        {},
        stateLabel(state),
        element("span", { class: "title" }, title, " ", element("code", { class: "id" }, check.id)),
      ),
      facts([
        ["Found", check.found],
        ["Wanted", check.wanted],
        ["Reason", check.reason],
        ["Does not prove", does_not_prove],
        ["Demanded", required ? "yes" : "no: the verdict stands without it"],
        ["Specification", section],
      ]),
      check.id === "guest.tcb-status" && check.outcome !== "skip" ? renderBulletins(found) : null,
    ),
  );
}
