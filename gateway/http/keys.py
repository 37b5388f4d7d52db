"""`/v1/keys`: a tenant's keys, managed by one of them; and `/admin/tenants/{id}/keys`: the same by the operator."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.management import CREATED, page, private, read_fields, read_limit, usd
from gateway.key_book import KeyBook
from gateway.pipeline import Pipeline
from gateway.storage.api_keys import StoredKey
from gateway.storage.credits import keys_spent
from gateway.storage.key_changes import Actor, change_key, create_key, list_keys, look_up_key, revoke_key, rotate_key
from gateway.tenancy.changes import read_key_changes, read_overlap
from gateway.tenancy.tenant import KEYS, SCOPES

OWN_KEYS, KEYS_OF_TENANT = "/v1/keys", "/admin/tenants/{tenant_id}/keys"


class KeyEndpoints:
    """Keys are listed, made, renamed, rotated and revoked by an actor, of whom every request tells."""

    def __init__(self, book: KeyBook, actor: Callable[[Request], Awaitable[Actor]]) -> None:
        """`actor` refuses whoever may not manage keys."""
        self._book = book
        self._actor = actor

    def routes(self, prefix: str) -> list[Route]:
        """Every endpoint, below this path."""
        one = f"{prefix}/{{key_id}}"
        return [
            Route(prefix, self.listing, methods=["GET"]),
            Route(prefix, self.create, methods=["POST"]),
            Route(one, self.one, methods=["GET"]),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.revoke, methods=["DELETE"]),
            Route(f"{one}/rotate", self.rotate, methods=["POST"]),
        ]

    async def listing(self, request: Request) -> Response:
        """A page of keys, the newest first, the revoked among them."""
        actor, limit = await self._actor(request), read_limit(request)
        after = request.query_params.get("after")
        rows = await self._book.read(partial(list_keys, by=actor, after=after, limit=limit + 1))
        spent = await self._book.read(partial(keys_spent, key_ids=[stored.key.id for stored, _ in rows]))
        return page([shown_key(stored, calls, spent[stored.key.id]) for stored, calls in rows], limit)

    async def one(self, request: Request) -> Response:
        """One key."""
        return await self._show(request, await self._actor(request))

    async def create(self, request: Request) -> Response:
        """A new key, with its secret this once."""
        actor = await self._actor(request)
        changes = read_key_changes(await read_fields(request), int(time.time()))
        stored, secret = await self._book.change(partial(create_key, changes=changes, by=actor))
        return private(shown_key(stored, 0, 0) | {"key": secret}, CREATED)

    async def change(self, request: Request) -> Response:
        """Another name, or other settings."""
        actor = await self._actor(request)
        changes = read_key_changes(await read_fields(request), int(time.time()))
        await self._book.change(partial(change_key, key_id=_named(request), changes=changes, by=actor))
        return await self._show(request, actor)

    async def rotate(self, request: Request) -> Response:
        """A new secret, this once; the old one goes on for `overlap_seconds`."""
        actor = await self._actor(request)
        overlap = read_overlap(await read_fields(request))
        rotate = partial(rotate_key, key_id=_named(request), overlap=overlap, by=actor)
        (stored, calls), secret = await self._book.change(rotate)
        return private(await self._shown(stored, calls) | {"key": secret})

    async def revoke(self, request: Request) -> Response:
        """The end of a key: refused everywhere within a second."""
        actor = await self._actor(request)
        await self._book.change(partial(revoke_key, key_id=_named(request), by=actor))
        return await self._show(request, actor)

    async def _show(self, request: Request, actor: Actor) -> Response:
        """The key as it is now. Its actor was admitted before, and may be the key that has just ended."""
        stored, calls = await self._book.read(partial(look_up_key, key_id=_named(request), by=actor))
        return private(await self._shown(stored, calls))

    async def _shown(self, stored: StoredKey, calls: int) -> dict[str, Any]:
        spent = await self._book.read(partial(keys_spent, key_ids=[stored.key.id]))
        return shown_key(stored, calls, spent[stored.key.id])


def own_keys(pipeline: Pipeline) -> Callable[[Request], Awaitable[Actor]]:
    """The actor of `/v1/keys`: a key with the scope `keys`, for its own tenant."""

    async def actor(request: Request) -> Actor:
        # Fresh: who was revoked a moment ago must not make himself another key.
        key = await pipeline.admit(dict(request.headers), KEYS, fresh=True)
        return Actor(key.tenant.id, key)

    return actor


def shown_key(stored: StoredKey, calls: int, spent: int) -> dict[str, Any]:
    """A key as its tenant sees it, with its calls and what they cost."""
    key = stored.key
    return {
        "object": "api_key",
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "tenant": key.tenant.id,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "policy": key.policy,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "cut_streams": key.cut_streams,
        "created_at": stored.created_at,
        "expires_at": key.expires_at,
        "revoked_at": stored.revoked_at,
        "last_used_at": stored.last_used_at,
        "usage": {"calls": calls, "usd": usd(spent)},
    }


def _named(request: Request) -> str:
    return str(request.path_params["key_id"])
