// The end of the result as DOM: the raw bytes that were judged, and the same verdict by command line.
import { encodeBase64, encodeUtf8, hexOf } from "./bytes.js";
import { copyButton, element, saveButton } from "./dom.js";
import { encodeAnswer } from "./receiptlog.js";

/**
 * @typedef {{label: string, kind: string, text: string, fileName: string, bytes: Uint8Array}} Block
 */

/**
 * @param {import("./examine.js").Examination} found
 * @returns {HTMLElement}
 */
export function renderRaw({ evidence, quote, origin, receipt }) {
  const blocks = [...(evidence ? blocksOfEvidence(evidence) : []), ...(quote ? blocksOfQuote(quote) : [])];
  if (receipt) {
    const text = new TextDecoder().decode(receipt.bytes);
    blocks.push({ label: "Receipt", kind: "as given", text, fileName: "receipt.json", bytes: receipt.bytes });
  }
  const kept = receipt ? { answer: encodeAnswer(receipt) } : {};
  const bundle = JSON.stringify({ format: "saferouter/evidence/v1", origin, quote, ...kept });
  const secret = receipt ? " It is private: the answer’s receipt in it names the model and holds salts." : "";
  return element(
    "section",
    { "aria-labelledby": "raw" },
    element(
      "div",
      { class: "bar" },
      element("h2", { id: "raw" }, "Raw bytes"),
      quote ? saveButton("Save bundle", "bundle.evidence", encodeUtf8(bundle)) : null,
    ),
    quote ? element("p", { class: "hint" }, `A saved bundle verifies offline, here and with the command line.${secret}`) : null,
    blocks.length
      ? element("ul", { class: "checks" }, ...blocks.map(renderBlock))
      : element("p", { class: "hint" }, "The evidence does not decode into raw bytes."),
  );
}

/**
 * @param {import("./examine.js").Evidence} evidence
 * @returns {Block[]}
 */
function blocksOfEvidence({ report, vek, intermediate, ark, crl }) {
  const kind = `${report.length} bytes, hexadecimal`;
  const der = (label, name, bytes, type) => ({
    label,
    kind: `${bytes.length} bytes, PEM`,
    text: pem(type, bytes),
    fileName: name,
    bytes,
  });
  return [
    { label: "Report", kind, text: hexOf(report), fileName: "report.bin", bytes: report },
    der("Chip certificate", "vek.der", vek, "CERTIFICATE"),
    der("Intermediate certificate", "ask.der", intermediate, "CERTIFICATE"),
    der("Root certificate", "ark.der", ark, "CERTIFICATE"),
    ...(crl ? [der("Revocation list", "crl.der", crl, "X509 CRL")] : []),
  ];
}

/**
 * The documents of a quote, laid out for reading; a lying gateway may have left any of them out.
 * @param {any} quote
 * @returns {Block[]}
 */
function blocksOfQuote(quote) {
  const labels = { statement: "Statement", keyset: "Keyset", workload: "Workload" };
  if (quote.platform_evidence?.length > 0) labels.platform_evidence = "Platform evidence";
  return Object.entries(labels).map(([name, label]) => {
    const value = quote[name];
    const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "nothing");
    return { label, kind: "JSON", text, fileName: `${name}.json`, bytes: encodeUtf8(text) };
  });
}

/** @param {Block} block */
function renderBlock({ label, kind, text, fileName, bytes }) {
  const shown = element("pre", { tabindex: "0", "aria-label": label }, text);
  const copy = copyButton("Copy", text, shown);
  copy.setAttribute("aria-label", `Copy ${label.toLowerCase()}`);
  return element(
    "li",
    {},
    element(
      "details",
      { "data-raw": fileName },
      element("summary", {}, element("span", { class: "title" }, label), element("span", { class: "kind" }, kind)),
      element("p", { class: "buttons" }, copy, saveButton(`Save as ${fileName}`, fileName, bytes)),
      shown,
    ),
  );
}

/**
 * @param {import("./questions.js").Verdict} verdict
 * @param {{command: string, policyFile: string | null, note: string}} equal
 * @returns {HTMLElement}
 */
export function renderCommand(verdict, { command, policyFile, note }) {
  const { sentence, required: _, ...transcript } = verdict; // what is left is the CLI's --json form
  return element(
    "section",
    { "aria-labelledby": "command" },
    element("h2", { id: "command" }, "The same by command line"),
    element("p", { class: "hint" }, "Another program, written in another language, must reach the same verdict."),
    policyFile ? element("p", {}, "Save this as policy.json:") : null,
    policyFile ? commandBlock(policyFile, "Policy file") : null,
    commandBlock(command, "Command"),
    note ? element("p", { class: "hint" }, note) : null,
    element("p", {}, "It ends with: ", element("q", { class: "cli-sentence" }, sentence)),
    element(
      "p",
      { class: "buttons" },
      saveButton("Save this verdict as JSON", "verdict.json", encodeUtf8(JSON.stringify(transcript, null, 1))),
    ),
  );
}

/** @param {string} text @param {string} label */
function commandBlock(text, label) {
  const shown = element("code", {}, text);
  const copy = copyButton("Copy", text, shown);
  copy.setAttribute("aria-label", `Copy ${label.toLowerCase()}`);
  return element("div", { class: "command" }, element("pre", { tabindex: "0", "aria-label": label }, shown), copy);
}

/** @param {string} label @param {Uint8Array} der */
function pem(label, der) {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
