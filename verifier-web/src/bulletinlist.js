// AMD's bulletins as a table: what each says of this report, beside the check that sums them up.
import { parseCertificate, parseVekExtensions } from "./certs.js";
import { element } from "./dom.js";
import { Malformed } from "./errors.js";
import { grade, STATE } from "./grade.js";
import { productOfCpuid, productOfName } from "./product.js";
import { parseReport } from "./report.js";

/**
 * One row for each bulletin of the report's product; null where the report cannot be graded.
 * @param {import("./examine.js").Examination} found
 */
export function renderBulletins({ evidence, tcb }) {
  const findings = evidence ? findingsOf(evidence, tcb) : [];
  if (!findings.length) return null;
  const head = ["Bulletin", "Published", "This report"].map((text) => element("th", { scope: "col" }, text));
  return element(
    "table",
    { class: "bulletins" },
    element("caption", {}, `TCB data ${tcb.sequence}: what each bulletin asks of this product`),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...findings.map(renderRow)),
  );
}

/** @param {import("./grade.js").Finding} finding */
function renderRow({ bulletin, name, state, why }) {
  const words = [state, why].filter(Boolean).join(": ") + (bulletin.note ? `. ${bulletin.note}` : "");
  return element(
    "tr",
    { "data-bulletin": bulletin.id, "data-state": state },
    element("th", { scope: "row" }, name),
    element("td", {}, bulletin.published ?? "unknown"),
    element("td", {}, words),
  );
}

/** The bulletins that concern this report. It only shows what the verdict already judged. */
function findingsOf({ report: raw, vek }, tcb) {
  try {
    const report = parseReport(raw);
    const product = report.cpuid
      ? productOfCpuid(report.cpuid.family, report.cpuid.model)
      : productOfName(parseVekExtensions(parseCertificate(vek, "vek")).productName);
    const findings = product ? grade(report, product, tcb) : [];
    return findings.filter((finding) => finding.state !== STATE.NOTHING_ASKED);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return [];
  }
}
