// This gateway's evidence in short, which build this browser accepts, and why another verifier is to be preferred.
import { icon } from "/verifier/src/dom.js";
import { examine } from "/verifier/src/examine.js";
import { parsePolicy } from "/verifier/src/policy.js";
import { headline } from "/verifier/src/questions.js";
import { copyButton, field, h, say, show } from "../dom.js";
import { ago, moment } from "../format.js";
import { questions, verifierLink } from "../shieldview.js";
import { fill, pill, problem, skeleton } from "../states.js";
import { claim, isMeasurement, trust, trusted } from "../trust.js";

const GROUNDS = { reader: "you named it", pin: "pinned from what the gateway said" };

/** @type {import("../main.js").Page} */
export const page = { id: "attestation", title: "Attestation", needsKey: false, open };

/** @param {HTMLElement} root */
function open(root) {
  const shown = h("section", { class: "card" });
  const accepted = h("section", { class: "card" });
  const result = h("div", {});
  show(
    root,
    h("h1", {}, "Attestation"),
    h("p", { class: "lead" }, "What this gateway shows of itself, and how to check it without trusting this page."),
    preferred(),
    h("div", { class: "pair" }, shown, accepted),
    h("section", { class: "card" }, h("h2", {}, "Check it from here"), h("p", { class: "hint" }, "This page makes a random number, asks for fresh evidence over it, and checks that in your browser."), result),
  );
  const redraw = () => drawAccepted(accepted, redraw);
  redraw();
  fill(shown, skeleton(5), async () => facts(await claim()));
  show(result, checker(result));
}

/** Why not here, and where instead. */
function preferred() {
  const command = `saferouter verify ${location.origin} --policy POLICY.toml`;
  const code = h("pre", { tabindex: "0", "aria-label": "Command" }, command);
  return h(
    "section",
    { class: "card prefer" },
    h("h2", {}, "Prefer a verifier that the gateway did not serve"),
    h("p", {}, "Whoever could forge the evidence could also change this page. So a shield here is a convenience: it notices faults, and cannot vouch for the gateway. For a proof, take the verifier from the project’s own source or pages, or the command, with a policy that you chose."),
    h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", {}, "shell"), copyButton("Copy", () => command, code)), code),
    h("p", { class: "hint" }, "From source: ", h("code", {}, "make web"), " writes ", h("code", {}, "dist/verifier.html"), ", one file that works from your disk. The gateway’s own copy of the same page is a demonstration, and says so."),
    h("div", { class: "row" }, h("a", { class: "button", href: verifierLink({ measurement: trusted()?.measurement ?? "", examination: null }), target: "_blank", rel: "noopener" }, "Open the gateway’s copy of the verifier")),
  );
}

/** @param {import("../quotes.js").Claim} claimed */
function facts(claimed) {
  const { build, log } = claimed;
  const now = Date.now() / 1000;
  const rows = [
    ["Hardware", claimed.mock ? "MOCK: software, no chip" : claimed.teeType],
    ["Version", build.version],
    ["Source", build.repo_url],
    ["Commit", build.repo_commit],
    ["Measurement", claimed.measurement],
    ["Address", claimed.audience],
    ["Keys end", `${moment(claimed.notAfter)} (${ago(claimed.notAfter, now)})`],
    ["Log", log && `${log.origin}, ${log.size} entries`],
  ].filter(([, value]) => value);
  return [
    h("div", { class: "page-head" }, h("h2", {}, "What the gateway says"), claimed.mock ? pill("MOCK", "mock") : pill("Unchecked", "quiet")),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, long(value))))),
  ];
}

const long = (value) => (/[0-9a-f]{32}/.test(value) ? h("code", {}, value) : value);

/** @param {HTMLElement} place @param {() => void} redraw */
function drawAccepted(place, redraw) {
  const kept = trusted();
  const measurement = h("input", { type: "text", class: "mono", spellcheck: "false", autocomplete: "off", value: kept?.measurement ?? "", placeholder: "96 hexadecimal characters" });
  const policy = h("input", { type: "file", accept: ".json,application/json" });
  const said = h("div", {});
  const form = h("form", { novalidate: true }, field("Launch measurement", measurement, "From a release that you trust, not from this page."), field("Or a policy file (JSON)", policy), said);
  const keepIt = async (value) => {
    trust(value);
    say(value ? "Accepted in this browser." : "Nothing is accepted here any more.");
    redraw();
  };
  const pin = h("button", { type: "button" }, "Pin what it says now");
  pin.addEventListener("click", async () => {
    try {
      const claimed = await claim();
      await keepIt({ measurement: claimed.measurement, policy: "", ground: "pin", at: nowSeconds() });
    } catch (error) {
      show(said, problem(error));
    }
  });
  const drop = kept ? h("button", { type: "button", onclick: () => keepIt(null) }, "Forget it") : null;
  put(form, h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Accept"), pin, drop));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await keepIt(await readChoice(measurement.value.trim().toLowerCase(), policy.files?.[0]));
    } catch (error) {
      show(said, h("p", { class: "error", role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
  });
  const state = kept
    ? h("p", {}, pill(kept.policy ? "A policy" : "One measurement", "good"), ` ${GROUNDS[kept.ground]}, ${moment(kept.at)}.`)
    : h("p", {}, pill("None yet", "warn"), " Until you name one, no shield says more than “Build not named”.");
  show(place, h("h2", {}, "Which build this browser accepts"), state, form, h("p", { class: "hint" }, "A pin notices that the build changes. Whether it is a good build, it cannot know."));
}

const put = (node, child) => node.append(child);
const nowSeconds = () => Math.floor(Date.now() / 1000);

/** @param {string} measurement @param {File | undefined} file @returns {Promise<import("../trust.js").Trust>} */
async function readChoice(measurement, file) {
  if (file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    await parsePolicy(bytes); // what does not parse is refused now, in its own words
    return { measurement: "", policy: new TextDecoder().decode(bytes), ground: "reader", at: nowSeconds() };
  }
  if (!isMeasurement(measurement)) throw new Error(`A measurement is 96 hexadecimal characters; this has ${measurement.length}.`);
  return { measurement, policy: "", ground: "reader", at: nowSeconds() };
}

/** The button, and what it found. @param {HTMLElement} place */
function checker(place) {
  const button = h("button", { type: "button", class: "primary" }, "Ask for fresh evidence and check it");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      show(place, button, await verdictNode());
    } catch (error) {
      show(place, button, problem(error));
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

async function verdictNode() {
  const claimed = await claim();
  const kept = trusted();
  const files = kept?.policy ? [{ name: "policy.json", role: "policy", bytes: new TextEncoder().encode(kept.policy) }] : [];
  const measurement = kept?.policy ? "" : (kept?.measurement ?? claimed.measurement);
  const wanted = { live: true, origin: location.origin, files, measurement, acceptMock: claimed.mock, at: null, receiptId: "", apiKey: "", rememberMock: false, acceptNewLog: false };
  const { verdict } = await examine(/** @type {any} */ (wanted), () => undefined);
  const ground = kept?.ground ?? "none";
  const told = headline(verdict);
  // Without a build that the reader named, nothing may read as verified.
  const { state, word, sentence } = told.state === "pass" && ground !== "reader" ? { state: "partial", word: "Build not named", sentence: "Every check holds, for the build that the gateway itself named." } : told;
  say(word);
  return [h("div", { class: "finding", "data-state": state }, h("p", { class: "finding-word" }, icon(state), word), h("p", {}, sentence)), questions(verdict, ground)];
}
