"""The log for everybody: checkpoint, leaves, proofs and tiles, open to every origin (SPEC §15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.epochs import Epochs, LogView
from gateway.http.problems import NotFound
from gateway.publisher import Leaf
from gateway.storage.calls import LoggedReceipt
from gateway.storage.log import LogEpoch
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

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs

    async def about(self, request: Request) -> Response:
        """`GET /attestation/transparency[/epochs/{n}]`: which log this is, and where its parts are. Raises NotFound."""
        view = await self._view(request)
        prefix, shown = request.url.path.rstrip("/"), view.shown
        document: dict[str, Any] = {
            "origin": view.origin,
            "vkey": view.vkey,
            "epoch": view.epoch,
            "size": shown.checkpoint.size,
            "checkpoint": shown.note.encode().decode(),
            "links": {
                "checkpoint": f"{prefix}/checkpoint",
                "tiles": f"{prefix}/tile/",
                "leaf": f"{prefix}/{{index}}",
                "head": f"{prefix}/head",
                "consistency": f"{prefix}/consistency?from={{size}}&to={{size}}",
            },
        }
        if "epoch" not in request.path_params:
            document["links"] |= {"epoch": f"{prefix}/epochs/{{epoch}}"}
            document["epochs"] = self._epochs.listing()
        return JSONResponse(document, headers=SHORT)

    async def head(self, request: Request) -> Response:
        """`GET …/head`: the newest shown checkpoint, and the end of the hash chain at its size."""
        view = await self._view(request)
        shown = view.shown
        if "text/plain" in request.headers.get("accept", ""):
            return await self.checkpoint(request)
        chain = None
        if shown.checkpoint.size:
            leaf = await _show(view, shown.checkpoint.size - 1)
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

    async def checkpoint(self, request: Request) -> Response:
        """`GET …/checkpoint`: the signed note. Raises NotFound."""
        return Response((await self._view(request)).shown.note.encode(), 200, SHORT, TEXT)

    async def leaf(self, request: Request) -> Response:
        """`GET …/{index}`: a leaf and its proof; as tlog-proof for who asks for text. Raises NotFound."""
        index = parse_size(request.path_params["index"], "index")
        shown = await _show(await self._view(request), index)
        if "text/plain" in request.headers.get("accept", ""):
            return Response(shown.proof.encode(), 200, SHORT, TEXT)
        return JSONResponse(leaf_document(shown), headers=SHORT)

    async def tile(self, request: Request) -> Response:
        """`GET …/tile/<level>/<number>[.p/<width>]`, `…/tile/entries/…`: bytes that never change. Raises NotFound."""
        tile = parse_tile_path(f"tile/{request.path_params['path']}")
        view = await self._view(request)
        raw = await _found(lambda: view.tile(tile))
        return Response(raw, 200, FOREVER, "application/octet-stream")

    async def consistency(self, request: Request) -> Response:
        """`GET …/consistency?from=&to=`: a convenience; the tiles hold the same. Raises NotFound."""
        old, new = (parse_size(request.query_params.get(name, ""), name) for name in ("from", "to"))
        view = await self._view(request)
        proof = await _found(lambda: view.consistency(old, new))
        return JSONResponse({"from": old, "to": new, "proof": [encode_base64(value) for value in proof]}, headers=SHORT)

    async def _view(self, request: Request) -> LogView:
        """The epoch that the path names; without one the live epoch. Raises NotFound."""
        if "epoch" not in request.path_params:
            return self._epochs.live
        number = parse_size(request.path_params["epoch"], "epoch")
        view: LogView = await _found(lambda: self._epochs.view(number))
        return view


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


def receipt_proof(epochs: Epochs, found: LoggedReceipt) -> dict[str, object]:
    """Where the log has a call (SPEC §15.10). Its two leaves may stand in different epochs. Raises LookupError."""
    receipt = parse_json(found.receipt.encode(), "receipt")
    named = {"receipt_id": receipt["receipt_id"], "receipt_digest": digest(receipt), "salt": found.receipt_salt}
    route = None
    if found.route_epoch is not None and found.route_leaf is not None:
        route = proven_leaf(epochs, LogEpoch(found.log, found.route_epoch), found.route_leaf)
    return {
        "document": named,
        "receipt": proven_leaf(epochs, LogEpoch(found.log, found.receipt_epoch), found.receipt_leaf),
        "route": route,
    }


def proven_leaf(epochs: Epochs, epoch: LogEpoch, index: int) -> dict[str, object]:
    """A leaf of any epoch of any replica with its tlog-proof. Raises LookupError in words for its caller."""
    newest = epochs.live.newest
    if epoch == epochs.live.place and (newest is None or index >= newest.checkpoint.size):
        raise LookupError("No checkpoint holds it yet: the next one will, within seconds")
    shown = epochs.find(epoch).show(index)
    return {"leaf_b64": encode_base64(shown.leaf), "proof": shown.proof.encode().decode()}


async def _show(view: LogView, index: int) -> Leaf:
    shown: Leaf = await _found(lambda: view.show(index))
    return shown


async def _found(read: Callable[[], Any]) -> Any:
    try:
        return await asyncio.to_thread(read)
    except LookupError as error:
        raise NotFound(f"{error.args[0]}.") from None
    except Malformed as error:
        raise NotFound(f"{error}.") from None
