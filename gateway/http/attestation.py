"""The attestation surface: public, open to every origin, bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.call import CLIENT_LEFT
from gateway.desk import QuoteDesk
from gateway.errors import GatewayError
from gateway.http.caller import read_body, while_connected
from gateway.http.problems import NotFound
from gateway.jsonbody import parse_json_object
from gateway.metrics import QUOTES
from gateway.tally import Tally
from gateway.workload import Document, WorkloadKeys
from tee.canonical import Json, digest
from tee.errors import Malformed
from tee.keys.binding import parse_nonce
from tee.log.receipt import API_VERSION
from tee.quote import decode_base64

MAX_NONCE_BODY = 4096
OPEN = {"cache-control": "no-store"}


class AttestationEndpoints:
    """Quotes, keys and past evidence."""

    def __init__(
        self,
        desk: QuoteDesk,
        keys: WorkloadKeys,
        find_quote: Callable[[str], str | None],
        announcement: bytes | None,
        tally: Tally,
    ) -> None:
        self._tally = tally
        self._desk = desk
        self._keys = keys
        self._find_quote = find_quote
        self._announcement = announcement

    async def quote(self, request: Request) -> Response:
        """`POST /attestation/quote {"nonce":"<64 hex>"}`; without a nonce, the shared quote."""
        body = await read_body(request.scope, request.receive, request.headers, MAX_NONCE_BODY)
        fields = parse_json_object(body) if body else {}
        if unknown := sorted(fields.keys() - {"nonce"}):
            raise Malformed(unknown[0][:64], "an unknown member", "nonce")
        if fields.get("nonce") is None:
            return self._shared(lambda quote: quote)
        return await self._fresh(request, fields["nonce"], lambda quote: quote)

    async def verifying_key(self, _request: Request) -> Response:
        """`GET /attestation/verifying-key`: identity, log and receipt keys."""
        return JSONResponse(self._keys.verifying_keys(), headers=OPEN)

    async def past_quote(self, request: Request) -> Response:
        """`GET /attestation/keysets/{digest}`: the stored quote of a keyset that signed receipts here."""
        if self._desk.stale and request.path_params["digest"] == self._keys.keyset.digest:
            return self._shared(lambda quote: quote)  # of an earlier keyset nothing newer is to be expected
        found = await asyncio.to_thread(self._find_quote, request.path_params["digest"][:80])
        if found is None:
            raise NotFound("No keyset of that digest was ever in force here.")
        return Response(found, 200, OPEN, "application/json")

    async def announcement(self, _request: Request) -> Response:
        """`GET /attestation/announcement`: the proof that this release was announced, if there is one."""
        if self._announcement is None:
            raise NotFound("No announcement of this release is configured here.")
        return Response(self._announcement, 200, OPEN, "application/json")

    async def aci(self, request: Request) -> Response:
        """`GET /v1/aci/attestation?nonce=`: the same evidence in ACI/1's shape (§4.1)."""
        value = request.query_params.get("nonce")
        return self._shared(_aci_report) if value is None else await self._fresh(request, value, _aci_report)

    def _shared(self, render: Callable[[Document], Document]) -> Response:
        """The standing quote; once no device can renew it, marked stale in head and body (SPEC §4.5, RFC 9111)."""
        standing, stale = self._desk.standing, self._desk.stale
        if stale is None:
            return JSONResponse(render(standing.quote), headers=OPEN)
        age = {"age": str(max(0, int(time.time() - standing.made_at))), "x-sf-evidence": "stale"}
        return JSONResponse(render(standing.quote) | {"stale": stale}, headers=OPEN | age)

    async def _fresh(self, request: Request, nonce: Json, render: Callable[[Document], Document]) -> Response:
        """A quote over that nonce; a caller that hangs up leaves the queue."""
        asked = parse_nonce(nonce)
        try:
            quote = await while_connected(request.scope, request.receive, self._desk.quote(asked))
        except GatewayError as error:
            self._tally.add(QUOTES, (error.code or "failed",))
            raise
        self._tally.add(QUOTES, ("client_left" if quote is None else "made",))
        return Response(status_code=CLIENT_LEFT) if quote is None else JSONResponse(render(quote), headers=OPEN)


def _aci_report(quote: Document) -> Document:
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
