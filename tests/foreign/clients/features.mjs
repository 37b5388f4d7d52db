// What every client is asked for, and how its program says what came: one line of JSON for each feature.
import assert from "node:assert/strict";

export const BASE = process.env.GATEWAY_URL;
export const KEY = process.env.GATEWAY_KEY;
export const ANSWER = "This is a mock answer. You said: hello";
export const SUNNY = "sunny";

// Runs each feature, whatever becomes of the others; a function returns what it saw.
export async function run(features) {
  for (const [feature, work] of Object.entries(features)) {
    let saw, ok = true;
    try {
      saw = await work();
    } catch (error) {
      [saw, ok] = [`${error.name}: ${error.message}`, false];
      console.error(error);
    }
    console.log(JSON.stringify({ feature, ok, saw: typeof saw === "string" ? saw : JSON.stringify(saw) }));
  }
}

export function same(found, wanted) {
  assert.deepEqual(found, wanted);
  return found;
}

export function within(part, whole) {
  assert.ok(whole?.includes(part), `found ${whole}, wanted ${part} in it`);
  return whole;
}
