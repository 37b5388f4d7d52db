"""Wrapping secrets held by AWS KMS for a measured boot image (SPEC §14.3)."""

from __future__ import annotations

from tee.aws.kms import KmsKey
from tee.errors import Unavailable
from tee.keys.identity import require_members
from tee.quote import decode_base64, encode_base64
from tee.seal.envelope import FORMAT, Facts

KIND = "aws-kms"


class KmsSource:
    """A SecretSource: data keys of KMS, each bound to purpose and audience by its encryption context."""

    def __init__(self, key: KmsKey, audience: str) -> None:
        self._key = key
        self._audience = audience

    def new_secret(self, purpose: str) -> tuple[Facts, bytes]:
        """See SecretSource."""
        secret, ciphertext = self._key.generate_data_key(self._context(purpose))
        return self._fixed() | {"ciphertext_b64": encode_base64(ciphertext)}, secret

    def secret_of(self, facts: Facts, purpose: str) -> bytes:
        """See SecretSource."""
        if facts["kind"] != KIND:
            raise _elsewhere(f"{facts['kind']}, and this gateway seals with {KIND}")
        require_members(facts, {*self._fixed(), "ciphertext_b64"}, "sealed.slots", exact=True)
        for name, own in self._fixed().items():
            if facts[name] != own:
                raise _elsewhere(f"{name} {facts[name]}, and this gateway is configured with {own}")
        ciphertext = decode_base64(facts["ciphertext_b64"], "sealed.slots.ciphertext_b64")
        return self._key.decrypt(ciphertext, self._context(purpose))

    def is_current(self, facts: Facts) -> bool:
        """See SecretSource. KMS rotates its key behind the same ARN, and opens old ciphertexts."""
        return facts | self._fixed() == facts

    def _fixed(self) -> Facts:
        return {"kind": KIND, "key_arn": self._key.arn, "audience": self._audience}

    def _context(self, purpose: str) -> dict[str, str]:
        return {"format": FORMAT, "purpose": purpose, "audience": self._audience}


def _elsewhere(words: str) -> Unavailable:
    reason = f"sealed under {words}. Configure it as it was, or delete the file to begin anew"
    return Unavailable("sealed state", reason, retryable=False)
