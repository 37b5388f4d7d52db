// What to paste into a shell or an editor to ask a model, with the reader's key in it.

/** @typedef {{origin: string, key: string, model: string}} Wanted */

const QUESTION = "Which build answers me?";

/** @type {Record<string, (wanted: Wanted) => string>} by the name of the language */
export const SNIPPETS = { curl, Python: python, TypeScript: typescript };

/** @param {Wanted} wanted */
function curl({ origin, key, model }) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: QUESTION }] });
  return [
    `curl ${shellWord(`${origin}/v1/chat/completions`)} \\`,
    `  -H ${shellWord(`Authorization: Bearer ${key}`)} \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shellWord(body)}`,
  ].join("\n");
}

/** @param {Wanted} wanted */
function python({ origin, key, model }) {
  return `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=${JSON.stringify(key)})
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": ${JSON.stringify(QUESTION)}}],
)
print(answer.choices[0].message.content)
print(answer.model_extra["attestation"]["receipt_id"])
`;
}

/** @param {Wanted} wanted */
function typescript({ origin, key, model }) {
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(`${origin}/v1`)}, apiKey: ${JSON.stringify(key)} });
const answer = await client.chat.completions.create({
  model: ${JSON.stringify(model)},
  messages: [{ role: "user", content: ${JSON.stringify(QUESTION)} }],
});
console.log(answer.choices[0].message.content);
`;
}

/** One word of a POSIX shell, whatever stands in it. @param {string} text */
export const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;
