// A conversation with one model: streamed, kept on this device, each answer under a shield that this page works out itself.
import { answerView, earlierAnswer } from "../answerview.js";
import { ask } from "../api.js";
import { call } from "../calling.js";
import { conversations, dropAll, dropConversation, keepConversation, newConversation, sentMessages } from "../conversations.js";
import { openDialog } from "../dialog.js";
import { field, h, pictogram, show } from "../dom.js";
import { modelRow } from "../modelrows.js";
import { modelPill } from "../picker.js";
import { keep, recall } from "../session.js";
import { emptiness, fill, skeleton } from "../states.js";

const IDEAS = ["Which build answers me?", "Explain a Merkle tree to a colleague.", "Write a haiku about receipts."];
const NEAR_END = 120; // pixels from the end, within which the page follows an answer

/** @type {import("../main.js").Page} */
export const page = { id: "chat", title: "Chat", needsKey: true, open };

/** @param {HTMLElement} root @param {URLSearchParams} params */
function open(root, params) {
  const stop = new AbortController();
  fill(root, skeleton(5), async () => {
    const models = (await ask("/v1/models")).data.map(modelRow);
    if (!models.length) return emptiness("No models yet", "There is nobody to talk to: the operator has configured no model.");
    return new Chat(models, params.get("model"), stop.signal).node;
  });
  return () => stop.abort();
}

/** One open chat page. */
class Chat {
  /** @param {import("../modelrows.js").ModelRow[]} models @param {string | null} wanted @param {AbortSignal} gone once the page is left */
  constructor(models, wanted, gone) {
    this.models = models;
    this.gone = gone;
    const known = (id) => models.some((row) => row.id === id);
    const last = wanted ? null : conversations()[0];
    const model = [wanted, last?.model, recall("model", "")].find((id) => id && known(id)) ?? models[0].id;
    this.current = last ? { ...last, model } : newConversation(model);
    this.running = /** @type {AbortController | null} */ (null);
    this.log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: "0" });
    this.input = h("textarea", { rows: "2", placeholder: "Ask something", "aria-label": "Your message" });
    this.send = h("button", { type: "submit", class: "primary icon-button", "aria-label": "Send" }, pictogram("send"));
    this.bar = h("div", { class: "chat-bar" });
    this.note = h("p", { class: "hint", role: "status" });
    this.node = [h("h1", { class: "sr" }, "Chat"), this.bar, this.log, this.composer()];
    gone.addEventListener("abort", () => this.running?.abort());
    this.draw();
  }

  composer() {
    const form = h("form", { class: "composer" }, this.input, this.send);
    form.addEventListener("submit", (event) => (event.preventDefault(), this.running ? this.running.abort() : this.submit()));
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.running) this.submit();
    });
    return h("div", { class: "composer-place" }, form, this.note, h("p", { class: "hint" }, "Enter sends, Shift+Enter makes a line. The conversation stays in this browser."));
  }

  /** All of it anew. */
  draw() {
    const pill = modelPill(this.models, this.current.model, (id) => ((this.current.model = id), keep("model", id)), "Model");
    show(
      this.bar,
      pill,
      h("span", { class: "spring" }),
      h("button", { type: "button", class: "small", onclick: () => this.options() }, "Options"),
      h("button", { type: "button", class: "small", onclick: () => this.history() }, "History"),
      h("button", { type: "button", class: "small", onclick: () => this.begin(newConversation(this.current.model)) }, "New chat"),
    );
    show(this.log, this.current.messages.map((message) => (message.role === "user" ? said(message.text) : earlier(message))));
    if (!this.current.messages.length) show(this.log, this.welcome());
  }

  welcome() {
    const ideas = IDEAS.map((idea) => h("button", { type: "button", class: "idea", onclick: () => ((this.input.value = idea), this.submit()) }, idea));
    return h("div", { class: "empty" }, pictogram("attestation"), h("h2", {}, "Ask, and check who answered"), h("p", {}, "Under each answer a shield says what this page could verify of it."), h("div", { class: "ideas" }, ideas));
  }

  /** @param {import("../conversations.js").Conversation} conversation */
  begin(conversation) {
    this.running?.abort();
    this.current = conversation;
    this.draw();
    this.input.focus();
  }

  async submit() {
    const text = this.input.value.trim();
    if (!text) return;
    const conversation = this.current;
    if (!conversation.messages.length) show(this.log);
    conversation.messages.push({ role: "user", text });
    this.input.value = "";
    const kept = /** @type {import("../conversations.js").Message} */ ({ role: "assistant", text: "" });
    const view = answerView((finding) => ((kept.found = finding.label), keepConversation(conversation)));
    this.log.append(said(text), view.node);
    this.follow(true);
    const body = { model: conversation.model, messages: sentMessages(conversation, settings().system), ...chosen() };
    conversation.messages.push(kept);
    const made = await this.run(body, view);
    const { text: answer, reasoning, tools } = made.completion;
    Object.assign(kept, { text: answer, reasoning, tools }, made.error ? { failed: made.error.message } : {});
    this.note.textContent = keepConversation(conversation) ? "" : "This browser keeps nothing more: the conversation ends with this tab.";
  }

  /** @param {Record<string, unknown>} body @param {{update: (call: any) => void}} view */
  async run(body, view) {
    this.running = new AbortController();
    this.button("stop", "Stop");
    const made = await call(body, this.running.signal, (now) => (view.update(now), this.follow(false)));
    this.running = null;
    this.button("send", "Send");
    return made;
  }

  /** @param {"send" | "stop"} name @param {string} label */
  button(name, label) {
    this.send.setAttribute("aria-label", label);
    this.send.classList.toggle("stop", name === "stop");
    show(this.send, pictogram(name));
  }

  /** Keep the end in view while the reader is there. @param {boolean} always */
  follow(always) {
    const left = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight;
    if (always || left < NEAR_END) requestAnimationFrame(() => (this.log.scrollTop = this.log.scrollHeight));
  }

  history() {
    const list = h("ul", { class: "picker" });
    const draw = () => show(list, conversations().length ? conversations().map(row) : h("li", { class: "hint" }, "No conversation is kept here."));
    const row = (one) =>
      h(
        "li",
        { class: "row" },
        h("button", { type: "button", class: "option", onclick: () => (close(), this.begin(one)) }, h("span", { class: "option-name" }, one.title || "Empty"), h("span", { class: "option-facts" }, `${one.model} · ${one.messages.length} messages`)),
        h("button", { type: "button", class: "small", "aria-label": `Delete ${one.title}`, onclick: () => (dropConversation(one.id), draw()) }, "Delete"),
      );
    const clear = () => (dropAll(), close(), this.begin(newConversation(this.current.model)));
    const { close } = openDialog("History", [h("p", { class: "hint" }, "Kept in this browser only. The gateway keeps no content."), list, h("button", { type: "button", class: "danger", onclick: clear }, "Delete all")], { kind: "drawer" });
    draw();
  }

  options() {
    const kept = settings();
    const system = h("textarea", { rows: "3" }, kept.system);
    const most = h("input", { type: "number", min: "1", inputmode: "numeric", value: kept.most });
    const heat = h("input", { type: "number", min: "0", max: "2", step: "0.1", value: kept.heat });
    const tools = h("textarea", { rows: "6", class: "mono", spellcheck: "false" }, kept.tools);
    const wrong = h("p", { class: "error", role: "alert", hidden: true });
    const save = () => {
      wrong.hidden = !tools.value.trim() || isList(tools.value);
      wrong.textContent = "Tools are a JSON list, as the API takes it.";
      if (!wrong.hidden) return;
      keep("options", { system: system.value, most: most.value, heat: heat.value, tools: tools.value });
      close();
    };
    const { close } = openDialog(
      "Options",
      [
        field("System prompt", system),
        field("Most tokens of an answer", most, "Empty: as the model does by itself."),
        field("Temperature", heat, "Empty: as the model does by itself."),
        field("Tools", tools, "A JSON list. The page shows what the model calls, and runs nothing."),
        wrong,
        h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: save }, "Save")),
      ],
      { kind: "drawer" },
    );
  }
}

const settings = () => ({ system: "", most: "", heat: "", tools: "", ...Object(recall("options", {})) });

/** The members of a request that the options set. */
function chosen() {
  const { most, heat, tools } = settings();
  return {
    ...(most ? { max_tokens: Number(most) } : {}),
    ...(heat ? { temperature: Number(heat) } : {}),
    ...(tools.trim() && isList(tools) ? { tools: JSON.parse(tools) } : {}),
  };
}

/** @param {string} text */
function isList(text) {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}

const said = (text) => h("div", { class: "said" }, text);

/** @param {import("../conversations.js").Message} message */
const earlier = (message) => (message.failed ? h("div", { class: "answer" }, h("p", { class: "hint" }, `This answer failed: ${message.failed}`)) : earlierAnswer(message));
