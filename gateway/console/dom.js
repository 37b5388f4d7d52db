// Building the pages from text: nothing here, or above it, ever parses markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | null | undefined | false} Child null and false are left out
 * @typedef {Record<string, any>} Attributes `on…` are listeners, null and false leave an attribute out
 */

/** @param {string} tag @param {Attributes} [attributes] @param {...(Child | Child[])} children @returns {any} */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** @param {string} tag @param {Attributes} [attributes] @param {...(Child | Child[])} children @returns {any} */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  put(node, ...children);
  return node;
}

/** Add children. @param {any} node @param {...(Child | Child[])} children */
export function put(node, ...children) {
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Replace all children. @param {any} node @param {...(Child | Child[])} children */
export function show(node, ...children) {
  node.replaceChildren();
  put(node, ...children);
}

const SHAPES = {
  models: ["M3 7l9-4.5 9 4.5-9 4.5z", "M3 12l9 4.5 9-4.5", "M3 17l9 4.5 9-4.5"],
  chat: ["M4 5h16v11H10l-4.5 4v-4H4z"],
  compare: ["M4 4h6v16H4zM14 4h6v16h-6z"],
  activity: ["M3 13h4l3-8 4 14 3-6h4"],
  keys: ["M14.5 4a5.5 5.5 0 1 1-2.7 10.3L10 16H8v2H6v2H3v-3l6.7-6.7A5.5 5.5 0 0 1 14.5 4z", "M16 8h.01"],
  credits: ["M3 6h18v12H3z", "M3 10h18", "M7 14.5h3"],
  attestation: ["M12 3l8 3v5.5c0 5-3.4 8-8 9.5-4.6-1.5-8-4.5-8-9.5V6z", "M8.5 11.8l2.5 2.5 4.5-5"],
  operator: ["M4 7h9M17 7h3M4 17h3M11 17h9", "M15 5v4M9 15v4"],
  chevron: ["M6 9l6 6 6-6"],
  close: ["M6 6l12 12M18 6L6 18"],
  send: ["M5 12h13M12 5.5l6.5 6.5-6.5 6.5"],
  stop: ["M7 7h10v10H7z"],
  sun: ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4"],
  empty: ["M4 13l3-8h10l3 8v6H4z", "M4 13h5l1.5 2.5h3L15 13h5"],
  alert: ["M12 4l9 16H3z", "M12 10v4.5M12 17.2h.01"],
};

/** A picture beside words, never instead of them. @param {keyof typeof SHAPES} name */
export function pictogram(name) {
  const paths = SHAPES[name].map((d) => svg("path", { d }));
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "pictogram" }, paths);
}

/** Tell who does not see the page. @param {string} text */
export function say(text) {
  /** @type {HTMLElement} */ (document.getElementById("said")).textContent = text;
}

/** A button that copies; where the browser refuses, it selects `shown`. @param {string} label @param {() => string} text @param {HTMLElement} shown */
export function copyButton(label, text, shown) {
  const button = h("button", { type: "button", class: "small" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
    }
    say(button.textContent);
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

/** Hand the reader a file. @param {string} name @param {Blob} blob */
export function saveFile(name, blob) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A labelled field. @param {string} label @param {any} control @param {string} [hint] */
export function field(label, control, hint) {
  const id = control.id || `f${(serial += 1)}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  const note = hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  return h("div", { class: "field" }, h("label", { for: id }, label), control, note);
}

let serial = 0;

/** A box with its words. @param {string} label @param {any} box @param {string} [hint] */
export function tick(label, box, hint) {
  return h("div", { class: "field" }, h("label", { class: "tick" }, box, h("span", {}, label)), hint ? h("p", { class: "hint" }, hint) : null);
}
