"""What of routing is changed while the gateway runs: policies and baselines, kept in the state folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config_policies import decode_baselines
from gateway.routing.identity import Baselines
from gateway.routing.policy import RoutingPolicy, decode_policies, decode_policy, usd_text
from tee.canonical import kind_of, parse_json
from tee.errors import Malformed
from tee.keys.identity import require_members
from tee.private_files import write_private

FILE = "routing.json"
MAX_FILE = 4 << 20


def read_stored(state: Path) -> dict[str, Any]:
    """`{"policies":[…],"baselines":{…}}`, as they were stored; empty at first. Raises Malformed."""
    path = state / FILE
    if not path.exists():
        return {"policies": [], "baselines": {}}
    raw = path.read_bytes()
    if len(raw) > MAX_FILE:
        raise Malformed(str(path), f"{len(raw)} bytes", f"at most {MAX_FILE}: restore it, or remove it")
    document = parse_json(raw, str(path))
    require_members(document, {"policies", "baselines"}, str(path), exact=True)
    decode_policies(document["policies"], f"{path}.policies")
    decode_baselines(document["baselines"], f"{path}.baselines")
    return dict(document)


def write_stored(state: Path, stored: Mapping[str, Any]) -> None:
    """Keep this instead, durably."""
    write_private(state / FILE, json.dumps(stored, indent=1).encode() + b"\n")


def with_stored(document: Mapping[str, Any], state: Path) -> dict[str, Any]:
    """A configuration's document with what is stored: of two policies of one id the one of the later version counts.

    Raises Malformed, also for a written policy that a stored one would hide.
    """
    stored = read_stored(state)
    if stored["policies"]:
        rows = document.get("policies", [])
        decode_policies(rows, "config.policies")
        written = {row["id"]: row.get("version", 1) for row in rows}
        later = [row for row in stored["policies"] if written.get(row["id"], 0) <= row["version"]]
        names = {row["id"] for row in later}
        document = {**document, "policies": [*(row for row in rows if row["id"] not in names), *later]}
    return {**document, "baselines": stored["baselines"]} if stored["baselines"] else dict(document)


def with_policy(stored: Mapping[str, Any], policy: RoutingPolicy) -> dict[str, Any]:
    """What is stored, with this policy."""
    others = [row for row in stored["policies"] if row["id"] != policy.id]
    return {**stored, "policies": [*others, _row(policy)]}


def with_baselines(stored: Mapping[str, Any], baselines: Baselines) -> dict[str, Any]:
    """What is stored, with these baselines in the place of all."""
    return {**stored, "baselines": baselines.to_json()}


def store_baselines(state: Path, baselines: Baselines) -> None:
    """Keep these, durably."""
    stored = read_stored(state)
    if stored["baselines"] != baselines.to_json() and (stored["baselines"] or baselines != Baselines()):
        write_stored(state, with_baselines(stored, baselines))


def next_version(sent: Any, current: RoutingPolicy | None, name: str) -> RoutingPolicy:
    """The policy that an operator sends for `name`, in the next version; the one in force if it says the same.

    What is sent may name no version, the one in force, or the next. Raises Malformed.
    """
    if not isinstance(sent, Mapping):
        raise Malformed("policy", kind_of(sent), "an object, as GET shows a policy")
    row = {"id": name} | {key: value for key, value in sent.items() if key not in ("object", "digest")}
    if row["id"] != name:
        raise Malformed("policy.id", repr(row["id"])[:64], f"{name}, as in the path")
    if current is None:
        return decode_policy(row, "policy")
    version = row.get("version")
    if version not in (None, current.version, current.version + 1):
        raise Malformed("policy.version", repr(version)[:32], f"{current.version + 1}: {current.version} is in force")
    if decode_policy(row | {"version": current.version}, "policy") == current:
        return current
    return decode_policy(row | {"version": current.version + 1}, "policy")


def _row(policy: RoutingPolicy) -> dict[str, Any]:
    """As it is decoded again."""
    row = {name: value for name, value in policy.to_json().items() if name not in ("object", "digest")}
    money = None if policy.max_cost is None else usd_text(policy.max_cost)
    return {name: value for name, value in (row | {"max_cost_per_request_usd": money}).items() if value is not None}
