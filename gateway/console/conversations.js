// Conversations as this browser keeps them: text only, on this device only, the newest first.
import { keep, recall } from "./session.js";

const MOST = 30; // conversations; the oldest go
const TITLE = 60; // characters

/**
 * @typedef {{role: "user" | "assistant", text: string, reasoning?: string, tools?: any[], found?: string, failed?: string}} Message
 * @typedef {{id: string, title: string, model: string, messages: Message[]}} Conversation
 */

/** @returns {Conversation[]} */
export function conversations() {
  const kept = recall("conversations", []);
  return Array.isArray(kept) ? kept.filter((one) => typeof one?.id === "string" && Array.isArray(one.messages)) : [];
}

/** @param {string} model @returns {Conversation} */
export const newConversation = (model) => ({ id: crypto.randomUUID?.() ?? String(Date.now()), title: "", model, messages: [] });

/** Keep one, as the newest. @param {Conversation} one @returns {boolean} whether the browser kept it */
export function keepConversation(one) {
  const first = one.messages.find((message) => message.role === "user");
  one.title = (first?.text ?? "").replace(/\s+/g, " ").slice(0, TITLE);
  return keep("conversations", [one, ...conversations().filter((other) => other.id !== one.id)].slice(0, MOST));
}

/** @param {string} id */
export const dropConversation = (id) => keep("conversations", conversations().filter((one) => one.id !== id));

/** Forget all of them. */
export const dropAll = () => keep("conversations", []);

/** What a model is sent: without what failed, and with the tools' calls only as words. @param {Conversation} one @param {string} system */
export function sentMessages(one, system) {
  const said = one.messages.filter((message) => message.text && !message.failed).map(({ role, text }) => ({ role, content: text }));
  return system ? [{ role: "system", content: system }, ...said] : said;
}
