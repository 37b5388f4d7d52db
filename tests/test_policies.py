"""Policies in a running gateway: who is asked under which, what clients and receipts are told, and how they change."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tee.canonical import digest, encode_canonical
from tests.worlds.gateway import PLAIN, Answered, RunningGateway, chat_body, run_cli
from tests.worlds.private_ca import PrivateCa
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream
from tests.worlds.workers import wait_for

JSON = "application/json"
CLOSE = (("connection", "close"),)  # so that the next call makes another handshake
ANSWER = Recording(b'{"id":"c","choices":[{"message":{"role":"assistant","content":"x"}}]}', JSON, headers=CLOSE)
TOKEN = "an-admin-token-of-forty-characters-12345"
HASH = "sha256:" + "ab" * 32
SIGNER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = SIGNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
ALLOWED = [
    *("default", "clinical-strict", "strict", "clean", "french", "scoped", "cheap", "only", "prefer", "quick", "made"),
]
POLICIES = """
[[policies]]
id = "strict"
version = 4
require_tier = "hardened"
[[policies]]
id = "clean"
require_drift_clean = true
[[policies]]
id = "french"
allowed_origins = ["FR"]
[[policies]]
id = "scoped"
witness_scopes = ["clinical"]
[[policies]]
id = "cheap"
max_cost_per_request_usd = 0.01
[[policies]]
id = "only"
models = ["french"]
[[policies]]
id = "prefer"
preferred_providers = ["second"]
[[policies]]
id = "quick"
max_latency_ms = 1
[[policies]]
id = "forbidden"
[suppliers]
acme = "FR"
other = "US"
[interdicted]
models = ["blocked"]
[[prices.models]]
id = "american"
input = 1
output = 1
[[prices.models]]
id = "french"
input = 900_000_000
output = 900_000_000
"""


def provider(name: str, url: str, *more: str) -> str:
    rows = ["[[providers]]", f'id = "{name}"', 'family = "vllm"', f'base_url = "{url}"', 'credential_env = "WIRE_KEY"']
    return "\n".join([*rows, *more]) + "\n"


def model(name: str, *rows: str) -> str:
    return "\n".join(["[[models]]", f'id = "{name}"', *rows]) + "\n"


def scope_file(folder: Path) -> Path:
    told = {"model_content_hash": HASH, "scope": "clinical", "expires": 4_000_000_000}
    signed = SIGNER.sign(b"saferouter/witness-scope/v1\n" + encode_canonical(told)).hex()
    path = folder / "scope.json"
    path.write_text(json.dumps(told | {"key": KEY, "signature": signed}))
    return path


@dataclass
class World:
    gateway: RunningGateway
    plain: ScriptedUpstream
    second: ScriptedUpstream
    tls: ScriptedUpstream
    drifting: ScriptedUpstream
    swap: Callable[[], None]
    key: str

    def call(self, name: str, policy: str | None = None, **headers: str) -> Answered:
        for each in (self.plain, self.second, self.tls, self.drifting):
            each.play(ANSWER)
        asked = {"x_sf_policy": policy} if policy else {}
        return self.gateway.post(chat_body("hi", name), **asked, **headers, x_router_key=self.key)

    def asked(self) -> list[str]:
        """Who has received anything since the last call began."""
        rows = {"plain": self.plain, "second": self.second, "tls": self.tls, "drifting": self.drifting}
        return [name for name, each in rows.items() if each.received]

    def receipt(self, answered: Answered) -> dict[str, dict[str, Any]]:
        raw = self.gateway.fetch_receipt(answered.receipt_id, self.key)
        verdict = self.gateway.judge(raw, answered.request, answered.raw)
        assert not verdict.failures(), verdict.sentence()
        return {event["type"]: event for event in json.loads(raw)["event_log"]}

    def get(self, path: str) -> Any:
        return httpx2.get(self.gateway.url + path, headers={"x-router-key": self.key}, **PLAIN).json()

    def admin(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        return httpx2.request(
            *(method, self.gateway.url + path), json=body, headers={"authorization": f"Bearer {TOKEN}"}, **PLAIN
        )

    def wait_for_baseline(self, name: str) -> None:
        wait_for(lambda: f"TLS identity of {name} is its baseline" in self.gateway.log.read_text(), 60, "the baseline")


def swapping(ca: PrivateCa, stranger: PrivateCa) -> tuple[ssl.SSLContext, Callable[[], None]]:
    """A server's context, and what makes it another's: a certificate of another key under another root."""
    context = ca.context("drifting", ca.server("drifting"))
    stranger.context("another", stranger.server("another"))

    def swap() -> None:
        context.load_cert_chain(stranger.folder / "another.pem", stranger.folder / "another.key")

    return context, swap


def enrol(gateway: RunningGateway) -> str:
    """The key of a tenant that may use every policy but one."""
    body = {"id": "clinic", "display_name": "Clinic", "allowed_policies": ALLOWED}
    headers = {"authorization": f"Bearer {TOKEN}"}
    made = httpx2.post(f"{gateway.url}/admin/tenants", json=body, headers=headers, **PLAIN)
    assert made.status_code == 201, made.text
    return str(made.json()["api_key"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("policies", numbered=False)
    ca, stranger = PrivateCa(folder), PrivateCa(folder, "Strange")
    both = folder / "both.pem"
    both.write_bytes(ca.ca_file.read_bytes() + stranger.ca_file.read_bytes())
    token = folder / "admin.token"
    token.write_text(TOKEN)
    leaf = ca.server("tls")
    drifting, swap = swapping(ca, stranger)
    root_pin = json.dumps([hashlib.sha256(ca.root.public_bytes(Encoding.DER)).hexdigest()])
    with ExitStack() as stack:
        plain, second = (stack.enter_context(scripted_upstream()) for _ in range(2))
        tls = stack.enter_context(scripted_upstream(ca.context("tls", leaf)))
        moving = stack.enter_context(scripted_upstream(drifting))
        trusted = f'ca_file = "{both}"'
        config = "".join(
            [
                f'admin_token_file = "{token}"\nscope_statements = "{scope_file(folder)}"\n',
                "[retry]\nattempts = 1\n[breaker]\nfailures = 64\n",
                provider("plain", plain.base_url) + provider("second", second.base_url),
                provider("tls", tls.base_url, trusted) + provider("fresh", tls.base_url, trusted),
                provider("drifting", moving.base_url, trusted),
                provider("pinned", tls.base_url, trusted, f"pins = {root_pin}"),
                provider("mispinned", tls.base_url, trusted, f'pins = ["{"00" * 32}"]'),
                model("plain", 'providers = ["plain", "second"]'),
                provider("twice-1", plain.base_url) + provider("twice-2", second.base_url),
                model("twice", 'providers = ["twice-1", "twice-2"]', 'upstream_model = { twice-2 = "theirs" }'),
                model("french", 'provider = "plain"', 'supplier = "acme"', f'content_hash = "{HASH}"'),
                model("american", 'provider = "plain"', 'supplier = "other"'),
                model("blocked", 'provider = "plain"'),
                model("mixed", 'provider = "plain"', 'fallback = ["pinned"]'),
                model("any", 'provider = "pinned"', 'prefix = "any/"'),
                *(model(name, f'provider = "{name}"') for name in ("tls", "fresh", "drifting", "pinned", "mispinned")),
                f'[[scope_witnesses]]\nid = "board"\nkey = "{KEY}"\nscopes = ["clinical"]\n',
                POLICIES,
            ]
        )
        environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
        gateway = stack.enter_context(RunningGateway(folder / "state", config=config, chip=chip_file, environ=environ))
        yield World(gateway, plain, second, tls, moving, swap, enrol(gateway))


# Policy, model, and who is asked; or the words of the refusal.
RULINGS = [
    ("default", "american", "plain"),
    ("default", "blocked", "model blocked is interdicted"),
    ("strict", "plain", "tier is quarantine, wanted hardened: it is reached without TLS"),
    ("strict", "pinned", "tls"),
    ("clean", "plain", "it is reached without TLS, so nothing names it"),
    ("clean", "pinned", "tls"),
    ("strict", "fresh", "its TLS identity has neither pin nor baseline"),
    ("french", "french", "plain"),
    ("french", "american", "its origin is US, wanted FR"),
    ("french", "plain", "its origin is unknown, wanted FR"),
    ("scoped", "french", "plain"),
    ("scoped", "american", "scope clinical is not vouched for"),
    ("cheap", "plain", "costs an unknown price, wanted at most 0.01 USD"),
    ("cheap", "american", "plain"),
    ("cheap", "french", "USD, wanted at most 0.01 USD"),
    ("only", "french", "plain"),
    ("only", "american", "model american is not in the policy's list"),
    ("prefer", "plain", "second"),
    ("strict", "mixed", "tls"),
    ("strict", "any/llm:7b", "tier is quarantine, wanted hardened: the model is not in the catalog"),
    ("clinical-strict", "french", "reached without TLS, so nothing names it, wanted one without drift"),
    ("clinical-strict", "pinned", "scope clinical is not vouched for of its content hash"),
]


@pytest.mark.parametrize(("policy", "name", "expected"), RULINGS, ids=lambda value: value.replace(" ", "-")[:24])
def test_a_policy_lets_a_call_through_or_refuses_it_before_anybody_is_asked(
    world: World, policy: str, name: str, expected: str
) -> None:
    """R10, R43, R52, R60, R70, R71, R82: each field in a world in which it decides, and the receipt says by what."""
    answered = world.call(name, policy)
    events, shown = world.receipt(answered), world.get(f"/v1/policies/{policy}")
    reference = {each: shown[each] for each in ("id", "version", "digest")}
    if expected in ("plain", "second", "tls"):
        assert (answered.status, world.asked()) == (200, [expected]), answered.raw
        block, route = answered.json["attestation"], events["route"]
        tier = "hardened" if expected == "tls" else "quarantine"
        assert (block["policy_id"], block["tier_observed"]) == (policy, tier)
        assert (route["policy_id"], route["policy"]) == (policy, reference)
        assert events["upstream.verified"]["tier_observed"] == tier
        return
    assert (answered.status, world.asked()) == (403, [])
    error = answered.json["error"]
    assert (error["code"], error["param"]) == ("policy_refused", "policy")
    assert f"Policy {policy} " in error["message"] and expected in error["message"]
    assert events["route.refused"]["policy"] == reference
    assert expected in json.dumps(events["route.refused"]["refused"])
    assert "route" not in events


def test_a_candidate_that_was_passed_over_stands_in_the_receipt_and_the_answer_says_who_stood_in(world: World) -> None:
    """R73, C6: fallbacks obey the policy too."""
    answered = world.call("mixed", "strict")
    (row,) = world.receipt(answered)["route"]["refused"]
    assert (row["provider_id"], row["tier_observed"]) == ("plain", "quarantine")
    assert row["reasons"] == ["tier is quarantine, wanted hardened: it is reached without TLS, so nothing names it"]
    assert (answered.headers["x-sf-fallback-from"], answered.headers["x-sf-fallback-to"]) == ("mixed", "pinned")


def test_the_next_provider_of_the_same_model_answers_where_the_first_fails(world: World) -> None:
    """R72, C6: the inner walk; and by its own name of the model, without a word of another model."""
    for each in (world.second, world.tls):
        each.play(ANSWER)
    world.plain.play(Recording(b"{}", JSON, 503))
    answered = world.gateway.post(chat_body("hi", "twice"), x_router_key=world.key)
    assert answered.status == 200
    assert answered.json["attestation"]["provider_id"] == "twice-2"
    assert json.loads(world.second.got.body)["model"] == "theirs"
    assert "x-sf-fallback-from" not in answered.headers
    events = world.receipt(answered)
    assert [row["provider_id"] for row in events["attempts"]["tried"]] == ["twice-1", "twice-2"]
    assert [row["provider_id"] for row in events["route"]["fallback"]] == ["twice-2"]


def test_the_healthier_provider_of_a_model_comes_first(world: World) -> None:
    """R72: what failed is worse than what did not."""
    for _ in range(6):
        world.second.play(ANSWER)
        world.plain.play(Recording(b"{}", JSON, 503))
        world.gateway.post(chat_body("hi", "plain"), x_router_key=world.key)
    answered = world.call("plain")
    assert (answered.status, world.asked()) == (200, ["second"])


def test_a_pin_chooses_the_provider_and_not_the_rules(world: World) -> None:
    """R19: the provider is asked past the policy's order, and only if its tier and the rest qualify."""
    assert world.call("plain", "prefer", x_sf_provider="plain").status == 200
    assert world.asked() == ["plain"]
    refused = world.call("plain", "strict", x_sf_provider="plain")
    assert (refused.status, refused.json["error"]["code"], world.asked()) == (403, "policy_refused", [])
    blocked = world.call("blocked", x_sf_provider="plain")
    assert (blocked.status, world.asked()) == (403, [])
    nobody = world.call("plain", x_sf_provider="tls")
    assert (nobody.status, nobody.json["error"]["param"]) == (503, "provider")
    assert "served by plain, second only" in nobody.json["error"]["message"]


def test_the_header_wins_over_the_body_and_neither_reaches_the_provider(world: World) -> None:
    """R18, C17."""
    world.plain.play(ANSWER)
    body = (
        b'{ "model":"plain", "sf_policy":"strict" , "sf_provider":"plain", "messages":[{"role":"user","content":"hi"}]}'
    )
    by_body = world.gateway.post(body, x_router_key=world.key)
    assert (by_body.status, world.plain.received) == (403, [])
    by_header = world.gateway.post(body, x_router_key=world.key, x_sf_policy="default")
    assert by_header.status == 200
    assert b"sf_" not in world.plain.got.body
    assert json.loads(world.plain.got.body)["messages"] == [{"role": "user", "content": "hi"}]
    assert "x-sf-policy" not in world.plain.got.head.lower()


def test_a_model_that_is_known_by_a_prefix_only_is_in_quarantine(world: World) -> None:
    """C18: the provider is asked for whatever follows the prefix."""
    answered = world.call("any/llm:7b")
    assert (answered.status, answered.json["attestation"]["tier_observed"]) == (200, "quarantine")
    assert json.loads(world.tls.got.body)["model"] == "llm:7b"
    listed = {row["id"]: row["x_saferouter"]["tier"] for row in world.get("/v1/models")["data"]}
    assert "any" not in listed
    assert (listed["pinned"], listed["plain"], listed["blocked"]) == ("hardened", "quarantine", "interdicted")


def test_an_unknown_policy_and_another_tenants_are_refused_with_those_that_there_are(world: World) -> None:
    unknown = world.call("plain", "no-such")
    assert (unknown.status, unknown.json["error"]["code"]) == (400, "unknown_policy")
    assert "clinical-strict" in unknown.json["error"]["message"]
    forbidden = world.call("plain", "forbidden")
    assert (forbidden.status, forbidden.json["error"]["code"]) == (403, "policy_not_allowed")
    assert ", ".join(ALLOWED) in forbidden.json["error"]["message"]
    assert world.asked() == []


def test_a_pinned_provider_that_shows_another_identity_gets_nothing_under_any_policy(world: World) -> None:
    answered = world.call("mispinned")
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_unreachable")
    assert "none of those that are pinned" in answered.json["error"]["message"]
    assert world.asked() == []


def test_the_first_identity_becomes_the_baseline_once_it_is_attested_and_logged(world: World) -> None:
    first = world.call("tls")
    assert first.json["attestation"]["tier_observed"] == "quarantine"
    world.wait_for_baseline("tls")
    again = world.call("tls", "strict")
    assert (again.status, again.json["attestation"]["tier_observed"]) == (200, "hardened"), again.raw
    world.receipt(again)
    size = httpx2.get(f"{world.gateway.url}/attestation/transparency", **PLAIN).json()["size"]
    leaves = [
        httpx2.get(f"{world.gateway.url}/attestation/transparency/{at}", **PLAIN).json()["leaf"] for at in range(size)
    ]
    assert ["policies"] in [leaf["body"]["changed"] for leaf in leaves if leaf["type"] == "configuration"]
    stored = json.loads((world.gateway.state / "routing.json").read_text())["baselines"]
    assert set(stored["providers"]["tls"]) == {"spki", "root"}
    assert stored["models"] == {"french": HASH}


def test_a_provider_that_drifts_is_in_quarantine_until_the_operator_says_otherwise(world: World) -> None:
    """A call that demands a known identity is not sent to another, not even once."""
    assert world.call("drifting").status == 200
    world.wait_for_baseline("drifting")
    assert world.call("drifting", "strict").json["attestation"]["tier_observed"] == "hardened"
    world.swap()
    met = world.call("drifting", "strict")
    assert (met.status, met.json["error"]["code"], world.asked()) == (502, "upstream_unreachable", [])
    assert "another key and another root" in met.json["error"]["message"]
    refused = world.call("drifting", "strict")
    assert (refused.status, world.asked()) == (403, [])
    assert "its TLS identity is another than its baseline's" in refused.json["error"]["message"]
    lax = world.call("drifting")
    assert (lax.status, lax.json["attestation"]["tier_observed"]) == (200, "quarantine")
    assert world.receipt(lax)["upstream.verified"]["tier_observed"] == "quarantine"
    (row,) = ask_why(world, "strict", "drifting")["candidates"]
    assert {"change": "baseline of the provider", "to": "the identity that it shows now"} in row["would_change"]

    path = world.gateway.state.with_name(world.gateway.state.name + ".toml")
    environ = {"SAFEROUTER_STATE": str(world.gateway.state)}
    done = run_cli("policy", "baseline", "drifting", "--config", path, environ=environ)
    assert done.returncode == 0, done.stderr
    said = len(world.gateway.log.read_text())
    os.kill(world.gateway.pid, signal.SIGHUP)
    wait_for(lambda: "reloaded (policies changed)" in world.gateway.log.read_text()[said:], 60, "the reload")
    assert world.call("drifting").json["attestation"]["tier_observed"] == "quarantine"
    baseline = "TLS identity of drifting is its baseline"
    wait_for(lambda: baseline in world.gateway.log.read_text()[said:], 60, "the new baseline")
    assert world.call("drifting", "strict").status == 200


def ask_why(world: World, policy: str, name: str, provider: str | None = None) -> Any:
    asked = httpx2.post(
        f"{world.gateway.url}/v1/policies/{policy}/explain",
        json={"model": name, "provider": provider},
        headers={"x-router-key": world.key},
        **PLAIN,
    )
    assert asked.status_code == 200, asked.text
    return asked.json()


def test_explain_says_what_a_call_would_meet(world: World) -> None:
    told = ask_why(world, "strict", "mixed")
    assert told["routed"] and told["chosen"] == {"model": "pinned", "provider": "pinned", "tier": "hardened"}
    first, second = told["candidates"]
    assert (first["provider"], first["qualifies"], second["qualifies"]) == ("plain", False, True)
    assert first["would_change"] == [{"change": "require_tier", "to": "quarantine"}]
    assert second["would_change"][0] == {"change": "require_tier", "to": "sealed"}
    assert ask_why(world, "strict", "mixed", "plain")["routed"] is False
    (dear,) = ask_why(world, "cheap", "french")["candidates"]
    (raised,) = dear["would_change"]
    assert raised["change"] == "max_cost_per_request_usd" and raised["to"] > 0.01


def test_explain_on_the_command_line_says_the_same(world: World) -> None:
    path = world.gateway.state.with_name(world.gateway.state.name + ".toml")
    told = run_cli("policy", "explain", "--policy", "french", "--model", "american", "--config", path)
    assert told.returncode == 1
    assert "refused" in told.stdout and "because its origin is US, wanted FR" in told.stdout
    assert 'would change it: allowed_origins = ["FR", "US"]' in told.stdout
    asked = run_cli("policy", "explain", "--policy", "french", "--model", "french", "--config", path, "--json")
    assert (asked.returncode, json.loads(asked.stdout)["chosen"]["provider"]) == (0, "plain")
    unknown = run_cli("policy", "explain", "--policy", "nobody", "--model", "french", "--config", path)
    assert unknown.returncode not in (0, 1) and "wanted one of default" in unknown.stderr


def test_policies_are_listed_to_keys_and_to_nobody_else(world: World) -> None:
    """R27, R28, R52."""
    listed = world.get("/v1/policies")
    assert (listed["object"], listed["has_more"]) == ("list", False)
    by_id = {row["id"]: row for row in listed["data"]}
    assert {"default", "clinical-strict", *(name for name in ALLOWED if name != "made")} <= set(by_id)
    assert by_id["cheap"]["max_cost_per_request_usd"] == 0.01
    assert by_id["strict"] == world.get("/v1/policies/strict")
    covered = {name: value for name, value in by_id["cheap"].items() if name not in ("object", "digest")}
    assert digest(covered | {"max_cost_per_request_usd": "0.01"}) == by_id["cheap"]["digest"]
    assert httpx2.get(f"{world.gateway.url}/v1/policies", **PLAIN).status_code == 401
    headers = {"x-router-key": world.key}
    assert httpx2.get(f"{world.gateway.url}/v1/policies/none", headers=headers, **PLAIN).status_code == 404


def test_a_policy_that_is_put_is_attested_before_use_and_outlives_the_process(world: World) -> None:
    """And a refused one leaves all as it was."""
    assert world.call("plain", "made").status == 400
    put = world.admin("PUT", "/admin/policies/made", {"require_tier": "hardened", "max_cost_per_request_usd": "0.5"})
    assert (put.status_code, put.json()["version"]) == (200, 1), put.text
    assert world.call("plain", "made").status == 403
    relaxed = put.json() | {"require_tier": None, "max_cost_per_request_usd": None}
    again = world.admin("PUT", "/admin/policies/made", relaxed)
    assert (again.status_code, again.json()["version"]) == (200, 2), again.text
    assert world.admin("PUT", "/admin/policies/made", again.json()).json() == again.json()  # nothing new, no version
    answered = world.call("plain", "made")
    assert world.receipt(answered)["route"]["policy"]["version"] == 2
    quote = httpx2.post(f"{world.gateway.url}/attestation/quote", json={"nonce": None}, **PLAIN).json()
    receipt = json.loads(world.gateway.fetch_receipt(answered.receipt_id, world.key))
    assert receipt["workload_keyset_digest"] == digest(quote["keyset"])
    for body in ({"version": 7}, {"require_tier": "best"}, {"id": "other"}, {"colour": 1}):
        assert world.admin("PUT", "/admin/policies/made", body).status_code == 400, body
    url = f"{world.gateway.url}/admin/policies/made"
    assert httpx2.put(url, json={}, headers={"x-router-key": world.key}, **PLAIN).status_code == 401
    world.gateway.restart()
    assert world.get("/v1/policies/made") == again.json()
    assert world.call("plain", "made").status == 200
    assert world.call("tls", "strict").status == 200  # its baseline is kept, too


def test_what_a_worker_meets_is_known_to_all(tmp_path: Path, chip_file: Path) -> None:
    """A baseline that one worker saw first holds for every process, and each judges handshakes by itself."""
    ca, stranger = PrivateCa(tmp_path), PrivateCa(tmp_path, "Strange")
    both = tmp_path / "both.pem"
    both.write_bytes(ca.ca_file.read_bytes() + stranger.ca_file.read_bytes())
    drifting, swap = swapping(ca, stranger)
    with scripted_upstream(drifting) as upstream:
        strict = '[[policies]]\nid = "default"\nversion = 2\nrequire_drift_clean = true\n[[policies]]\nid = "lax"\n'
        rows = [provider("moving", upstream.base_url, f'ca_file = "{both}"'), model("m", 'provider = "moving"')]
        rows.append(f"workers = 2\n{strict}[retry]\nattempts = 1\n")
        config = "".join(reversed(rows))
        environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
        with RunningGateway(tmp_path / "state", config=config, chip=chip_file, environ=environ) as gateway:
            upstream.play(ANSWER)
            assert gateway.ask("hi", "m").status == 403  # nobody knows yet who that is
            path = gateway.state.with_name(gateway.state.name + ".toml")
            environ = {"SAFEROUTER_STATE": str(gateway.state)}
            sent = run_cli("policy", "baseline", "moving", "--config", path, environ=environ)
            assert "one that has a baseline: none is kept" in sent.stderr
            path.write_text(path.read_text().replace("version = 2\nrequire_drift_clean = true", "version = 3"))
            os.kill(gateway.pid, signal.SIGHUP)
            wait_for(lambda: gateway.ask("hi", "m").status == 200, 60, "calls without a demand")
            wait_for(lambda: "TLS identity of moving is its baseline" in gateway.log.read_text(), 60, "the baseline")
            path.write_text(path.read_text().replace("version = 3", "version = 4\nrequire_drift_clean = true"))
            os.kill(gateway.pid, signal.SIGHUP)
            hardened = ("hardened", 4)

            def told() -> tuple[str, int]:
                answered = gateway.ask("hi", "m")
                receipt = json.loads(gateway.fetch_receipt(answered.receipt_id))
                route = next(event for event in receipt["event_log"] if event["type"] == "route")
                return route["tier_observed"], route["policy"]["version"]

            known = [hardened] * 8  # so many, that both workers were asked
            wait_for(lambda: [told() for _ in known] == known, 60, "the workers know the policy and the baseline")
            swap()
            upstream.play(ANSWER)
            statuses = [gateway.ask("hi", "m").status for _ in range(12)]
            assert set(statuses) <= {502, 403} and upstream.received == []
            wait_for(
                lambda: "shows another TLS identity" in gateway.log.read_text(), 60, "the keeper tells the operator"
            )
