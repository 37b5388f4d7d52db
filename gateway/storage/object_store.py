"""Objects in S3-compatible storage: created once and never replaced, but for the few that are meant to move on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime

import httpx2

from tee.aws.s3_place import S3Place
from tee.aws.sigv4 import AwsCredentials, AwsScope, sign_request
from tee.errors import Unavailable

TIMEOUT_SECONDS = 20.0  # for a whole exchange: the largest tile has 16 MiB
CREDENTIAL_SECONDS = 300.0  # a role's credentials live for hours, and are renewed well before their end
MAX_ERROR = 64 << 10


class ForeignObject(Exception):
    """There is something else at the place of an object of ours."""


class ObjectStore:
    """The objects below one place. Each exchange is signed, bounded, and made once: retrying is the caller's."""

    def __init__(
        self,
        place: S3Place,
        credentials: Callable[[], AwsCredentials],
        now: Callable[[], datetime],
        seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`credentials` may block: it is asked in a thread. `seconds` bounds every exchange."""
        self._place = place
        self._seconds = seconds
        self._credentials = credentials
        self._now = now
        self._known: tuple[AwsCredentials, datetime] | None = None
        self._http = httpx2.AsyncClient(timeout=seconds, follow_redirects=False, trust_env=False)

    async def create(self, key: str, raw: bytes) -> None:
        """Create an object; it may exist with these very bytes. Raises Unavailable, ForeignObject."""
        status, _ = await self._send("PUT", key, raw, {"if-none-match": "*"})
        if status == 200:
            return
        if status != 412:
            raise self._refused("PUT", key, status)
        found = await self.read(key, len(raw))
        if found is None:
            raise Unavailable(self._place.name, f"says that {key} exists, and then that it does not", retryable=True)
        if found != raw:
            raise ForeignObject(f"{self._place.name}/{key} holds other bytes than this log has there")

    async def replace(self, key: str, raw: bytes) -> None:
        """Write an object that moves on. Raises Unavailable."""
        status, _ = await self._send("PUT", key, raw, {})
        if status != 200:
            raise self._refused("PUT", key, status)

    async def read(self, key: str, limit: int) -> bytes | None:
        """An object, or None if there is none. Raises Unavailable, ForeignObject for a longer one."""
        status, raw = await self._send("GET", key, b"", {}, limit)
        if status == 404:
            return None
        if status != 200:
            raise self._refused("GET", key, status)
        if len(raw) > limit:
            raise ForeignObject(f"{self._place.name}/{key} is longer than the {limit} bytes that this log has there")
        return raw

    async def remove(self, key: str) -> None:
        """Remove an object, if it is there. Raises Unavailable."""
        status, _ = await self._send("DELETE", key, b"", {})
        if status not in (200, 204, 404):
            raise self._refused("DELETE", key, status)

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _send(
        self, method: str, key: str, body: bytes, headers: dict[str, str], limit: int = MAX_ERROR
    ) -> tuple[int, bytes]:
        """Status and at most `limit` + 1 bytes of answer. Raises Unavailable."""
        url = f"{self._place.url}/{key}"
        headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest(), **headers}
        credentials = await asyncio.to_thread(self._fresh)
        signed = sign_request(method, url, headers, body, credentials, AwsScope(self._place.region, "s3"), self._now())
        answer = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream(method, url, headers={"accept-encoding": "identity"} | signed, content=body) as got,
            ):
                async for chunk in got.aiter_raw():
                    answer += chunk[: limit + 1 - len(answer)]
                    if len(answer) > limit:
                        break
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:  # whose words may quote a header
            raise Unavailable(self._place.name, f"no answer ({type(error).__name__})", retryable=True) from None
        if got.status_code in (400, 403):
            self._known = None  # expired, perhaps
        return got.status_code, bytes(answer)

    def _fresh(self) -> AwsCredentials:
        now = self._now()
        if self._known is None or (now - self._known[1]).total_seconds() > CREDENTIAL_SECONDS:
            self._known = self._credentials(), now
        return self._known[0]

    def _refused(self, method: str, key: str, status: int) -> Unavailable:
        words = {
            301: "the bucket is in another region: set log_store_region",
            403: "the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject there, and s3:ListBucket",
            404: "there is no such bucket",
        }
        reason = f"answers {method} {key} with status {status}" + (f": {words[status]}" if status in words else "")
        return Unavailable(self._place.name, reason, retryable=status >= 500 or status in (409, 429))
