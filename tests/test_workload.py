"""Keys, quotes and their renewal, and the contract of every attester."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from gateway import workload
from gateway.config import decode_config
from gateway.errors import RateLimited
from gateway.state import lock_state, make_state
from gateway.storage.engine import open_database
from gateway.workload import QuoteDesk, WorkloadKeys, workload_document
from tee.attest import detect
from tee.attest.attester import Attester
from tee.attest.detect import detect_attester
from tee.attest.mock import MockChip, load_chip_secrets
from tee.errors import Malformed, Unavailable
from tee.evidence import Evidence
from tee.policy import policy_for_measurements
from tee.verify import verify_quote
from tests.contracts.attester import answers_with_its_report_data, refuses_other_sizes

MEASUREMENT = bytes(range(48))
DEMO: dict[str, Any] = {
    "providers": [{"id": "mock", "family": "mock"}],
    "models": [{"id": "mock-1", "provider": "mock"}],
}


@pytest.fixture(scope="module")
def attesters(chip_file: Path) -> Iterator[list[Attester]]:
    """Every attester that runs in this process; tests/test_sev_guest.py has the device's, in one of its own."""
    yield [MockChip(load_chip_secrets(chip_file.parent), MEASUREMENT)]


def test_every_attester_answers_with_its_report_data(attesters: list[Attester]) -> None:
    for attester in attesters:
        answers_with_its_report_data(attester)


def test_every_attester_refuses_other_sizes(attesters: list[Attester]) -> None:
    for attester in attesters:
        refuses_other_sizes(attester)


def test_a_mock_chip_is_the_same_after_a_restart(chip_file: Path) -> None:
    first, second = (load_chip_secrets(chip_file.parent) for _ in range(2))
    assert (first.chip_id, first.vcek) == (second.chip_id, second.vcek)
    assert chip_file.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(first)


def test_a_broken_chip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mock-chip.bin").write_bytes(b"\x00\x00\x00\x01x")
    with pytest.raises(Malformed, match=r"mock-chip\.bin"):
        load_chip_secrets(tmp_path)


def test_without_hardware_the_mock_needs_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEV_GUEST_DEVICE", "CONFIGFS_TSM"):
        monkeypatch.setattr(detect, name, tmp_path / "absent")
    with pytest.raises(Unavailable, match="--insecure-mock"):
        detect_attester(tmp_path, MEASUREMENT, allow_mock=False)


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def _keys(clock: Clock, **changes: Any) -> WorkloadKeys:
    config = decode_config(DEMO | changes, {})
    identity = SigningKey.generate()
    document = workload_document(config, "sha256:" + "0" * 64, bytes(identity.verify_key))
    return WorkloadKeys(identity, document, 600, clock)


def test_the_boot_quote_is_stored_before_anything_is_signed(attesters: list[Attester]) -> None:
    keys = _keys(Clock())
    stored: dict[str, str] = {}
    desk = QuoteDesk(attesters[0], keys, 4)
    asyncio.run(desk.start(stored.__setitem__))
    document = json.loads(stored[keys.signer().keyset_digest])
    policy = policy_for_measurements(MEASUREMENT.hex())
    settings: Any = {"policy": policy, "audience": "http://127.0.0.1:8484", "accept_mock": True}
    now = dt.datetime.now(dt.UTC)
    assert verify_quote(document, now=now, nonce=None, **settings).outcome == "verified"
    assert verify_quote(document, now=now, nonce=bytes(32), **settings).failures() == ("bind.report-data", "bind.nonce")
    later = now + dt.timedelta(seconds=700)
    assert verify_quote(document, now=later, nonce=None, **settings).failures() == ("bind.keyset-expiry",)


def test_a_keyset_is_renewed_at_half_life_and_attested_first(
    attesters: list[Attester], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "RENEW_CHECK_SECONDS", 0.01)
    clock = Clock()
    keys = _keys(clock)
    stored: dict[str, str] = {}
    desk = QuoteDesk(attesters[0], keys, 4)

    async def scene() -> None:
        await desk.start(stored.__setitem__)
        first = keys.signer()
        renewing = asyncio.create_task(desk.renew(stored.__setitem__))
        clock.now += 200
        await asyncio.sleep(0.1)
        assert keys.signer().keyset_digest == first.keyset_digest
        clock.now += 200
        while keys.signer().keyset_digest == first.keyset_digest:
            await asyncio.sleep(0.01)
        renewing.cancel()
        assert set(stored) == {first.keyset_digest, keys.signer().keyset_digest}
        assert keys.signer().key_id == first.key_id
        shared = await desk.quote(None)
        assert shared["keyset"]["not_after"] == int(clock.now) + 600

    asyncio.run(scene())


def test_the_queue_at_the_device_is_bounded(attesters: list[Attester]) -> None:
    desk = QuoteDesk(attesters[0], _keys(Clock()), 3)

    async def scene() -> list[Any]:
        nonces = [bytes([n]) * 32 for n in range(8)]
        return list(await asyncio.gather(*map(desk.quote, nonces), return_exceptions=True))

    answers = asyncio.run(scene())
    served = [answer for answer in answers if isinstance(answer, dict)]
    assert [f'"nonce":"{bytes([n]).hex() * 32}"' in row["statement"] for n, row in enumerate(served)] == [True] * 3
    assert all(isinstance(answer, RateLimited) and answer.retry_after for answer in answers[3:])


def test_a_report_that_does_not_verify_is_never_served(attesters: list[Attester]) -> None:
    class Flaky:
        tee_type = "mock"

        def attest(self, report_data: bytes) -> Evidence:
            evidence = attesters[0].attest(report_data)
            return replace(evidence, report=evidence.report[:0x90] + b"\x00" * 48 + evidence.report[0xC0:])

    desk = QuoteDesk(Flaky(), _keys(Clock()), 4)
    with pytest.raises(Unavailable, match=r"hw\.signature"):
        asyncio.run(desk.quote(bytes(32)))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "blue"}, "config.colour"),
        ({"port": "8484"}, "config.port"),
        ({"port": 65536}, "config.port"),
        ({"port": 0}, "config.port"),
        ({"host": "0.0.0.0"}, "config.audience"),
        ({"audience": "gw.example.com"}, "config.audience"),
        ({"audience": "https://gw.example.com/"}, "config.audience"),
        ({"providers": []}, "config.providers"),
        ({"providers": [{"id": "a", "family": "nobody"}]}, "config.providers[0].family"),
        ({"providers": [{"family": "vllm", "base_url": "localhost:8000"}]}, "config.providers[0].base_url"),
        ({"models": [{"id": "m", "provider": "nobody"}]}, "config.models[0].provider"),
        (
            {"models": [{"id": "m", "provider": "mock"}, {"id": "n", "provider": "mock", "aliases": ["m"]}]},
            "config.models",
        ),
        ({"limits": {"body": 0}}, "config.limits.body"),
        ({"limits": {"bodies": 1}}, "config.limits.bodies"),
        ({"keyset_seconds": 8 * 24 * 3600}, "config.keyset_seconds"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_config(DEMO | changes, {})
    assert caught.value.field == field


def test_a_state_folder_serves_one_gateway_at_a_time(tmp_path: Path) -> None:
    held = lock_state(tmp_path)
    with pytest.raises(Unavailable, match=f"process {os.getpid()}"):
        lock_state(tmp_path)
    os.close(held)
    os.close(lock_state(tmp_path))


def test_a_state_or_database_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, and long enough to be read as one" * 100)
    with pytest.raises(Unavailable, match="SAFEROUTER_STATE"):
        make_state(tmp_path / "file")
    with pytest.raises(Unavailable, match="restore it"):
        open_database(f"sqlite:///{tmp_path / 'file'}")


def test_what_steers_behaviour_changes_a_digest() -> None:
    plain = decode_config(DEMO, {}).digests()
    changes: dict[str, dict[str, Any]] = {
        "providers": {"providers": [{"id": "mock", "family": "mock", "credential_env": "X"}]},
        "models": {"models": [{"id": "mock-1", "provider": "mock", "upstream_model": "mock-2"}]},
        "settings": {"limits": {"body": 1000}},
    }
    for name, change in changes.items():
        other = decode_config(DEMO | change, {}).digests()
        assert {key for key in plain if plain[key] != other[key]} == {name}
