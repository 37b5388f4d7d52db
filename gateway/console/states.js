// How a page looks while it waits, when there is nothing, and when something went wrong.
import { h, pictogram, show } from "./dom.js";
import { ApiError, explain } from "./problems.js";

/** @param {number} rows @param {string} [shape] a class of the skeleton's parts */
export function skeleton(rows, shape = "line") {
  const parts = Array.from({ length: rows }, () => h("div", { class: `skeleton ${shape}` }));
  return h("div", { class: `skeletons of-${shape}`, role: "status" }, h("span", { class: "sr" }, "Loading…"), parts);
}

/** @param {string} title @param {string} words @param {any} [action] */
export function emptiness(title, words, action = null) {
  return h("div", { class: "empty" }, pictogram("empty"), h("h2", {}, title), h("p", {}, words), action);
}

/** What went wrong, what the API said, and what to do. @param {unknown} error @param {(() => void) | null} [retry] */
export function problem(error, retry = null) {
  const known = error instanceof ApiError;
  const { title, advice, action } = known ? explain(error) : { title: "This page failed", advice: "Loading it again may help.", action: null };
  const words = error instanceof Error ? error.message : String(error);
  return h(
    "div",
    { class: "problem", role: "alert", "data-status": known ? String(error.status) : "page" },
    pictogram("alert"),
    h(
      "div",
      {},
      h("h2", {}, title),
      h("p", {}, words),
      h("p", { class: "hint" }, advice),
      known && error.requestId ? h("p", { class: "hint" }, "Request ", h("code", {}, error.requestId)) : null,
      h("div", { class: "row" }, action ? h("a", { class: "button", href: action.href }, action.label) : null, retry ? h("button", { type: "button", onclick: retry }, "Try again") : null),
    ),
  );
}

/**
 * Fill `place` with what `load` brings: a skeleton first, an error with a way to repeat it.
 * @param {HTMLElement} place @param {HTMLElement} waiting @param {() => Promise<any>} load
 */
export async function fill(place, waiting, load) {
  show(place, waiting);
  try {
    show(place, await load());
  } catch (error) {
    show(place, problem(error, () => fill(place, waiting, load)));
  }
}

/** A word in a pill; its tone never stands alone. @param {string} word @param {string} [tone] */
export const pill = (word, tone = "quiet") => h("span", { class: "pill", "data-tone": tone }, word);

const TIERS = { sealed: "good", hardened: "calm", quarantine: "warn", interdicted: "bad" };

/** @param {string | null | undefined} tier */
export const tierPill = (tier) => (tier ? pill(tier, TIERS[tier] ?? "quiet") : null);
