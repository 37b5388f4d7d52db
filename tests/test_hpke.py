"""HPKE: the published vectors of RFC 9180, of hpke-pq and of X-Wing, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from tee.errors import Malformed, Undecryptable
from tee.keys import hpke

unhex = bytes.fromhex


def _rows(file: Path) -> list[dict[str, Any]]:
    """The vectors of the suites that are built: either KEM, HKDF-SHA256."""
    rows = json.loads(file.read_text())
    return [row for row in rows if row["kem_id"] in hpke.PUBLIC_SIZES and row["kdf_id"] == hpke.HKDF_SHA256]


def test_the_published_vectors_open(vectors: Path) -> None:
    rows = _rows(vectors / "hpke-rfc9180/base-x25519-p256-subset.json") + _rows(vectors / "hpke-pq/test-vectors.json")
    assert {(row["kem_id"], row["aead_id"]) for row in rows} >= {
        *((hpke.X25519, aead) for aead in (1, 2, 3, hpke.EXPORT_ONLY)),
        (hpke.XWING, hpke.CHACHA20_POLY1305),
    }
    for row in rows:
        kem, aead = row["kem_id"], row["aead_id"]
        secret = unhex(row["skRm"])
        assert hpke.public_key_of(kem, secret) == unhex(row["pkRm"])
        context = hpke.receiver(kem, aead, unhex(row["enc"]), secret, unhex(row["info"]))
        assert (context.key, context.exporter_secret) == (unhex(row["key"]), unhex(row["exporter_secret"]))
        for each in row["exports"]:
            assert context.export(unhex(each["exporter_context"]), each["L"]) == unhex(each["exported_value"])
        sealing = hpke.schedule(kem, aead, unhex(row["shared_secret"]), unhex(row["info"]))
        for at, each in enumerate(row["encryptions"]):
            assert context.sequence == at
            assert context.open(unhex(each["ct"]), unhex(each["aad"])) == unhex(each["pt"])
            assert sealing.seal(unhex(each["pt"]), unhex(each["aad"])) == unhex(each["ct"])


def test_x_wing_gives_the_published_secrets(vectors: Path) -> None:
    for row in json.loads((vectors / "x-wing/test-vectors.json").read_text()):
        assert hpke.public_key_of(hpke.XWING, unhex(row["sk"])) == unhex(row["pk"])
        context = hpke.receiver(hpke.XWING, hpke.AES_256_GCM, unhex(row["ct"]), unhex(row["sk"]), b"")
        assert context == hpke.schedule(hpke.XWING, hpke.AES_256_GCM, unhex(row["ss"]), b"")


@pytest.mark.parametrize(("kem", "theirs"), [(hpke.X25519, KEM.X25519), (hpke.XWING, KEM.MLKEM768_X25519)])
def test_another_library_opens_what_we_seal_and_we_what_it_seals(kem: int, theirs: KEM) -> None:
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

    suite, secret = Suite(theirs, KDF.HKDF_SHA256, AEAD.AES_256_GCM), hpke.new_secret()
    private: Any = x25519.X25519PrivateKey.from_private_bytes(secret)
    if kem == hpke.XWING:
        seeds = hashlib.shake_256(secret).digest(96)
        first = mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:64])
        private = MLKEM768X25519PrivateKey(first, x25519.X25519PrivateKey.from_private_bytes(seeds[64:]))
    enc, context = hpke.sender(kem, hpke.AES_256_GCM, hpke.public_key_of(kem, secret), b"info")
    assert suite.decrypt(enc + context.seal(b"words"), private, b"info") == b"words"
    sealed = suite.encrypt(b"words", private.public_key(), b"info")
    size = hpke.ENC_SIZES[kem]
    assert hpke.receiver(kem, hpke.AES_256_GCM, sealed[:size], secret, b"info").open(sealed[size:]) == b"words"


def _pair(kem: int = hpke.X25519) -> tuple[hpke.Context, hpke.Context]:
    secret = hpke.new_secret()
    enc, sending = hpke.sender(kem, hpke.AES_256_GCM, hpke.public_key_of(kem, secret), b"info")
    return sending, hpke.receiver(kem, hpke.AES_256_GCM, enc, secret, b"info")


@given(st.lists(st.tuples(st.binary(max_size=99), st.binary(max_size=9)), max_size=6))
def test_messages_open_in_their_order_and_with_their_own_data(messages: list[tuple[bytes, bytes]]) -> None:
    sending, receiving = _pair()
    for plaintext, aad in messages:
        sealed = sending.seal(plaintext, aad)
        for wrong in ((sealed[:-1], aad), (sealed, aad + b"x"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), aad)):
            with pytest.raises(Undecryptable):
                receiving.open(*wrong)
        assert receiving.open(sealed, aad) == plaintext
        with pytest.raises(Undecryptable):  # again: its place is taken
            receiving.open(sealed, aad)


@pytest.mark.parametrize("kem", [hpke.X25519, hpke.XWING])
def test_another_info_or_key_shares_nothing(kem: int) -> None:
    secret = hpke.new_secret()
    enc, sending = hpke.sender(kem, hpke.AES_256_GCM, hpke.public_key_of(kem, secret), b"info")
    sealed = sending.seal(b"words")
    for key, info in ((secret, b"other"), (hpke.new_secret(), b"info")):
        receiving = hpke.receiver(kem, hpke.AES_256_GCM, enc, key, info)
        assert receiving.export(b"x", 32) != sending.export(b"x", 32)
        with pytest.raises(Undecryptable):
            receiving.open(sealed)


@pytest.mark.parametrize("kem", [hpke.X25519, hpke.XWING])
def test_what_is_no_key_and_no_encapsulation_is_refused(kem: int) -> None:
    size, secret = hpke.ENC_SIZES[kem], hpke.new_secret()
    for enc in (b"", bytes(size - 1), bytes(size + 1), bytes(size)):  # the last ends in a point of small order
        with pytest.raises(Malformed, match=r"hpke\.enc"):
            hpke.receiver(kem, hpke.AES_256_GCM, enc, secret, b"")
    size = hpke.PUBLIC_SIZES[kem]
    for public in (b"", bytes(size - 1), bytes(size + 1), bytes(size), b"\xff" * (size - 32) + bytes(32)):
        with pytest.raises(Malformed, match=r"hpke\.public_key"):
            hpke.sender(kem, hpke.AES_256_GCM, public, b"")


def test_no_secret_is_shown() -> None:
    sending, _ = _pair()
    shown = repr(sending)
    assert all(repr(each) not in shown for each in (sending.key, sending.base_nonce, sending.exporter_secret))
