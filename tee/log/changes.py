"""Leaves in words: what a reader of the log should know of each, and what changed since the last. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tee.canonical import encode_canonical
from tee.log.entry import LogEntry

MAX_WORDS = 200  # of a value that stands in a leaf
MAX_NAMED = 8  # measurements of one release
# Members of a startup leaf whose changes are told; its digests change whenever one of these does, or a key.
_TOLD = ("measurement", "audience", "build", "configuration")
_RARE = {
    "key.seal": "a provider key was sealed",
    "key.release": "a provider key was released",
    "key.revoke": "a provider key was revoked",
}


def describe_change(entry: LogEntry, startup: dict[str, Any] | None) -> list[str]:
    """What changed with this leaf, in sentences; `startup` is the body of the last startup leaf before it."""
    at, body = f"at entry {entry.index}", entry.body
    if entry.type == "startup":
        return _describe_startup(body, startup, at)
    if entry.type == "log.continues":
        follows = f"{_word(body.get('origin'))} at size {_word(body.get('size'))}"
        return [f"the log began a new epoch {at}: it follows {follows}, because {_word(body.get('reason'))}"]
    if entry.type in _WORDS:
        return [_WORDS[entry.type](body, at)]
    if entry.type in _RARE:
        return [f"{_RARE[entry.type]} {at}: {_word(body)}"]
    return []


def describe_leaf(entry: LogEntry) -> str:
    """A leaf in one line."""
    moment = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = entry.body.get("commitment", entry.body)
    if entry.type == "startup":
        body = f"measurement {_word(body.get('measurement'))}, keyset {_word(body.get('keyset_digest'))}"
    return f"{entry.index:>8}  {moment}  {entry.type:16} {_word(body)}"


def _configuration(body: dict[str, Any], at: str) -> str:
    changed = body.get("changed")
    named = ", ".join(map(_word, changed)) if isinstance(changed, list) else _word(changed)
    return f"a change of configuration was announced {at}: {named}"


def _identity(body: dict[str, Any], at: str) -> str:
    key, before = body.get("identity_key"), body.get("previous_identity_key")
    after = "" if before is None else f", after {_word(before)}"
    return f"identity epoch {_word(body.get('epoch'))} began {at}: {_word(key)}{after}"


def _announced(body: dict[str, Any], at: str) -> str:
    return f"release {_word(body.get('release'))} was announced {at}: {_measurements(body)}"


def _retired(body: dict[str, Any], at: str) -> str:
    return f"a retirement was announced {at}: {_measurements(body)}, because {_word(body.get('reason'))}"


def _measurements(body: dict[str, Any]) -> str:
    """The measurements of a release's leaf; a foreign log may have written anything there."""
    rows = body.get("measurements")
    listed = rows if isinstance(rows, list) else [rows]
    named = [_word(row.get("value") if isinstance(row, dict) else row) for row in listed[:MAX_NAMED]]
    more = [f"and {len(listed) - MAX_NAMED} more"] if len(listed) > MAX_NAMED else []
    return f"measurement {', '.join([*named, *more])}"


_WORDS = {
    "configuration": _configuration,
    "identity.epoch": _identity,
    "release.announce": _announced,
    "release.retire": _retired,
}


def _describe_startup(body: dict[str, Any], before: dict[str, Any] | None, at: str) -> list[str]:
    if before is None:
        return [f"first startup {at}: measurement {_word(body.get('measurement'))}, for {_word(body.get('audience'))}"]
    new, old = _flat(body), _flat(before)
    told = [
        f"{name} changed {at}: {_word(old.get(name))} → {_word(new.get(name))}"
        for name in sorted(new.keys() | old.keys())
        if new.get(name) != old.get(name)
    ]
    if not told and body.get("workload_digest") != before.get("workload_digest"):
        told = [f"the workload changed {at}, in its identity, its log or its platform evidence"]
    if body.get("keyset_digest") != before.get("keyset_digest"):
        told.append(f"a new keyset {at}: {_word(body.get('keyset_digest'))}")
    return told or [f"a startup under the same keyset {at}"]


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    """The members that are told, those of `build` and `configuration` one by one."""
    flat: dict[str, Any] = {}
    for name in _TOLD:
        value = body.get(name)
        if isinstance(value, dict):
            flat |= {f"{name} {member}": each for member, each in value.items()}
        else:
            flat[name] = value
    return flat


def _word(value: Any) -> str:
    """A value as it is if it is text, else as JSON; at most MAX_WORDS characters."""
    plain = value if isinstance(value, str) else encode_canonical(value).decode()
    return plain if len(plain) <= MAX_WORDS else plain[:MAX_WORDS] + "…"
