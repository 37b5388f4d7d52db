"""Identity, configuration, state, and the contract of every attester."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import decode_config
from gateway.state import lock_state, make_state
from gateway.storage.engine import open_database
from tee.attest import detect
from tee.attest.attester import Attester
from tee.attest.detect import detect_attester
from tee.attest.mock import MockChip, load_chip_secrets
from tee.errors import Malformed, Unavailable
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
        ({"providers": [{"family": "vllm", "auth_header": "cookie"}]}, "config.providers[0].auth_header"),
        ({"providers": [{"family": "anthropic", "api_version": "newest"}]}, "config.providers[0].api_version"),
        ({"models": [{"id": "m", "provider": "nobody"}]}, "config.models[0].provider"),
        (
            {"models": [{"id": "m", "provider": "mock"}, {"id": "n", "provider": "mock", "aliases": ["m"]}]},
            "config.models",
        ),
        ({"limits": {"body": 0}}, "config.limits.body"),
        ({"limits": {"bodies": 1}}, "config.limits.bodies"),
        ({"limits": {"quotes_per_minute": 0}}, "config.limits.quotes_per_minute"),
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
    assert decode_config(DEMO | {"limits": {"quotes_per_minute": 30}}, {}).digests()["settings"] != plain["settings"]
    for name, change in changes.items():
        other = decode_config(DEMO | change, {}).digests()
        assert {key for key in plain if plain[key] != other[key]} == {name}
