"""The log that a gateway serves: what a stranger finds there, and what only the caller can tie to a call."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import digest
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import chain_hash, parse_entry
from tee.log.merkle import Frontier, hash_leaf, verify_consistency
from tee.log.note import NoteKey, parse_note_key
from tee.log.proof import LeafProof, parse_leaf_proof, verify_leaf
from tee.log.tiles import TILE_WIDTH, parse_entries, parse_hashes
from tests.worlds.gateway import RunningGateway, run_cli

PREFIX = "/attestation/transparency"


def get(gateway: RunningGateway, path: str, **headers: str) -> Any:
    with gateway.client() as client:
        return client.get(PREFIX + path, headers=headers)


def log_key(gateway: RunningGateway) -> NoteKey:
    return parse_note_key(get(gateway, "").json()["vkey"], "vkey")


def leaves_of(gateway: RunningGateway, size: int) -> list[bytes]:
    """Every leaf, by the entry tiles."""
    leaves = []
    for number in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        partial = "" if width == TILE_WIDTH else f".p/{width}"
        answer = get(gateway, f"/tile/entries/{number:03d}{partial}")
        assert answer.headers["cache-control"].endswith("immutable")
        leaves += parse_entries(answer.content, width)
    return leaves


def proof_of(gateway: RunningGateway, receipt_id: str, api_key: str | None = None) -> Any:
    """The proof of a call, once a checkpoint holds it."""
    deadline = time.monotonic() + 15
    with gateway.client(api_key) as client:
        while (answer := client.get(f"/v1/aci/receipts/{receipt_id}/proof")).status_code != 200:
            assert answer.status_code == 404, answer.text
            assert time.monotonic() < deadline, "no checkpoint came to hold the call"
            time.sleep(0.1)
    return answer.json()


def test_the_tiles_are_the_checkpoint_s_tree_and_the_chain_walks_through_it(live_gateway: RunningGateway) -> None:
    live_gateway.ask("something to log")
    checkpoint = open_checkpoint(
        get(live_gateway, "/checkpoint").content, log_key(live_gateway), "checkpoint"
    ).checkpoint
    frontier, prev, types = Frontier(), bytes(32), set()
    for index, leaf in enumerate(leaves_of(live_gateway, checkpoint.size)):
        entry = parse_entry(leaf)
        assert (entry.index, entry.prev) == (index, prev)
        frontier, prev = frontier.append(hash_leaf(leaf)), chain_hash(leaf)
        types.add(entry.type)
    assert frontier.root() == checkpoint.root
    assert types <= {"identity.epoch", "startup", "route", "receipt"}
    width = min(TILE_WIDTH, checkpoint.size)
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    assert len(parse_hashes(get(live_gateway, f"/tile/0/000{partial}").content, width)) == width


def test_the_first_start_announces_the_keyset_before_its_use(live_gateway: RunningGateway) -> None:
    body = get(live_gateway, "/1").json()
    entry = parse_entry(base64.b64decode(body["leaf_b64"]))
    assert entry.type == "startup"
    with live_gateway.client() as client:
        keys = client.get("/attestation/verifying-key").json()
        quote = client.post("/attestation/quote").json()
    assert entry.body["keyset_digest"] == keys["workload_keyset_digest"]
    assert entry.body["workload_digest"] == digest(quote["workload"])
    assert entry.body["build"] == quote["workload"]["build"]
    proof = LeafProof(1, tuple(map(base64.b64decode, body["proof"])), body["checkpoint"].encode())
    verify_leaf(base64.b64decode(body["leaf_b64"]), proof, log_key(live_gateway))
    text = get(live_gateway, "/1", accept="text/plain")
    assert (
        verify_leaf(base64.b64decode(body["leaf_b64"]), parse_leaf_proof(text.content), log_key(live_gateway)).size > 0
    )


def test_a_quote_carries_its_place_in_the_log(live_gateway: RunningGateway) -> None:
    with live_gateway.client() as client:
        quote = client.post("/attestation/quote", json={"nonce": "ab" * 32}).json()
    assert quote["workload"]["log"] == {
        "origin": log_key(live_gateway).name,
        "vkey": log_key(live_gateway).encode(),
    }
    startup = quote["log"]["startup"]
    proof = LeafProof(
        startup["index"], tuple(map(base64.b64decode, startup["proof"])), quote["log"]["checkpoint"].encode()
    )
    verify_leaf(base64.b64decode(startup["leaf_b64"]), proof, log_key(live_gateway))


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_has_two_leaves_that_tell_a_stranger_nothing(live_gateway: RunningGateway, stream: bool) -> None:
    answered = live_gateway.ask("a secret question", stream=stream)
    proof = proof_of(live_gateway, answered.receipt_id)
    receipt = json.loads(live_gateway.fetch_receipt(answered.receipt_id))
    assert proof["document"]["receipt_digest"] == digest(receipt)
    (route,) = [event for event in receipt["event_log"] if event["type"] == "route"]
    for name, document in (("receipt", proof["document"]), ("route", route)):
        leaf = base64.b64decode(proof[name]["leaf_b64"])
        verify_leaf(leaf, parse_leaf_proof(proof[name]["proof"].encode()), log_key(live_gateway))
        entry = parse_entry(leaf)
        assert (entry.type, entry.body) == (name, {"commitment": digest(document)})
        assert len(document["salt"]) == 64
    assert proof["document"]["salt"] != route["salt"]


def test_the_block_in_the_answer_names_the_route_leaf(live_gateway: RunningGateway) -> None:
    answered = live_gateway.ask("where am I logged?")
    index = answered.json["attestation"]["rekor_index"]
    proof = proof_of(live_gateway, answered.receipt_id)
    assert parse_entry(base64.b64decode(proof["route"]["leaf_b64"])).index == index


def test_a_refused_call_has_a_receipt_leaf_and_no_route(live_gateway: RunningGateway) -> None:
    answered = live_gateway.ask("hi", model="no-such-model")
    assert answered.status == 404
    proof = proof_of(live_gateway, answered.receipt_id)
    assert proof["route"] is None
    assert parse_entry(base64.b64decode(proof["receipt"]["leaf_b64"])).type == "receipt"


def test_the_leaf_of_a_receipt_is_proven_from_the_tiles_and_verified_offline(
    live_gateway: RunningGateway, tmp_path: Path
) -> None:
    shown = proof_of(live_gateway, live_gateway.ask("prove me").receipt_id)["receipt"]
    index, key = shown["proof"].split("\n")[1].removeprefix("index "), log_key(live_gateway).encode()
    saved, leaf, proof = (tmp_path / name for name in ("mine", "mine.leaf", "mine.tlog-proof"))
    assert run_cli("log", "prove", live_gateway.url, index, "--save", saved, "--log", key).returncode == 0
    assert leaf.read_bytes() == base64.b64decode(shown["leaf_b64"])
    for text in (proof.read_bytes(), shown["proof"].encode()):
        proof.write_bytes(text)
        done = run_cli("log", "verify", proof, "--leaf", leaf, "--log", key)
        assert (done.returncode, f"leaf {index} of" in done.stdout) == (0, True), done.stderr


def test_proofs_belong_to_the_caller(live_gateway: RunningGateway) -> None:
    answered = live_gateway.ask("mine")
    proof_of(live_gateway, answered.receipt_id)
    state = {"SAFEROUTER_STATE": str(live_gateway.state)}
    other = run_cli("keys", "create", "somebody-else", environ=state).stdout.strip()
    with live_gateway.client(other) as client:
        assert client.get(f"/v1/aci/receipts/{answered.receipt_id}/proof").status_code == 404


def test_checkpoints_grow_consistently(live_gateway: RunningGateway) -> None:
    old = open_checkpoint(get(live_gateway, "/checkpoint").content, log_key(live_gateway), "checkpoint").checkpoint
    answered = live_gateway.ask("one more")
    proof_of(live_gateway, answered.receipt_id)
    new = open_checkpoint(get(live_gateway, "/checkpoint").content, log_key(live_gateway), "checkpoint").checkpoint
    assert new.size >= old.size + 2
    body = get(live_gateway, f"/consistency?from={old.size}&to={new.size}").json()
    verify_consistency(old.size, old.root, new.size, new.root, [base64.b64decode(each) for each in body["proof"]])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/999999999", 404),
        ("/-1", 400),
        ("/01", 400),
        ("/x", 400),
        ("/tile/0/999", 404),
        ("/tile/0/000.p/0", 400),
        ("/tile/9/000", 400),
        ("/tile/entries/..%2f..%2fgateway.sqlite3", 400),
        ("/consistency?from=5&to=2", 404),
        ("/consistency?from=1&to=999999999", 404),
        ("/consistency?from=1", 400),
    ],
)
def test_what_is_not_in_the_log_is_refused_by_name(live_gateway: RunningGateway, path: str, status: int) -> None:
    answer = get(live_gateway, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_the_head_says_where_tree_and_chain_end(live_gateway: RunningGateway) -> None:
    head = get(live_gateway, "/head").json()
    checkpoint = open_checkpoint(head["checkpoint"].encode(), log_key(live_gateway), "checkpoint").checkpoint
    assert (checkpoint.size, checkpoint.root.hex()) == (head["size"], head["root_hash"])
    last = leaves_of(live_gateway, head["size"])[-1]
    assert head["chain_head"] == chain_hash(last).hex()
    assert get(live_gateway, "/head", accept="text/plain").text.startswith(checkpoint.origin)
