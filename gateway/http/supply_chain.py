"""The supply chain: what signed files say of models and suppliers, bills of materials, and firmware receipts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.admin_token import AdminToken
from gateway.build import build_version, source_digest
from gateway.http.caller import headers_of, read_body
from gateway.http.problems import NotFound
from gateway.installed import installed_packages
from gateway.pipeline import Pipeline
from gateway.registering import Registering
from gateway.registry.bom import APPLIANCE, appliance_bom, parse_bom
from gateway.registry.document import Artefact, FirmwareBuild, Registry, Supplier
from gateway.registry.risk import risk_of, summarise_risk, supplier_risk
from gateway.stored_registry import MAX_FILE, MAX_REGISTRY, read_file, read_registry
from gateway.tenancy.tenant import READ
from tee.canonical import digest
from tee.keys.identity import digest_text
from tee.measure.firmware import FirmwareReceipt, encode_firmware_receipt

PRIVATE = {"cache-control": "private"}
PREFIX = "/supply-chain"
NONE = "The operator has put no registry in force here."


class SupplyChainEndpoints:
    """Reads for every tenant; the operator hands in what is read."""

    def __init__(self, pipeline: Pipeline, registering: Registering, token: AdminToken, state: Path) -> None:
        self._pipeline = pipeline
        self._registering = registering
        self._token = token
        self._state = state
        self._appliance: dict[str, Any] | None = None

    def routes(self) -> list[Route]:
        """Every endpoint."""
        place = "{category}/{artifact_id:path}"
        return [
            Route(f"{PREFIX}/models", self.models, methods=["GET"]),
            Route(f"{PREFIX}/models/{{artifact_id:path}}", self.model, methods=["GET"]),
            Route(f"{PREFIX}/suppliers", self.suppliers, methods=["GET"]),
            Route(f"{PREFIX}/risk-summary", self.risk_summary, methods=["GET"]),
            Route(f"{PREFIX}/bom/{place}", self.bom, methods=["GET"]),
            Route(f"{PREFIX}/firmware-receipt/{place}", self.firmware_receipt, methods=["GET"]),
            Route(f"{PREFIX}/registry", self.registry, methods=["GET"]),
            Route(f"{PREFIX}/registry", self.put_registry, methods=["PUT"]),
            Route(f"{PREFIX}/files/{{digest}}", self.put_file, methods=["PUT"]),
        ]

    async def models(self, request: Request) -> Response:
        """Every model of the registry."""
        found = await self._read(request)
        rows = [] if found is None else [one for one in found.artefacts.values() if one.category == "model"]
        data = [] if found is None else [_artefact(found, one) for one in rows]
        return _shown({"object": "list", "data": data, "registry": _about(found)})

    async def model(self, request: Request) -> Response:
        """One of them. Raises NotFound."""
        registry, one = _find(await self._read(request), "model", request.path_params["artifact_id"])
        return _shown(_artefact(registry, one) | {"registry": _about(registry)})

    async def suppliers(self, request: Request) -> Response:
        """All suppliers, the worst first."""
        found = await self._read(request)
        ranked = (
            [] if found is None else sorted(found.suppliers.values(), key=lambda one: (-supplier_risk(one), one.id))
        )
        data = [_supplier(one, at) for at, one in enumerate(ranked, 1)]
        return _shown({"object": "list", "data": data, "registry": _about(found)})

    async def risk_summary(self, request: Request) -> Response:
        """How all artefacts add up. Raises NotFound where there are none."""
        found = await self._read(request)
        if found is None:
            raise NotFound(NONE)
        return _shown({"object": "risk_summary", **summarise_risk(found), "registry": _about(found)})

    async def bom(self, request: Request) -> Response:
        """The bill of materials of an artefact, with its risk. Raises NotFound, Malformed."""
        found = await self._read(request)
        place = request.path_params["category"], request.path_params["artifact_id"]
        if place == APPLIANCE:
            return _shown(await asyncio.to_thread(self._own_bom, found))
        registry, one = _find(found, *place)
        if one.bom is None:
            raise NotFound("The registry names no bill of materials of this artefact.")
        document = parse_bom(await self._file(one.bom), "bom")
        return _shown({"object": "bom", **_artefact(registry, one), "document": document, "registry": _about(registry)})

    async def firmware_receipt(self, request: Request) -> Response:
        """What proves a build, the last that is named unless `build` says which. Raises NotFound, Malformed."""
        category, name = request.path_params["category"], request.path_params["artifact_id"]
        _, one = _find(await self._read(request), category, name)
        build = _build(one, request.query_params.get("build"))
        manifests = [await self._file(each) for each in build.manifests]
        announcement = None if build.announcement is None else await self._file(build.announcement)
        receipt = FirmwareReceipt(category, name, build.build, tuple(manifests), announcement)
        return _shown(encode_firmware_receipt(receipt))

    async def registry(self, request: Request) -> Response:
        """The registry as it was signed, for whoever would rather judge it. Raises NotFound."""
        await self._read(request)
        raw = await asyncio.to_thread(read_registry, self._state)
        if raw is None:
            raise NotFound(NONE)
        return Response(raw, 200, PRIVATE, "application/json")

    async def put_registry(self, request: Request) -> Response:
        """Put a signed registry in force. Raises Malformed, Forbidden, Unavailable."""
        self._token.require(request.headers)
        raw = await read_body(request.scope, request.receive, headers_of(request.scope), MAX_REGISTRY)
        registry = await self._registering.put(raw)
        return _shown({"object": "registry", **(_about(registry) or {}), "files": sorted(registry.files())})

    async def put_file(self, request: Request) -> Response:
        """Hand in a file that the registry names. Raises InvalidRequest, Malformed."""
        self._token.require(request.headers)
        name = digest_text(request.path_params["digest"], "digest")
        raw = await read_body(request.scope, request.receive, headers_of(request.scope), MAX_FILE)
        await self._registering.put_file(name, raw)
        return _shown({"object": "file", "digest": name, "bytes": len(raw)})

    async def _read(self, request: Request) -> Registry | None:
        await self._pipeline.admit(dict(request.headers), READ)
        return self._registering.registry

    async def _file(self, name: str) -> bytes:
        raw = await asyncio.to_thread(read_file, self._state, name)
        if raw is None:
            raise NotFound(f"The operator has not handed in the file {name}.")
        return raw

    def _own_bom(self, found: Registry | None) -> dict[str, Any]:
        """The appliance's, which it makes itself; the registry may say more of it."""
        if self._appliance is None:
            self._appliance = appliance_bom(build_version(), source_digest(), installed_packages())
        one = None if found is None else found.artefacts.get(APPLIANCE)
        claimed = {"category": APPLIANCE[0], "id": APPLIANCE[1], "supplier": None, "risk": None}
        if found is not None and one is not None:
            claimed = _artefact(found, one)
        made = {"bom": digest(self._appliance), "document": self._appliance}
        return {"object": "bom", **claimed, **made, "registry": _about(found)}


def _find(registry: Registry | None, category: str, name: str) -> tuple[Registry, Artefact]:
    one = None if registry is None else registry.artefacts.get((category, name))
    if registry is None or one is None:
        raise NotFound(NONE if registry is None else "The registry has no artefact of that category and id.")
    return registry, one


def _build(one: Artefact, wanted: str | None) -> FirmwareBuild:
    builds = [each for each in one.builds if wanted in (None, each.build)]
    if not builds:
        raise NotFound("The registry names no such build of this artefact.")
    return builds[-1]


def _about(registry: Registry | None) -> dict[str, Any] | None:
    """Which registry this is from; all that is told of it is its signers' claim."""
    if registry is None:
        return None
    return {
        "sequence": registry.sequence,
        "digest": registry.digest,
        "issued": registry.issued,
        "expires": registry.expires,
        "expired": registry.expires <= time.time(),
    }


def _artefact(registry: Registry, one: Artefact) -> dict[str, Any]:
    risk, revoked = risk_of(registry, one), registry.revocations.get((one.category, one.id))
    return {
        "category": one.category,
        "id": one.id,
        "supplier": one.supplier,
        "origin": registry.suppliers[one.supplier].country,
        "licence": one.licence,
        "content_hash": one.content_hash,
        "mirrors": list(one.mirrors),
        "bom": one.bom,
        "builds": [each.build for each in one.builds],
        "revoked": None if revoked is None else revoked.reason,
        "risk": {"score": risk.score, "band": risk.band, "reasons": list(risk.reasons)},
    }


def _supplier(one: Supplier, rank: int) -> dict[str, Any]:
    return {
        "rank": rank,
        "id": one.id,
        "name": one.name,
        "country": one.country,
        "tier": one.tier,
        "risk": one.risk,
        "revoked": one.revoked,
        "sanctioned": one.sanctioned,
    }


def _shown(document: dict[str, Any]) -> Response:
    return JSONResponse(document, headers=PRIVATE)
