"""The attestation surface: public, open to every origin, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.inference import read_body
from gateway.http.problems import NotFound
from gateway.jsonbody import parse_json_object
from gateway.workload import QuoteDesk, WorkloadKeys
from tee.canonical import Json, digest
from tee.errors import Malformed
from tee.keys.binding import parse_nonce
from tee.log.receipt import API_VERSION
from tee.quote import decode_base64

MAX_NONCE_BODY = 4096
OPEN = {"cache-control": "no-store"}


class AttestationEndpoints:
    """Quotes, keys and past evidence."""

    def __init__(self, desk: QuoteDesk, keys: WorkloadKeys, find_quote: Callable[[str], str | None]) -> None:
        self._desk = desk
        self._keys = keys
        self._find_quote = find_quote

    async def quote(self, request: Request) -> Response:
        """`POST /attestation/quote {"nonce":"<64 hex>"}`; without a nonce, the shared quote."""
        body = await read_body(request, MAX_NONCE_BODY)
        fields = parse_json_object(body) if body else {}
        if unknown := sorted(fields.keys() - {"nonce"}):
            raise Malformed(unknown[0][:64], "an unknown member", "nonce")
        nonce = None if fields.get("nonce") is None else parse_nonce(fields["nonce"])
        return JSONResponse(await self._desk.quote(nonce), headers=OPEN)

    async def verifying_key(self, _request: Request) -> Response:
        """`GET /attestation/verifying-key`: identity, log and receipt keys."""
        return JSONResponse(self._keys.verifying_keys(), headers=OPEN)

    async def past_quote(self, request: Request) -> Response:
        """`GET /attestation/keysets/{digest}`: the stored quote of a keyset that signed receipts here."""
        found = await asyncio.to_thread(self._find_quote, request.path_params["digest"][:80])
        if found is None:
            raise NotFound("No keyset of that digest was ever in force here.")
        return Response(found, 200, OPEN, "application/json")

    async def aci(self, request: Request) -> Response:
        """`GET /v1/aci/attestation?nonce=`: the same evidence in ACI/1's shape (§4.1)."""
        value = request.query_params.get("nonce")
        quote = await self._desk.quote(None if value is None else parse_nonce(value))
        return JSONResponse(_aci_report(quote), headers=OPEN)


def _aci_report(quote: Json) -> Json:
    report = decode_base64(quote["report_b64"], "report_b64")
    build = quote["workload"]["build"]
    return {
        "api_version": API_VERSION,
        "workload_keyset_digest": digest(quote["keyset"]),
        "attestation": {
            "tee_type": quote["tee_type"],
            "workload_keyset": quote["keyset"],
            "report_data": report[0x50:0x70].hex(),
            "source_provenance": {
                "repo_url": build["repo_url"],
                "repo_commit": build["repo_commit"],
                "image_digest": build["image_digest"],
                "image_provenance": None,
            },
            "evidence": {name: quote[name] for name in ("report_b64", "endorsements", "statement", "workload")},
        },
        "service_capabilities": {"supported_e2ee_versions": [], "serving": "aggregator"},
    }
