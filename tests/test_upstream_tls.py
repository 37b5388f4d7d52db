"""A provider behind TLS, over real sockets: what the receipt says of its certificate, and which are refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config import decode_config
from gateway.errors import UpstreamFailed
from gateway.upstream import Upstream
from tee.canonical import digest_bytes
from tee.errors import Malformed
from tests.worlds.gateway import RunningGateway
from tests.worlds.private_ca import LOG_IDS, PrivateCa
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream

ANSWER = Recording(b'{"id":"c-1","choices":[{"message":{"role":"assistant","content":"x"}}]}', "application/json")


@dataclass
class World:
    gateway: RunningGateway
    ca: PrivateCa
    leaf: x509.Certificate
    providers: dict[str, ScriptedUpstream]


def config_of(providers: dict[str, tuple[str, Path | None]]) -> str:
    rows = []
    for name, (url, ca_file) in providers.items():
        rows += [
            "[[providers]]",
            f'id = "{name}"',
            'family = "vllm"',
            f'base_url = "{url}"',
            'credential_env = "WIRE_KEY"',
        ]
        rows += [f'ca_file = "{ca_file}"'] if ca_file else []
        rows += ["[[models]]", f'id = "{name}-1"', f'provider = "{name}"']
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tls", numbered=False)
    ca, strange = PrivateCa(folder), PrivateCa(folder, "Strange")
    good = ca.server("good", scts=True)
    leaves = {
        "good": good,
        "expired": ca.server("expired", ends=dt.timedelta(days=-1)),
        "misnamed": ca.server("misnamed", host="other.example.com"),
        "plain": ca.server("plain"),
    }
    with ExitStack() as stack:
        served = {name: stack.enter_context(scripted_upstream(ca.context(name, leaf))) for name, leaf in leaves.items()}
        rows: dict[str, tuple[str, Path | None]] = {name: (each.base_url, ca.ca_file) for name, each in served.items()}
        # The same server, asked by those who trust the public CAs, or another company's.
        rows |= {"public": (served["good"].base_url, None), "strange": (served["good"].base_url, strange.ca_file)}
        for provider in served.values():
            provider.play(ANSWER)
        environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
        gateway = RunningGateway(folder / "state", config=config_of(rows), chip=chip_file, environ=environ)
        yield World(stack.enter_context(gateway), ca, good, served)


def tls_event(world: World, name: str) -> dict[str, Any]:
    world.providers[name].play(ANSWER)
    answered = world.gateway.ask("hi", f"{name}-1")
    assert answered.status == 200, answered.raw
    assert world.providers[name].got.credential == f"Bearer {UPSTREAM_CREDENTIAL}"
    return world.gateway.verified(answered).events["upstream.tls"]


def test_the_receipt_names_the_whole_verified_chain(world: World) -> None:
    chain = [world.leaf, world.ca.issuer, world.ca.root]
    digests = [hashlib.sha256(each.public_bytes(Encoding.DER)).hexdigest() for each in chain]
    spki = world.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    event = tls_event(world, "good")
    assert event.pop("cipher")
    assert event == {
        "type": "upstream.tls",
        "host": "localhost",
        "tls_version": "TLSv1.3",
        "leaf_sha256": digests[0],
        "leaf_spki_sha256": hashlib.sha256(spki).hexdigest(),
        "chain_sha256": digests,
        "sct_log_ids": [each.hex() for each in LOG_IDS],
        "roots": digest_bytes(world.ca.ca_file.read_bytes()),
        "verified": True,
    }


def test_a_second_call_on_the_same_connection_says_the_same(world: World) -> None:
    assert tls_event(world, "good") == tls_event(world, "good")


def test_a_certificate_without_scts_says_so(world: World) -> None:
    assert tls_event(world, "plain")["sct_log_ids"] == []


@pytest.mark.parametrize(
    ("provider", "server", "words"),
    [
        ("expired", "expired", "its certificate has expired"),
        ("misnamed", "misnamed", "its certificate is for another host name"),
        ("public", "good", "its certificate is signed by no CA that is trusted for this provider"),
        ("strange", "good", "its certificate is signed by no CA that is trusted for this provider"),
    ],
)
def test_a_certificate_that_does_not_verify_gets_neither_prompt_nor_key(
    world: World, provider: str, server: str, words: str
) -> None:
    world.providers[server].play(ANSWER)
    answered = world.gateway.ask("hi", f"{provider}-1")
    error = answered.json["error"]
    assert (answered.status, error["code"]) == (502, "upstream_unreachable")
    assert words in error["message"]
    assert world.providers[server].received == []
    receipt = world.gateway.verified(answered)
    assert not {"upstream.tls", "upstream.verified"} & receipt.events.keys()


def provider_row(**members: Any) -> dict[str, Any]:
    row = {"id": "a", "family": "vllm", "base_url": "https://llm.example.com/v1"} | members
    return {"providers": [row], "models": [{"id": "m", "provider": "a"}]}


def test_who_may_vouch_for_a_provider_is_attested(tmp_path: Path) -> None:
    """Another CA in the same file is another configuration."""
    digests = [decode_config(provider_row(), {}).digests()["providers"]]
    for name in ("One", "Two"):
        PrivateCa(tmp_path, name).ca_file.rename(tmp_path / "ca.pem")
        digests.append(decode_config(provider_row(ca_file=str(tmp_path / "ca.pem")), {}).digests()["providers"])
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("content", "base_url"),
    [
        (None, "https://llm.example.com/v1"),
        (b"", "https://llm.example.com/v1"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "https://llm.example.com/v1"),
        (b"x" * (65 << 10), "https://llm.example.com/v1"),
        (b"any", "http://llm.example.com/v1"),
    ],
    ids=["absent", "empty", "broken", "long", "no TLS"],
)
def test_a_ca_file_that_cannot_serve_is_refused_by_name(tmp_path: Path, content: bytes | None, base_url: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Malformed) as caught:
        decode_config(provider_row(ca_file=str(path), base_url=base_url), {})
    assert caught.value.field == "config.providers[0].ca_file"


@pytest.mark.parametrize("stock", [False, True], ids=["own", "stock"])
@pytest.mark.parametrize(
    ("pin", "clean", "status"), [("right", True, 200), ("wrong", False, None), ("none", True, None)]
)
def test_who_is_not_the_pinned_one_is_sent_nothing_by_either_transport(
    tmp_path: Path, stock: bool, pin: str, clean: bool, status: int | None
) -> None:
    """Nor who has no baseline, where a known identity is demanded."""
    ca = PrivateCa(tmp_path)
    leaf = ca.server("leaf")
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pins = {"right": [hashlib.sha256(spki).hexdigest()], "wrong": ["00" * 32], "none": []}[pin]
    with scripted_upstream(ca.context("leaf", leaf)) as provider:
        provider.play(ANSWER)
        row = {"id": "p", "family": "vllm", "base_url": provider.base_url, "ca_file": str(ca.ca_file), "pins": pins}
        config = decode_config({"providers": [row], "models": [{"id": "m", "provider": "p"}]}, {})

        async def call() -> int | None:
            upstream = Upstream(config.limits, stock=stock)
            upstream.identities.use(config.models.connectors.values(), config.rules.baselines)
            try:
                url = f"{provider.base_url}/chat/completions"
                answer = await upstream.call(config.models.connectors["p"], url, b"{}", None, {}, clean)
                await answer.read()
                await answer.close()
                return answer.status
            except UpstreamFailed as error:
                assert error.code == "upstream_unreachable"
                return None
            finally:
                await upstream.close()

        assert asyncio.run(call()) == status
        assert len(provider.received) == (0 if status is None else 1)
