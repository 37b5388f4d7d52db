// The wiring of the page: reads the form, runs the examination, shows the result. No request without a click.
import { encodeUtf8 } from "./bytes.js";
import { parseCertificate, decodePemOrDer } from "./certs.js";
import { equalCommand } from "./command.js";
import { Malformed } from "./errors.js";
import { examine } from "./examine.js";
import { FileList } from "./files.js";
import { Unavailable, parseOrigin } from "./gateway.js";
import { showMemory, wireMemory } from "./memoryview.js";
import { renderFailure, renderResult } from "./view.js";

const $ = (id) => /** @type {any} */ (document.getElementById(id));
const ANSWER_ROLES = ["receipt", "request", "response", "headers", "proof"];
const files = new FileList(filesChanged);
let reading = Promise.resolve(); // a click on Verify waits until every chosen file has been read

/** A field of the form that cannot be used as it is. */
class FieldError extends Error {
  /** @param {string} field @param {string} message */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function isLive() {
  return $("form").elements.mode.value === "live";
}

/** @param {"live"|"stored"} mode */
function setMode(mode) {
  $("form").elements.mode.value = mode;
  $("live").hidden = mode !== "live";
  $("stored").hidden = mode === "live";
  $("fetch-receipt").hidden = mode !== "live";
  warnOfOwnOrigin();
}

function filesChanged(all) {
  if (all.some((file) => ["quote", "report"].includes(file.role))) setMode("stored");
  if (all.some((file) => file.role === "unknown")) setMode("stored");
  if (all.some((file) => ANSWER_ROLES.includes(file.role))) $("answer").open = true;
  if (all.some((file) => file.role === "witnesses")) $("history").open = true;
}

/** A page cannot vouch for the server it came from: whoever can lie in the evidence can also change the page. */
function warnOfOwnOrigin(origin = isLive() ? parseOrigin($("target").value.trim()) : "") {
  const same = origin === location.origin;
  $("origin-warning").hidden = !same;
  $("origin-warning").textContent = same
    ? "This copy of the page came from the very gateway that you are checking. " +
      "What it shows proves nothing: open a copy from elsewhere, or a saved file."
    : "";
}

/** Prefill from `#target=…&measurement=…&mock=1`. Whoever made the link chose these, so the reader is told. */
function prefill() {
  const values = new URLSearchParams(location.hash.slice(1));
  if (!location.hash.includes("=")) return; // a jump within the page
  const filled = [];
  const fill = (name, what, set) => values.has(name) && (set(values.get(name) ?? ""), filled.push(what));
  fill("target", "the gateway", (value) => ($("target").value = value.slice(0, 2048)));
  fill("measurement", "the measurement", (value) => ($("measurement").value = value.slice(0, 256)));
  fill("mock", "accepting a mock", (value) => ($("mock").checked = value === "1"));
  $("link-notice").hidden = !filled.length;
  $("link-notice").textContent = filled.length
    ? `The link that you followed filled in ${filled.join(", ")}. Check that this is what you want.`
    : "";
  if (filled.length) setMode("live");
}

/** @param {boolean} acceptNewLog the reader's word, for this one visit @returns {import("./examine.js").Request} */
function readForm(acceptNewLog) {
  const live = isLive();
  const origin = live ? parseOrigin($("target").value.trim()) : "";
  if (origin === null)
    throw new FieldError("target", "Give the gateway’s address: https://HOST, or http://localhost:PORT.");
  const measurement = $("measurement").value.trim().toLowerCase();
  if (measurement && !/^[0-9a-f]{96}$/.test(measurement)) {
    throw new FieldError("measurement", `A measurement is 96 hexadecimal characters; this has ${measurement.length}.`);
  }
  const policies = files.files.filter((file) => file.role === "policy");
  if (measurement && policies.length)
    throw new FieldError("measurement", "Give one measurement or a policy file, not both.");
  if (files.files.some((file) => file.role === "unknown"))
    throw new FieldError("files", "One file was not recognised: choose what it is, or remove it.");
  const receiptId = live ? $("receipt-id").value.trim() : "";
  const apiKey = live ? $("api-key").value.trim() : "";
  if (receiptId && !apiKey && !files.files.some((file) => file.role === "receipt")) {
    throw new FieldError(
      "api-key",
      "Only the caller may read a receipt: give the API key that made the call, or the receipt’s file.",
    );
  }
  if (!live && !files.files.some((file) => ["quote", "report"].includes(file.role))) {
    throw new FieldError("files", "Choose a quote, a bundle, or a raw report with its certificates.");
  }
  return {
    live,
    origin,
    files: files.files,
    measurement,
    acceptMock: $("mock").checked,
    at: live ? null : readTime(),
    receiptId,
    apiKey,
    rememberMock: $("remember-mock").checked,
    acceptNewLog,
  };
}

/** @returns {Date | null} */
function readTime() {
  const text = $("at").value.trim();
  if (!text) return null;
  // Without a zone a browser would read local time, and the command line UTC.
  const utc = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?$/.test(text)
    ? `${text.replace(" ", "T")}${text.length > 10 ? "Z" : "T00:00:00Z"}`
    : text;
  const time = new Date(utc);
  if (!/^\d{4}-\d\d-\d\dT/.test(utc) || Number.isNaN(time.getTime()))
    throw new FieldError("at", "Write a time like 2026-11-21T12:00:00Z.");
  return time;
}

/** @param {FieldError | null} error */
function showFieldError(error) {
  for (const node of document.querySelectorAll(".error")) {
    const field = node.id.replace(/-error$/, "");
    const mine = error?.field === field;
    /** @type {HTMLElement} */ (node).hidden = !mine;
    node.textContent = mine ? error.message : "";
    if (mine) $(field).setAttribute("aria-invalid", "true");
    else $(field)?.removeAttribute("aria-invalid");
  }
  if (error) $(error.field).focus();
}

/** What went wrong, in words; an error that nobody foresaw is still no verdict. */
function describeError(error) {
  if (error instanceof Malformed) return `${error.field}: found ${error.found}, wanted ${error.wanted}.`;
  if (error instanceof Unavailable) return error.message;
  return `This page failed: ${error instanceof Error ? error.message : String(error)}.`;
}

async function submit({ acceptNewLog = false } = {}) {
  const progress = (text) => ($("progress").textContent = text);
  $("result").hidden = true;
  $("result").replaceChildren();
  await reading;
  try {
    takeWritten("pasted", "pasted.json");
    takeWritten("witness-text", "witnesses.txt", "witnesses");
    const request = readForm(acceptNewLog);
    showFieldError(null);
    $("verify").disabled = true;
    progress("Checking…");
    const found = await examine(request, progress);
    progress("");
    warnOfOwnOrigin(found.origin);
    showMemory();
    renderResult($("result"), found, equalCommand(commandInputs(found)), () => submit({ acceptNewLog: true }));
  } catch (error) {
    progress("");
    if (error instanceof FieldError) showFieldError(error);
    else renderFailure($("result"), describeError(error));
  } finally {
    $("verify").disabled = false;
  }
}

/** A text that was written into the form becomes a file like any other. */
function takeWritten(field, name, role) {
  if (!$(field).value.trim()) return;
  files.put(name, encodeUtf8($(field).value), role);
  $(field).value = "";
  files.render();
}

/** @param {import("./examine.js").Examination} found */
function commandInputs({ kind, origin, request, receipt, earlier }) {
  const named = (role) => request.files.find((file) => file.role === role)?.name ?? "";
  const certificates = request.files.filter((file) => file.role === "certificate");
  const isVek = (file) =>
    /^SEV-V[CL]EK$/.test(parseCertificate(decodePemOrDer(file.bytes, file.name)[0], file.name).subjectCn);
  const single = kind === "report" && certificates.length === 3;
  return {
    kind,
    origin,
    fileName: kind === "report" ? named("report") : named("quote"),
    policyName: named("policy"),
    manifests: request.files.filter((file) => file.role === "manifest").map((file) => file.name),
    announcement: named("announcement"),
    tcbName: named("tcb"),
    measurement: request.measurement,
    acceptMock: request.acceptMock,
    at: request.at,
    receipt: receipt ? named("receipt") || request.receiptId : "",
    receiptById: Boolean(receipt && request.receiptId) && !named("receipt"),
    request: receipt ? named("request") : "",
    response: receipt ? named("response") : "",
    headers: receipt ? named("headers") : "",
    proof: receipt ? named("proof") : "",
    witnesses: named("witnesses"),
    acceptNewLog: request.acceptNewLog,
    remembered: earlier !== null,
    vek: single ? certificates.filter(isVek).map((file) => file.name) : [],
    chain: single ? certificates.filter((file) => !isVek(file)).map((file) => file.name) : [],
    crl: named("crl"),
    inTable: !single,
  };
}

/** Run a file action after the ones before it; a file that cannot be read is told like any other failure. */
function adding(action) {
  reading = reading.then(action).then(
    () => showFieldError(null),
    (error) => renderFailure($("result"), describeError(error)),
  );
}

function wireFiles() {
  for (const input of document.querySelectorAll("input[type=file]:not(#memory-file)")) {
    input.addEventListener("change", () => {
      // Taken now: the list is live, and the value is cleared so that the same file can be chosen again.
      const chosen = [.../** @type {HTMLInputElement} */ (input.files ?? [])];
      /** @type {HTMLInputElement} */ (input).value = "";
      adding(() => files.add(chosen, /** @type {HTMLElement} */ (input).dataset.role));
    });
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.documentElement.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.documentElement.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.documentElement.classList.remove("dragging");
    const dropped = [...(event.dataTransfer?.files ?? [])]; // emptied when this event ends
    adding(() => files.add(dropped));
  });
}

/** An auditor's print shows every check, open; the screen is put back afterwards. */
function wirePrint() {
  /** @type {HTMLDetailsElement[]} */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("#result details:not([open])")].map(
      (node) => /** @type {HTMLDetailsElement} */ (node),
    );
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => opened.forEach((details) => (details.open = false)));
}

$("own-origin").textContent = location.protocol === "file:" ? "a file on this device" : location.origin;
$("form").addEventListener("submit", (event) => (event.preventDefault(), submit()));
$("target").addEventListener("input", () => warnOfOwnOrigin());
for (const radio of $("form").elements.mode) radio.addEventListener("change", () => setMode(radio.value));
addEventListener("hashchange", prefill);
wireFiles();
wirePrint();
wireMemory();
setMode(isLive() ? "live" : "stored");
prefill();
