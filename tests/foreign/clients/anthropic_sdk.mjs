// The official @anthropic-ai/sdk package for JavaScript.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { ANSWER, BASE, KEY, run, same, SUNNY, within } from "./features.mjs";

const client = new Anthropic({ baseURL: BASE, apiKey: KEY });
const asked = { model: "mock-text", max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
const Weather = z.object({ city: z.string(), unit: z.enum(["celsius", "fahrenheit"]) });
const tools = [{ name: "weather", input_schema: { type: "object", properties: { city: { type: "string" } } } }];

await run({
  async answer() {
    return same((await client.messages.create(asked)).content[0].text, ANSWER);
  },
  async stream() {
    let text = "";
    const stream = client.messages.stream(asked).on("text", (delta) => (text += delta));
    same((await stream.finalMessage()).usage.input_tokens, 1);
    return same(text, ANSWER);
  },
  async tools() {
    const first = await client.messages.stream({ ...asked, model: "mock-1", tools }).finalMessage();
    const call = first.content.find((block) => block.type === "tool_use");
    same(call.input, { city: "mock" });
    const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: SUNNY }] };
    const messages = [...asked.messages, { role: "assistant", content: first.content }, result];
    return within(SUNNY, (await client.messages.create({ ...asked, model: "mock-1", tools, messages })).content[0].text);
  },
  async structured() {
    const output_config = { format: zodOutputFormat(Weather) };
    const message = await client.messages.parse({ ...asked, model: "mock-1", output_config });
    return same(message.parsed_output, { city: "mock", unit: "celsius" });
  },
  async errors() {
    const once = { maxRetries: 0 };
    await assert.rejects(client.messages.create({ ...asked, model: "mock-503" }, once), Anthropic.InternalServerError);
    const limited = client.messages.stream({ ...asked, model: "mock-429" }, once).finalMessage();
    await assert.rejects(limited, Anthropic.RateLimitError);
    await assert.rejects(client.messages.stream({ ...asked, model: "mock-cut" }, once).finalMessage());
    return "503, 429 and a cut stream are told apart";
  },
  async thinking() {
    const thinking = { type: "enabled", budget_tokens: 1024 };
    const message = await client.messages.stream({ ...asked, max_tokens: 4000, thinking }).finalMessage();
    same(message.content.map((block) => block.type), ["thinking", "text"]);
    return within("does not think", message.content[0].thinking);
  },
  async count_tokens() {
    const { model, messages } = asked;
    return String((await client.messages.countTokens({ model, messages })).input_tokens);
  },
});
