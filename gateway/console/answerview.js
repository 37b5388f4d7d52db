// One answer while it comes: thoughts that fold, text, tools, what went wrong; and its shield at the end.
import { h, show } from "./dom.js";
import { laidOut } from "./completion.js";
import { count, duration } from "./format.js";
import { prose } from "./prose.js";
import { shield, stateIcon } from "./shield.js";
import { problem } from "./states.js";

/**
 * @param {(finding: import("./shield.js").Finding) => void} [told] what the shield found
 * @returns {{node: HTMLElement, update: (call: import("./calling.js").Call) => void}}
 */
export function answerView(told) {
  const parts = newParts();
  const node = h("div", { class: "answer", "aria-busy": "true" }, parts.thoughts, parts.text, parts.tools, parts.wrong, parts.foot);
  let due = 0;
  let over = false;
  const update = (call) => {
    if (over) return;
    over = call.ended !== null;
    if (due === 0 || over) {
      cancelAnimationFrame(due);
      const draw = () => ((due = 0), drawInto(parts, call));
      due = over ? (draw(), 0) : requestAnimationFrame(draw);
    }
    if (!over) return;
    node.setAttribute("aria-busy", "false");
    show(parts.foot, call.receiptId ? shield(call, told) : null, h("span", { class: "meta" }, metaOf(call)));
  };
  return { node, update };
}

function newParts() {
  const thinking = h("div", { class: "thinking-text" });
  const label = h("span", {}, "Thinking…");
  return {
    ...{ thinking, label },
    thoughts: h("details", { class: "thinking", hidden: true }, h("summary", {}, label), thinking),
    text: h("div", { class: "prose" }),
    tools: h("div", { class: "tools" }),
    wrong: h("div", {}),
    foot: h("div", { class: "answer-foot" }),
  };
}

/** @param {ReturnType<typeof newParts>} parts @param {import("./calling.js").Call} call */
function drawInto(parts, call) {
  const { completion, ended, error } = call;
  parts.thoughts.hidden = !completion.reasoning;
  parts.label.textContent = ended === null && !completion.text ? "Thinking…" : "Thoughts";
  parts.thinking.textContent = completion.reasoning;
  const waits = ended === null && !completion.text && !completion.reasoning;
  show(parts.text, waits ? h("span", { class: "typing", "aria-hidden": "true" }, h("i"), h("i"), h("i")) : prose(completion.text));
  show(parts.tools, completion.tools.map(toolNode));
  show(parts.wrong, error ? problem(error) : call.stopped ? h("p", { class: "hint" }, "You stopped this answer.") : null);
}

/** A tool's call as the model made it; the page runs none. @param {import("./completion.js").ToolCall} tool */
export function toolNode({ name, arguments: given }) {
  return h("details", { class: "tool", open: true }, h("summary", {}, "Calls the tool ", h("code", {}, name)), h("pre", { tabindex: "0", "aria-label": `Arguments of ${name}` }, laidOut(given)));
}

/** @param {import("./calling.js").Call} call */
function metaOf({ completion, started, firstToken, ended, standIn }) {
  const usage = completion.usage;
  const rows = [
    ended !== null && duration(ended - started),
    firstToken !== null && `first word after ${duration(firstToken - started)}`,
    usage && `${count(usage.prompt_tokens)} + ${count(usage.completion_tokens)} tokens`,
    completion.finish === "length" && "cut at its length limit",
    standIn && `answered by ${standIn}`,
  ];
  return rows.filter(Boolean).join(" · ");
}

/** The answer of an earlier visit: what was found then is told as past. @param {any} message */
export function earlierAnswer({ text, reasoning, tools, found }) {
  return h(
    "div",
    { class: "answer" },
    reasoning ? h("details", { class: "thinking" }, h("summary", {}, "Thoughts"), h("div", { class: "thinking-text" }, reasoning)) : null,
    h("div", { class: "prose" }, prose(text)),
    (tools ?? []).map(toolNode),
    found ? h("div", { class: "answer-foot" }, h("span", { class: "shield", "data-state": "past" }, stateIcon("skip"), `Earlier: ${found}`)) : null,
  );
}
