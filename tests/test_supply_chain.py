"""The supply chain over HTTP: what the operator signs comes into force for all workers, attested, logged and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from gateway.registry.document import PAYLOAD_TYPE
from tee.canonical import digest_bytes, encode_canonical, parse_json
from tee.errors import Malformed
from tee.log.entry import parse_entry
from tee.log.note import parse_note_key
from tee.measure.envelope import Signers, seal_envelope
from tee.measure.firmware import encode_firmware_receipt, parse_firmware_receipt, verify_firmware_receipt
from tee.quote import decode_base64
from tests.test_registry import HASH, artefact, supplier
from tests.worlds.gateway import RunningGateway, run_cli
from tests.worlds.release import ReleaseOwner, manifest
from tests.worlds.workers import wait_for

KEY = SigningKey(b"\x07" * 32)
RELEASE_KEYS = Signers((bytes(SigningKey(b"\x09" * 32).verify_key),), 1)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CONFIG = f"""
workers = 2
registry = {{keys = ["{bytes(KEY.verify_key).hex()}"]}}
providers = [{{id = "mock", family = "mock"}}]
models = [
  {{id = "house-7b", provider = "mock", upstream_model = "mock-1"}},
  {{id = "house-3b", provider = "mock", upstream_model = "mock-1"}},
]
"""
BOM = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "weights"}]}).encode()
MANIFEST = manifest("a" * 96)
FOREVER = 4_000_000_000


def envelope(sequence: int, key: SigningKey = KEY, **members: Any) -> bytes:
    document = {
        "format": "saferouter/registry/v1",
        "sequence": sequence,
        "issued": 1_700_000_000,
        "expires": FOREVER,
        "suppliers": [supplier("good", country="DE"), supplier("barred", sanctioned=True)],
        "artefacts": [artefact("house-7b", mirrors=["eu-1"], bom=digest_bytes(BOM))],
        "revocations": [],
    }
    return seal_envelope(encode_canonical(document | members), PAYLOAD_TYPE, [key])


class Operator:
    """Whoever holds the admin token."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway

    def put(self, path: str, raw: bytes, status: int = 200) -> Any:
        with self.gateway.client(self.gateway.demo["admin_token"]) as client:
            answer = client.put(f"/supply-chain/{path}", content=raw)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, status: int = 200) -> Any:
        """As a tenant."""
        with self.gateway.client() as client:
            answer = client.get(f"/supply-chain/{path}")
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Operator]:
    state = tmp_path_factory.mktemp("supply", numbered=False) / "state"
    with RunningGateway(state, config=CONFIG, chip=chip_file) as gateway:
        yield Operator(gateway)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReleaseOwner, bytes]:
    """A release's owner, and the announcement of their build."""
    owner = ReleaseOwner(tmp_path_factory.mktemp("owner"))
    return owner, Path(owner.announce(MANIFEST)["announcement"]).read_bytes()


def test_without_a_registry_only_the_own_bill_is_there(operator: Operator) -> None:
    own = operator.get("bom/appliance/saferouter")
    assert own["document"]["bomFormat"] == "CycloneDX"
    assert (own["registry"], own["risk"]) == (None, None)
    assert own["document"] == json.loads(run_cli("bom").stdout)
    assert operator.get("models")["data"] == operator.get("suppliers")["data"] == []
    for path in ("risk-summary", "registry", "models/house-7b", "bom/model/house-7b", "firmware-receipt/appliance/x"):
        assert "no registry" in operator.get(path, 404)["error"]["message"]
    assert operator.gateway.ask("hi", "house-7b").json["attestation"]["model_content_hash"] is None


def test_a_registry_is_in_force_at_once_everywhere_and_logged(operator: Operator) -> None:
    before = attested(operator)
    told = operator.put("registry", envelope(1))
    assert (told["sequence"], told["expired"], told["files"]) == (1, False, [digest_bytes(BOM)])
    after = attested(operator)
    assert {name for name in before if before[name] != after[name]} == {"models", "policies", "settings"}
    assert configuration_leaf(operator)["changed"] == ["models", "policies", "settings"]

    def told_of() -> tuple[str, str]:
        block = operator.gateway.ask("hi", "house-7b").json["attestation"]
        return block["model_content_hash"], block["mirror_id"]

    wait_for(lambda: all(told_of() == (HASH, "eu-1") for _ in range(6)), 60, "a worker does not know of it")
    model = operator.get("models/house-7b")
    assert (model["supplier"], model["origin"], model["risk"]["score"]) == ("good", "DE", 5)
    assert [row["id"] for row in operator.get("suppliers")["data"]] == ["barred", "good"]
    assert operator.get("risk-summary")["by_band"][-1] == {"band": "low", "artefacts": 1}
    with operator.gateway.client() as client:
        assert client.get("/supply-chain/registry").content == envelope(1)


def attested(operator: Operator) -> dict[str, str]:
    with operator.gateway.client() as client:
        found: dict[str, str] = client.post("/attestation/quote").json()["workload"]["configuration"]
    return found


def configuration_leaf(operator: Operator) -> Any:
    """The newest leaf that says what was changed."""
    with operator.gateway.client() as client:
        size = client.get("/attestation/transparency/head").json()["size"]
        for index in range(size - 1, -1, -1):
            leaf = client.get(f"/attestation/transparency/{index}").json()["leaf_b64"]
            entry = parse_entry(decode_base64(leaf, "leaf"))
            if entry.type == "configuration":
                return entry.body
    raise AssertionError("no configuration leaf")


def test_what_is_older_unsigned_or_anothers_is_refused_and_changes_nothing(operator: Operator) -> None:
    operator.put("registry", envelope(5))
    for raw in (envelope(5, expires=FOREVER - 1), envelope(4), envelope(6, SigningKey.generate()), b"{}"):
        operator.put("registry", raw, 400)
    operator.put("registry", envelope(6, expires=1_700_000_001), 400)
    operator.put("registry", envelope(6, artefacts=[artefact("m", supplier="nobody")]), 400)
    assert operator.get("models")["registry"]["sequence"] == 5
    operator.put("registry", envelope(5))  # the very same again is no harm
    with operator.gateway.client() as client:  # an API key is no admin token
        assert client.put("/supply-chain/registry", content=envelope(7)).status_code == 401


def test_files_are_taken_if_the_registry_names_them(operator: Operator) -> None:
    operator.put("registry", envelope(10))
    named = digest_bytes(BOM)
    assert "not handed in" in operator.get("bom/model/house-7b", 404)["error"]["message"]
    operator.put(f"files/{named}", BOM + b" ", 400)
    operator.put(f"files/{digest_bytes(b'other')}", b"other", 400)
    operator.put("files/sha256:../../identity", BOM, 400)
    assert operator.put(f"files/{named}", BOM)["bytes"] == len(BOM)
    found = operator.get("bom/model/house-7b")
    assert (found["document"], found["bom"], found["risk"]["band"]) == (json.loads(BOM), named, "low")
    file = operator.gateway.state / "registry" / hashlib.sha256(BOM).hexdigest()
    file.write_bytes(BOM.replace(b"weights", b"heights"))
    assert "restore it" in operator.get("bom/model/house-7b", 400)["error"]["message"]
    file.write_bytes(BOM)


def test_what_the_registry_bans_is_never_asked_until_a_newer_one_lifts_it(operator: Operator) -> None:
    gone = [{"category": "model", "id": "house-3b", "reason": "withdrawn"}]
    barred = [artefact("house-7b", supplier="barred")]
    operator.put("registry", envelope(20, revocations=gone, artefacts=barred))

    def statuses() -> set[int]:
        return {operator.gateway.ask("hi", model).status for model in ("house-3b", "house-7b") for _ in range(4)}

    wait_for(lambda: statuses() == {403}, 60, "somebody is asked who is banned")
    assert b"interdicted" in operator.gateway.ask("hi", "house-3b").raw
    operator.gateway.restart()
    assert statuses() == {403}
    operator.put("registry", envelope(21))
    wait_for(lambda: statuses() == {200}, 60, "somebody is still banned")


def test_a_firmware_receipt_proves_its_build_offline(
    operator: Operator, owner: tuple[ReleaseOwner, bytes], tmp_path: Path
) -> None:
    owner_, announcement = owner
    build = {
        "build": "saferouter 1.0",
        "manifests": [digest_bytes(MANIFEST)],
        "announcement": digest_bytes(announcement),
    }
    operator.put("registry", envelope(30, artefacts=[artefact("saferouter", category="appliance", builds=[build])]))
    for raw in (MANIFEST, announcement):
        operator.put(f"files/{digest_bytes(raw)}", raw)
    operator.get("firmware-receipt/appliance/saferouter?build=saferouter%202.0", 404)
    file = tmp_path / "receipt.json"
    with operator.gateway.client() as client:
        file.write_bytes(client.get("/supply-chain/firmware-receipt/appliance/saferouter").content)
    key = RELEASE_KEYS.keys[0].hex()
    proven = run_cli("measure", "verify-firmware", file, "--key", key, "--log-key", owner_.vkey, "--json")
    assert proven.returncode == 0, proven.stdout + proven.stderr
    facts = json.loads(proven.stdout)
    assert (facts["verdict"], facts["build"], facts["entry"]) == ("verified", "saferouter 1.0", 0)
    assert facts["measurements"] == [{"value": "a" * 96, "covers": "workload"}]
    wrong: list[list[str]] = [
        ["--key", "0" * 64],
        ["--key", key, "--build", "saferouter 2.0"],
        ["--key", key, "--at", "2100-01-01T00:00:00Z"],
        ["--key", key, "--minimum-sequence", "2"],
    ]
    for options in wrong:
        rejected = run_cli("measure", "verify-firmware", file, *options)
        assert (rejected.returncode, rejected.stdout[:9]) == (1, "Rejected:"), options
    assert run_cli("measure", "verify-firmware", file, "--key", "short").returncode == 2


def test_a_receipt_of_another_build_or_log_or_without_a_log_is_told_apart(owner: tuple[ReleaseOwner, bytes]) -> None:
    owner_, announcement = owner
    document = {
        "format": "saferouter/firmware-receipt/v1",
        "category": "appliance",
        "artifact_id": "saferouter",
        "build": "saferouter 1.0",
        "manifests_b64": [],
        "announcement": announcement.decode(),
    }
    with pytest.raises(Malformed, match="1 to"):
        parse_firmware_receipt(json.dumps(document).encode())
    log, other = parse_note_key(owner_.vkey, "log"), manifest("b" * 96)
    receipt = replace(
        parse_firmware_receipt(json.dumps(document | {"manifests_b64": ["AA=="]}).encode()), manifests=(MANIFEST,)
    )
    again = parse_firmware_receipt(json.dumps(encode_firmware_receipt(receipt)).encode())
    assert again == receipt
    assert verify_firmware_receipt(receipt, RELEASE_KEYS, log, now=NOW).entry == 0
    unlogged = verify_firmware_receipt(replace(receipt, announcement=None), RELEASE_KEYS, None, now=NOW)
    assert unlogged.entry is None and unlogged.not_proven
    for bad in (replace(receipt, announcement=None), replace(receipt, manifests=(other,))):
        with pytest.raises(Malformed, match="announcement"):
            verify_firmware_receipt(bad, RELEASE_KEYS, log, now=NOW)
    with pytest.raises(Malformed, match="build"):
        verify_firmware_receipt(replace(receipt, build="saferouter 3.0"), RELEASE_KEYS, None, now=NOW)


def test_nothing_is_told_to_whoever_shows_no_key(operator: Operator) -> None:
    with operator.gateway.client("sk-router-nobody") as client:
        for path in ("models", "suppliers", "risk-summary", "registry", "bom/appliance/saferouter"):
            assert client.get(f"/supply-chain/{path}").status_code == 401, path


def test_the_page_s_example_is_a_registry(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "registry.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]
    plain, key, out = tmp_path / "plain.json", tmp_path / "key", tmp_path / "signed.json"
    plain.write_text(example)
    public = run_cli("measure", "new-key", key).stdout.strip()
    assert run_cli("registry", "sign", plain, "--key", key, "--out", out).returncode == 0
    checked = run_cli("registry", "check", out, "--key", public, "--at", "2026-11-22T00:00:00Z", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)["interdicted"]["models"] == ["house-3b"]
    assert parse_json(example.encode(), "example")["sequence"] == 7
