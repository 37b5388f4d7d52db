"""The sampled audit: its head for everybody, its samples for the key that made the calls (SPEC §15.14)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.epochs import Epochs
from gateway.errors import InvalidRequest
from gateway.http.transparency import SHORT, leaf_document, proven_leaf
from gateway.pipeline import Pipeline
from gateway.publisher import Publisher
from gateway.storage.log import LogEpoch
from gateway.storage.samples import SampleHead, StoredSample
from gateway.tenancy.tenant import INFERENCE, READ
from tee.canonical import parse_json
from tee.log.checkpoint import parse_size
from tee.log.entry import chain_hash

MAX_SAMPLES = 100  # in one answer: each brings a proof, which reads some tiles
USUAL_SAMPLES = 20
HOW_TO_CHECK = (
    "Verify the checkpoint under the log's key, vkey, which must be the one in an attested quote's workload.",
    "Hash the bytes of last.leaf_b64 as an RFC 6962 leaf and follow last.proof to the checkpoint's root.",
    "Its type must be audit and its index last.index; a new head's index and entries never fall in one origin.",
    "Count the audit leaves in the entry tiles up to size: there are `entries`, and none stands after last.index.",
    "The holder of a sample checks that its leaf commits to the sample and that the identity signed it.",
)


class AuditEndpoints:
    """`GET /attestation/audit/head` and `GET /v1/audit/samples`."""

    def __init__(
        self,
        pipeline: Pipeline,
        epochs: Epochs,
        per_million: int,
        last: Callable[[LogEpoch, int], SampleHead | None],
        find: Callable[[str, str | None, int], list[StoredSample] | None],
    ) -> None:
        self._pipeline = pipeline
        self._epochs = epochs
        self._per_million = per_million
        self._last = last
        self._find = find

    async def head(self, _request: Request) -> Response:
        """How many samples the live epoch's log commits to, and the last of them."""
        return JSONResponse(await asyncio.to_thread(self._head, self._epochs.live), headers=SHORT)

    async def samples(self, request: Request) -> Response:
        """A page of the caller's own samples, newest first. Raises InvalidRequest, Malformed."""
        key = await self._pipeline.admit(dict(request.headers), INFERENCE, READ)
        limit = parse_size(request.query_params.get("limit", str(USUAL_SAMPLES)), "limit")
        if not 1 <= limit <= MAX_SAMPLES:
            raise InvalidRequest.at("limit", str(limit), f"1 to {MAX_SAMPLES}")
        after = request.query_params.get("after")
        rows = await asyncio.to_thread(self._find, key.id, after, limit + 1)
        if rows is None:
            raise InvalidRequest.at("after", "no sample of this key", "the receipt_id of one, as in last_id")
        data = await asyncio.to_thread(lambda: [self._shown(row) for row in rows[:limit]])
        last_id = data[-1]["receipt_id"] if data else None
        page = {"object": "list", "data": data, "has_more": len(rows) > limit, "last_id": last_id}
        return JSONResponse(page, headers={"cache-control": "private"})

    def _head(self, view: Publisher) -> dict[str, Any]:
        shown = view.shown
        last = self._last(view.place, shown.checkpoint.size)
        leaf = None
        if last is not None:
            proven = view.show(last.leaf)
            if proven.proof.checkpoint != shown.note.encode():
                return self._head(view)  # another checkpoint came in between: tell of that one
            leaf = leaf_document(proven) | {"chain_hash": chain_hash(proven.leaf).hex()}
        return {
            "origin": view.origin,
            "vkey": view.vkey,
            "epoch": view.epoch,
            "size": shown.checkpoint.size,
            "sampled_per_million": self._per_million,
            "entries": 0 if last is None else last.entries,
            "last": leaf,
            "checkpoint": shown.note.encode().decode(),
            "how_to_check": list(HOW_TO_CHECK),
        }

    def _shown(self, row: StoredSample) -> dict[str, Any]:
        """A sample with its leaf; the leaf is null while no checkpoint holds it, or where its epoch is damaged."""
        try:
            place = {"epoch": row.epoch, "index": row.leaf}
            leaf: dict[str, Any] | None = place | proven_leaf(self._epochs, LogEpoch(row.log, row.epoch), row.leaf)
        except LookupError:
            leaf = None
        document = parse_json(row.document.encode(), "sample")
        return {"object": "audit.sample", "receipt_id": row.receipt_id, "document": document, "leaf": leaf}
