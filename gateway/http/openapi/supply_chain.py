"""Endpoints of the supply chain: models and their suppliers as operators sign them, bills of materials, proofs."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ADMIN,
    ANYTHING,
    BASE64,
    BOOLEAN,
    BYTES,
    COUNT,
    DIGEST,
    MANAGED,
    STRING,
    TIME,
    Operation,
    Paths,
    Schema,
    answer,
    constant,
    in_path,
    listing,
    maybe,
    one_of,
    operation,
    query,
    record,
    ref,
    rows,
)

_READ = (401, 403, 503)
_CATEGORY = in_path("category", STRING, "model, appliance, firmware or library.", "appliance")
_ARTEFACT = in_path("artifact_id", STRING, "Its id in the registry; it may hold slashes.", "saferouter")


def _get(name: str, summary: str, schema: str, *errors: int, parameters: tuple[Schema, ...] = ()) -> Operation:
    answers = {200: answer("By the registry in force: its signers' claim.", ref(schema))}
    return operation(name, summary, answers, *errors, *_READ, tag="supply chain", parameters=parameters)


def _put(name: str, summary: str, schema: str, *parameters: Schema) -> Operation:
    made = operation(
        *(name, summary, {200: answer("It is kept.", ref(schema))}, *MANAGED),
        tag="supply chain",
        security=ADMIN,
        parameters=parameters,
    )
    return made | {"requestBody": {"required": True, "content": {BYTES: {"schema": {}}}}}


PATHS: Paths = {
    "/supply-chain/models": {"get": _get("listArtefacts", "The models of the registry", "Artefacts")},
    "/supply-chain/models/{artifact_id}": {
        "get": _get("getArtefact", "One model of the registry", "ModelArtefact", 404, parameters=(_ARTEFACT,))
    },
    "/supply-chain/suppliers": {"get": _get("listSuppliers", "Suppliers, the worst first", "Suppliers")},
    "/supply-chain/risk-summary": {"get": _get("getRiskSummary", "How all artefacts add up", "RiskSummary", 404)},
    "/supply-chain/bom/{category}/{artifact_id}": {
        "get": _get("getBom", "An artefact's bill of materials", "Bom", 400, 404, parameters=(_CATEGORY, _ARTEFACT))
    },
    "/supply-chain/firmware-receipt/{category}/{artifact_id}": {
        "get": _get(
            *("getFirmwareReceipt", "What proves a build, to be verified offline", "FirmwareReceipt", 400, 404),
            parameters=(_CATEGORY, _ARTEFACT, query("build", STRING, "NAME VERSION; the last that is named if none.")),
        )
    },
    "/supply-chain/registry": {
        "get": _get("getRegistry", "The registry as it was signed", "SignedFile", 404),
        "put": _put("putRegistry", "Put a signed registry in force", "RegistryTaken"),
    },
    "/supply-chain/files/{digest}": {
        "put": _put(
            *("putFile", "Hand in a file that the registry names", "FileTaken"),
            in_path("digest", DIGEST, "Of the file.", "sha256:" + "5" * 64),
        )
    },
}

_ABOUT: dict[str, Schema] = {"sequence": COUNT, "digest": DIGEST, "issued": TIME, "expires": TIME, "expired": BOOLEAN}
_RISK = record({"score": COUNT, "band": one_of("critical", "high", "medium", "low"), "reasons": rows(STRING)})
_ARTEFACT_MEMBERS: dict[str, Schema] = {
    "category": STRING,
    "id": STRING,
    "supplier": STRING,
    "origin": STRING,
    "licence": maybe(STRING),
    "content_hash": maybe(DIGEST),
    "mirrors": rows(STRING),
    "bom": maybe(DIGEST),
    "builds": rows(STRING),
    "revoked": maybe(STRING),
    "risk": _RISK,
}
_NAMED = record({"category": STRING, "id": STRING})

SCHEMAS: dict[str, Schema] = {
    "RegistryAbout": record(_ABOUT),
    "Artefacts": listing(record(_ARTEFACT_MEMBERS), registry=maybe(ref("RegistryAbout"))),
    "ModelArtefact": record(_ARTEFACT_MEMBERS | {"registry": ref("RegistryAbout")}),
    "Suppliers": listing(
        record(
            {"rank": COUNT, "id": STRING, "name": STRING, "country": STRING, "tier": COUNT, "risk": COUNT}
            | {"revoked": BOOLEAN, "sanctioned": BOOLEAN}
        ),
        registry=maybe(ref("RegistryAbout")),
    ),
    "RiskSummary": record(
        {
            "object": constant("risk_summary"),
            "artefacts": COUNT,
            "suppliers": COUNT,
            "by_tier": rows(record({"tier": COUNT, "artefacts": COUNT})),
            "by_band": rows(record({"band": STRING, "artefacts": COUNT})),
            "revoked": record({"suppliers": rows(STRING), "artefacts": rows(_NAMED)}),
            "sanctioned": record({"suppliers": rows(STRING), "artefacts": rows(_NAMED)}),
            "worst": maybe(COUNT),
            "registry": ref("RegistryAbout"),
        }
    ),
    "Bom": record(
        _ARTEFACT_MEMBERS
        | {"object": constant("bom"), "document": ANYTHING, "registry": maybe(ref("RegistryAbout"))}
        | {"supplier": maybe(STRING), "risk": maybe(_RISK)},
        optional=("origin", "licence", "content_hash", "mirrors", "builds", "revoked"),
    ),
    "FirmwareReceipt": record(
        {
            "format": constant("saferouter/firmware-receipt/v1"),
            "category": STRING,
            "artifact_id": STRING,
            "build": STRING,
            "manifests_b64": rows(BASE64),
            "announcement": maybe(STRING),
        }
    ),
    "SignedFile": record(
        {"payload": BASE64, "payloadType": STRING, "signatures": rows(record({"keyid": STRING, "sig": BASE64}))}
    ),
    "RegistryTaken": record({"object": constant("registry"), **_ABOUT, "files": rows(DIGEST)}),
    "FileTaken": record({"object": constant("file"), "digest": DIGEST, "bytes": COUNT}),
}
