// HTTP message signatures in the browser's verifier: the standard's own example.

import assert from "node:assert/strict";
import { test } from "node:test";

import { base64Bytes } from "../../verifier-web/src/bytes.js";
import { signatureBase } from "../../verifier-web/src/httpsig.js";
import { verifyEd25519 } from "../../verifier-web/src/identity.js";

test("RFC 9421, appendix B.2.6 with the key of B.1.4", async () => {
  const covered = [
    ['"date"', "Tue, 20 Apr 2021 02:07:55 GMT"],
    ['"@method"', "POST"],
    ['"@path"', "/foo"],
    ['"@authority"', "example.com"],
    ['"content-type"', "application/json"],
    ['"content-length"', "18"],
  ];
  const key = base64Bytes("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=");
  const signature = base64Bytes(
    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
  );
  const base = (keyId) => signatureBase(covered, `;created=1618884473;keyid="${keyId}"`);
  assert.equal(await verifyEd25519(key, signature, base("test-key-ed25519")), true);
  assert.equal(await verifyEd25519(key, signature, base("another-key")), false);
});
