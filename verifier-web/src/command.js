// The command line that gives the same verdict without a browser.

/**
 * @typedef {{kind: "live"|"stored"|"report", origin: string, fileName: string, policyName: string, tcbName: string,
 *   measurement: string, announcement: string, proof: string, witnesses: string, acceptNewLog: boolean,
 *   remembered: boolean,
 *   acceptMock: boolean, at: Date | null, receipt: string, request: string, response: string, headers: string,
 *   manifests: string[], vek: string[], chain: string[], crl: string, inTable: boolean, receiptById: boolean}} Inputs
 */

/**
 * @param {Inputs} inputs
 * @returns {{command: string, policyFile: string | null, note: string}} `policyFile`: what to save as policy.json first
 */
export function equalCommand(inputs) {
  const policy = inputs.policyName || (inputs.measurement ? "policy.json" : "");
  const words = inputs.kind === "report" ? reportWords(inputs) : quoteWords(inputs);
  if (policy) words.push("--policy", fileWord(policy));
  for (const name of inputs.manifests) words.push("--manifest", fileWord(name));
  if (inputs.announcement) words.push("--announcement", fileWord(inputs.announcement));
  if (inputs.tcbName) words.push("--tcb", fileWord(inputs.tcbName));
  if (inputs.witnesses && inputs.kind !== "report") words.push("--witnesses", fileWord(inputs.witnesses));
  if (inputs.acceptNewLog) words.push("--accept-new-log");
  if (inputs.acceptMock) words.push("--accept-mock");
  if (inputs.at) words.push("--at", inputs.at.toISOString().replace(".000Z", "Z"));
  const policyFile = inputs.measurement ? JSON.stringify({ measurements: [inputs.measurement] }) : null;
  return { command: words.join(" "), policyFile, note: noteOf(inputs) };
}

/** @param {Inputs} inputs */
function noteOf({ kind, inTable, fileName, receiptById, remembered, witnesses }) {
  if (kind === "report" && inTable) return "Save the certificates from the raw bytes above first.";
  if (kind === "stored" && fileName === "pasted.json") return "Save the bundle above as pasted.json first.";
  const notes = [];
  if (witnesses === "witnesses.txt") notes.push("Save your witness policy as witnesses.txt first.");
  if (remembered) notes.push("It holds the log against its own memory: save this page’s checkpoints.json as that.");
  if (receiptById) notes.push("It reads your API key from the environment variable SAFEROUTER_API_KEY, or from --key-file.");
  return notes.join(" ");
}

/** @param {Inputs} inputs */
function quoteWords(inputs) {
  const words = ["saferouter", "verify", inputs.kind === "live" ? shellWord(inputs.origin) : fileWord(inputs.fileName)];
  if (inputs.receipt) words.push("--receipt", fileWord(inputs.receipt));
  if (inputs.proof) words.push("--proof", fileWord(inputs.proof));
  if (inputs.request) words.push("--request", fileWord(inputs.request));
  if (inputs.response) words.push("--response", fileWord(inputs.response));
  if (inputs.headers) words.push("--headers", fileWord(inputs.headers));
  return words;
}

/** @param {Inputs} inputs */
function reportWords(inputs) {
  const words = ["saferouter", "report", "verify", fileWord(inputs.fileName)];
  const vek = inputs.inTable ? ["vek.der"] : inputs.vek;
  const chain = inputs.inTable ? ["ask.der", "ark.der"] : inputs.chain;
  for (const name of vek) words.push("--vek", fileWord(name));
  for (const name of chain) words.push("--chain", fileWord(name));
  if (inputs.crl) words.push("--crl", fileWord(inputs.crl));
  return words;
}

/**
 * File names are foreign text: a name must not become an option or a second command in the reader's shell.
 * @param {string} name
 */
function fileWord(name) {
  return shellWord(name.startsWith("-") ? `./${name}` : name);
}

/** @param {string} text */
function shellWord(text) {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
