"""Bills of materials: CycloneDX 1.6, as an operator hands them in, and the appliance's own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tee.canonical import digest, kind_of, parse_json, shown
from tee.errors import Malformed

SPEC_VERSION = "1.6"
MAX_BOM = 8 << 20  # the image of a whole system lists some thousand packages
MAX_COMPONENTS = 50_000
APPLIANCE = ("appliance", "saferouter")
_NAMESPACE = uuid.UUID("a4a6d5b1-6f0e-5c2e-9e0a-5a1e0f0c7d11")  # of the serial numbers below


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution: `needs` are the names of others."""

    name: str  # as PEP 503 normalises it
    version: str
    licence: str | None
    needs: tuple[str, ...]


def parse_bom(raw: bytes, field: str) -> dict[str, Any]:
    """A CycloneDX document, of which only its kind and size are judged. Raises Malformed."""
    if len(raw) > MAX_BOM:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_BOM}")
    document = parse_json(raw, field)
    if not isinstance(document, dict):
        raise Malformed(field, kind_of(document), "an object")
    for name, wanted in (("bomFormat", "CycloneDX"), ("specVersion", SPEC_VERSION)):
        if document.get(name) != wanted:
            raise Malformed(f"{field}.{name}", shown(document.get(name)), wanted)
    components = document.get("components", [])
    if not isinstance(components, list) or len(components) > MAX_COMPONENTS:
        raise Malformed(f"{field}.components", kind_of(components), f"an array of at most {MAX_COMPONENTS}")
    return document


def appliance_bom(version: str, source_digest: str, packages: Sequence[Package]) -> dict[str, Any]:
    """The BOM of this very program: the same for the same packages, with no word of when it was made."""
    ordered = sorted(packages, key=lambda one: one.name)
    own = _reference("saferouter", version)
    known = {one.name: _reference(one.name, one.version) for one in ordered}
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "saferouter",
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": source_digest.removeprefix("sha256:")}],
            }
        },
        "components": [_component(one) for one in ordered if one.name != "saferouter"],
        "dependencies": [
            {"ref": known[one.name], "dependsOn": sorted(known[name] for name in one.needs if name in known)}
            for one in ordered
        ],
    }
    return body | {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest(body))}"}


def _component(one: Package) -> dict[str, Any]:
    reference = _reference(one.name, one.version)
    row: dict[str, Any] = {"type": "library", "bom-ref": reference, "name": one.name, "version": one.version}
    row |= {"purl": reference}
    return row if one.licence is None else row | {"licenses": [{"license": {"name": one.licence}}]}


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"
