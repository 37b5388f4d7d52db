"""Witness scopes: who vouches that a model, by its content hash, is fit for something, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tee.canonical import encode_canonical, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import digest_text, hex_bytes, require_members, seconds, text, verify_ed25519

CONTEXT = b"saferouter/witness-scope/v1\n"  # so that a key that signs other things too signs this for no other use
MAX_STATEMENT = 4096  # bytes; one has five short members
_SIGNED = ("model_content_hash", "scope", "expires")


@dataclass(frozen=True, slots=True)
class ScopeWitness:
    """Whose word on these scopes is taken: an Ed25519 key, hex."""

    id: str
    key: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScopeStatement:
    """A witness's word, verified. `expires`: seconds since 1970."""

    model_content_hash: str
    scope: str
    expires: int
    witness: str

    def to_json(self) -> dict[str, Any]:
        """For the configuration's digest."""
        return {name: getattr(self, name) for name in self.__slots__}


def parse_statement(raw: bytes, witnesses: Iterable[ScopeWitness], path: str) -> ScopeStatement:
    """`{"model_content_hash","scope","expires","key","signature"}`: Ed25519 over CONTEXT ‖ the JCS of the first three.

    Raises Malformed, also for one that no configured witness signed, or whose witness has no say on that scope.
    """
    if len(raw) > MAX_STATEMENT:
        raise Malformed(path, f"{len(raw)} bytes", f"at most {MAX_STATEMENT}")
    document = parse_json(raw, path)
    require_members(document, {*_SIGNED, "key", "signature"}, path, exact=True)
    key = hex_bytes(document["key"], 32, f"{path}.key")
    signature = hex_bytes(document["signature"], 64, f"{path}.signature")
    scope = text(document["scope"], f"{path}.scope", 128)
    found = digest_text(document["model_content_hash"], f"{path}.model_content_hash")
    expires = seconds(document["expires"], f"{path}.expires")
    named = next((each for each in witnesses if each.key == document["key"]), None)
    if named is None:
        raise Malformed(f"{path}.key", shown(document["key"]), "the key of one of config.scope_witnesses")
    if scope not in named.scopes:
        raise Malformed(f"{path}.scope", shown(scope), f"one that {named.id} may vouch for: {', '.join(named.scopes)}")
    message = CONTEXT + encode_canonical({name: document[name] for name in _SIGNED})
    if not verify_ed25519(key, signature, message):
        raise Malformed(f"{path}.signature", "one that does not verify", f"{named.id}'s over the other members")
    return ScopeStatement(found, scope, expires, named.id)


def scopes_of(content_hash: str | None, statements: Iterable[ScopeStatement]) -> Mapping[str, int]:
    """The scopes that are vouched for of this content, each with the latest time until which it is."""
    found: dict[str, int] = {}
    for each in statements:
        if each.model_content_hash == content_hash:
            found[each.scope] = max(each.expires, found.get(each.scope, 0))
    return found
