"""Endpoints that show evidence to everybody: quotes, keys, and the log."""

from __future__ import annotations

from typing import Any

from gateway.http.openapi.pieces import (
    ANYTHING,
    BASE64,
    BYTES,
    COUNT,
    DIGEST,
    HEX,
    PUBLIC,
    STRING,
    TEXT,
    Operation,
    Paths,
    Schema,
    answer,
    body,
    constant,
    in_path,
    maybe,
    one_of,
    operation,
    query,
    record,
    ref,
    rows,
    words,
)

_LOG = "/attestation/transparency"
_NONCE: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "32 bytes of your own, fresh."}
_ZEROS = "0" * 64
_NO_DIGEST = f"sha256:{_ZEROS}"
_SIZE: Schema = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,15})$"}


def _get(name: str, summary: str, answers: dict[int, Schema], *errors: int, **more: Any) -> Operation:
    return operation(name, summary, answers, *errors, tag=more.pop("tag", "attestation"), security=PUBLIC, **more)


def _log(prefix: str, suffix: str, whose: str, *parameters: Schema) -> Paths:
    """The log below one prefix."""
    tag, errors = "transparency", (400, 404)

    def get(name: str, summary: str, shown: Schema, *more: Schema) -> dict[str, Operation]:
        every = [*parameters, *more]
        return {"get": _get(name + suffix, f"{summary}{whose}", {200: shown}, *errors, tag=tag, parameters=every)}

    leaf = answer("The leaf, and a proof that leads to the checkpoint beside it.", ref("LogLeaf"))
    leaf["content"][TEXT] = {"schema": words(STRING, "With `Accept: text/plain`: a C2SP tlog-proof.")}
    head = answer("The newest shown checkpoint.", ref("LogHead"))
    head["content"][TEXT] = {"schema": words(STRING, "With `Accept: text/plain`: the signed note.")}
    index = in_path("index", _SIZE, "Of the leaf, from 0.", "0")
    tile = in_path("path", STRING, "As C2SP tlog-tiles names it: `0/000.p/1`, `entries/000.p/1`.", "0/000.p/1")
    ends = (query("from", _SIZE, "The older size.", required=True, example="1"),
            query("to", _SIZE, "The newer size.", required=True, example="1"))  # fmt: skip
    return {
        prefix: get("getLog", "Which log this is", answer("Its name, key and parts.", ref("Log"))),
        f"{prefix}/head": get("getLogHead", "The newest checkpoint", head),
        f"{prefix}/checkpoint": get("getCheckpoint", "The signed note", answer("C2SP tlog-checkpoint.", STRING, TEXT)),
        f"{prefix}/consistency": get(
            "getConsistency", "That a newer log holds an older one", answer("RFC 6962.", ref("Consistency")), *ends
        ),
        f"{prefix}/tile/{{path}}": get("getTile", "A tile", answer("Bytes that never change.", {}, BYTES), tile),
        f"{prefix}/{{index}}": get("getLeaf", "A leaf with its proof", leaf, index),
    }


PATHS: Paths = {
    "/attestation/quote": {
        "post": _get(
            "makeQuote",
            "Evidence from the hardware",
            {200: answer("The quote (tee/SPEC.md §4.5). Verify it with tools of your own.", ref("Quote"))},
            *(400, 408, 413, 429, 503),
            takes=body(ref("QuoteRequest"), required=False, fresh={"nonce": _ZEROS}, shared={"nonce": None}),
        )
    },
    "/attestation/verifying-key": {
        "get": _get(
            "getVerifyingKeys", "The public keys", {200: answer("Identity, log, receipts.", ref("VerifyingKeys"))}
        )
    },
    "/attestation/keysets/{digest}": {
        "get": _get(
            "getPastQuote",
            "Evidence for a keyset that signed receipts here",
            {200: answer("Its quote, as it was then.", ref("Quote"))},
            *(404,),
            parameters=[in_path("digest", STRING, "Of the keyset, as a receipt names it.", _NO_DIGEST)],
        )
    },
    "/attestation/announcement": {
        "get": _get(
            "getAnnouncement",
            "The proof that this release was announced",
            {200: answer("As its owner hands it out.", ANYTHING)},
            *(404,),
        )
    },
    "/v1/aci/attestation": {
        "get": _get(
            "getAciAttestation",
            "The same evidence in ACI/1's shape",
            {200: answer("ACI/1 §4.1.", ref("AciAttestation"))},
            *(400, 429, 503),
            parameters=[query("nonce", _NONCE, "Without one it is the shared quote.", example="1" * 64)],
        )
    },
    "/attestation/audit/head": {
        "get": _get(
            "getAuditHead",
            "How many sampled answers the log commits to",
            {200: answer("The count, and the last of them.", ref("AuditHead"))},
        )
    },
    **_log(_LOG, "", ""),
    **_log(
        f"{_LOG}/epochs/{{epoch}}", "OfEpoch", ", of one epoch", in_path("epoch", _SIZE, "Its number, from 1.", "1")
    ),
}

_LEAF = {
    "index": COUNT,
    "leaf_b64": BASE64,
    "leaf": ANYTHING,
    "leaf_hash": HEX,
    "proof": rows(BASE64),
    "checkpoint": STRING,
}
_PLACE = {"origin": STRING, "vkey": STRING, "epoch": COUNT, "size": COUNT}
_ENDORSEMENTS = record(
    {
        "kind": one_of("vcek", "vlek", "mock"),
        "vek_b64": BASE64,
        "ask_b64": BASE64,
        "ark_b64": BASE64,
        "crl_b64": maybe(BASE64),
    }
)

SCHEMAS: dict[str, Schema] = {
    "QuoteRequest": record({"nonce": maybe(_NONCE)}, ["nonce"], additionalProperties=False),
    "Quote": record(
        {
            "format": STRING,
            "tee_type": one_of("sev_snp", "mock"),
            "report_b64": BASE64,
            "endorsements": _ENDORSEMENTS,
            "statement": STRING,
            "keyset": ANYTHING,
            "workload": ANYTHING,
            "identity_signature": HEX,
            "platform_evidence": rows(ANYTHING),
            "log": maybe(ANYTHING),
            "stale": {},
        },
        ["stale"],
    ),
    "VerifyingKeys": record(
        {"identity_key": HEX, "log": ANYTHING, "receipt_signing_keys": rows(ANYTHING), "workload_keyset_digest": DIGEST}
    ),
    "AciAttestation": record(
        {
            "api_version": constant("aci/1"),
            "workload_keyset_digest": DIGEST,
            "attestation": ANYTHING,
            "service_capabilities": ANYTHING,
            "stale": {},
        },
        ["stale"],
    ),
    "AuditHead": record(
        {
            **_PLACE,
            "sampled_per_million": COUNT,
            "entries": COUNT,
            "last": maybe(record({**_LEAF, "chain_hash": HEX})),
            "checkpoint": STRING,
            "how_to_check": rows(STRING),
        }
    ),
    "Log": record(
        {
            **_PLACE,
            "checkpoint": STRING,
            "links": {"type": "object", "additionalProperties": STRING},
            "epochs": rows(record(_PLACE)),
        },
        ["epochs"],
    ),
    "LogHead": record({"checkpoint": STRING, "size": COUNT, "root_hash": HEX, "chain_head": maybe(HEX)}),
    "LogLeaf": record(_LEAF),
    "Consistency": record({"from": COUNT, "to": COUNT, "proof": rows(BASE64)}),
}
