"""NitroTPM from outside: a gateway on a machine that has one, documents carried off, and a tool that fails."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import PLATFORM_KEYSET_SECONDS, decode_config
from tee.attest.nitrotpm import fetch_document, fetch_key_document
from tee.errors import Malformed, Unavailable
from tee.evidence import Outcome
from tee.nitro.cbor import parse_cbor
from tee.nitro.chain import AWS_ROOT_SHA256
from tee.nitro.checks import Circumstances, judge_document
from tee.policy import decode_policy
from tests.conftest import find_vectors
from tests.worlds.gateway import COMMAND, PLAIN, RunningGateway, run_cli
from tests.worlds.nitro import boot, boot_image, install_nitrotpm, sign_document

CONFIG = """
platform_evidence = ["nitrotpm"]
[[providers]]
id = "mock"
family = "mock"
[[models]]
id = "mock-1"
provider = "mock"
"""
IMAGE = "image 1"


def machine(folder: Path, name: str, chip: Path) -> tuple[Path, RunningGateway]:
    """A machine with a NitroTPM, and a gateway on it that is not started yet."""
    tpm = folder / f"{name}-tpm"
    install_nitrotpm(tpm, IMAGE)
    environ = {"PATH": f"{tpm}:{os.environ['PATH']}"}
    return tpm, RunningGateway(folder / name, config=CONFIG, chip=chip, environ=environ)


@pytest.fixture(scope="module")
def nitro(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[tuple[Path, RunningGateway]]:
    tpm, gateway = machine(tmp_path_factory.mktemp("nitro"), "one", chip_file)
    with gateway:
        yield tpm, gateway


def write_policy(gateway: RunningGateway, path: Path, *images: str) -> Path:
    """The demo policy's measurement as one that covers firmware only, and these images."""
    measurement = json.loads((gateway.state / "demo-policy.json").read_text())["measurements"]
    images_of = {"firmware_measurements": measurement, "boot_images": list(map(boot_image, images))}
    path.write_text(json.dumps(images_of if images else {"measurements": measurement}))
    return path


def judge(target: str | Path, policy: Path, *options: str) -> dict[str, Any]:
    run = run_cli("verify", target, "--policy", policy, "--accept-mock", "--json", *options)
    assert run.returncode in (0, 1), run.stderr
    verdict: dict[str, Any] = json.loads(run.stdout)
    return verdict


def failures(verdict: dict[str, Any]) -> list[str]:
    return [check["id"] for check in verdict["checks"] if check["outcome"] == "fail"]


def outcomes(verdict: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in verdict["checks"]}


def test_the_image_is_vouched_for_by_nitrotpm(nitro: tuple[Path, RunningGateway], tmp_path: Path) -> None:
    _, gateway = nitro
    policy = write_policy(gateway, tmp_path / "policy.json", "image 0", IMAGE)
    verdict = judge(gateway.url, policy)
    assert (verdict["verdict"], verdict["mock"]) == ("verified", True)
    found = outcomes(verdict)
    assert [found[name] for name in ("bind.platform-evidence", "code.boot-image")] == ["pass", "pass"]
    assert found["code.platform-evidence"] == "skip"  # a mock never passes for AWS
    assert any("vouched for by AWS NitroTPM, not by AMD" in line for line in verdict["not_proven"])
    assert any("covers firmware only" in line for line in verdict["not_proven"])
    real = run_cli("verify", gateway.url, "--policy", policy, "--json")
    assert failures(json.loads(real.stdout)) == ["hw.root", "code.platform-evidence"]


def test_another_image_is_refused(nitro: tuple[Path, RunningGateway], tmp_path: Path) -> None:
    tpm, gateway = nitro
    policy = write_policy(gateway, tmp_path / "policy.json", IMAGE)
    boot(tpm, "image 2")
    try:
        verdict = judge(gateway.url, policy)
    finally:
        boot(tpm, IMAGE)
    assert failures(verdict) == ["code.boot-image"]


def test_a_workload_measurement_needs_no_image(nitro: tuple[Path, RunningGateway], tmp_path: Path) -> None:
    _, gateway = nitro
    verdict = judge(gateway.url, write_policy(gateway, tmp_path / "policy.json"))
    assert verdict["verdict"] == "verified"
    assert outcomes(verdict)["code.boot-image"] == "skip"


def test_a_bundle_lives_as_long_as_its_certificates(nitro: tuple[Path, RunningGateway], tmp_path: Path) -> None:
    _, gateway = nitro
    policy, bundle = write_policy(gateway, tmp_path / "policy.json", IMAGE), tmp_path / "saved.evidence"
    judge(gateway.url, policy, "--save", str(bundle))
    assert judge(bundle, policy)["verdict"] == "verified"
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=3, minutes=1)
    verdict = judge(bundle, policy, "--at", later.isoformat(timespec="seconds"))
    assert failures(verdict) == ["bind.keyset-expiry", "code.platform-evidence"]
    reason = next(check["reason"] for check in verdict["checks"] if check["id"] == "code.platform-evidence")
    assert "--at" in reason


def test_a_document_of_another_machine_is_refused(
    nitro: tuple[Path, RunningGateway], tmp_path: Path, chip_file: Path
) -> None:
    """The same chip, the same image: only the report differs."""
    _, one = nitro
    policy = write_policy(one, tmp_path / "policy.json", IMAGE)
    _, two = machine(tmp_path, "two", chip_file)
    bundles = {}
    with two:
        for gateway in (one, two):
            path = tmp_path / f"{gateway.port}.evidence"
            judge(gateway.url, policy, "--save", str(path))
            bundles[gateway] = json.loads(path.read_text())
    mixed = bundles[one]
    mixed["quote"]["platform_evidence"] = bundles[two]["quote"]["platform_evidence"]
    (tmp_path / "mixed").write_text(json.dumps(mixed))
    assert failures(judge(tmp_path / "mixed", policy)) == ["bind.platform-evidence"]
    mixed["quote"]["platform_evidence"] = []
    (tmp_path / "stripped").write_text(json.dumps(mixed))
    assert failures(judge(tmp_path / "stripped", policy)) == ["bind.platform-evidence"]


def test_a_tool_that_fails_gives_no_quote(nitro: tuple[Path, RunningGateway]) -> None:
    tpm, gateway = nitro
    boot(tpm, IMAGE, fault="busy")
    try:
        answer = httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": "00" * 32}, timeout=30, **PLAIN)
    finally:
        boot(tpm, IMAGE)
    assert answer.status_code == 503
    assert httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": "00" * 32}, timeout=30, **PLAIN).is_success


def test_serve_without_the_tool_says_what_is_missing(tmp_path: Path, chip_file: Path) -> None:
    gateway = RunningGateway(tmp_path / "state", config=CONFIG, chip=chip_file, environ={"PATH": str(COMMAND.parent)})
    with pytest.raises(RuntimeError, match="nitro-tpm-attest: not installed"):
        gateway.start()


def test_keysets_end_while_their_quotes_are_valid() -> None:
    rows = {"providers": [{"family": "mock"}], "models": [{"id": "m", "provider": "mock"}]}
    platform = rows | {"platform_evidence": ["nitrotpm"]}
    assert decode_config(platform, {}).keyset_seconds == PLATFORM_KEYSET_SECONDS
    with pytest.raises(Malformed, match=r"config\.keyset_seconds"):
        decode_config(platform | {"keyset_seconds": 24 * 3600}, {})
    with pytest.raises(Malformed, match=r"config\.platform_evidence"):
        decode_config(rows | {"platform_evidence": ["tdx"]}, {})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("busy", "ended with 1: Error: NSM error response: InternalError"),
        ("prints too much", "wanted 1 to 16384"),
        ("prints nothing", "printed 0 bytes"),
        ("hangs", "no answer within 2 s"),
    ],
)
def test_a_tool_that_fails(tmp_path: Path, fault: str, words: str) -> None:
    tool = install_nitrotpm(tmp_path / "tpm", IMAGE)
    boot(tmp_path / "tpm", IMAGE, fault=fault)
    with pytest.raises(Unavailable, match=words):
        fetch_document(tool, bytes(32), bytes(32), seconds=2.0 if fault == "hangs" else 30.0)


def test_no_tool_and_nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(Unavailable, match="No such file"):
        fetch_document(tmp_path / "nowhere", bytes(32), None)
    tool = install_nitrotpm(tmp_path / "tpm", IMAGE)
    document = fetch_document(tool, b"\x01" * 32, None)
    body = cbor2.loads(cbor2.loads(document)[2])
    assert (body["user_data"], body["nonce"]) == (b"\x01" * 32, None)
    body = cbor2.loads(cbor2.loads(fetch_key_document(tool, b"a public key"))[2])
    assert (body["public_key"], body["user_data"]) == (b"a public key", None)
    assert not list(scratch.iterdir())


_VALUES = st.recursive(
    st.none() | st.integers(-(2**53), 2**53 - 1) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-9, 40) | st.text(max_size=4), inner),
    max_leaves=8,
)


@given(_VALUES)
def test_what_another_encoder_writes_is_read_back(value: Any) -> None:
    raw = cbor2.dumps(value)
    try:
        assert parse_cbor(raw, "test") == value
    except Malformed as error:
        assert "nesting beyond" in str(error)


@given(st.binary(max_size=60))
def test_what_is_read_has_one_spelling(raw: bytes) -> None:
    try:
        value = parse_cbor(raw, "test")
    except Malformed:
        return
    assert cbor2.loads(raw) == value
    assert raw[:1] == b"\xbf" or cbor2.dumps(value) == raw


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A document of now about a report of zeros."""
    folder = tmp_path_factory.mktemp("document") / "tpm"
    install_nitrotpm(folder, IMAGE)
    return sign_document(folder, IMAGE, hashlib.sha256(bytes(0x2A0)).digest(), bytes(32))


@given(patch=st.binary(max_size=200), at=st.integers(0, 4000))
def test_a_damaged_document_is_refused_in_words(document: bytes, patch: bytes, at: int) -> None:
    raw = document[:at] + patch + document[at + len(patch) :]
    circumstances = Circumstances(bytes(0x2A0), bytes(32), True, dt.datetime.now(dt.UTC), None)
    checks, _ = judge_document(raw, circumstances, accept_mock=True)
    assert (checks[0].outcome is Outcome.FAIL) is (raw.removeprefix(b"\xd2") != document)


def test_a_document_of_aws_passes() -> None:
    """A real one, where the shared vectors have it: nothing but AWS's own root can."""
    path = find_vectors() / "nitrotpm" / "nitrotpm-live.cose"
    if not path.is_file():
        pytest.skip("the shared vectors hold no NitroTPM document")
    moment = dt.datetime(2026, 8, 13, 17, 36, 50, tzinfo=dt.UTC)
    image = {"pcr4": "3c" + "00" * 47, "pcr7": "00" * 48, "pcr12": "00" * 48}
    policy = decode_policy({"firmware_measurements": ["ab" * 48], "boot_images": [image]})
    circumstances = Circumstances(bytes(1184), None, False, moment, policy)
    (genuine, bound, booted), mock = judge_document(path.read_bytes(), circumstances, accept_mock=False)
    assert (genuine.outcome, mock) == (Outcome.PASS, False)
    assert AWS_ROOT_SHA256 in genuine.found
    assert (bound.outcome, booted.outcome) == (Outcome.FAIL, Outcome.FAIL)
