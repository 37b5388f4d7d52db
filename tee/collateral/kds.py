"""AMD's Key Distribution Service, or a mirror of it: bounded requests, and none while it wants to be left alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx2

from tee.canonical import shown
from tee.collateral.patience import pause_after
from tee.collateral.proof import iso
from tee.errors import Malformed, Unavailable

AMD_KDS = "https://kdsintf.amd.com"
DEADLINE_SECONDS = 10.0  # from the name server to the last byte: a quote may wait for it
_EVERYTHING = ""  # the path of a silence that holds for the whole server


@dataclass(frozen=True, slots=True)
class _Silence:
    """A path that is not asked for before `until`, and why."""

    since: datetime
    until: datetime
    failures: int  # in a row
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str | None
    body: bytes


class Kds:
    """A key server. It is asked by one caller at a time; what it answers is unverified."""

    def __init__(
        self,
        url: str = AMD_KDS,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self._now = now
        self._chance = chance
        self._silences: dict[str, _Silence] = {}  # of the few paths that one machine's report leads to

    def get(self, path: str, limit: int) -> bytes:
        """The answer for `path`, at most `limit` bytes. Raises Unavailable, and then asks no more for a while."""
        for place in (_EVERYTHING, path):
            if self._is_silent(place):
                raise self._unavailable(place, path)
        answer = self._ask(path, limit)
        if answer.status == 200:
            if len(answer.body) > limit:
                raise self._fall_silent(path, path, f"answered more than {limit} bytes", False)
            self._silences.pop(_EVERYTHING, None)
            return answer.body
        if answer.status == 429 or answer.status >= 500:
            words = "too many requests" if answer.status == 429 else "it has a fault"
            raise self._fall_silent(_EVERYTHING, path, f"answered {answer.status}, {words}", True, answer.retry_after)
        raise self._fall_silent(path, path, _refusal(answer), False)

    def refuse(self, path: str, error: Malformed) -> Unavailable:
        """The error for an answer that proved to be wrong; it is not asked for again for a while."""
        self._fall_silent(path, path, f"its answer is refused: {error}", False)
        return self._unavailable(path, path)

    def accept(self, path: str) -> None:
        """The answer proved to be right."""
        self._silences.pop(path, None)

    def _ask(self, path: str, limit: int) -> _Answer:
        try:
            return _within(DEADLINE_SECONDS, lambda: _request(self.url + path, limit))
        except (TimeoutError, httpx2.TimeoutException):
            reason = f"gave no whole answer within {DEADLINE_SECONDS:g} s"
        except httpx2.ConnectError as error:
            reason = f"cannot be reached ({error})"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = f"broke off its answer ({type(error).__name__})"
        raise self._fall_silent(_EVERYTHING, path, reason, True)

    def _is_silent(self, place: str) -> bool:
        silence = self._silences.get(place)
        # A clock that was set back must not make a pause longer.
        return silence is not None and silence.since <= self._now() < silence.until

    def _fall_silent(
        self, place: str, path: str, reason: str, retryable: bool, retry_after: str | None = None
    ) -> Unavailable:
        before = self._silences.get(place)
        failures = before.failures + 1 if before else 1
        now = self._now()
        pause = pause_after(failures, retry_after, now, self._chance())
        self._silences[place] = _Silence(now, now + pause, failures, reason, retryable)
        return self._unavailable(place, path)

    def _unavailable(self, place: str, path: str) -> Unavailable:
        silence = self._silences[place]
        words = f"{silence.reason}; not asked again before {iso(silence.until)}"
        return Unavailable(self.url + path, words, retryable=silence.retryable)


def parse_kds_url(url: str, field: str) -> str | None:
    """The key server's URL without a trailing slash; None for an empty one: ask nobody. Raises Malformed.

    `http://` is no danger: what is not proven by AMD's signatures is refused.
    """
    if not url:
        return None
    wanted = "https://HOST[:PORT][/PATH] of a key server, or nothing to ask none"
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # a name of empty or endless labels is a ValueError too
        simple = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        simple = False
    if not simple or not (url.isascii() and url.isprintable()) or any(mark in url for mark in " ?#@"):
        raise Malformed(field, shown(url), wanted)
    return url.rstrip("/")


def _request(url: str, limit: int) -> _Answer:
    """One request, no redirects; reading stops where the body is larger than `limit`."""
    with (
        httpx2.Client(timeout=DEADLINE_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
    ):
        body = b""
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > limit:
                break
        return _Answer(response.status_code, response.headers.get("retry-after"), body)


def _within(seconds: float, request: Callable[[], _Answer]) -> _Answer:
    """The request's answer or error. Raises TimeoutError.

    No timeout of the HTTP client bounds a name server that is silent, or headers that come byte by byte.
    """
    future: Future[_Answer] = Future()

    def work() -> None:
        try:
            future.set_result(request())
        except BaseException as error:  # whatever it is: raised again where the result is awaited
            future.set_exception(error)

    threading.Thread(target=work, name="kds", daemon=True).start()
    return future.result(seconds)


def _refusal(answer: _Answer) -> str:
    if answer.status == 404:
        return "answered 404: it has none for this product, chip and TCB"
    if 300 <= answer.status < 400:
        return f"answered {answer.status}, a redirect to elsewhere, which is not followed"
    return f"answered {answer.status}"
