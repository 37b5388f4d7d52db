"""What operators write of policies, pins and suppliers, and what of that is stored: read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import decode_config
from gateway.routing.policy import RoutingPolicy
from gateway.stored_routing import FILE, next_version, read_stored, with_policy, with_stored, write_stored
from tee.errors import Malformed

HASH, HEX = "sha256:" + "ab" * 32, "ab" * 32
BASE: dict[str, Any] = {
    "providers": [{"id": "p", "family": "vllm", "base_url": "https://p.example/v1"}],
    "models": [{"id": "m", "provider": "p"}],
}


def plain(**row: Any) -> dict[str, Any]:
    return {"providers": [{"id": "p", "family": "vllm", **row}]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"interdicted": {"model": ["m"]}}, "config.interdicted.model"),
        ({"interdicted": {"models": [1]}}, "config.interdicted.models"),
        ({"suppliers": {"acme": "fr"}}, "config.suppliers.acme"),
        ({"suppliers": {"acme": 1}}, "config.suppliers.acme"),
        ({"suppliers": []}, "config.suppliers"),
        ({"policies": {}}, "config.policies"),
        ({"policies": [{"id": "a"}, {"id": "a"}]}, "config.policies"),
        ({"policies": [{"id": "a", "x": 1}]}, "config.policies[0].x"),
        ({"scope_witnesses": [{"id": "a", "key": "ab", "scopes": []}]}, "config.scope_witnesses[0].key"),
        ({"scope_witnesses": [{"id": "a", "key": HEX}, {"id": "b", "key": HEX}]}, "config.scope_witnesses"),
        ({"scope_statements": ["/no/such/file"]}, "config.scope_statements[0]"),
        ({"baselines": {"providers": {"p": {"spki": HEX}}}}, "config.baselines.providers.p.root"),
        ({"baselines": {"providers": {"p": {"spki": HEX, "root": "x"}}}}, "config.baselines.providers.p.root"),
        ({"baselines": {"models": {"m": HEX}}}, "config.baselines.models.m"),
        ({"baselines": {"colours": {}}}, "config.baselines.colours"),
        (plain(base_url="https://p.example/v1", pins=["ab"]), "config.providers[0].pins[0]"),
        (plain(base_url="http://p.example/v1", pins=[HEX]), "config.providers[0].pins"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_config(BASE | changes, {})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"policies": [{"id": "default", "version": 2}]},
        {"interdicted": {"models": ["m"]}},
        {"suppliers": {"acme": "FR"}},
        {"scope_witnesses": [{"id": "a", "key": HEX, "scopes": ["x"]}]},
        {"baselines": {"models": {"m": HASH}}},
    ],
)
def test_whatever_decides_is_in_the_digest_of_policies(changes: dict[str, Any]) -> None:
    before, after = decode_config(BASE, {}).digests(), decode_config(BASE | changes, {}).digests()
    assert {name for name in before if before[name] != after[name]} == {"policies"}


def test_of_a_written_and_a_stored_policy_the_later_version_counts(tmp_path: Path) -> None:
    stored = with_policy(read_stored(tmp_path), RoutingPolicy("a", 2, leak_scan="off"))
    write_stored(tmp_path, with_policy(stored, RoutingPolicy("b", 1)))

    def in_force(*written: dict[str, Any]) -> dict[str, tuple[int, str]]:
        rules = decode_config(with_stored(BASE | {"policies": list(written)}, tmp_path), {}).rules
        return {policy.id: (policy.version, policy.leak_scan) for policy in rules.policies}

    assert in_force()["a"] == in_force({"id": "a"})["a"] == in_force({"id": "a", "version": 2})["a"] == (2, "off")
    assert in_force({"id": "a", "version": 3})["a"] == (3, "redact")
    assert in_force({"id": "c"}).keys() == {"default", "clinical-strict", "a", "b", "c"}
    with pytest.raises(Malformed):
        in_force({"id": "a", "version": "x"}, {"id": "a"})


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"policies": []}', '{"policies": [{}], "baselines": {}}', '{"policies": [], "baselines": {"x": 1}}'],
)
def test_a_file_that_the_gateway_did_not_write_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(Malformed, match="routing"):
        with_stored(BASE, tmp_path)


def test_a_policy_that_is_sent_gets_the_next_version_or_none_where_it_says_nothing_new() -> None:
    current = RoutingPolicy("a", 3, max_cost=20_000)
    shown = json.loads(json.dumps(current.to_json()))
    assert next_version(shown, current, "a") == current
    changed = next_version(shown | {"leak_scan": "off"}, current, "a")
    assert (changed.version, changed.leak_scan, changed.max_cost) == (4, "off", 20_000)
    assert next_version({"version": 4}, current, "a") == RoutingPolicy("a", 4)
    assert next_version({"version": 9}, None, "new") == RoutingPolicy("new", 9)
    refused: tuple[Any, ...] = ({"version": 2}, {"version": 5}, {"id": "b"}, [], {"version": "4"})
    for sent in refused:
        with pytest.raises(Malformed):
            next_version(sent, current, "a")
