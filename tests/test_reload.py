"""SIGHUP: a new configuration is attested and logged before a call is routed by it, and no call under way is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tee.canonical import digest
from tee.log.entry import parse_entry
from tee.quote import decode_base64
from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.workers import wait_for, workers_of

PROVIDER = '[[providers]]\nid = "mock"\nfamily = "mock"\n'
MODEL = '[[models]]\nid = "old"\nprovider = "mock"\nupstream_model = "mock-1"\n'
SLOW = "mock:slow=3 mock:chunks=100"


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path, chip_file: Path) -> Iterator[RunningGateway]:
    config = f"workers = {request.param}\n{PROVIDER}{MODEL}"
    with RunningGateway(tmp_path / "state", config=config, chip=chip_file) as running:
        yield running


def reload(gateway: RunningGateway, change: Callable[[str], str]) -> str:
    """Change its file, ask it to read that, and wait for its word."""
    path = gateway.state.with_name(gateway.state.name + ".toml")
    path.write_text(change(path.read_text()))
    said = len(gateway.log.read_text())
    os.kill(gateway.pid, signal.SIGHUP)

    def word() -> str:
        return next((line for line in gateway.log.read_text()[said:].splitlines() if "configuration is" in line), "")

    wait_for(lambda: word() != "", 60, "it says what became of the reload")
    return word()


def shared_quote(gateway: RunningGateway) -> dict[str, Any]:
    quote: dict[str, Any] = httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": None}, **PLAIN).json()
    return quote


def log_size(client: httpx2.Client) -> int:
    size: int = client.get("/attestation/transparency").json()["size"]
    return size


def test_calls_under_way_end_by_the_old_configuration_and_new_ones_go_by_the_new(gateway: RunningGateway) -> None:
    before, workers = shared_quote(gateway), workers_of(gateway)
    with ThreadPoolExecutor(1) as callers, gateway.client() as client:
        leaves = log_size(client)
        begun = callers.submit(gateway.post, chat_body(SLOW, "old", stream=True))
        wait_for(lambda: log_size(client) > leaves, 20, "the call has begun")
        word = reload(gateway, lambda text: text.replace('id = "old"', 'id = "new"'))
        assert "reloaded (models changed)" in word
        wait_for(lambda: client.get("/v1/models/new").status_code == 200, 10, "new calls go by the new table")
        assert client.get("/v1/models/old").status_code == 404
        after = shared_quote(gateway)
        leaf = parse_entry(decode_base64(after["log"]["startup"]["leaf_b64"], "leaf"))
        change = client.get(f"/attestation/transparency/{leaf.index - 1}").json()["leaf"]
        answered, ended = gateway.ask("hello", "new"), begun.result()

    assert before["workload"]["configuration"]["models"] != after["workload"]["configuration"]["models"]
    assert before["workload"]["seed_measurement"] != after["workload"]["seed_measurement"]
    assert (leaf.type, leaf.body["configuration"]) == ("startup", after["workload"]["configuration"])
    assert (change["type"], change["body"]["changed"]) == ("configuration", ["models"])
    assert ended.raw.endswith(b"data: [DONE]\n\n")
    # Each receipt names the configuration that its call went by, and verifies under the evidence of that.
    assert gateway.verified(ended).keyset_digest == digest(before["keyset"])
    assert gateway.verified(answered).keyset_digest == digest(after["keyset"])
    assert workers_of(gateway) == workers


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text + "\n[limits]\nopen_calls = 7\n", "config.limits: found another value than at the start"),
        (lambda text: text + "\n[[models]]\nid = 'x'\nprovider = 'nobody'\n", "config.models[1].provider"),
        (lambda text: text + "\n[[", "TOML"),
        (lambda text: text + "# the same\n", "nothing has changed"),
    ],
    ids=["bound at the start", "refused", "no TOML", "the same"],
)
def test_what_cannot_be_taken_on_leaves_all_as_it_was(
    tmp_path: Path, chip_file: Path, change: Callable[[str], str], word: str
) -> None:
    with RunningGateway(tmp_path / "state", config=PROVIDER + MODEL, chip=chip_file) as gateway:
        before = shared_quote(gateway)
        assert word in reload(gateway, change)
        assert shared_quote(gateway)["keyset"] == before["keyset"]
        assert gateway.ask("hello", "old").status == 200
