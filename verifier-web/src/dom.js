// Building DOM nodes from text: nothing here, or above it, ever parses markup.

const SVG = "http://www.w3.org/2000/svg";

// One shape per state, so that a state is never told by colour alone.
const SHAPES = {
  pass: ["M10 1.75a8.25 8.25 0 1 0 0 16.5 8.25 8.25 0 0 0 0-16.5z", "M6.3 10.3l2.5 2.5 5-5.4"],
  fail: ["M6.6 1.75h6.8l4.85 4.85v6.8l-4.85 4.85H6.6L1.75 13.4V6.6z", "M7 7l6 6M13 7l-6 6"],
  skip: ["M10 1.75a8.25 8.25 0 1 0 0 16.5 8.25 8.25 0 0 0 0-16.5z", "M6.6 10h6.8"],
  partial: [
    "M10 1.75a8.25 8.25 0 1 0 0 16.5 8.25 8.25 0 0 0 0-16.5z",
    "M10 1.75v16.5M10 5h4.8M10 8.3h7.2M10 11.6h7.2M10 15h4.8",
  ],
  mock: [
    "M7.5 1.75h5M8.4 1.75v5.5L2.9 16a1.5 1.5 0 0 0 1.3 2.25h11.6A1.5 1.5 0 0 0 17.1 16L11.6 7.25v-5.5",
    "M5.6 12.2h8.8",
  ],
};

/**
 * @param {string} tag
 * @param {Record<string, string | boolean | null>} [attributes] null and false leave an attribute out
 * @param {...(Node | string | null)} children strings become text nodes
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * The icon of a state; decorative, because the state's word always stands beside it.
 * @param {"pass"|"fail"|"skip"|"partial"|"mock"} state
 * @returns {SVGElement}
 */
export function icon(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${state}`);
  for (const shape of SHAPES[state]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", shape);
    svg.append(path);
  }
  return svg;
}

/**
 * A button that copies `text`; where the browser refuses, it selects `shown` so that the reader can.
 * @param {string} label
 * @param {string} text
 * @param {HTMLElement} shown
 * @returns {HTMLElement}
 */
export function copyButton(label, text, shown) {
  const button = element("button", { type: "button", class: "small" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

/**
 * A button that saves `bytes` under `name`.
 * @param {string} label
 * @param {string} name
 * @param {Uint8Array} bytes
 * @returns {HTMLElement}
 */
export function saveButton(label, name, bytes) {
  const button = element("button", { type: "button", class: "small" }, label);
  button.addEventListener("click", () => saveBytes(name, bytes));
  return button;
}

/** Hand `bytes` to the reader as a file. @param {string} name @param {Uint8Array} bytes */
export function saveBytes(name, bytes) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const link = element("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A definition list of label and value; empty values are left out. @param {(string | undefined)[][]} rows */
export function facts(rows) {
  const pairs = rows
    .filter(([, value]) => value)
    .map(([label, value]) =>
      element("div", {}, element("dt", {}, label), element("dd", { "data-field": label.toLowerCase() }, mono(value))),
    );
  return element("dl", { class: "facts" }, ...pairs);
}

/** Long hexadecimal reads and wraps better in monospace; sentences do not. */
function mono(text) {
  return /[0-9a-f]{32}/.test(text) ? element("code", {}, text) : text;
}
