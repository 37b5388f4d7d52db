"""Google's access tokens: a service account signs for itself, and its token serves until shortly before its end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.dialects.fields import count, word
from gateway.errors import NoRoute, UpstreamFailed
from gateway.jsonbody import encode_json, read_json_object
from tee.origin import is_private_channel

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_SECONDS = 3600  # Google's own bound on what an account may sign
SPARE_SECONDS = 60  # a token that ends on the way is worth nothing
EXCHANGE_SECONDS = 10.0
MAX_ANSWER = 64 << 10  # bytes; a token has one or two thousand

_TOKEN = re.compile(r"[!-~]{1,8192}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who signs, with which key, and where its signature is taken."""

    email: str
    key_id: str
    token_uri: str
    key: RSAPrivateKey = field(repr=False)

    def assertion(self, now: int) -> str:
        """The signed wish for a token: a JWT (RFC 7523)."""
        head: dict[str, object] = {"alg": "RS256", "typ": "JWT", **({"kid": self.key_id} if self.key_id else {})}
        claims: dict[str, object] = {
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + MAX_SECONDS
        }  # fmt: skip
        signed = f"{_base64url(encode_json(head))}.{_base64url(encode_json(claims))}"
        return f"{signed}.{_base64url(self.key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


@dataclass(frozen=True, slots=True)
class _Token:
    account: bytes  # digest of the file that it was given for
    text: str = field(repr=False)
    ends: float


class GoogleTokens:
    """The token of each provider, asked for once by however many calls wait for it."""

    def __init__(self, clock: Callable[[], float] = time.time, patience: float = EXCHANGE_SECONDS) -> None:
        self._clock, self._patience = clock, patience
        self._tokens: dict[str, _Token] = {}
        self._asking: dict[tuple[str, bytes], asyncio.Task[_Token]] = {}

    async def token(self, provider: str, account: str) -> str:
        """A token for the account in this text. Raises NoRoute for what is no account, UpstreamFailed."""
        digest = hashlib.sha256(account.encode()).digest()
        known = self._tokens.get(provider)
        if known is not None and known.account == digest and self._clock() < known.ends:
            return known.text
        place = provider, digest
        if place not in self._asking:
            task = asyncio.create_task(self._ask(provider, account, digest))
            self._asking[place] = task
            task.add_done_callback(lambda done: self._asked(place, done))
        # A client that leaves must not take the token away from those who wait with it.
        return (await asyncio.shield(self._asking[place])).text

    def forget(self, provider: str) -> None:
        """The provider refused the token: the next call asks for another."""
        self._tokens.pop(provider, None)

    def _asked(self, place: tuple[str, bytes], done: asyncio.Task[_Token]) -> None:
        del self._asking[place]
        if not done.cancelled() and done.exception() is None:
            self._tokens[place[0]] = done.result()

    async def _ask(self, provider: str, account: str, digest: bytes) -> _Token:
        signer = read_account(account, provider)
        now = self._clock()
        form = {"grant_type": GRANT, "assertion": signer.assertion(int(now))}
        status, body = await _exchange(signer.token_uri, form, self._patience)
        answer = read_json_object(body) or {}
        if status != 200:
            reason = word(answer, "error")
            told = f" ({reason})" if re.fullmatch(r"[a-z_]{1,40}", reason, re.ASCII) else ""
            raise UpstreamFailed(f"Google gave the gateway no token: status {status}{told}.", code="no_token")
        text, seconds = word(answer, "access_token"), count(answer.get("expires_in")) or 0
        if not _TOKEN.fullmatch(text):
            raise UpstreamFailed("Google gave the gateway no token: its answer holds none.", code="no_token")
        return _Token(digest, text, now + min(seconds, MAX_SECONDS) - SPARE_SECONDS)


def read_account(text: str, provider: str) -> ServiceAccount:
    """The account in a key file of Google's. Raises NoRoute, and never repeats what stands there."""
    fields = read_json_object(text) or {}
    email, token_uri = word(fields, "client_email"), word(fields, "token_uri")
    key, fault = _private_key(word(fields, "private_key")), ""
    if word(fields, "type") != "service_account":
        fault = "type"
    elif not email:
        fault = "client_email"
    elif not _is_private(token_uri):
        fault = "token_uri"
    if fault or key is None:
        words = f"its {fault or 'private_key'} is missing or wrong"
        raise NoRoute(
            f"Provider {provider} wants the key file of a Google service account: {words}.", code="no_credential"
        )
    return ServiceAccount(email, word(fields, "private_key_id"), token_uri, key)


def _is_private(url: str) -> bool:
    try:
        return is_private_channel(url)
    except ValueError:  # no URL at all
        return False


def _private_key(pem: str) -> RSAPrivateKey | None:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPrivateKey) else None


async def _exchange(url: str, form: dict[str, str], patience: float) -> tuple[int, bytes]:
    """Status and body, bounded in time and size. Raises UpstreamFailed, never with a word of what was sent."""
    try:
        async with (
            asyncio.timeout(patience),
            httpx2.AsyncClient(follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, data=form, headers={"accept-encoding": "identity"}) as response,
        ):
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise UpstreamFailed("Google gave the gateway no token: its answer is too long.", code="no_token")
            return response.status_code, body
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:  # a timeout is an OSError
        words = f"Google gave the gateway no token: no answer ({type(error).__name__})."
        raise UpstreamFailed(words, code="no_token") from None


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
