"""The sampled audit: what is drawn, what the log says of it to a stranger, and what the caller gets to check."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.config import decode_config, load_config
from gateway.sampling import Sampler
from tee.canonical import digest, digest_bytes, encode_canonical
from tee.errors import Malformed
from tee.keys.identity import hex_bytes
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import chain_hash, parse_entry
from tee.log.note import NoteKey, parse_note_key
from tee.log.proof import LeafProof, parse_leaf_proof, verify_leaf
from tee.log.sample import verify_sample
from tee.quote import decode_base64
from tests.test_transparency import leaves_of, proof_of
from tests.worlds.gateway import Answered, RunningGateway, chat_body, run_cli
from tests.worlds.open_stream import OpenStream

STREAMS = 20
SLOW = chat_body("mock:slow=30 mock:chunks=400", stream=True)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    """A gateway that samples every call."""
    state = tmp_path_factory.mktemp("sampling") / "state"
    with RunningGateway(state, chip=chip_file, environ={"SAFEROUTER_AUDIT_RATE": "1"}) as running:
        yield running


def get(gateway: RunningGateway, path: str, api_key: str | None = None, status: int = 200) -> Any:
    with gateway.client(api_key) as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def keys_of(gateway: RunningGateway) -> tuple[bytes, NoteKey]:
    """The identity's key and the log's, as an attested quote names them."""
    with gateway.client() as client:
        workload = client.post("/attestation/quote").json()["workload"]
    return hex_bytes(workload["identity_key"], 32, "identity_key"), parse_note_key(workload["log"]["vkey"], "vkey")


def sample_of(gateway: RunningGateway, answered: Answered) -> Any:
    proof_of(gateway, answered.receipt_id)  # then a checkpoint holds the sample too
    (found,) = [row for row in get(gateway, "/v1/audit/samples")["data"] if row["receipt_id"] == answered.receipt_id]
    return found


@pytest.mark.parametrize("call", ["buffered", "streamed", "refused"])
def test_a_sample_is_signed_salted_and_proven(gateway: RunningGateway, call: str) -> None:
    choices: dict[str, dict[str, Any]] = {"streamed": {"stream": True}, "refused": {"model": "no-such-model"}}
    answered = gateway.ask("a secret question", **choices.get(call, {}))
    sample = sample_of(gateway, answered)
    document = sample["document"]
    identity, log_key = keys_of(gateway)
    verify_sample(document, identity)
    assert document["request_digest"] == digest_bytes(answered.request)
    assert document["response_digest"] == answered.digest
    receipt = json.loads(gateway.fetch_receipt(answered.receipt_id))
    assert document["receipt_digest"] == digest(receipt)
    assert (document["served_at"], document["complete"]) == (receipt["served_at"], True)
    leaf = decode_base64(sample["leaf"]["leaf_b64"], "leaf")
    verify_leaf(leaf, parse_leaf_proof(sample["leaf"]["proof"].encode()), log_key)
    entry = parse_entry(leaf)
    assert (entry.type, entry.index, entry.body) == ("audit", sample["leaf"]["index"], {"commitment": digest(document)})


def test_no_two_samples_share_a_salt_and_no_salt_is_a_receipt_s(gateway: RunningGateway) -> None:
    first, second = (sample_of(gateway, gateway.ask("the same question")) for _ in range(2))
    salts = [each["document"]["salt"] for each in (first, second)]
    salts += [proof_of(gateway, each["receipt_id"])["document"]["salt"] for each in (first, second)]
    assert len(set(salts)) == 4


FORGERIES: dict[str, Any] = {
    "another answer": lambda it: it | {"response_digest": digest_bytes(b"another")},
    "another key": lambda it: it | {"signature": it["signature"] | {"public_key": "00" * 32}},
    "another algorithm": lambda it: it | {"signature": it["signature"] | {"algo": "none"}},
    "another signature": lambda it: it | {"signature": it["signature"] | {"value": "00" * 64}},
    "a word more": lambda it: it | {"prompt": "hello"},
    "a word less": lambda it: {name: value for name, value in it.items() if name != "complete"},
    "another format": lambda it: it | {"format": "saferouter/keyset/v1"},
    "no digest": lambda it: it | {"request_digest": "sha256:"},
    "no salt": lambda it: it | {"salt": ""},
    "no moment": lambda it: it | {"served_at": -1},
    "perhaps complete": lambda it: it | {"complete": None},
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_changed_sample_is_refused(gateway: RunningGateway, forge: Any) -> None:
    identity, _ = keys_of(gateway)
    document = sample_of(gateway, gateway.ask("hello"))["document"]
    with pytest.raises(Malformed, match=r"^sample"):
        verify_sample(forge(document), identity)


def test_the_head_is_what_its_own_instructions_check(gateway: RunningGateway) -> None:
    sample = sample_of(gateway, gateway.ask("the last one"))
    head = get(gateway, "/attestation/audit/head", "nobody's key")
    _, log_key = keys_of(gateway)
    assert head["vkey"] == log_key.encode()
    checkpoint = open_checkpoint(head["checkpoint"].encode(), log_key, "checkpoint").checkpoint
    assert (head["origin"], head["size"]) == (checkpoint.origin, checkpoint.size)
    last = head["last"]
    leaf = decode_base64(last["leaf_b64"], "leaf")
    hashes = tuple(decode_base64(each, "proof") for each in last["proof"])
    verify_leaf(leaf, LeafProof(last["index"], hashes, head["checkpoint"].encode()), log_key)
    assert last["chain_hash"] == chain_hash(leaf).hex()
    entries = [parse_entry(each) for each in leaves_of(gateway, head["size"])]
    audits = [entry.index for entry in entries if entry.type == "audit"]
    assert (len(audits), audits[-1]) == (head["entries"], last["index"])
    assert last["index"] >= sample["leaf"]["index"]
    assert head["sampled_per_million"] == 1_000_000
    assert len(head["how_to_check"]) == 5


def test_a_stranger_sees_commitments_and_nothing_else(gateway: RunningGateway) -> None:
    sample = sample_of(gateway, gateway.ask("a secret question"))
    size = get(gateway, "/attestation/transparency")["size"]
    public = [each for each in leaves_of(gateway, size) if parse_entry(each).type not in ("startup", "identity.epoch")]
    assert all(set(parse_entry(each).body) == {"commitment"} for each in public)
    for name in ("receipt_id", "receipt_digest", "request_digest", "response_digest", "salt"):
        assert not [each for each in public if sample["document"][name].encode() in each]


def test_samples_belong_to_the_caller_and_come_in_pages(gateway: RunningGateway) -> None:
    state = {"SAFEROUTER_STATE": str(gateway.state)}
    other = run_cli("keys", "create", "somebody-else", environ=state).stdout.strip()
    asked = [gateway.ask(f"question {number}").receipt_id for number in range(5)]
    assert get(gateway, "/v1/audit/samples", other)["data"] == []
    get(gateway, f"/v1/audit/samples?after={asked[0]}", other, status=400)
    found: list[str] = []
    page = get(gateway, "/v1/audit/samples?limit=2")
    for _ in range(2):
        found += [row["receipt_id"] for row in page["data"]]
        assert (page["has_more"], page["last_id"]) == (True, found[-1])
        page = get(gateway, f"/v1/audit/samples?limit=2&after={page['last_id']}")
    assert found == asked[:0:-1]
    get(gateway, "/v1/audit/samples", "sk-sr-nobody", status=401)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "after=rcpt-nobody", "after="])
def test_a_page_has_bounds(gateway: RunningGateway, query: str) -> None:
    assert get(gateway, f"/v1/audit/samples?{query}", status=400)["error"]["message"].startswith(query.split("=")[0])


def counts(gateway: RunningGateway) -> tuple[int, int, int, int]:
    """Signed receipts, receipt leaves, samples, audit leaves."""
    with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
        receipts, samples = (
            record.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
            for what in ("calls WHERE receipt IS NOT NULL", "samples WHERE document IS NOT NULL")
        )
        types = [json.loads(leaf)["type"] for (leaf,) in record.execute("SELECT leaf FROM leaves")]
    return receipts, types.count("receipt"), samples, types.count("audit")


def test_calls_that_a_death_has_cut_are_sampled_once_each(gateway: RunningGateway) -> None:
    async def be_killed() -> list[OpenStream]:
        streams = [OpenStream(SLOW) for _ in range(STREAMS)]
        tasks = [asyncio.create_task(stream.run(gateway, gateway.api_key)) for stream in streams]
        async with asyncio.timeout(20):
            while not all(len(stream.body) > 1000 for stream in streams):
                await asyncio.sleep(0.05)
        gateway.kill()
        await asyncio.gather(*tasks)
        return streams

    streams = asyncio.run(be_killed())
    gateway.start()
    assert len(set(counts(gateway))) == 1, counts(gateway)
    gateway.kill()
    gateway.start()
    assert len(set(counts(gateway))) == 1, counts(gateway)
    time.sleep(1.5)
    rows = {row["receipt_id"]: row for row in get(gateway, "/v1/audit/samples?limit=100")["data"]}
    identity, _ = keys_of(gateway)
    for stream in streams:
        sample = rows[stream.receipt_id or ""]
        verify_sample(sample["document"], identity)
        assert sample["document"]["complete"] is False


def test_without_samples_the_head_says_so(live_gateway: RunningGateway) -> None:
    live_gateway.ask("not sampled")
    head = get(live_gateway, "/attestation/audit/head")
    assert (head["entries"], head["last"], head["sampled_per_million"]) == (0, None, 0)
    assert get(live_gateway, "/v1/audit/samples") == {"object": "list", "data": [], "has_more": False, "last_id": None}


def test_the_rate_is_the_share_that_is_drawn() -> None:
    event = {"type": "request.received", "body_hash": "sha256:" + "0" * 64}
    answer = {"type": "response.returned", "body_hash": "sha256:" + "0" * 64}
    log = [event, answer, {"type": "stream", "complete": True}]
    receipt = {"receipt_id": "rcpt-1", "served_at": 1, "event_log": log}
    for per_million, least, most in ((0, 0, 0), (200_000, 300, 500), (1_000_000, 2000, 2000)):
        sampler = Sampler(per_million, lambda sample: sample)
        drawn = [each for _ in range(2000) if (each := sampler.draw(encode_canonical(receipt))) is not None]
        assert least <= len(drawn) <= most
        assert len({each.commitment for each in drawn}) == len(drawn)


DEMO = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "mock-1", "provider": "mock"}]}


def test_the_rate_is_configured_attested_and_bounded() -> None:
    assert load_config(None, {}).audit_per_million == 50_000
    assert decode_config(DEMO | {"audit_rate": 0.2}, {}).audit_per_million == 200_000
    assert decode_config(DEMO | {"audit_rate": 1}, {}).audit_per_million == 1_000_000
    chosen = decode_config(DEMO | {"audit_rate": 1}, {"SAFEROUTER_AUDIT_RATE": "0.000001"})
    assert chosen.audit_per_million == 1
    assert chosen.digests()["settings"] != decode_config(DEMO, {}).digests()["settings"]
    for wrong in ("", "x", "2", "-0.1", "NaN", "inf", "0.0000001", "5%", "1" * 5000):
        with pytest.raises(Malformed, match="SAFEROUTER_AUDIT_RATE: found"):
            decode_config(DEMO, {"SAFEROUTER_AUDIT_RATE": wrong})
    values: list[Any] = [True, None, [], 1.5, "half"]
    for value in values:
        with pytest.raises(Malformed, match=r"config\.audit_rate: found"):
            decode_config(DEMO | {"audit_rate": value}, {})


def sampled(gateway: RunningGateway, folder: Path) -> tuple[Path, Path]:
    """The caller's samples as they were served, and a bundle of the gateway that served them."""
    sample_of(gateway, gateway.ask("one more"))
    folder.joinpath("samples").write_text(json.dumps(get(gateway, "/v1/audit/samples?limit=3")))
    run_cli("verify", gateway.url, "--policy", gateway.policy, "--accept-mock", "--save", folder / "bundle")
    return folder / "samples", folder / "bundle"


def judged(gateway: RunningGateway, samples: Path, quote: str | Path) -> tuple[int, dict[str, str]]:
    words = ["log", "verify-sample", samples, "--quote", quote, "--policy", gateway.policy, "--accept-mock", "--json"]
    done = run_cli(*(str(word) for word in words))
    assert done.stdout, done.stderr
    return done.returncode, {row["id"]: row["outcome"] for row in json.loads(done.stdout)["checks"]}


def test_the_holder_of_samples_checks_them_offline(gateway: RunningGateway, tmp_path: Path) -> None:
    samples, bundle = sampled(gateway, tmp_path)
    for quote in (bundle, gateway.url):
        code, found = judged(gateway, samples, quote)
        assert (code, found["sample.signature"], found["sample.log"]) == (0, "pass", "pass")
    samples.write_text(json.dumps(json.loads(samples.read_text())["data"][0]))  # one row alone
    assert judged(gateway, samples, bundle)[0] == 0


LIES: dict[str, tuple[Any, tuple[str, str]]] = {
    "another answer": (
        lambda row: row | {"document": row["document"] | {"response_digest": digest_bytes(b"x")}},
        ("fail", "skip"),
    ),
    "no leaf": (lambda row: row | {"leaf": None}, ("pass", "skip")),
    "another index": (lambda row: row | {"leaf": row["leaf"] | {"index": 0}}, ("pass", "fail")),
    "another leaf": (lambda row: row | {"leaf": row["leaf"] | {"leaf_b64": "AAAA"}}, ("pass", "fail")),
}


@pytest.mark.parametrize(("lie", "outcomes"), LIES.values(), ids=LIES.keys())
def test_a_sample_that_does_not_hold_is_named(
    gateway: RunningGateway, tmp_path: Path, lie: Any, outcomes: tuple[str, str]
) -> None:
    samples, bundle = sampled(gateway, tmp_path)
    page = json.loads(samples.read_text())
    samples.write_text(json.dumps(page | {"data": [*page["data"][:1], lie(page["data"][1])]}))
    code, found = judged(gateway, samples, bundle)
    assert (code, (found["sample.signature"], found["sample.log"])) == (1, outcomes)


def test_the_leaf_of_another_sample_is_refused(gateway: RunningGateway, tmp_path: Path) -> None:
    samples, bundle = sampled(gateway, tmp_path)
    page = json.loads(samples.read_text())
    first, second = page["data"][:2]
    samples.write_text(json.dumps(page | {"data": [first | {"leaf": second["leaf"]}]}))
    code, found = judged(gateway, samples, bundle)
    assert (code, found["sample.log"]) == (1, "fail")


def test_samples_count_under_a_quote_that_holds_alone(gateway: RunningGateway, tmp_path: Path) -> None:
    samples, bundle = sampled(gateway, tmp_path)
    refused = run_cli("log", "verify-sample", samples, "--quote", bundle)
    assert (refused.returncode, "sample." in refused.stdout) == (1, False)
    samples.write_text("{}")
    refused = run_cli("log", "verify-sample", samples, "--quote", bundle)
    assert (refused.returncode, "samples.document" in refused.stderr) == (2, True)
