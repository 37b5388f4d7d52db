"""What witnesses and memory add to a verdict is said in the same words by the browser and by tee, vector by vector."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tee.canonical import parse_json
from tee.keys.binding import parse_nonce
from tee.log.judge import Earlier, SeenLog
from tee.log.witnesses import parse_witness_policy
from tee.policy import decode_policy
from tee.verify import verify_quote
from tests.test_vectors import FOLDER, PLACEHOLDER, SHARED
from tests.worlds.transcript import Ask, Json, as_document, b64, browser_core, or_malformed

FILES = sorted((FOLDER / "log").glob("*.json"))


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with browser_core() as exchange:
        yield exchange


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_words(ask: Ask, path: Path) -> None:
    vector = json.loads(path.read_text())
    raw = PLACEHOLDER.sub(lambda match: SHARED[match[1]], vector["document"]).encode()
    assert ask(vector | {"kind": "quote", "document": b64(raw)}) == or_malformed(lambda: _judged(vector, raw))


def _judged(vector: Json, raw: bytes) -> Json:
    row, given, earlier = vector["earlier"], vector["witnesses"], None
    if row is not None:
        proof = None if row["proof"] is None else tuple(base64.b64decode(value) for value in row["proof"])
        earlier = Earlier(SeenLog(row["vkey"], row["size"], bytes.fromhex(row["root"])), proof)
    verdict = verify_quote(
        parse_json(raw, "quote"),
        now=dt.datetime.fromisoformat(vector["now"]),
        policy=decode_policy(vector["policy"]),
        nonce=parse_nonce(vector["nonce"]),
        audience=vector["audience"],
        accept_mock=vector["accept_mock"],
        witnesses=None if given is None else parse_witness_policy(base64.b64decode(given)),
        earlier=earlier,
    )
    return as_document(verdict)
