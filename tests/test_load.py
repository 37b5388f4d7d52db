"""A mixed load under `kill -9`: afterwards every call has exactly one receipt, and the log holds it. `make soak`.

SAFEROUTER_LOAD_CALLS, _KILLS and _SEED change the size of the load and repeat one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tee.canonical import digest_bytes, parse_json
from tee.client.leaves import open_log
from tee.client.log import LogReader
from tee.evidence import Outcome, Verdict
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import chain_hash, parse_entry
from tee.log.merkle import Frontier, hash_leaf
from tee.log.note import NoteKey
from tee.log.receipt import Receipt, parse_receipt
from tee.log.tiles import TILE_WIDTH
from tee.policy import parse_policy
from tee.quote import decode_base64
from tee.verify import verify_answer, verify_quote
from tests.worlds.gateway import RunningGateway
from tests.worlds.load import LOAD_ENVIRON, Load, load_config
from tests.worlds.open_stream import covers
from tests.worlds.provider import running_provider

CALLS = int(os.environ.get("SAFEROUTER_LOAD_CALLS", "400"))
KILLS = int(os.environ.get("SAFEROUTER_LOAD_KILLS", "3"))
SEED = int(os.environ.get("SAFEROUTER_LOAD_SEED", str(secrets.randbelow(1 << 32))))
PROOF_SECONDS = 15.0
PREFIX = "/attestation/transparency"


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway says of one call to its owner: the receipt, and its place in the log, as received."""

    receipt: Receipt
    raw: bytes
    proof: bytes

    @property
    def leaf(self) -> bytes:
        """The bytes of the receipt's leaf."""
        return decode_base64(parse_json(self.proof, "proof")["receipt"]["leaf_b64"], "leaf_b64")

    @property
    def request_hash(self) -> str:
        """The digest of the request's body: no two calls of the load have the same."""
        return str(self.receipt.events["request.received"]["body_hash"])


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole log as its tiles have it, and the tree that they make."""

    key: NoteKey
    leaves: list[bytes]
    hashes: list[bytes]


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Whatever fails says how to make the same calls again."""
    print(f"SAFEROUTER_LOAD_SEED={SEED}")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Load]:
    """The load, made; its gateway runs."""
    state = tmp_path_factory.mktemp("load", numbered=False) / "state"
    with (
        running_provider() as url,
        RunningGateway(state, config=load_config(url), chip=chip_file, environ=LOAD_ENVIRON) as gateway,
    ):
        load = Load(gateway, CALLS, KILLS, random.Random(SEED))
        asyncio.run(load.run())
        yield load


@pytest.fixture(scope="module")
def told(load: Load) -> list[Told]:
    """Every call that the database knows, as HTTP shows it to the caller."""
    with closing(sqlite3.connect(load.gateway.state / "gateway.sqlite3")) as record:
        known = [receipt_id for (receipt_id,) in record.execute("SELECT receipt_id FROM calls ORDER BY id")]
    heard = {made.heard.receipt_id for made in load.made if made.heard.receipt_id}
    assert heard <= set(known), f"ids that clients were told and the gateway forgot: {sorted(heard - set(known))}"
    return [Told(parse_receipt(raw), raw, proof) for raw, proof in fetched(load.gateway, known)]


def fetched(gateway: RunningGateway, known: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Receipt and proof of each, once a checkpoint holds it."""
    deadline = time.monotonic() + PROOF_SECONDS
    with gateway.client() as client:
        for receipt_id in known:
            path = f"/v1/aci/receipts/{receipt_id}"
            while (proof := client.get(f"{path}/proof")).status_code != 200:
                assert time.monotonic() < deadline, f"{receipt_id} has no proof: {proof.text}"
                time.sleep(0.1)
            deadline = time.monotonic() + PROOF_SECONDS
            yield client.get(path).content, proof.content


@pytest.fixture(scope="module")
def ledger(load: Load, told: list[Told]) -> Ledger:
    """The log, every leaf proven from its tiles to stand in the newest checkpoint."""
    with LogReader(load.gateway.url + PREFIX) as reader:
        log = open_log(reader, None)
        leaves = [proven.leaf for proven in log.leaves(0, log.size)]
        hashes = [each for number in range(-(-log.size // TILE_WIDTH)) for each in reader.hashes(0, number, log.size)]
    return Ledger(log.key, leaves, hashes)


def test_whoever_stayed_was_answered(load: Load) -> None:
    for made in load.made:
        if made.owed:
            found = made.heard.status, made.heard.whole, made.heard.receipt_id is not None
            assert found == (made.plan.status, True, True), f"{made.plan}: {bytes(made.heard.raw)!r}"


def test_every_call_has_one_receipt(load: Load, told: list[Told]) -> None:
    made = {digest_bytes(each.plan.request): each for each in load.made}
    twice = [name for name, count in Counter(each.request_hash for each in told).items() if count > 1]
    assert not twice, f"more than one receipt for {[made[name].plan for name in twice]}"
    for each in told:
        call = made[each.request_hash]
        assert call.whole_request, f"a receipt for a body that never arrived whole: {call.plan}"
        assert call.heard.receipt_id in (None, each.receipt.receipt_id), call.plan
    owed = {name for name, each in made.items() if each.owed or each.heard.receipt_id}
    lost = owed - {each.request_hash for each in told}
    assert not lost, f"no receipt for {[made[name].plan for name in lost]}"


def test_every_receipt_verifies_offline_with_its_proof(load: Load, told: list[Told]) -> None:
    made, judge = {digest_bytes(each.plan.request): each for each in load.made}, offline(load.gateway)
    for each in told:
        call = made[each.request_hash]
        verdict = judge(each, call.plan.request, call.heard.body if call.heard.whole else None)
        allowed = () if call.heard.whole and call.plan.completes else ("receipt.complete",)
        assert set(verdict.failures()) <= set(allowed), f"{call.plan}: {verdict.sentence()}"
        assert "receipt.log" in {check.id for check in verdict.checks if check.outcome is Outcome.PASS}, call.plan
        covers(each.receipt, call.heard.body)  # of a cut answer: what the client holds must be what was signed


def offline(gateway: RunningGateway) -> Callable[[Told, bytes, bytes | None], Verdict]:
    """Judges a receipt under the stored quote of its keyset, at its own time."""
    policy = parse_policy(gateway.policy.read_bytes())
    quote = cache(gateway.keyset_evidence)

    @cache
    def evidence(keyset_digest: str, served_at: int) -> Verdict:
        now = dt.datetime.fromtimestamp(served_at, dt.UTC)
        document = quote(keyset_digest)
        return verify_quote(document, now=now, policy=policy, nonce=None, audience=gateway.url, accept_mock=True)

    def judge(told: Told, request: bytes, response: bytes | None) -> Verdict:
        keyset_digest = told.receipt.keyset_digest
        verdict = evidence(keyset_digest, told.receipt.served_at)
        return verify_answer(verdict, quote(keyset_digest), told.raw, request, response, told.proof)

    return judge


def test_calls_and_receipt_leaves_are_the_same_set(
    load: Load, told: list[Told], ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    logged = {leaf for leaf in ledger.leaves if parse_entry(leaf).type == "receipt"}
    owners = Counter(each.leaf for each in told)
    missing = [each.receipt.receipt_id for each in told if each.leaf not in logged]
    assert not missing, f"the tiles have no leaf of {missing}"
    stray = sorted(parse_entry(leaf).index for leaf in logged - set(owners))
    assert not stray, f"receipt leaves of no call: {stray}"
    shared = [parse_entry(leaf).index for leaf, count in owners.items() if count > 1]
    assert not shared, f"receipt leaves of several calls: {shared}"
    with capsys.disabled():
        print(f"\n{load.figures()}; {len(told)} receipts, {len(ledger.leaves)} leaves, seed {SEED}")


def test_chain_and_tree_agree_at_every_index(ledger: Ledger) -> None:
    prev = bytes(32)
    for index, leaf in enumerate(ledger.leaves):
        entry = parse_entry(leaf)
        assert (entry.index, entry.prev) == (index, prev)
        assert ledger.hashes[index] == hash_leaf(leaf)
        prev = chain_hash(leaf)
    assert len(ledger.hashes) == len(ledger.leaves)


def test_every_checkpoint_that_was_seen_is_a_beginning_of_the_log(load: Load, ledger: Ledger) -> None:
    assert len(load.checkpoints) > 1
    roots, tree = [Frontier().root()], Frontier()
    for value in ledger.hashes:
        tree = tree.append(value)
        roots.append(tree.root())
    for raw in load.checkpoints:
        seen = open_checkpoint(raw, ledger.key, "checkpoint").checkpoint  # one key and origin: one epoch
        assert seen.root == roots[seen.size]
