"""A disk that goes back in time, and a copy of it: with a witness neither can show a second history."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import httpx2
import pytest

from gateway.publisher import PUBLISH_SECONDS, WITNESS_SECONDS
from tee.log.entry import parse_entry
from tee.log.note import KeyType, NoteKey
from tee.quote import decode_base64
from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.witness import RunningWitness

AUDIENCE = "https://gw.example.com"
TABLES = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
LIMITS = "[limits]\nboot_seconds = 2\n"


def vkey_of(gateway: RunningGateway) -> str:
    return str(httpx2.get(f"{gateway.url}/attestation/transparency", **PLAIN).json()["vkey"])


def configured(gateway: RunningGateway, witness: RunningWitness | None) -> None:
    """Give the gateway's next start this witness, or a policy whose witness answers nothing."""
    policy = gateway.state.with_name("policy")
    if witness is None:
        key = NoteKey("nobody.example", KeyType.COSIGNATURE_V1, bytes(range(32))).encode()
        policy.write_text(f"witness w {key} http://127.0.0.1:9\nquorum w\n")
    else:
        policy.write_text(f"witness w {witness.key.encode()} {witness.url}\nquorum w\n")
    text = f'audience = "{AUDIENCE}"\nwitness_policy = "{policy}"\n{TABLES}{LIMITS}'
    gateway.state.with_name(gateway.state.name + ".toml").write_text(text)


@pytest.fixture
def gateway(tmp_path: Path, chip_file: Path) -> RunningGateway:
    config = f'audience = "{AUDIENCE}"\n{TABLES}{LIMITS}'
    return RunningGateway(tmp_path / "gateway", config=config, chip=chip_file)


def refused(gateway: RunningGateway) -> str:
    with pytest.raises(RuntimeError) as caught:
        gateway.start()
    return str(caught.value)


def test_nothing_is_served_before_the_quorum_has_cosigned_the_start(gateway: RunningGateway) -> None:
    configured(gateway, None)
    words = refused(gateway)
    assert "the log's witnesses: have not cosigned this start" in words
    assert "gw.example.com/attestation/transparency+" in words, "the key that the witness's operator needs"
    assert "witness w: does not answer" in words


def test_a_disk_that_was_put_back_begins_an_epoch_that_says_so(gateway: RunningGateway, tmp_path: Path) -> None:
    with gateway:
        key = vkey_of(gateway)
        with RunningWitness(tmp_path / "witness", key) as witness:
            configured(gateway, witness)
            gateway.restart()
            gateway.stop()
            shutil.copytree(gateway.state, tmp_path / "yesterday")
            gateway.start()
            assert gateway.ask("a call that yesterday does not know").status == 200
            time.sleep(PUBLISH_SECONDS + WITNESS_SECONDS + 1)
            gateway.stop()
            shutil.rmtree(gateway.state)
            shutil.copytree(tmp_path / "yesterday", gateway.state)
            words = refused(gateway)
            assert "The log begins epoch 2: it holds" in words
            assert "was seen by a witness" in words
            assert "witness w: does not know this log" in words
            second = words.rpartition("The log begins epoch 2")[2].partition("key: ")[2].split()[0]
            assert re.match("gw.example.com/attestation/transparency/[0-9a-f]{16}[+]", second)
        with RunningWitness(tmp_path / "witness", key, second) as witness:
            configured(gateway, witness)
            gateway.start()
            assert vkey_of(gateway) == second
            first = httpx2.get(f"{gateway.url}/attestation/transparency/0", **PLAIN).json()
            entry = parse_entry(decode_base64(first["leaf_b64"], "leaf"))
            assert entry.type == "log.continues"
            assert entry.body["origin"] == "gw.example.com/attestation/transparency"
            assert gateway.ask("and on it goes").status == 200


def test_a_copy_beside_the_original_is_not_cosigned(gateway: RunningGateway, tmp_path: Path) -> None:
    with gateway:
        key = vkey_of(gateway)
        with RunningWitness(tmp_path / "witness", key) as witness:
            configured(gateway, witness)
            gateway.restart()
            gateway.stop()
            shutil.copytree(gateway.state, tmp_path / "clone")
            gateway.start()
            clone = RunningGateway(tmp_path / "clone", config="")
            configured(clone, witness)
            assert "have not cosigned this start" in refused(clone)
            assert gateway.ask("the original goes on").status == 200
