// The log as DOM: what was found of it, and its newest entries, each proven in the very checkpoint that was judged.

import { openCheckpoint } from "./checkpoint.js";
import { element, facts, icon } from "./dom.js";
import { Malformed } from "./errors.js";
import { fetchTile, Unavailable } from "./gateway.js";
import { readLeaves } from "./leafpages.js";
import { describeLeaf, timeOf } from "./leafwords.js";
import { CONSISTENCY, INCLUSION, logKey, WITNESS } from "./logchecks.js";
import { decodeQuote } from "./quote.js";
import { TileTree } from "./tiles.js";

const PAGE = 20; // entries at a time
const MAX_ROWS = 400; // beyond it `saferouter log` is the better reader

/** @typedef {import("./examine.js").Examination} Examination */
/** @typedef {import("./leafpages.js").ShownLeaf} ShownLeaf */

/**
 * The deliberate step of a reader whose gateway writes another log than before; null where it does not.
 * @param {Examination} found @param {() => void} accept
 */
export function renderNewLog({ earlier, quote, verdict }, accept) {
  const named = quote?.workload?.log?.vkey;
  const refused = verdict.checks.find(({ id, outcome }) => id === CONSISTENCY && outcome === "fail");
  if (!refused || !earlier || named === earlier.seen.vkey) return null;
  const button = element("button", { type: "button", id: "accept-new-log", disabled: true }, "Accept the new log and verify again");
  const sure = element("input", { type: "checkbox", id: "sure-new-log" });
  sure.addEventListener("change", () => (button.disabled = !sure.checked));
  button.addEventListener("click", accept);
  return element(
    "div",
    { class: "notice", id: "new-log" },
    element(
      "p",
      {},
      "This address showed another log before. A gateway that lost its key begins a new one; so does a gateway that " +
        "wants its past forgotten. Learn from its operator, elsewhere than here, which it was.",
    ),
    element("p", {}, element("label", { class: "tick" }, sure, element("span", {}, "I know why, and let go of the old log"))),
    button,
  );
}

/**
 * The section of the log; it fills itself from the gateway. Null where the quote shows no log.
 * @param {Examination} found
 */
export function renderLog(found) {
  const check = (id) => found.verdict.checks.find((row) => row.id === id);
  if (check("bind.quote")?.outcome !== "pass" || !found.quote.log) return null; // no quote, or no log in it
  const list = element("ol", { class: "entries", id: "entries", "aria-label": "Entries, newest first", reversed: true });
  const status = element("p", { class: "hint", id: "entries-status", role: "status" });
  const more = element("button", { type: "button", class: "small", id: "older", hidden: true }, "Show older entries");
  const section = element(
    "section",
    { "aria-labelledby": "log", id: "log-section" },
    element("div", { class: "bar" }, element("h2", { id: "log" }, "The log")),
    renderFacts(found, check),
    found.verdict.verdict === "rejected"
      ? element("p", { class: "notice" }, "The evidence was rejected: what follows is only what this log says.")
      : null,
    status,
    list,
    element("p", {}, more),
  );
  if (check(INCLUSION).outcome !== "pass") status.textContent = "Its checkpoint does not hold, so no entry is shown.";
  else if (found.nonce === null) status.textContent = "Its entries are read with fresh evidence only; this was stored.";
  else new Entries(found, list, status, more).begin();
  return section;
}

function renderFacts({ quote }, check) {
  const said = ({ outcome, found, reason }) => (outcome === "skip" ? `not checked: ${reason}` : found);
  return facts([
    ["Name", decodeQuote(quote).workload.log?.origin],
    ["Checkpoint", check(INCLUSION).found],
    ["Witnesses", said(check(WITNESS))],
    ["Seen before", said(check(CONSISTENCY))],
  ]);
}

/** The list of entries, which grows downwards into the past. */
class Entries {
  /** @param {Examination} found @param {HTMLElement} list @param {HTMLElement} status @param {HTMLElement} more */
  constructor(found, list, status, more) {
    Object.assign(this, { found, list, status, more, shown: 0, faults: 0, unread: 0 });
    more.addEventListener("click", () => this.grow({ focus: true }));
  }

  /** Open the judged checkpoint once more, and show the newest entries. */
  async begin() {
    const { workload, log } = decodeQuote(this.found.quote);
    const { size, root } = await openCheckpoint(log.checkpoint, await logKey(workload.log), "quote.log.checkpoint");
    this.root = root;
    this.tree = new TileTree(size, (path, limit) => fetchTile(this.found.origin, path, limit));
    await this.grow();
  }

  /** Show the next older entries. `focus`: a button asked, which may be gone afterwards. */
  async grow({ focus = false } = {}) {
    const { tree, more, status } = this;
    const end = tree.size - this.shown;
    const start = Math.max(0, end - PAGE);
    more.disabled = true;
    status.textContent = "Reading entries…";
    try {
      const rows = await readLeaves(tree, this.root, start, end);
      const drawn = rows.reverse().map(renderLeaf);
      this.list.append(...drawn);
      this.shown += rows.length;
      this.faults += rows.filter((row) => row.state === "fail").length;
      this.unread += rows.filter((row) => row.state === "skip").length;
      status.textContent = this.summary();
      status.dataset.state = this.faults ? "fail" : "pass";
      more.hidden = start === 0 || this.shown >= MAX_ROWS;
      if (focus) drawn[0]?.focus();
    } catch (error) {
      if (!(error instanceof Malformed || error instanceof Unavailable)) throw error;
      status.textContent = `${this.shown ? "No older entries" : "No entries"}: ${error.message.replace(/\.?$/, ".")} What is above stands without them.`;
      status.dataset.state = "skip";
      more.hidden = false;
      more.textContent = "Try again";
      return;
    } finally {
      more.disabled = false;
    }
    more.textContent = "Show older entries";
  }

  /** What the entries shown so far come to. */
  summary() {
    const { shown, faults, unread, tree } = this;
    const many = shown === 1 ? "entry" : "entries";
    const of = `${shown.toLocaleString("en")} of ${tree.size.toLocaleString("en")}`;
    if (faults) {
      return (
        `${faults} of the ${shown} ${many} shown ${faults === 1 ? "fails" : "fail"}: what this gateway hands out is not ` +
        "what its log signed, or its log contradicts itself. Keep a print of this page, and the saved bundle: the log’s " +
        "signature is in it."
      );
    }
    const open = unread ? ` ${unread} cannot be read or chained here.` : "";
    return (
      `The newest ${of} ${many}. Each stands in the checkpoint judged above and names the one before it.${open} ` +
      "Times are the log’s own word; what a commitment stands for, only its holder can show."
    );
  }
}

/** @param {ShownLeaf} row */
function renderLeaf({ index, state, why, entry }) {
  const unknown = { title: state === "fail" ? "Not what was logged" : "Unreadable", detail: "" };
  const { title, detail } = entry ? describeLeaf(entry) : unknown;
  return element(
    "li",
    { "data-index": String(index), "data-state": state, "data-type": entry?.type ?? null, tabindex: "-1" },
    element("span", { class: "index" }, String(index)),
    element("span", { class: "words" }, element("b", {}, title), " ", detail),
    entry ? element("time", { datetime: new Date(entry.time * 1000).toISOString() }, timeOf(entry)) : null,
    why ? element("p", { class: "why" }, icon(state), element("span", {}, state === "fail" ? "Fails. " : "Not checked. ", why)) : null,
  );
}
