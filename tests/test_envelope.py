"""Signed documents: k of n, and what a signature covers. Python and JavaScript say the same of each envelope."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from nacl.signing import SigningKey

from tee.errors import Malformed
from tee.measure.envelope import Signers, encode_preauthentication, open_envelope, seal_envelope

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
PUBLIC = [bytes(key.verify_key) for key in KEYS]
TYPE = "application/vnd.in-toto+json"
PAYLOAD = b'{"a":1}'
TWO_OF_THREE = Signers(tuple(PUBLIC[:3]), 2)

Change = Callable[[dict[str, Any]], None]


def _envelope(*numbers: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(seal_envelope(PAYLOAD, TYPE, [KEYS[number] for number in numbers]))
    return document


def _changed(change: Change) -> bytes:
    document = _envelope(0, 1)
    change(document)
    return json.dumps(document).encode()


def _said(raw: bytes) -> str:
    try:
        return open_envelope(raw, TWO_OF_THREE, TYPE, "manifest").decode()
    except Malformed as error:
        return str(error)


def _repeat(document: dict[str, Any]) -> None:
    document["signatures"][1] = document["signatures"][0]


def _swap_signatures(document: dict[str, Any]) -> None:
    one, other = document["signatures"]
    one["sig"], other["sig"] = other["sig"], one["sig"]


CASES: dict[str, tuple[bytes, str]] = {
    "two of three": (json.dumps(_envelope(0, 2)).encode(), PAYLOAD.decode()),
    "a stranger's signature beside them": (json.dumps(_envelope(0, 3, 2)).encode(), PAYLOAD.decode()),
    "one of three": (json.dumps(_envelope(1)).encode(), "good signatures by 1, wanted 2 of the 3 keys"),
    "one signer and a stranger": (json.dumps(_envelope(1, 3)).encode(), "good signatures by 1, wanted 2 of the 3"),
    "one signer twice": (_changed(_repeat), "signatures[1]: found a second signature by"),
    "signatures swapped": (_changed(_swap_signatures), "signatures[0]: found a bad signature by"),
    "another payload": (
        _changed(lambda it: it.update(payload=base64.b64encode(b'{"a":2}').decode())),
        "signatures[0]: found a bad signature by",
    ),
    "another type": (_changed(lambda it: it.update(payloadType="text/plain")), 'payloadType: found "text/plain"'),
    "no type": (_changed(lambda it: it.update(payloadType=7)), "payloadType: found 7"),
    "no signatures": (_changed(lambda it: it.update(signatures=[])), "found 0 signatures, wanted an array of 1 to 16"),
    "too many signatures": (
        _changed(lambda it: it.update(signatures=it["signatures"] * 9)),
        "found 18 signatures, wanted an array of 1 to 16",
    ),
    "signatures no list": (_changed(lambda it: it.update(signatures={})), "found an object, wanted an array"),
    "an unknown member": (_changed(lambda it: it.update(extra=1)), "manifest.extra: found an unknown member"),
    "a member missing": (_changed(lambda it: it.pop("payload")), "manifest.payload: found nothing"),
    "a key id that is no text": (
        _changed(lambda it: it["signatures"][0].update(keyid=None)),
        "signatures[0].keyid: found null, wanted text",
    ),
    "base64 with line breaks": (
        _changed(lambda it: it["signatures"][0].update(sig=it["signatures"][0]["sig"] + "\n")),
        "signatures[0].sig: found another spelling",
    ),
    "a short signature": (
        _changed(lambda it: it["signatures"][0].update(sig="AAAA")),
        "signatures[0]: found a bad signature by",
    ),
    "a name twice": (b'{"payload":"","payload":"","payloadType":"","signatures":[]}', "found broken JSON"),
    "too large": (b" " * (2 << 20) + b"{}", "bytes, wanted at most 2097152"),
}


@pytest.mark.parametrize(("raw", "expected"), CASES.values(), ids=CASES.keys())
def test_what_an_envelope_says(raw: bytes, expected: str) -> None:
    assert expected in _said(raw)


def test_javascript_says_the_same(tmp_path: Path) -> None:
    if which("node") is None:
        pytest.skip("node is not installed")
    for number, (raw, _) in enumerate(CASES.values()):
        (tmp_path / f"{number:02d}").write_bytes(raw)
    root = Path(__file__).resolve().parent.parent
    script = f"""
import {{ readFileSync }} from "node:fs";
import {{ newSigners, openEnvelope }} from "{root}/verifier-web/src/envelope.js";
const signers = newSigners({json.dumps([key.hex() for key in PUBLIC[:3]])}.map((hex) => Buffer.from(hex, "hex")), 2);
for (let at = 0; at < {len(CASES)}; at += 1) {{
  const raw = new Uint8Array(readFileSync(`{tmp_path}/${{String(at).padStart(2, "0")}}`));
  const said = await openEnvelope(raw, signers, "{TYPE}", "manifest").then(
    (payload) => new TextDecoder().decode(payload),
    (error) => error.message,
  );
  console.log(JSON.stringify(said));
}}
"""
    run = subprocess.run(
        ["node", "--input-type=module"], input=script, capture_output=True, text=True, timeout=60, check=True
    )
    said = dict(zip(CASES, map(json.loads, run.stdout.splitlines()), strict=True))
    assert said == {name: _said(raw) for name, (raw, _) in CASES.items()}


def test_lengths_keep_type_and_payload_apart() -> None:
    published = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # the example of DSSE's own text
    assert encode_preauthentication("http://example.com/HelloWorld", b"hello world") == published
    assert encode_preauthentication("a 2 b", b"c") != encode_preauthentication("a", b"b 1 c")


@pytest.mark.parametrize(
    ("keys", "threshold", "field"),
    [
        ((), 1, "keys"),
        (tuple(PUBLIC[:2]), 3, "threshold"),
        (tuple(PUBLIC[:2]), 0, "threshold"),
        ((PUBLIC[0], PUBLIC[0]), 2, "keys"),  # else one person could be two
        ((b"short",), 1, "keys"),
        (tuple(bytes([n]) * 32 for n in range(17)), 1, "keys"),
    ],
)
def test_signers_that_make_no_sense(keys: tuple[bytes, ...], threshold: int, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        Signers(keys, threshold)
    assert caught.value.field == field
