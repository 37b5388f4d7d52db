"""One symmetric key of AWS KMS: data keys that KMS hands only to an attested recipient (SPEC §14.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tee.aws.cms import open_enveloped_data
from tee.aws.exchange import exchange
from tee.aws.kms_key import KmsKeyName
from tee.aws.sigv4 import AwsCredentials, AwsScope, sign_request
from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable, Undecryptable
from tee.quote import decode_base64, encode_base64

MAX_DOCUMENT = 262144  # of KMS, for an attestation document
MAX_CIPHERTEXT = 6144  # of KMS
_ERROR_TYPE = re.compile(r"[A-Za-z]{1,64}", re.ASCII)

AttestKey = Callable[[bytes], bytes]
"""A DER SubjectPublicKeyInfo -> a NitroTPM attestation document that carries it. Raises Unavailable."""


class KmsKey:
    """A key of KMS, in the name of some credentials. Each call may block for ten seconds."""

    def __init__(
        self,
        name: KmsKeyName,
        credentials: Callable[[], AwsCredentials],
        attest_key: AttestKey | None,
        now: Callable[[], datetime],
        *,
        whoever_holds_the_role_may_decrypt: bool = False,
    ) -> None:
        """Without `attest_key` KMS answers in the clear to anybody with the credentials. Raises Unavailable."""
        if attest_key is None and not whoever_holds_the_role_may_decrypt:
            reason = (
                "sealing with AWS KMS needs a NitroTPM attestation document: without one, KMS would open what is "
                "sealed for whoever holds this machine's role"
            )
            raise Unavailable(name.arn, reason, retryable=False)
        self.arn = name.arn
        self._name = name
        self._credentials = credentials
        self._attest_key = attest_key
        self._now = now

    def generate_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        """A new 32-byte key and the ciphertext that KMS opens again. Raises Unavailable, Undecryptable."""
        key, answer = self._call("GenerateDataKey", {"KeySpec": "AES_256", "EncryptionContext": context})
        return key, self._bytes(answer, "CiphertextBlob", MAX_CIPHERTEXT)

    def decrypt(self, ciphertext: bytes, context: dict[str, str]) -> bytes:
        """The 32-byte key of a ciphertext, in the same context. Raises Unavailable, Undecryptable."""
        request = {"CiphertextBlob": encode_base64(ciphertext), "EncryptionContext": context}
        return self._call("Decrypt", request)[0]

    def _call(self, action: str, request: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
        request = request | {"KeyId": self.arn}
        if self._attest_key is None:
            answer = self._post(action, request)
            key = self._bytes(answer, "Plaintext", 32)
        else:
            private = rsa.generate_private_key(65537, 2048)  # fresh for each call, so that no answer serves twice
            document = self._attest_key(
                private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            )
            if len(document) > MAX_DOCUMENT:
                raise self._unavailable(f"takes attestation documents up to {MAX_DOCUMENT} bytes, not {len(document)}")
            recipient = {
                "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                "AttestationDocument": encode_base64(document),
            }
            answer = self._post(action, request | {"Recipient": recipient})
            if answer.get("Plaintext"):
                raise self._unavailable(
                    "answered in the clear, although only an attested recipient may read the answer"
                )
            key = open_enveloped_data(self._bytes(answer, "CiphertextForRecipient", 16 << 10), private)
        if answer.get("KeyId") != self.arn:
            raise self._unavailable("answered for another key than was asked for")
        if len(key) != 32:
            raise Undecryptable
        return key, answer

    def _post(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        url = self._name.endpoint + "/"
        body = json.dumps(request).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{action}"}
        scope = AwsScope(self._name.region, "kms")
        signed = sign_request("POST", url, headers, body, self._credentials(), scope, self._now())
        status, raw = exchange("POST", url, signed, body)
        try:
            answer = parse_json(raw, "answer")
        except Malformed:  # which could quote what it holds
            answer = None
        if not isinstance(answer, dict):
            raise self._unavailable(f"answered {action} with status {status} and no JSON object", status >= 500)
        if status != 200:
            raise self._failure(action, status, answer)
        return answer

    def _failure(self, action: str, status: int, answer: dict[str, Any]) -> Unavailable | Undecryptable:
        """What a refusal means. KMS's own message is left out: it names roles and accounts."""
        named = str(answer.get("__type", "")).rpartition("#")[2]
        kind = named if _ERROR_TYPE.fullmatch(named) else "an unnamed error"
        if kind in ("InvalidCiphertextException", "IncorrectKeyException"):
            return Undecryptable()
        words = {
            "AccessDeniedException": (
                f"the key's policy does not allow kms:{action} to this machine's role, or not to a boot image with "
                "these NitroTPM PCRs (4, 7, 12): compare them with the policy's kms:RecipientAttestation conditions"
            ),
            "NotFoundException": "there is no such key in this account and region",
            "DisabledException": "the key is disabled",
            "KMSInvalidStateException": "the key is pending deletion, or otherwise not usable",
        }
        retryable = status >= 500 or kind in ("ThrottlingException", "LimitExceededException")
        return self._unavailable(
            f"refuses {action} ({status} {kind})" + (f": {words[kind]}" if kind in words else ""), retryable
        )

    def _bytes(self, answer: dict[str, Any], name: str, limit: int) -> bytes:
        try:
            found = decode_base64(answer.get(name), name)
        except Malformed:
            found = b""
        if not 0 < len(found) <= limit:
            raise self._unavailable(f"answered without a {name} of 1 to {limit} bytes")
        return found

    def _unavailable(self, reason: str, retryable: bool = False) -> Unavailable:
        return Unavailable(self.arn, reason, retryable=retryable)
