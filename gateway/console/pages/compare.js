// One prompt, two to four models side by side, each streamed, timed and checked.
import { answerView } from "../answerview.js";
import { ask } from "../api.js";
import { call } from "../calling.js";
import { h, pictogram, put, show } from "../dom.js";
import { count, duration } from "../format.js";
import { columnsOf, MAX_COLUMNS, MIN_COLUMNS, modelRow } from "../modelrows.js";
import { modelPill } from "../picker.js";
import { keep, recall } from "../session.js";
import { emptiness, fill, pill, skeleton } from "../states.js";

const STATES = { idle: ["Ready", "quiet"], waiting: ["Waiting", "calm"], streaming: ["Streaming", "calm"], done: ["Done", "good"], stopped: ["Stopped", "warn"], failed: ["Failed", "bad"] };
const TICK = 100; // milliseconds between two drawings of a timer

/** @type {import("../main.js").Page} */
export const page = { id: "compare", title: "Compare", needsKey: true, open };

/** @param {HTMLElement} root */
function open(root) {
  const gone = new AbortController();
  const body = h("div", {});
  show(root, h("h1", {}, "Compare"), h("p", { class: "lead" }, "The same words to several models at once. Each answer is a call of its own, billed and receipted as such."), body);
  fill(body, skeleton(4, "card"), async () => {
    const models = (await ask("/v1/models")).data.map(modelRow);
    return models.length ? bench(models, gone.signal) : emptiness("No models yet", "There is nothing to compare: the operator has configured no model.");
  });
  return () => gone.abort();
}

/** @param {import("../modelrows.js").ModelRow[]} models @param {AbortSignal} gone */
function bench(models, gone) {
  const chosen = columnsOf(recall("compare", []), models.map((row) => row.id));
  const prompt = h("textarea", { rows: "3", placeholder: "One prompt for all", "aria-label": "Prompt" });
  const run = h("button", { type: "submit", class: "primary" }, "Ask all");
  const more = h("button", { type: "button" }, "Add a model");
  const grid = h("div", { class: "columns" });
  let running = /** @type {AbortController | null} */ (null);
  let columns = [];
  const save = () => keep("compare", chosen);
  const draw = () => {
    columns = chosen.map((id, at) => column(models, id, at, (next) => ((chosen[at] = next), save()), chosen.length > MIN_COLUMNS ? () => running ?? (chosen.splice(at, 1), save(), draw()) : null));
    show(grid, columns.map((one) => one.node));
    grid.dataset.count = String(chosen.length);
    more.disabled = chosen.length >= MAX_COLUMNS;
  };
  more.addEventListener("click", () => (chosen.push(models.find((row) => !chosen.includes(row.id))?.id ?? models[0].id), save(), draw()));
  const form = h("form", { class: "card compare-form" }, prompt, h("div", { class: "row" }, run, more));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return running.abort();
    if (!prompt.value.trim()) return prompt.focus();
    running = new AbortController();
    [run.textContent, more.disabled] = ["Stop all", true];
    await Promise.all(columns.map((one, at) => one.run(chosen[at], prompt.value, /** @type {AbortController} */ (running).signal)));
    running = null;
    [run.textContent, more.disabled] = ["Ask all", chosen.length >= MAX_COLUMNS];
  });
  gone.addEventListener("abort", () => running?.abort());
  draw();
  return [form, grid];
}

/** One column: its picker, its state, its answer. */
function column(models, id, at, take, remove) {
  const state = h("span", { class: "column-state" });
  const timer = h("span", { class: "timer" }, "–");
  const tokens = h("span", { class: "meta" });
  const place = h("div", { class: "column-answer" }, h("p", { class: "hint" }, "The answer will stand here."));
  const drop = remove && h("button", { type: "button", class: "ghost icon-button", "aria-label": `Remove column ${at + 1}`, onclick: remove }, pictogram("close"));
  const node = h("section", { class: "card column", "aria-label": `Column ${at + 1}` });
  put(node, h("div", { class: "column-head" }, modelPill(models, id, take, `Model ${at + 1}`), drop), h("div", { class: "column-facts" }, state, timer, tokens), place);
  const tell = (name) => ((node.dataset.state = name), show(state, pill(.../** @type {[string, string]} */ (STATES[name]))));
  tell("idle");

  const run = async (model, prompt, signal) => {
    const view = answerView();
    const began = performance.now();
    const clock = setInterval(() => (timer.textContent = duration(performance.now() - began)), TICK);
    show(place, view.node);
    tokens.textContent = "";
    tell("waiting");
    const made = await call({ model, messages: [{ role: "user", content: prompt }] }, signal, (now) => {
      if (now.firstToken !== null && now.ended === null) tell("streaming");
      view.update(now);
    });
    clearInterval(clock);
    timer.textContent = duration(/** @type {number} */ (made.ended) - made.started);
    const used = made.completion.usage?.completion_tokens;
    tokens.textContent = used === undefined ? "" : `${count(used)} tokens`;
    tell(made.stopped ? "stopped" : made.error ? "failed" : "done");
  };
  return { node, run };
}
