"""Three gateways on one PostgreSQL database: keys, receipts and calls are everybody's, each log is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from nacl.signing import SigningKey

from gateway.history import HistoryOpener
from gateway.storage.engine import open_database
from gateway.storage.locks import claim_writing
from gateway.storage.logs import claim_log
from tee.errors import Unavailable
from tee.log.checkpoint import SignedCheckpoint, open_checkpoint
from tee.log.merkle import verify_consistency
from tee.log.note import NoteKey, parse_note_key
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.quote import decode_base64
from tests.test_transparency import proof_of
from tests.worlds.gateway import PLAIN, Answered, RunningGateway, chat_body
from tests.worlds.open_stream import OpenStream
from tests.worlds.postgres import PostgresServer

PREFIX = "/attestation/transparency"
REPLICAS, STREAMS = 3, 12
ENDLESS = chat_body("mock:slow=60 mock:chunks=600", stream=True)
LONG = chat_body("mock:slow=3 mock:chunks=30", stream=True)
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """They share a database; a key of the first is good at all."""

    gateways: tuple[RunningGateway, ...]
    api_key: str

    def ask(self, number: int, said: str) -> Answered:
        """One question to one of them, by the shared key."""
        return self.gateways[number].post(chat_body(said), authorization=f"Bearer {self.api_key}")


@pytest.fixture(scope="module")
def replicas(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Replicas]:
    url = postgres.create()
    environ = {"SAFEROUTER_DATABASE_URL": url}
    folder = tmp_path_factory.mktemp("replicas")
    started = tuple(RunningGateway(folder / f"r{at}", chip=chip_file, environ=environ) for at in range(REPLICAS))
    try:
        for gateway in started:  # all at once, on an empty database
            gateway.launch()
        for gateway in started:
            gateway.wait()
        yield Replicas(started, started[0].api_key)
    finally:
        for gateway in started:
            gateway.close()
        postgres.take_back(url)


def page(gateway: RunningGateway) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(gateway.url + PREFIX, **PLAIN).json()
    return found


def head_of(gateway: RunningGateway) -> tuple[NoteKey, SignedCheckpoint]:
    about = page(gateway)
    key = parse_note_key(about["vkey"], "vkey")
    return key, open_checkpoint(about["checkpoint"].encode(), key, "checkpoint")


def extends(gateway: RunningGateway, old: SignedCheckpoint) -> bool:
    """Whether the log of a gateway still holds, and has more than, what it signed then."""
    key, new = head_of(gateway)
    assert key.name == old.checkpoint.origin
    sizes = {"from": old.checkpoint.size, "to": new.checkpoint.size}
    proof = httpx2.get(f"{gateway.url}{PREFIX}/consistency", params=sizes, **PLAIN).json()["proof"]
    hashes = [decode_base64(value, "proof") for value in proof]
    verify_consistency(sizes["from"], old.checkpoint.root, sizes["to"], new.checkpoint.root, hashes)
    return new.checkpoint.size > old.checkpoint.size


def test_three_that_start_at_once_have_a_log_each(replicas: Replicas) -> None:
    keys = [head_of(gateway)[0] for gateway in replicas.gateways]
    assert len({key.public_key for key in keys}) == len({key.name for key in keys}) == REPLICAS
    assert [page(gateway)["epoch"] for gateway in replicas.gateways] == [1] * REPLICAS


def test_a_receipt_is_fetched_and_verified_at_another_replica_than_made_it(replicas: Replicas) -> None:
    for at in range(REPLICAS):
        maker, other = replicas.gateways[at], replicas.gateways[(at + 1) % REPLICAS]
        answered = replicas.ask(at, f"answered by {at}")
        assert answered.status == 200
        raw = maker.fetch_receipt(answered.receipt_id, replicas.api_key)
        assert other.fetch_receipt(answered.receipt_id, replicas.api_key) == raw
        assert maker.judge(raw, answered.request, answered.raw).failures() == ()
        shown = proof_of(other, answered.receipt_id, replicas.api_key)
        key, _ = head_of(maker)
        for name in ("receipt", "route"):
            leaf, proof = decode_base64(shown[name]["leaf_b64"], name), shown[name]["proof"].encode()
            verify_leaf(leaf, parse_leaf_proof(proof, name), key)


def test_text_that_postgresql_cannot_hold_is_found_nowhere_and_fails_nothing(replicas: Replicas) -> None:
    with replicas.gateways[1].client(replicas.api_key) as client:
        assert client.get("/v1/aci/receipts/%00").status_code == 404
        assert client.get("/v1/activity?model=%00").status_code == 400


def test_the_death_of_one_is_not_taken_for_that_of_the_others(replicas: Replicas) -> None:
    """`kill -9` of one of three under load: every receipt is there, says what was sent, and every log goes on."""
    heads = [head_of(gateway)[1] for gateway in replicas.gateways]
    doomed, *others = replicas.gateways

    async def be_killed() -> tuple[list[OpenStream], list[list[OpenStream]], list[Answered]]:
        cut = [OpenStream(ENDLESS) for _ in range(STREAMS)]
        going = [[OpenStream(LONG) for _ in range(STREAMS)] for _ in others]
        tasks = [asyncio.create_task(stream.run(doomed, replicas.api_key)) for stream in cut]
        for gateway, streams in zip(others, going, strict=True):
            tasks += [asyncio.create_task(stream.run(gateway, replicas.api_key)) for stream in streams]
        async with asyncio.timeout(SECONDS):
            while not all(stream.body for stream in (*cut, *going[0], *going[1])):
                await asyncio.sleep(0.05)
        finished = await asyncio.to_thread(replicas.ask, 0, "finished while others run")
        doomed.kill()
        doomed.launch()  # and it recovers while the others' streams run
        await asyncio.to_thread(doomed.wait)
        await asyncio.gather(*tasks)
        return cut, going, [finished]

    cut, going, finished = asyncio.run(be_killed())
    for stream in cut:
        raw = others[0].fetch_receipt(str(stream.receipt_id), replicas.api_key)
        assert doomed.judge(raw, stream.request).failures() == ("receipt.complete",)
    for gateway, streams in zip(others, going, strict=True):
        for stream in streams:
            assert stream.whole
            raw = doomed.fetch_receipt(str(stream.receipt_id), replicas.api_key)
            assert gateway.judge(raw, stream.request, stream.body).failures() == ()
    for answered in finished:
        raw = doomed.fetch_receipt(answered.receipt_id, replicas.api_key)
        assert doomed.judge(raw, answered.request, answered.raw).failures() == ()
    for gateway, head in zip(replicas.gateways, heads, strict=True):
        assert extends(gateway, head)
        assert page(gateway)["epoch"] == 1


def test_replicas_behind_one_address_have_origins_that_differ(postgres_url: str, tmp_path: Path) -> None:
    engine = open_database(postgres_url)
    opened = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        secret = SigningKey(bytes([number]) * 32)
        opened.append(HistoryOpener(engine, folder, "https://gw.example.com", secret, lambda: 1.0, True).open())
    engine.dispose()
    first, second = (history.signer.key.name for history in opened)
    assert (first, opened[0].continues) == ("gw.example.com/attestation/transparency", None)
    assert second.startswith(first + "/")
    assert opened[1].continues is not None  # as SPEC §15.7 demands of such an origin
    assert "another log of this address" in opened[1].continues["reason"]


def test_one_log_key_writes_from_one_process_at_a_time(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.storage.engine.LOCK_SECONDS", 1)
    engine = open_database(postgres_url)
    log = claim_log(engine, "11" * 32, "gw.example.com", 1)
    held = claim_writing(engine, log.id)
    with pytest.raises(Unavailable, match="another process writes the log of this replica"):
        claim_log(engine, "11" * 32, "gw.example.com", 2)
    assert claim_log(engine, "22" * 32, "gw.example.com", 2).id != log.id
    held.close()
    assert claim_log(engine, "11" * 32, "gw.example.com", 3).id == log.id
    engine.dispose()
