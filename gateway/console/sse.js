// Server-sent events: text in, events out (WHATWG HTML §9.2.6). No network.

const MAX_EVENT = 4 << 20; // characters of one unfinished event: no answer's chunk comes near it

/** @typedef {{event: string, data: string}} SentEvent */

/** A parser of one stream: `push` what came, `finish` at its end. */
export class EventParser {
  #rest = "";
  #lines = /** @type {string[]} */ ([]);
  #size = 0;

  /** @param {string} text @returns {SentEvent[]} */
  push(text) {
    this.#rest += text;
    const events = [];
    for (let end = this.#lineEnd(); end; end = this.#lineEnd()) {
      const line = this.#rest.slice(0, end.at);
      this.#rest = this.#rest.slice(end.next);
      const event = this.#take(line);
      if (event) events.push(event);
    }
    if (this.#size + this.#rest.length > MAX_EVENT) throw new Error(`an event of more than ${MAX_EVENT} characters`);
    return events;
  }

  /** Whether the stream ended between two events: what is left of an unfinished one counts for nothing. */
  finish() {
    return this.#rest === "" && this.#lines.length === 0;
  }

  /** Where the first line ends and the next begins; a last CR may be half of a CRLF. */
  #lineEnd() {
    const at = this.#rest.search(/[\r\n]/);
    if (at < 0 || (this.#rest[at] === "\r" && at + 1 === this.#rest.length)) return null;
    return { at, next: at + (this.#rest.startsWith("\r\n", at) ? 2 : 1) };
  }

  /** @param {string} line @returns {SentEvent | null} */
  #take(line) {
    if (line !== "") {
      this.#lines.push(line);
      this.#size += line.length;
      return null;
    }
    const lines = this.#lines;
    [this.#lines, this.#size] = [[], 0];
    const data = lines.map((row) => valueOf(row, "data")).filter((value) => value !== null);
    const names = lines.map((row) => valueOf(row, "event")).filter((value) => value !== null);
    return data.length ? { event: names.at(-1) || "message", data: data.join("\n") } : null;
  }
}

/** The value of a line of this field, null of any other. @param {string} line @param {string} field */
function valueOf(line, field) {
  if (line === field) return "";
  if (!line.startsWith(`${field}:`)) return null;
  const value = line.slice(field.length + 1);
  return value.startsWith(" ") ? value.slice(1) : value;
}
