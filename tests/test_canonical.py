"""Canonical JSON, and the constants of ACI/1 that rest on it."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from tee.canonical import canonicalize, digest_bytes, encode_canonical, encode_items, encode_members, parse_json
from tee.errors import Malformed
from tee.keys.binding import encode_statement, parse_nonce, report_data_of
from tee.keys.identity import parse_keyset
from tee.log.receipt import parse_receipt, sign_encoded, sign_receipt, verify_receipt


def test_rfc8785_vectors(vectors: Path) -> None:
    data = vectors / "jcs-rfc8785" / "testdata"
    names = sorted(path.stem for path in (data / "input").glob("*.json"))
    assert len(names) == 6
    for name in names:
        value = json.loads((data / "input" / f"{name}.json").read_text())
        assert canonicalize(value) == (data / "output" / f"{name}.json").read_bytes(), name
        assert canonicalize(value) == bytes.fromhex((data / "outhex" / f"{name}.txt").read_text()), name


def _aci_blocks(vectors: Path) -> list[str]:
    text = (vectors / "aci-1" / "test-vectors.md").read_text()
    return [block.strip() for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL)]


def test_aci_keyset_statement_and_receipt(vectors: Path) -> None:
    blocks = _aci_blocks(vectors)
    keyset_jcs = next(block for block in blocks if block.startswith('{"e2ee_public_keys"'))
    keyset = parse_keyset(json.loads(keyset_jcs))
    assert encode_canonical(keyset.document) == keyset_jcs.encode()
    assert f"workload_keyset_digest = {keyset.digest}" in blocks
    assert keyset.digest == "sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371"

    with_nonce = encode_statement(keyset.digest, bytes(range(32)))
    assert with_nonce.decode() in blocks
    assert report_data_of(with_nonce).hex() in blocks
    assert report_data_of(with_nonce).hex().startswith("df2174d2")
    without = encode_statement(keyset.digest, None)
    assert without.decode() in blocks
    assert f"report_data = {report_data_of(without)[:32].hex()}" in blocks

    served = next(
        block for block in blocks if block.startswith('{"api_version":"aci/1","chat_id"') and '"signature"' in block
    )
    receipt = parse_receipt(served.encode())
    unsigned = {name: value for name, value in receipt.document.items() if name != "signature"}
    assert encode_canonical(unsigned).decode() in blocks
    key = SigningKey(b"\x02" * 32)
    assert sign_receipt(unsigned, key) == receipt.document
    assert sign_encoded({name: encode_canonical(value) for name, value in unsigned.items()}, key) == served.encode()
    request = b'{"messages":[{"content":"hi","role":"user"}],"model":"demo-model"}'
    response = b'{"choices":[],"id":"chatcmpl-123"}'
    checks = verify_receipt(served.encode(), keyset, request, response)
    # The foreign receipt carries no `stream` event, so completeness alone is not shown.
    assert [check.id for check in checks if check.outcome != "pass"] == ["receipt.complete"]


@pytest.mark.parametrize(
    "value",
    [1.5, {"a": [1e3]}, {"é": "text"}, {1: "text"}, 2**53, {"a": -(2**53)}, "\ud800", {"a": "\ud800"}],
    ids=["float", "nested", "name", "number as name", "big", "low", "surrogate", "nested surrogate"],
)
def test_what_canonicalises_two_ways_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        encode_canonical(value)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":1,"a":2}', b"[NaN]", b"\xff", b"", b"{}x", b"[" * 65 + b"]" * 65, b"[" * 10_000 + b"]" * 10_000],
)
def test_json_that_reads_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_json(raw, "document")


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE-\\ntrufalse ', max_size=80).map(str.encode))
def test_arbitrary_bytes_raise_nothing_but_malformed(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        encode_canonical(parse_json(raw, "document"))


NAMES = st.text(st.characters(max_codepoint=127), max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))


@given(VALUES)
def test_the_canonical_form_is_that_of_the_standard(value: object) -> None:
    assert encode_canonical(value) == canonicalize(value)


@given(st.dictionaries(st.text("abcz_", max_size=6), st.lists(VALUES, max_size=3), max_size=6))
def test_what_is_put_together_from_canonical_parts_is_canonical(value: dict[str, list[object]]) -> None:
    parts = {name: encode_items([encode_canonical(item) for item in items]) for name, items in value.items()}
    assert encode_members(parts) == canonicalize(value)


@pytest.mark.parametrize("code", [*range(0x20), 0x22, 0x2F, 0x5C, 0x7F, 0x80, 0x2028, 0xFEFF, 0x1F600])
def test_every_escape_is_that_of_the_standard(code: int) -> None:
    assert encode_canonical({chr(code % 128): chr(code)}) == canonicalize({chr(code % 128): chr(code)})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [0, {"b c": 1.5}]}, 'document.a[1]."b c"'),
        ([[2**53]], "document[0][0]"),
        ({"a": {"é": 1}}, "document.a"),
        ({"a": b"bytes"}, "document.a"),
    ],
)
def test_what_is_refused_is_named_by_its_path(value: object, path: str) -> None:
    with pytest.raises(Malformed) as caught:
        encode_canonical(value)
    assert caught.value.field == path


@pytest.mark.parametrize("nonce", ["", "00", "0" * 63, "0" * 65, "A" * 64, "g" * 64, None, 7, "0" * 63 + "\n"])
def test_a_nonce_is_64_lowercase_hex(nonce: object) -> None:
    with pytest.raises(Malformed):
        parse_nonce(nonce)


def test_digest_form() -> None:
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_hostile_member_name_is_quoted_in_the_message() -> None:
    with pytest.raises(Malformed) as caught:
        encode_canonical({"\x1b[2J" + "x" * 500: 1.5})
    assert str(caught.value).isprintable()
    assert len(caught.value.field) < 250
