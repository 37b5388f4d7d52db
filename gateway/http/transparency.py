"""The log for everybody: checkpoint, leaves, proofs and tiles, open to every origin (SPEC §15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.problems import NotFound
from gateway.publisher import Leaf, Publisher
from gateway.storage.calls import LoggedReceipt
from tee.canonical import digest, parse_json
from tee.errors import Malformed
from tee.log.checkpoint import parse_size
from tee.log.entry import chain_hash
from tee.log.merkle import hash_leaf
from tee.log.tiles import parse_tile_path
from tee.quote import encode_base64

TEXT = "text/plain; charset=utf-8"
SHORT = {"cache-control": "public, max-age=1"}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


class TransparencyEndpoints:
    """Read-only views of the published log. What is not in a checkpoint yet is not shown."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def about(self, _request: Request) -> Response:
        """`GET /attestation/transparency`: which log this is, and where its parts are."""
        publisher = self._publisher
        shown = publisher.shown
        return JSONResponse(
            {
                "origin": publisher.origin,
                "vkey": publisher.vkey,
                "size": shown.checkpoint.size,
                "checkpoint": shown.note.encode().decode(),
                "links": {
                    "checkpoint": "/attestation/transparency/checkpoint",
                    "tiles": "/attestation/transparency/tile/",
                    "leaf": "/attestation/transparency/{index}",
                    "head": "/attestation/transparency/head",
                    "consistency": "/attestation/transparency/consistency?from={size}&to={size}",
                },
            },
            headers=SHORT,
        )

    async def head(self, request: Request) -> Response:
        """`GET …/head`: the newest shown checkpoint, and the end of the hash chain at its size."""
        shown = self._publisher.shown
        if "text/plain" in request.headers.get("accept", ""):
            return await self.checkpoint(request)
        chain = None
        if shown.checkpoint.size:
            leaf = await self._show(shown.checkpoint.size - 1)
            chain = chain_hash(leaf.leaf).hex()
        return JSONResponse(
            {
                "checkpoint": shown.note.encode().decode(),
                "size": shown.checkpoint.size,
                "root_hash": shown.checkpoint.root.hex(),
                "chain_head": chain,
            },
            headers=SHORT,
        )

    async def checkpoint(self, _request: Request) -> Response:
        """`GET …/checkpoint`: the signed note."""
        return Response(self._publisher.shown.note.encode(), 200, SHORT, TEXT)

    async def leaf(self, request: Request) -> Response:
        """`GET …/{index}`: a leaf and its proof; as tlog-proof for who asks for text. Raises NotFound."""
        index = parse_size(request.path_params["index"], "index")
        shown = await self._show(index)
        if "text/plain" in request.headers.get("accept", ""):
            return Response(shown.proof.encode(), 200, SHORT, TEXT)
        return JSONResponse(leaf_document(shown), headers=SHORT)

    async def tile(self, request: Request) -> Response:
        """`GET …/tile/<level>/<number>[.p/<width>]`, `…/tile/entries/…`: bytes that never change. Raises NotFound."""
        tile = parse_tile_path(f"tile/{request.path_params['path']}")
        raw = await _found(lambda: self._publisher.tile(tile))
        return Response(raw, 200, FOREVER, "application/octet-stream")

    async def consistency(self, request: Request) -> Response:
        """`GET …/consistency?from=&to=`: a convenience; the tiles hold the same. Raises NotFound."""
        old, new = (parse_size(request.query_params.get(name, ""), name) for name in ("from", "to"))
        proof = await _found(lambda: self._publisher.consistency(old, new))
        return JSONResponse({"from": old, "to": new, "proof": [encode_base64(value) for value in proof]}, headers=SHORT)

    async def _show(self, index: int) -> Leaf:
        shown: Leaf = await _found(lambda: self._publisher.show(index))
        return shown


def leaf_document(shown: Leaf) -> dict[str, Any]:
    """A leaf as JSON, with the proof that leads to the checkpoint beside it."""
    return {
        "index": shown.proof.index,
        "leaf_b64": encode_base64(shown.leaf),
        "leaf": parse_json(shown.leaf, "leaf"),
        "leaf_hash": hash_leaf(shown.leaf).hex(),
        "proof": [encode_base64(value) for value in shown.proof.hashes],
        "checkpoint": shown.proof.checkpoint.decode(),
    }


def receipt_proof(publisher: Publisher, found: LoggedReceipt) -> dict[str, object]:
    """Where the log has a call (SPEC §15.10). Raises LookupError while no checkpoint holds its receipt.

    Leaves of an earlier epoch have no proof here: their tiles are on disk.
    """
    if found.receipt_epoch != publisher.epoch:
        raise LookupError("The receipt stands in an earlier epoch of the log")
    receipt = parse_json(found.receipt.encode(), "receipt")
    named = {"receipt_id": receipt["receipt_id"], "receipt_digest": digest(receipt), "salt": found.receipt_salt}
    route = None
    if found.route_leaf is not None and found.route_epoch == publisher.epoch:
        route = _leaf(publisher, found.route_leaf)
    return {"document": named, "receipt": _leaf(publisher, found.receipt_leaf), "route": route}


def _leaf(publisher: Publisher, index: int) -> dict[str, object]:
    shown = publisher.show(index)
    return {"leaf_b64": encode_base64(shown.leaf), "proof": shown.proof.encode().decode()}


async def _found(read: Callable[[], Any]) -> Any:
    try:
        return await asyncio.to_thread(read)
    except LookupError as error:
        raise NotFound(f"{error.args[0]}.") from None
    except Malformed as error:
        raise NotFound(f"{error}.") from None
