// The console's pure parts: numbers, streams, answers, Markdown, errors, charts, and what a shield may say.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addEvent, laidOut, newCompletion } from "../../gateway/console/completion.js";
import { ago, compact, count, counted, duration, masked, percent, usd } from "../../gateway/console/format.js";
import { ESSENTIAL, judge } from "../../gateway/console/judgement.js";
import { parseInline, parseMarkdown, safeHref } from "../../gateway/console/markdown.js";
import { columnsOf, matching, modelRow, ordered } from "../../gateway/console/modelrows.js";
import { bars, points } from "../../gateway/console/plot.js";
import { errorOf, explain } from "../../gateway/console/problems.js";
import { SNIPPETS, shellWord } from "../../gateway/console/snippets.js";
import { EventParser } from "../../gateway/console/sse.js";

test("money is shown to the place that matters, and unknown is not zero", () => {
  const shown = [0, 12.5, 1234.5, 0.02, 0.000214, -3, null, undefined].map(usd);
  assert.deepEqual(shown, ["$0.00", "$12.50", "$1,234.50", "$0.02", "$0.000214", "−$3.00", "unknown", "unknown"]);
});

test("counts, shares and times", () => {
  assert.deepEqual([count(1234), compact(128000), compact(null)], ["1,234", "128K", "unknown"]);
  assert.deepEqual([0, 1, 2000].map((value) => counted(value, "call")), ["0 calls", "1 call", "2,000 calls"]);
  assert.deepEqual([0, 0.9999, 1, null].map(percent), ["0 %", "99.9 %", "100 %", "–"]);
  assert.deepEqual([0, 999, 1500, 12_340, 125_000, null].map(duration), ["0 ms", "999 ms", "1.50 s", "12.3 s", "2 min 5 s", "–"]);
  const told = [100, 40, -200, -9000, 100 - 5 * 86_400].map((at) => ago(at, 100));
  assert.deepEqual(told, ["just now", "1 min ago", "5 min ago", "3 h ago", "5 days ago"]);
  assert.deepEqual([ago(null, 100), ago(100 + 7200, 100)], ["never", "in 2 h"]);
  assert.equal(masked(`sk-router-${"A".repeat(40)}`), "sk-router-AAAA…");
});

test("events come out the same however the stream is cut", () => {
  const text = "\uFEFF: hello\n\ndata: one\r\n\r\nevent: sf_attestation\rdata:two\rdata: three\r\rid: 7\n\ndata\n\ndata: lost";
  const wanted = [
    { event: "message", data: "one" },
    { event: "sf_attestation", data: "two\nthree" },
    { event: "message", data: "" },
  ];
  for (let size = 1; size <= text.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(events, wanted, `in pieces of ${size}`);
    assert.equal(parser.finish(), false);
  }
});

test("an event without an end is bounded", () => {
  const parser = new EventParser();
  assert.throws(() => parser.push(`data: ${"x".repeat(5 << 20)}`), /more than/);
});

test("chunks make an answer: thoughts, text, tools, usage", () => {
  const answer = newCompletion();
  const delta = (value, finish_reason = null) => addEvent(answer, JSON.stringify({ choices: [{ index: 0, delta: value, finish_reason }] }));
  delta({ role: "assistant", reasoning_content: "Let me " });
  delta({ reasoning_content: "think." });
  delta({ content: "Hel" });
  delta({ content: "lo" });
  delta({ tool_calls: [{ index: 0, id: "t", function: { name: "look", arguments: '{"a"' } }] });
  delta({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }, { index: 1, id: "u", function: { name: "up", arguments: "" } }] }, "tool_calls");
  addEvent(answer, JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: null }], attestation: { receipt_id: "r" } }));
  addEvent(answer, JSON.stringify({ choices: [], usage: { completion_tokens: 2 } }));
  assert.equal(answer.done, false);
  addEvent(answer, "[DONE]");
  assert.deepEqual([answer.reasoning, answer.text, answer.finish, answer.done], ["Let me think.", "Hello", "tool_calls", true]);
  assert.deepEqual(answer.tools.map((tool) => [tool.name, tool.arguments]), [["look", '{"a":1}'], ["up", ""]]);
  assert.deepEqual(answer.usage, { completion_tokens: 2 });
  assert.equal(laidOut('{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(laidOut('{"a":'), '{"a":');
});

test("a stream's error and a line that is no JSON are kept, not dropped", () => {
  const answer = newCompletion();
  addEvent(answer, JSON.stringify({ error: { message: "cut", code: "upstream_failed" } }));
  assert.deepEqual(answer.error, { message: "cut", code: "upstream_failed" });
  const broken = newCompletion();
  addEvent(broken, "{");
  assert.match(broken.error.message, /no JSON/);
});

const inlines = (parts) => parts.map((part) => [part.kind, part.text ?? inlines(part.parts), ...(part.href ? [part.href] : [])]);

test("Markdown: blocks", () => {
  const text = "# Title #\n\nOne\ntwo\n\n- a\n  more\n- b\n\n3. c\n4. d\n\n> quoted\n> - x\n\n---\n```js\nlet a = `1`;\n```\nend";
  const blocks = parseMarkdown(text);
  assert.deepEqual(blocks.map((block) => block.kind), ["heading", "paragraph", "list", "list", "quote", "rule", "code", "paragraph"]);
  assert.deepEqual([blocks[0].level, blocks[2].items.length, blocks[3].ordered, blocks[3].start], [1, 2, true, 3]);
  assert.deepEqual(blocks[4].blocks.map((block) => block.kind), ["paragraph", "list"]);
  assert.deepEqual([blocks[6].language, blocks[6].text], ["js", "let a = `1`;"]);
  assert.equal(parseMarkdown("```\nopen").at(0).text, "open");
});

test("Markdown: inline, and what is no mark stays as it was written", () => {
  assert.deepEqual(inlines(parseInline("a **b `c`** *d* `` e`f `` 2*3*4 snake_case")), [
    ["text", "a "],
    ["strong", [["text", "b "], ["code", "c"]]],
    ["text", " "],
    ["em", [["text", "d"]]],
    ["text", " "],
    ["code", " e`f "],
    ["text", " 2*3*4 snake_case"],
  ]);
  assert.deepEqual(inlines(parseInline("[x](https://a.example/y) [z](javascript:alert(1)) <b>")), [
    ["link", [["text", "x"]], "https://a.example/y"],
    ["text", " [z](javascript:alert(1)) <b>"],
  ]);
});

test("a link leads to a web page or a mailbox only", () => {
  const refused = ["javascript:alert(1)", "data:text/html,x", "/console/", "//a.example", "vbscript:x", "file:///etc", "blob:x", " "];
  assert.deepEqual(refused.map(safeHref), refused.map(() => null));
  assert.equal(safeHref("HTTPS://a.example"), "https://a.example/");
});

test("hostile Markdown takes no time", () => {
  for (const unit of ["*", "**a", "[", "`", "> ", "- ", "[a](", "1. ", "#", "*a *"]) parseMarkdown(unit.repeat(20_000));
});

test("an error says what the API said, and what to do", () => {
  const headers = (values) => ({ get: (name) => values[name] ?? null });
  const body = JSON.stringify({ error: { message: "Slow down.", code: "rate_limit_exceeded" } });
  const limited = errorOf(429, headers({ "retry-after": "7", "x-request-id": "q" }), body);
  assert.deepEqual([limited.message, limited.code, limited.retryAfter, limited.requestId], ["Slow down.", "rate_limit_exceeded", 7, "q"]);
  assert.match(explain(limited).advice, /7 seconds/);
  const proxy = errorOf(502, headers({}), "<html>");
  assert.deepEqual([proxy.message, proxy.retryAfter], ["The gateway answered with status 502.", null]);
  const titles = [0, 400, 401, 402, 403, 404, 429, 500].map((status) => explain({ status, code: null, retryAfter: null }).title);
  assert.equal(new Set(titles).size, titles.length);
  assert.equal(explain({ status: 401, code: null, retryAfter: null }).action.href, "#/signin");
  const paid = ["credits_exhausted", "tenant_cap_reached"].map((code) => explain({ status: 402, code, retryAfter: null }).advice);
  assert.notEqual(paid[0], paid[1]);
});

test("models: searched by every word, narrowed, put in order, unknown prices last", () => {
  const entry = (id, provider, input, window) => modelRow({ id, x_saferouter: { provider, input_usd_per_million: input, context_window: window, capabilities: ["tools"] } });
  const rows = [entry("b-large", "x", 3, 10), entry("a-small", "y", null, 30), entry("c-small", "x", 1, 20), modelRow({ id: "d", owned_by: "z" })];
  const ids = (list) => list.map((row) => row.id);
  assert.deepEqual(ids(matching(rows, "SMALL tools", "")), ["a-small", "c-small"]);
  assert.deepEqual(ids(matching(rows, "", "x")), ["b-large", "c-small"]);
  assert.deepEqual(ids(ordered(rows, "price")), ["c-small", "b-large", "a-small", "d"]);
  assert.deepEqual(ids(ordered(rows, "context")), ["a-small", "c-small", "b-large", "d"]);
  assert.deepEqual([rows[3].provider, rows[3].input], ["z", null]);
});

test("columns: what was kept and is still there, at least two, at most four", () => {
  const known = ["a", "b", "c", "d", "e"];
  assert.deepEqual(columnsOf(["c", "gone"], known), ["c", "a"]);
  assert.deepEqual(columnsOf(["e", "d", "c", "b", "a"], known), ["e", "d", "c", "b"]);
  assert.deepEqual([columnsOf("nonsense", known), columnsOf([], ["a"]), columnsOf([], [])], [["a", "b"], ["a", "a"], []]);
});

test("charts stay in their frame", () => {
  const shapes = bars([{ calls: 4, errors: 1 }, { calls: 0, errors: 0 }], 100, 40);
  assert.deepEqual(shapes.map((shape) => [shape.x, shape.height, shape.failed]), [[0, 40, 10], [50, 0, 0]]);
  const runs = points([0, 10, null, 5], 80, 40);
  assert.deepEqual(runs, [[[10, 38], [30, 2]], [[70, 20]]]);
});

test("snippets hold the key, and no name breaks out of its quotes", () => {
  const hostile = { origin: "https://g.example", key: "sk-router-x", model: `a'; rm -rf "$HOME" #` };
  for (const write of Object.values(SNIPPETS)) assert.ok(write(hostile).includes("sk-router-x"));
  assert.ok(SNIPPETS.curl(hostile).includes(`a'\\''; rm -rf`));
  assert.ok(SNIPPETS.Python(hostile).includes(`model="a'; rm -rf \\"$HOME\\" #"`));
  assert.equal(shellWord("it's"), `'it'\\''s'`);
});

const verdict = (changes = {}) => {
  const { skip = [], ...rest } = changes;
  const checks = ESSENTIAL.map((id) => ({ id, outcome: skip.includes(id) ? "skip" : "pass", reason: "" }));
  return { verdict: "verified", mock: false, sentence: "Rejected: x.", checks, ...rest };
};

test("a shield says Verified of a build that the reader named, and of nothing else", () => {
  assert.equal(judge(verdict(), "reader").label, "Verified");
  const others = [
    judge(verdict(), "pin"),
    judge(verdict(), "none"),
    judge(verdict(), "nonsense"),
    judge(verdict({ mock: true }), "reader"),
    judge(verdict({ verdict: "rejected" }), "reader"),
    judge(verdict({ verdict: "authentic" }), "reader"),
    judge(verdict({ checks: [] }), "reader"),
  ];
  for (const { state, label } of others) assert.ok(state !== "pass" && label !== "Verified", label);
  assert.deepEqual(others.map((one) => one.state), ["pinned", "partial", "partial", "mock", "fail", "fail", "partial"]);
});

test("one essential check that was skipped, and a shield is no longer Verified", () => {
  for (const id of ESSENTIAL) {
    const { state, sentence } = judge(verdict({ skip: [id] }), "reader");
    assert.equal(state, "partial", id);
    assert.ok(sentence.includes(id));
    const mock = judge(verdict({ skip: [id], mock: true }), "reader");
    assert.equal(mock.state, "mock");
    assert.equal(mock.label === "MOCK", ["hw.root", "hw.revocation"].includes(id), id);
  }
});
