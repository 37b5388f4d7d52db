// Byte strings: hex, UTF-8, base64, SHA-256 and comparison, for what JavaScript itself leaves open.

/** @param {Uint8Array} bytes @returns {string} lowercase hex */
export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {string} hex an even number of hex characters, already checked */
export const bytesOfHex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** @param {string} text */
export const encodeUtf8 = (text) => new TextEncoder().encode(text);

/** Each byte as the character of that code. @param {Uint8Array} bytes */
export function latin1Of(bytes) {
  let text = "";
  // In pieces: a call has a limited number of arguments.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

/** @param {Uint8Array} one @param {Uint8Array} other */
export const equalBytes = (one, other) =>
  one.length === other.length && one.every((byte, index) => byte === other[index]);

/** @param {Uint8Array} bytes */
export const isZero = (bytes) => bytes.every((byte) => byte === 0);

/** @param {Uint8Array} bytes @returns {Promise<Uint8Array>} 32 bytes */
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/** Standard base64 with padding. @param {Uint8Array} bytes */
export const encodeBase64 = (bytes) => btoa(latin1Of(bytes));

/**
 * The bytes of base64 text, or null where a character or the padding is wrong. The unused bits of the last
 * character are not looked at: compare with encodeBase64 where one spelling is wanted.
 * @param {string} text @returns {Uint8Array | null}
 */
export function base64Bytes(text) {
  const data = text.replace(/=+$/, "");
  const padding = text.length - data.length;
  const odd = data.length % 4;
  const padded = odd === 0 ? data.length > 0 || padding === 0 : odd > 1 && padding === 4 - odd;
  if (!padded || /[^A-Za-z0-9+/]/.test(data)) return null; // atob alone would skip white space
  return Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
}
