"""Step 1, admit: who calls. Nothing else of a request is read before this."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.errors import Unauthenticated
from gateway.tenancy.tenant import ApiKey, hash_api_key, secret_of

CACHE_SECONDS = 0.9  # how long a revoked key may still pass; a second is promised
MAX_CACHED = 4096


class Admission:
    """Knows callers by the hash of their key; `find` asks the record."""

    def __init__(self, find: Callable[[str], Awaitable[ApiKey | None]]) -> None:
        self._find = find
        self._cache: dict[str, tuple[float, ApiKey]] = {}

    async def admit(self, headers: dict[str, str], *, fresh: bool = False) -> ApiKey:
        """The caller of these headers (names in lower case), if `fresh` as the record has it now.

        Raises Unauthenticated.
        """
        secret = secret_of(headers)
        if secret is None:
            raise Unauthenticated("You did not provide an API key: send it as `Authorization: Bearer sk-router-...`.")
        sha256 = hash_api_key(secret)
        until, key = self._cache.get(sha256, (0.0, None))
        if key is None or fresh or time.monotonic() > until:
            key = await self._look_up(sha256)
        return key

    async def _look_up(self, sha256: str) -> ApiKey:
        asked = time.monotonic()  # before the record is read: what was revoked since then must not last longer
        key = await self._find(sha256)
        if key is None:
            self._cache.pop(sha256, None)
            raise Unauthenticated("Incorrect API key provided.")
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        lasts = CACHE_SECONDS if key.expires_at is None else min(CACHE_SECONDS, key.expires_at - time.time())
        self._cache[sha256] = (asked + lasts, key)
        return key
