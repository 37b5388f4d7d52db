// A small part of Markdown as a tree: what models write most. No markup comes out of here, only values.

const MAX_TEXT = 200_000; // characters; what is longer is shown as it is
const MAX_DEPTH = 4; // of quotations
const LINK_SCHEMES = ["https:", "http:", "mailto:"];

/**
 * @typedef {{kind: "text" | "code", text: string} | {kind: "strong" | "em", parts: Inline[]}
 *   | {kind: "link", href: string, parts: Inline[]}} Inline
 * @typedef {{kind: "code", language: string, text: string} | {kind: "heading", level: number, parts: Inline[]}
 *   | {kind: "list", ordered: boolean, start: number, items: Inline[][]} | {kind: "quote", blocks: Block[]}
 *   | {kind: "paragraph", parts: Inline[]} | {kind: "rule"}} Block
 */

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])( *\1){2,} *$/;
const BULLET = /^\s*[-*+]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;

/** @param {string} text @param {number} [depth] @returns {Block[]} */
export function parseMarkdown(text, depth = 0) {
  if (text.length > MAX_TEXT || depth > MAX_DEPTH) return [{ kind: "paragraph", parts: [{ kind: "text", text }] }];
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    const [block, next] = takeBlock(lines, at, depth);
    if (block) blocks.push(block);
    at = next;
  }
  return blocks;
}

/** The block that begins at a line, and the line after it. @returns {[Block | null, number]} */
function takeBlock(lines, at, depth) {
  const line = lines[at];
  if (line.trim() === "") return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return takeCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, parts: parseInline(heading[2]) }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (QUOTE.test(line)) {
    const [rows, next] = takeWhile(lines, at, (row) => QUOTE.exec(row)?.[1]);
    return [{ kind: "quote", blocks: parseMarkdown(rows.join("\n"), depth + 1) }, next];
  }
  if (BULLET.test(line)) return takeList(lines, at, (row) => BULLET.exec(row)?.[1], false, 1);
  const number = NUMBER.exec(line);
  if (number) return takeList(lines, at, (row) => NUMBER.exec(row)?.[2], true, Number(number[1]));
  const [rows, next] = takeWhile(lines, at, (row, first) => (first || isPlain(row) ? row : undefined));
  return [{ kind: "paragraph", parts: parseInline(rows.join("\n")) }, next];
}

/** A fence that nothing closes runs to the end: so it looks while it streams. @returns {[Block, number]} */
function takeCode(lines, at, [, fence, language]) {
  const end = lines.findIndex((row, index) => index > at && row.trim().startsWith(fence) && !row.trim().replaceAll(fence[0], ""));
  const last = end < 0 ? lines.length : end;
  return [{ kind: "code", language, text: lines.slice(at + 1, last).join("\n") }, last + 1];
}

/** Items, each with the lines that go on indented below it. @returns {[Block, number]} */
function takeList(lines, at, itemOf, ordered, start) {
  const items = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    const item = itemOf(lines[next]);
    if (item !== undefined) items.push(item);
    else if (/^\s+\S/.test(lines[next])) items[items.length - 1] += `\n${lines[next].trim()}`;
    else if (lines[next].trim() !== "" || itemOf(lines[next + 1] ?? "") === undefined) break;
  }
  return [{ kind: "list", ordered, start, items: items.map((item) => parseInline(item)) }, next];
}

/** @returns {[string[], number]} */
function takeWhile(lines, at, rowOf) {
  const rows = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    const row = rowOf(lines[next], next === at);
    if (row === undefined) break;
    rows.push(row);
  }
  return [rows, next];
}

const isPlain = (line) => line.trim() !== "" && ![FENCE, HEADING, RULE, QUOTE, BULLET, NUMBER].some((mark) => mark.test(line));

// The first mark in a text, by what it is: code, a link, strong, or emphasis that no word is glued to.
const MARKS = /(`+)([^`]|[^`][^]*?[^`])\1(?!`)|\[([^\][\n]{1,500})\]\(([^()\s]{1,2000})\)|\*\*(?=\S)([^\n]{0,2000}?\S)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]{0,2000}?[^\s*])\*(?![\w*])/;

/** @param {string} text @returns {Inline[]} */
export function parseInline(text) {
  const parts = [];
  let rest = text;
  for (let mark = MARKS.exec(rest); mark; mark = MARKS.exec(rest)) {
    if (mark.index) parts.push({ kind: "text", text: rest.slice(0, mark.index) });
    parts.push(inlineOf(mark));
    rest = rest.slice(mark.index + mark[0].length);
  }
  if (rest) parts.push({ kind: "text", text: rest });
  return parts;
}

/** @returns {Inline} */
function inlineOf([whole, ticks, code, label, target, strong, em]) {
  if (ticks) return { kind: "code", text: code };
  if (strong !== undefined) return { kind: "strong", parts: parseInline(strong) };
  if (em !== undefined) return { kind: "em", parts: [{ kind: "text", text: em }] };
  const href = safeHref(target);
  return href ? { kind: "link", href, parts: [{ kind: "text", text: label }] } : { kind: "text", text: whole };
}

/** An address that a link may lead to: a whole one, of a scheme that runs nothing. @param {string} target */
export function safeHref(target) {
  try {
    const url = new URL(target);
    return LINK_SCHEMES.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
