// The official openai package for JavaScript: `chat` or `responses`.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ANSWER, BASE, KEY, run, same, SUNNY, within } from "./features.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const messages = [{ role: "user", content: "hello" }];
const Weather = z.object({ city: z.string(), unit: z.enum(["celsius", "fahrenheit"]) });
const expected = { city: "mock", unit: "celsius" };

const chat = {
  async answer() {
    const answer = await client.chat.completions.create({ model: "mock-text", messages });
    return same(answer.choices[0].message.content, ANSWER);
  },
  async stream() {
    const options = { stream: true, stream_options: { include_usage: true } };
    let text = "", usage;
    for await (const chunk of await client.chat.completions.create({ model: "mock-text", messages, ...options })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    same(usage.prompt_tokens, 1);
    return same(text, ANSWER);
  },
  async tools() {
    const called = [];
    const weather = (given) => (called.push(given), SUNNY);
    const parameters = { type: "object", properties: { city: { type: "string" } } };
    const tools = [{ type: "function", function: { name: "weather", function: weather, parse: JSON.parse, parameters } }];
    const runner = client.chat.completions.runTools({ model: "mock-1", messages, tools, stream: true });
    const said = await runner.finalContent();
    same(called, [{ city: "mock" }]);
    return within(SUNNY, said);
  },
  async structured() {
    const response_format = zodResponseFormat(Weather, "weather");
    const stream = client.chat.completions.stream({ model: "mock-1", messages, response_format });
    return same((await stream.finalChatCompletion()).choices[0].message.parsed, expected);
  },
  async errors() {
    const once = { maxRetries: 0 };
    const busy = client.chat.completions.create({ model: "mock-503", messages }, once);
    await assert.rejects(busy, OpenAI.InternalServerError);
    const limited = client.chat.completions.create({ model: "mock-429", messages, stream: true }, once);
    await assert.rejects(limited, OpenAI.RateLimitError);
    const cut = client.chat.completions.stream({ model: "mock-cut", messages }, once).finalChatCompletion();
    await assert.rejects(cut, OpenAI.OpenAIError);
    return "503, 429 and a cut stream are told apart";
  },
  async embeddings() {
    const { data } = await client.embeddings.create({ model: "mock-1", input: ["a", "b"], dimensions: 8 });
    same(Math.round(Math.hypot(...data[1].embedding) * 1000), 1000);
    return `${data.length} vectors of ${data[0].embedding.length}`;
  },
};

const responses = {
  async answer() {
    return same((await client.responses.create({ model: "mock-text", input: "hello" })).output_text, ANSWER);
  },
  async stream() {
    let text = "";
    const stream = client.responses.stream({ model: "mock-text", input: "hello" });
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    same((await stream.finalResponse()).status, "completed");
    return same(text, ANSWER);
  },
  async tools() {
    const tools = [zodResponsesFunction({ name: "weather", parameters: Weather })];
    const stream = client.responses.stream({ model: "mock-1", input: "hello", tools });
    const call = (await stream.finalResponse()).output[0];
    same(call.parsed_arguments, expected);
    const { parsed_arguments, ...plain } = call;
    const told = [...messages, plain, { type: "function_call_output", call_id: call.call_id, output: SUNNY }];
    return within(SUNNY, (await client.responses.create({ model: "mock-1", input: told, tools })).output_text);
  },
  async structured() {
    const text = { format: zodTextFormat(Weather, "weather") };
    return same((await client.responses.parse({ model: "mock-1", input: "hello", text })).output_parsed, expected);
  },
};

await run(process.argv[2] === "chat" ? chat : responses);
