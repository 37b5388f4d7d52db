// The Vercel AI SDK: `chat`, `responses` or `messages`.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { embed, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { ANSWER, BASE, KEY, run, same, SUNNY, within } from "./features.mjs";

const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const anthropic = createAnthropic({ baseURL: `${BASE}/v1`, apiKey: KEY });
const model = { chat: openai.chat, responses: openai.responses, messages: anthropic }[process.argv[2]];
const schema = z.object({ city: z.string(), unit: z.enum(["celsius", "fahrenheit"]) });
const expected = { city: "mock", unit: "celsius" };
const prompt = "hello";

await run({
  async answer() {
    const { text, usage } = await generateText({ model: model("mock-text"), prompt });
    same(usage.inputTokens, 1);
    return same(text, ANSWER);
  },
  async stream() {
    let text = "";
    const result = streamText({ model: model("mock-text"), prompt, onError({ error }) { throw error; } });
    for await (const delta of result.textStream) text += delta;
    same((await result.usage).inputTokens, 1);
    same(await result.finishReason, "stop");
    return same(text, ANSWER);
  },
  async tools() {
    const called = [];
    const weather = tool({ inputSchema: schema, execute: async (given) => (called.push(given), SUNNY) });
    const result = streamText({ model: model("mock-1"), prompt, tools: { weather }, stopWhen: stepCountIs(3) });
    const said = await result.text;
    same(called, [expected]);
    return within(SUNNY, said);
  },
  async parallel() {
    const called = [];
    const note = (name) => tool({ inputSchema: schema, execute: async () => (called.push(name), `${SUNNY} in ${name}`) });
    const tools = { rome: note("rome"), oslo: note("oslo") };
    const result = streamText({ model: model("mock-1"), prompt: "mock:parallel", tools, stopWhen: stepCountIs(3) });
    const said = await result.text;
    same(called, ["rome", "oslo"]);
    return within("sunny in rome sunny in oslo", said);
  },
  async structured() {
    return same((await generateText({ model: model("mock-1"), prompt, output: Output.object({ schema }) })).output, expected);
  },
  async errors() {
    const once = { prompt, maxRetries: 0 };
    await assert.rejects(generateText({ model: model("mock-503"), ...once }), { statusCode: 503 });
    await assert.rejects(generateText({ model: model("mock-429"), ...once }), { statusCode: 429 });
    const told = [];
    await streamText({ model: model("mock-cut"), ...once, onError: ({ error }) => told.push(error) }).consumeStream();
    assert.ok(told.length > 0); // OpenAI says a failure twice, as `error` and as `response.failed`
    return "503, 429 and a cut stream are told apart";
  },
  ...(process.argv[2] !== "chat" && {
    async reasoning() {
      const providerOptions = {
        openai: { reasoningEffort: "low", reasoningSummary: "auto", forceReasoning: true },
        anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } },
      };
      const result = streamText({ model: model("mock-text"), prompt, providerOptions });
      return within("does not think", await result.reasoningText);
    },
  }),
  ...(process.argv[2] === "chat" && {
    async embeddings() {
      const { embedding } = await embed({ model: openai.embedding("mock-1"), value: "a" });
      return `a vector of ${embedding.length}`;
    },
  }),
});
