"""The contract of every Sealer: what was sealed opens for its purpose, unchanged, and in no other way."""

from __future__ import annotations

import json

import pytest

from tee.errors import Malformed, TeeError
from tee.seal.sealer import Sealer

SECRET = b"a secret that nobody may see"


def opens_what_it_sealed(sealer: Sealer) -> None:
    """Also nothing, and 64 KiB; and nothing more."""
    for plaintext in (b"", SECRET, bytes(64 << 10)):
        envelope = sealer.seal(plaintext, "identity")
        assert sealer.unseal(envelope, "identity") == plaintext
        assert sealer.refresh(envelope, "identity") is None, "a fresh envelope needs no hand-over"
    for plaintext, purpose in ((bytes((64 << 10) + 1), "identity"), (b"", ""), (b"", "Identity"), (b"", "a\nb")):
        with pytest.raises(ValueError, match="wanted"):
            sealer.seal(plaintext, purpose)


def shows_nothing_and_repeats_nothing(sealer: Sealer) -> None:
    """Two envelopes of one secret share no ciphertext."""
    first, second = (sealer.seal(SECRET, "identity") for _ in range(2))
    assert SECRET not in first
    one, other = json.loads(first), json.loads(second)
    assert one["payload_b64"] != other["payload_b64"]
    assert one["slots"][0]["wrapped_b64"] != other["slots"][0]["wrapped_b64"]


def serves_one_purpose(sealer: Sealer) -> None:
    """Also not after the purpose in the header was rewritten."""
    envelope = sealer.seal(SECRET, "identity")
    with pytest.raises(Malformed, match=r"sealed\.purpose: found identity, wanted log"):
        sealer.unseal(envelope, "log")
    renamed = envelope.replace(b'"purpose":"identity"', b'"purpose":"log"')
    with pytest.raises(TeeError):
        sealer.unseal(renamed, "log")


def refuses_what_was_changed(sealer: Sealer) -> None:
    """One byte of any ciphertext; the slots of one envelope with the payload of another."""
    envelope, other = (json.loads(sealer.seal(SECRET, "identity")) for _ in range(2))
    for changed in (
        envelope | {"payload_b64": _flipped(envelope["payload_b64"])},
        envelope | {"slots": [envelope["slots"][0] | {"wrapped_b64": _flipped(envelope["slots"][0]["wrapped_b64"])}]},
        envelope | {"slots": other["slots"]},
    ):
        raw = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(TeeError, match="could not be opened"):
            sealer.unseal(raw, "identity")


def _flipped(text: str) -> str:
    return ("B" if text[0] == "A" else "A") + text[1:]


CONTRACT = (opens_what_it_sealed, shows_nothing_and_repeats_nothing, serves_one_purpose, refuses_what_was_changed)
