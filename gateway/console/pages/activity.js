// What was asked, of whom, how fast and for how much: every attempt, without its content, fresh every five seconds.
import { ask, askFile } from "../api.js";
import { callBars, line, shareBar } from "../charts.js";
import { h, saveFile, show } from "../dom.js";
import { ago, compact, count, duration, moment, percent, usd } from "../format.js";
import { emptiness, pill, problem, skeleton, tierPill } from "../states.js";

const POLL_MS = 5000;
const ROWS = "200";
const WINDOWS = { "Last hour": 3600, "Last day": 86_400, "Last week": 604_800, "All time": 0 };
const HEADS = ["When", "Model", "Provider", "Outcome", "Latency", "Tokens", "Receipt"];
const STATUSES = { "Any outcome": "", Succeeded: "2xx", Refused: "4xx", Failed: "5xx" };

/** @type {import("../main.js").Page} */
export const page = { id: "activity", title: "Activity", needsKey: true, open };

/** @param {HTMLElement} root */
function open(root) {
  const form = newFilters();
  const state = h("p", { class: "hint live" }, "Loading…");
  const body = h("div", {}, skeleton(4, "tile"), skeleton(6));
  const save = h("button", { type: "button" }, "Export CSV");
  const wrong = h("div", {});
  show(root, h("h1", {}, "Activity"), h("p", { class: "lead" }, "Every attempt, and never its content."), h("div", { class: "filters" }, form.controls, save), wrong, state, body);
  let timer = 0;
  let turn = 0;
  const load = async () => {
    clearTimeout(timer);
    if (document.hidden) return void (state.textContent = "Paused while you look elsewhere.");
    const mine = (turn += 1);
    try {
      const [rows, summary] = await read(form.values());
      if (mine !== turn) return;
      form.offer(rows, summary);
      const held = body.querySelector(".table");
      const [focused, at] = [held !== null && held === document.activeElement, held?.scrollLeft ?? 0];
      show(body, drawn(rows, summary));
      const fresh = /** @type {HTMLElement | null} */ (body.querySelector(".table"));
      if (fresh) fresh.scrollLeft = at;
      if (focused) fresh?.focus({ preventScroll: true }); // who reads with the keyboard is not thrown out
      state.textContent = `Live · as of ${moment(Date.now() / 1000).slice(11)}`;
    } catch (error) {
      if (mine !== turn) return;
      state.textContent = "Not up to date.";
      show(body, problem(error, load));
    }
    timer = setTimeout(load, POLL_MS);
  };
  const left = () => {
    turn += 1;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", load);
  };
  form.controls.forEach((control) => control.addEventListener("change", load));
  document.addEventListener("visibilitychange", load);
  save.addEventListener("click", async () => {
    show(wrong);
    try {
      saveFile("activity.csv", await askFile(`/v1/activity?${queryOf(form.values(), { format: "csv" })}`));
    } catch (error) {
      show(wrong, problem(error));
    }
  });
  load();
  return left;
}

function newFilters() {
  const select = (label, options) => h("select", { "aria-label": label }, options.map(([text, value]) => h("option", { value }, text)));
  const span = select("Time", Object.entries(WINDOWS));
  const model = select("Model", [["All models", ""]]);
  const provider = select("Provider", [["All providers", ""]]);
  const outcome = select("Outcome", Object.entries(STATUSES));
  const own = select("Whose", [["The whole tenant", ""], ["This key only", "self"]]);
  span.value = "86400";
  const known = { model: new Set(), provider: new Set() };
  /** New names join the choices; none goes while the page is open, so a choice never vanishes. */
  const offer = (rows, summary) => {
    for (const [name, control] of /** @type {const} */ ([["model", model], ["provider", provider]])) {
      const names = [...(summary[`by_${name}`] ?? []).map((row) => row.name), ...rows.map((row) => row[name])];
      for (const one of names.filter((value) => value && !known[name].has(value))) {
        known[name].add(one);
        control.append(h("option", { value: one }, one));
      }
    }
  };
  return {
    controls: [span, model, provider, outcome, own],
    values: () => ({ span: Number(span.value), model: model.value, provider: provider.value, status: outcome.value, key: own.value }),
    offer,
  };
}

/** @param {ReturnType<ReturnType<typeof newFilters>["values"]>} wanted @param {Record<string, string>} more */
function queryOf({ span, model, provider, status, key }, more) {
  const since = span ? String(Math.floor(Date.now() / 1000) - span) : "0";
  const named = Object.entries({ since, model, provider, status, key, ...more }).filter(([, value]) => value);
  return new URLSearchParams(named);
}

/** The rows and the gateway's summary. @returns {Promise<[any[], any]>} */
async function read(wanted) {
  const paths = [`/v1/activity?${queryOf(wanted, { limit: ROWS })}`, `/v1/activity/summary?${queryOf(wanted, {})}`];
  const [list, summary] = await Promise.all(paths.map((path) => ask(path)));
  return [list.data, summary];
}

/** @param {any[]} rows @param {any} sums */
function drawn(rows, sums) {
  if (!sums.calls && !rows.length) return emptiness("Nothing here", "Once a call is made, it stands here within seconds. A filter may hide it.", h("a", { class: "button", href: "#/chat" }, "Ask something"));
  return [
    tiles(sums),
    charts(sums.series ?? []),
    h("div", { class: "pair" }, breakdown("By model", sums.by_model), breakdown("By provider", sums.by_provider)),
    h("h2", {}, "Attempts"),
    table(rows),
  ];
}

function tiles(sums) {
  const rows = [
    ["Requests", count(sums.calls)],
    ["Success rate", percent(sums.success_rate)],
    ["Median latency", duration(sums.p50_ms)],
    ["95th percentile", duration(sums.p95_ms)],
  ];
  return h("dl", { class: "tiles" }, rows.map(([name, value]) => h("div", { class: "card tile" }, h("dt", {}, name), h("dd", {}, value))));
}

/** @param {any[]} series */
function charts(series) {
  if (series.length < 2) return null;
  const calls = series.reduce((sum, row) => sum + row.calls, 0);
  const errors = series.reduce((sum, row) => sum + row.errors, 0);
  const slowest = Math.max(...series.map((row) => row.p50_ms ?? 0));
  return h(
    "div",
    { class: "pair" },
    h("section", { class: "card" }, h("h2", {}, "Requests"), callBars(series, `${count(calls)} in this time, ${count(errors)} of them failed`)),
    h("section", { class: "card" }, h("h2", {}, "Median latency"), line(series.map((row) => row.p50_ms ?? null), `At most ${duration(slowest)}`)),
  );
}

/** @param {string} title @param {any[]} groups */
function breakdown(title, groups) {
  const most = Math.max(0, ...groups.map((row) => row.calls));
  const rows = groups.map((row) =>
    h(
      "li",
      {},
      h("div", { class: "split" }, h("b", {}, row.name ?? "none"), h("span", {}, count(row.calls))),
      shareBar(row.calls, most),
      h("p", { class: "meta" }, `${percent(row.success_rate)} ok · p50 ${duration(row.p50_ms)} · p95 ${duration(row.p95_ms)} · ${row.usd === null ? "cost unknown" : usd(row.usd)}`),
    ),
  );
  return h("section", { class: "card" }, h("h2", {}, title), h("ul", { class: "shares" }, rows));
}

/** @param {any[]} rows */
function table(rows) {
  const now = Date.now() / 1000;
  return h(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": "Attempts" },
    h("table", {}, h("thead", {}, h("tr", {}, HEADS.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.map((row) => attempt(row, now)))),
  );
}

/** @param {any} row @param {number} now */
function attempt(row, now) {
  const instead = row.original_model && row.original_model !== row.model ? `instead of ${row.original_model}` : "";
  const beside = [row.failure, row.provider_status && row.provider_status !== row.status && `provider said ${row.provider_status}`];
  const found = (row.findings ?? []).map((one) => `${one.count} × ${one.kind}`).join(", ");
  const cells = [
    [h("time", { datetime: new Date(row.started_at * 1000).toISOString(), title: moment(row.started_at) }, ago(row.started_at, now)), h("span", { class: "meta" }, row.key_prefix)],
    [row.model, h("span", { class: "meta" }, [row.attempt > 1 ? `attempt ${row.attempt}` : "", instead].filter(Boolean).join(", "))],
    [h("div", {}, row.provider ?? "none"), tierPill(row.tier)],
    [outcome(row), h("span", { class: "meta" }, [...beside, found && `found ${found}`].filter(Boolean).join(", "))],
    [duration(row.milliseconds), h("span", { class: "meta" }, row.first_token_ms === null ? "" : `first ${duration(row.first_token_ms)}`)],
    [`${compact(row.prompt_tokens)} + ${compact(row.completion_tokens)}`, h("span", { class: "meta" }, row.cost_usd === null ? "cost unknown" : usd(row.cost_usd))],
    [row.receipt_id ? h("code", { title: row.receipt_id }, row.receipt_id) : "none"],
  ];
  return h("tr", {}, cells.map((cell, at) => h("td", { "data-head": HEADS[at] }, h("div", {}, cell))));
}

/** An attempt that another one stood in for was not shown to the caller. @param {any} row */
function outcome(row) {
  if (row.status === null) return pill("Replaced", "warn");
  if (row.status >= 400) return pill(String(row.status), "bad");
  return row.partial ? pill(`${row.status}, cut`, "warn") : pill(String(row.status), "good");
}
