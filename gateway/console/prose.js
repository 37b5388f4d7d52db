// An answer's text on the page: the tree of markdown.js as elements. Text stays text.
import { copyButton, h } from "./dom.js";
import { parseMarkdown } from "./markdown.js";

/** @param {string} text @returns {any[]} */
export const prose = (text) => parseMarkdown(text).map(blockNode);

/** @param {import("./markdown.js").Block} block */
function blockNode(block) {
  if (block.kind === "code") return codeNode(block);
  // The page's own headings are h1 and h2; an answer's come below.
  if (block.kind === "heading") return h(`h${Math.min(6, block.level + 2)}`, {}, block.parts.map(inlineNode));
  if (block.kind === "rule") return h("hr");
  if (block.kind === "quote") return h("blockquote", {}, block.blocks.map(blockNode));
  if (block.kind === "paragraph") return h("p", {}, block.parts.map(inlineNode));
  const items = block.items.map((item) => h("li", {}, item.map(inlineNode)));
  return block.ordered ? h("ol", { start: String(block.start) }, items) : h("ul", {}, items);
}

/** @param {{language: string, text: string}} block */
function codeNode({ language, text }) {
  const code = h("pre", { tabindex: "0", "aria-label": language ? `Code, ${language}` : "Code" }, h("code", {}, text));
  return h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", {}, language || "text"), copyButton("Copy", () => text, code)), code);
}

/** @param {import("./markdown.js").Inline} part */
function inlineNode(part) {
  if (part.kind === "text") return part.text;
  if (part.kind === "code") return h("code", {}, part.text);
  if (part.kind === "link") return h("a", { href: part.href, target: "_blank", rel: "noopener noreferrer nofollow" }, part.parts.map(inlineNode));
  return h(part.kind, {}, part.parts.map(inlineNode));
}
