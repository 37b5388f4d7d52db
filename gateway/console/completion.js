// One answer, put together from the chunks of a chat completion's stream. No network, no page.

/**
 * @typedef {{id: string, name: string, arguments: string}} ToolCall
 * @typedef {{text: string, reasoning: string, tools: ToolCall[], finish: string | null, usage: any,
 *   error: {message: string, code: string | null} | null, done: boolean}} Completion
 */

/** @returns {Completion} nothing was said yet */
export function newCompletion() {
  return { text: "", reasoning: "", tools: [], finish: null, usage: null, error: null, done: false };
}

/**
 * Add what one event's data says. A chunk that is no JSON is an error of the stream, shown as such.
 * @param {Completion} answer @param {string} data
 */
export function addEvent(answer, data) {
  if (data === "[DONE]") {
    answer.done = true;
    return;
  }
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    answer.error = { message: "The stream held a line that is no JSON.", code: null };
    return;
  }
  addChunk(answer, Object(chunk));
}

/** @param {Completion} answer @param {any} chunk */
function addChunk(answer, chunk) {
  if (chunk.error) answer.error = { message: String(chunk.error.message ?? "unknown"), code: chunk.error.code ?? null };
  answer.usage = chunk.usage ?? answer.usage;
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  answer.text += text(delta.content) + text(delta.refusal);
  answer.reasoning += text(delta.reasoning_content ?? delta.reasoning);
  for (const part of delta.tool_calls ?? []) addTool(answer.tools, part);
  answer.finish = choice.finish_reason ?? answer.finish;
}

/** @param {ToolCall[]} tools @param {any} part of the call that its index names */
function addTool(tools, part) {
  const at = Number.isSafeInteger(part.index) && part.index >= 0 && part.index <= tools.length ? part.index : tools.length;
  tools[at] ??= { id: "", name: "", arguments: "" };
  tools[at].id += text(part.id);
  tools[at].name += text(part.function?.name);
  tools[at].arguments += text(part.function?.arguments);
}

/** The arguments of a tool's call, laid out if they are whole. @param {string} raw */
export function laidOut(raw) {
  try {
    return JSON.stringify(JSON.parse(raw), null, 2);
  } catch {
    return raw;
  }
}

const text = (value) => (typeof value === "string" ? value : "");
