// The one error of this verifier: bytes that do not follow their format.

/** `field` names the place; `found` and `wanted` say how. */
export class Malformed extends Error {
  /** @param {string} field @param {unknown} found @param {unknown} wanted */
  constructor(field, found, wanted) {
    super(`${field}: found ${found}, wanted ${wanted}`);
    this.name = "Malformed";
    this.field = field;
    this.found = String(found);
    this.wanted = String(wanted);
  }
}
