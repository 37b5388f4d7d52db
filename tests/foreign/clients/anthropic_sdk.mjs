// The official @anthropic-ai/sdk package for JavaScript.
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
  async count_tokens() {
    const { model, messages } = asked;
    return String((await client.messages.countTokens({ model, messages })).input_tokens);
  },
});
