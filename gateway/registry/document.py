"""Registry: what an operator states of artefacts and their suppliers, in a signed document, read strictly.

Every word in it is its signers' claim. It can take trust away by itself; what it gives is told as theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tee.canonical import MAX_SAFE_INTEGER, digest_bytes, encode_canonical, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import digest_text, require_members, seconds, text

PAYLOAD_TYPE = "application/vnd.saferouter.registry+json"
FORMAT = "saferouter/registry/v1"
CATEGORIES = ("model", "appliance", "firmware", "library")
MAX_SUPPLIERS, MAX_ARTEFACTS, MAX_REVOCATIONS = 1024, 4096, 4096
MAX_MIRRORS, MAX_BUILDS = 16, 64
MAX_TIER, MAX_RISK = 4, 100
_MEMBERS = {"format", "sequence", "issued", "expires", "suppliers", "artefacts", "revocations"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Supplier:
    """Who makes artefacts. `tier` is from 1, the closest, to 4, of whom little is known; `risk` is from 0 to 100."""

    id: str
    name: str
    country: str  # ISO 3166-1
    tier: int
    risk: int
    revoked: bool
    sanctioned: bool


@dataclass(frozen=True, slots=True)
class FirmwareBuild:
    """The digests of what proves a build: its signed manifests, the newest last, and its announcement in a log."""

    build: str
    manifests: tuple[str, ...]
    announcement: str | None


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model, the appliance, a firmware or a library. `bom` is the digest of a CycloneDX document."""

    category: str
    id: str
    supplier: str
    licence: str | None
    content_hash: str | None
    mirrors: tuple[str, ...]
    bom: str | None
    builds: tuple[FirmwareBuild, ...]


@dataclass(frozen=True, slots=True)
class Revocation:
    """An artefact that nobody shall use any more, from the document's being in force on."""

    category: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registry:
    """A parsed registry. Times are seconds since 1970; `digest` is that of its payload."""

    sequence: int
    issued: int
    expires: int
    suppliers: dict[str, Supplier]
    artefacts: dict[tuple[str, str], Artefact]
    revocations: dict[tuple[str, str], Revocation]
    digest: str

    def files(self) -> set[str]:
        """The digests of all files that it names."""
        named = {one.bom for one in self.artefacts.values()}
        for one in self.artefacts.values():
            for build in one.builds:
                named |= {*build.manifests, build.announcement}
        return {each for each in named if each is not None}


def parse_registry(payload: bytes, field: str) -> Registry:
    """Read the payload of a registry's envelope. Raises Malformed, which names `field`."""
    document = parse_json(payload, field)
    if encode_canonical(document) != payload:
        raise Malformed(field, "another spelling", "the RFC 8785 form")
    require_members(document, _MEMBERS, field, exact=True)
    if document["format"] != FORMAT:
        raise Malformed(f"{field}.format", shown(document["format"]), FORMAT)
    suppliers = [_supplier(row, at) for at, row in _listed(document, "suppliers", field, MAX_SUPPLIERS)]
    artefacts = [_artefact(row, at) for at, row in _listed(document, "artefacts", field, MAX_ARTEFACTS)]
    revocations = [_revocation(row, at) for at, row in _listed(document, "revocations", field, MAX_REVOCATIONS)]
    registry = Registry(
        sequence=_integer(document["sequence"], f"{field}.sequence", 1, MAX_SAFE_INTEGER),
        issued=seconds(document["issued"], f"{field}.issued"),
        expires=seconds(document["expires"], f"{field}.expires"),
        suppliers={one.id: one for one in suppliers},
        artefacts={(one.category, one.id): one for one in artefacts},
        revocations={(one.category, one.id): one for one in revocations},
        digest=digest_bytes(payload),
    )
    for name in ("suppliers", "artefacts", "revocations"):
        if len(document[name]) != len(getattr(registry, name)):
            raise Malformed(f"{field}.{name}", "one twice", "each once")
    for at, one in enumerate(artefacts):
        if one.supplier not in registry.suppliers:
            raise Malformed(f"{field}.artefacts[{at}].supplier", shown(one.supplier), "the id of a supplier in it")
    if registry.issued >= registry.expires:
        raise Malformed(f"{field}.expires", str(registry.expires), f"a time after it was issued, {registry.issued}")
    return registry


def _supplier(row: Any, path: str) -> Supplier:
    require_members(row, {"id", "name", "country", "tier", "risk", "revoked", "sanctioned"}, path, exact=True)
    return Supplier(
        id=_id(row["id"], f"{path}.id"),
        name=text(row["name"], f"{path}.name"),
        country=_pattern(row["country"], _COUNTRY, f"{path}.country", "an ISO 3166-1 country: two capital letters"),
        tier=_integer(row["tier"], f"{path}.tier", 1, MAX_TIER),
        risk=_integer(row["risk"], f"{path}.risk", 0, MAX_RISK),
        revoked=_flag(row["revoked"], f"{path}.revoked"),
        sanctioned=_flag(row["sanctioned"], f"{path}.sanctioned"),
    )


def _artefact(row: Any, path: str) -> Artefact:
    members = {"category", "id", "supplier", "licence", "content_hash", "mirrors", "bom", "builds"}
    require_members(row, members, path, exact=True)
    mirrors = tuple(_id(each, place) for place, each in _rows(row["mirrors"], f"{path}.mirrors", MAX_MIRRORS))
    if len(set(mirrors)) != len(mirrors):
        raise Malformed(f"{path}.mirrors", "one twice", "each once")
    return Artefact(
        category=_category(row["category"], f"{path}.category"),
        id=_id(row["id"], f"{path}.id"),
        supplier=_id(row["supplier"], f"{path}.supplier"),
        licence=None if row["licence"] is None else text(row["licence"], f"{path}.licence"),
        content_hash=_digest(row["content_hash"], f"{path}.content_hash"),
        mirrors=mirrors,
        bom=_digest(row["bom"], f"{path}.bom"),
        builds=tuple(_build(each, place) for place, each in _rows(row["builds"], f"{path}.builds", MAX_BUILDS)),
    )


def _build(row: Any, path: str) -> FirmwareBuild:
    require_members(row, {"build", "manifests", "announcement"}, path, exact=True)
    rows = _rows(row["manifests"], f"{path}.manifests", MAX_BUILDS)
    if not rows:
        raise Malformed(f"{path}.manifests", "none", "the digest of a signed manifest")
    digests = tuple(digest_text(each, place) for place, each in rows)
    return FirmwareBuild(
        text(row["build"], f"{path}.build"), digests, _digest(row["announcement"], f"{path}.announcement")
    )


def _revocation(row: Any, path: str) -> Revocation:
    require_members(row, {"category", "id", "reason"}, path, exact=True)
    category, name = _category(row["category"], f"{path}.category"), _id(row["id"], f"{path}.id")
    return Revocation(category, name, text(row["reason"], f"{path}.reason"))


def _listed(document: dict[str, Any], name: str, field: str, most: int) -> list[tuple[str, Any]]:
    return _rows(document[name], f"{field}.{name}", most)


def _rows(value: Any, path: str, most: int) -> list[tuple[str, Any]]:
    if not isinstance(value, list) or len(value) > most:
        found = f"{len(value)} items" if isinstance(value, list) else kind_of(value)
        raise Malformed(path, found, f"an array of at most {most} items")
    return [(f"{path}[{at}]", item) for at, item in enumerate(value)]


def _category(value: Any, path: str) -> str:
    if value not in CATEGORIES:
        raise Malformed(path, shown(value), f"one of {', '.join(CATEGORIES)}")
    return str(value)


def _id(value: Any, path: str) -> str:
    return _pattern(value, _ID, path, "letters, digits and . _ : @ / + -, at most 128")


def _pattern(value: Any, pattern: re.Pattern[str], path: str, wanted: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(path, shown(value), wanted)
    return value


def _digest(value: Any, path: str) -> str | None:
    return None if value is None else digest_text(value, path)


def _integer(value: Any, path: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(path, shown(value), f"an integer of {least} to {most}")
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed(path, kind_of(value), "true or false")
    return value
