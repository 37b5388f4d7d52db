"""The quote desk: evidence for whoever asks, at a rate that the attestation device bears, and after its death."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.config import Limits
from gateway.errors import AttesterUnavailable, RateLimited
from gateway.platform_evidence import make_platform_evidence
from gateway.turnstile import Turnstile
from gateway.workload import Document, Keyset, WorkloadKeys, quote_document
from tee.attest.attester import Attester, PlatformAttester
from tee.errors import DeviceDead, Unavailable
from tee.evidence import Evidence
from tee.keys.binding import encode_statement, report_data_of
from tee.snp.report import parse_report
from tee.verify import verify_report

LOG = logging.getLogger("saferouter")
# A host throttles at about one request in two seconds, and answers a burst by making the guest wait a minute.
DEVICE_PER_MINUTE = 30
MOCK_PER_MINUTE = 6000
LINUX_GIVES_UP = 60.0  # seconds after which Linux stops asking a host that is too busy
# Logs and stores the quote of a new keyset; returns it with its place in the log.
Record = Callable[[Keyset, Document], Awaitable[Document]]
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Standing:
    """The quote of the keyset in force, over no nonce, and when it was made (seconds since 1970)."""

    quote: Document
    made_at: float


@dataclass(slots=True)
class _Place:
    """A nonce in the queue, and how many wait for it."""

    making: asyncio.Task[Document] = field(init=False)
    callers: int = 0
    asking: bool = False


class QuoteDesk:
    """One device and a queue of bounded length and time; each nonce gets a report of its own."""

    def __init__(
        self,
        attester: Attester,
        keys: WorkloadKeys,
        limits: Limits,
        log_member: Callable[[str], Document],
        platform: PlatformAttester | None = None,
    ) -> None:
        self._attester = attester
        self._log_member = log_member
        self._platform = platform
        self._keys = keys
        self._limits = limits
        of_its_kind = MOCK_PER_MINUTE if attester.tee_type == "mock" else DEVICE_PER_MINUTE
        self._turnstile = Turnstile(self._attest, limits.quotes_per_minute or of_its_kind)
        self._places: dict[bytes, _Place] = {}
        self._standing: Standing | None = None
        self._said = ""
        self._busy: Unavailable | None = None  # the device's last word, where it was "try again"
        self.dead: DeviceDead | None = None
        self._dead_since = dt.datetime.max

    @property
    def tee_type(self) -> str:
        """`sev_snp` or `mock`."""
        return self._attester.tee_type

    @property
    def standing(self) -> Standing:
        """The shared quote: for everybody who sends no nonce. Raises AttesterUnavailable before the first one."""
        if self._standing is None:
            raise AttesterUnavailable("The gateway has no evidence yet.", retry_after=1.0)
        return self._standing

    @property
    def stale(self) -> dict[str, str] | None:
        """The mark of evidence that no device can renew (SPEC §4.5), None while one can."""
        if self.dead is None:
            return None
        reason = "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in str(self.dead))
        return {"since": self._dead_since.strftime(TIME), "reason": reason[:512]}

    async def adopt(self, keyset: Keyset, record: Record, patience: float) -> None:
        """Attest a keyset, have it recorded, then put it in force: nothing is signed under it before.

        A busy device is asked again for `patience` seconds. Raises Unavailable.
        """
        until = time.monotonic() + patience
        statement = encode_statement(keyset.digest, None)
        async with self._turnstile.turn():
            evidence = await self._evidence(statement, lambda: time.monotonic() < until)
            platform = await self._platform_evidence(evidence, None)
        quote = quote_document(self._keys, keyset, self.tee_type, evidence, statement, platform)
        quote = await record(keyset, quote)
        self._keys.put_in_force(keyset)
        self._standing = Standing(quote, time.time())

    async def quote(self, nonce: bytes) -> Document:
        """A quote over this nonce (32 bytes). Who asks for the same one meanwhile shares it.

        Raises RateLimited, AttesterUnavailable: at once where the deadline cannot be kept, and at the deadline.
        """
        place = self._places.get(nonce) or self._open(nonce)
        place.callers += 1
        try:
            async with asyncio.timeout(self._limits.quote_seconds):
                return await asyncio.shield(place.making)
        except TimeoutError:
            raise self._too_late() from None
        except Unavailable as error:
            raise self._refusal(error) from None
        finally:
            place.callers -= 1
            if not place.callers and not place.asking:
                self._close(nonce, place)  # nobody waits for it: no report is spent
                place.making.cancel()

    def _open(self, nonce: bytes) -> _Place:
        """A place at the end of the queue. Raises RateLimited, AttesterUnavailable."""
        if self.dead is not None:
            raise self._refusal(self.dead)
        if self._turnstile.busy_seconds > self._limits.quote_seconds:
            raise self._silent()
        waiting = sum(not place.asking for place in self._places.values())
        starts = self._turnstile.seconds_until(waiting)
        # A device that is free is always tried, also where the rate leaves no room for an answer in time.
        late = starts + self._turnstile.answer_seconds - self._limits.quote_seconds if starts > 0 else 0.0
        if waiting >= self._limits.waiting_quotes:
            late = max(late, self._turnstile.seconds_until(1))
        if late > 0:
            raise RateLimited(
                f"The attestation device is asked no more often than it bears, and {len(self._places)} callers are "
                f"before you: your quote would not be ready within {self._limits.quote_seconds} s. The shared quote, "
                "without a nonce, is served at once.",
                retry_after=math.ceil(late),
            )
        place = self._places[nonce] = _Place()
        place.making = asyncio.create_task(self._make(nonce, place))
        place.making.add_done_callback(lambda _: self._close(nonce, place))
        return place

    def _close(self, nonce: bytes, place: _Place) -> None:
        if self._places.get(nonce) is place:
            del self._places[nonce]
        if place.making.done() and not place.making.cancelled():
            place.making.exception()  # looked at, for the case that every caller has left

    async def _make(self, nonce: bytes, place: _Place) -> Document:
        async with self._turnstile.turn():
            keyset = self._keys.keyset
            statement = encode_statement(keyset.digest, nonce)
            place.asking = True
            # A busy host must get the same request again, so this one keeps its turn while somebody waits for it.
            evidence = await self._evidence(statement, lambda: place.callers > 0)
            platform = await self._platform_evidence(evidence, nonce)
        quote = quote_document(self._keys, keyset, self.tee_type, evidence, statement, platform)
        return quote | {"log": await asyncio.to_thread(self._log_member, keyset.digest)}

    async def _evidence(self, statement: bytes, wanted: Callable[[], bool]) -> Evidence:
        """Ask within a turn, and again while the device is busy and the answer is `wanted`. Raises Unavailable."""
        while True:
            if self.dead is not None:
                raise self.dead
            try:
                evidence = await self._turnstile.ask(report_data_of(statement))
            except Unavailable as error:
                self._note(error)
                if not error.retryable or not wanted():
                    raise
                await self._turnstile.slot()
            else:
                self._said, self._busy = "", None
                return evidence

    async def _platform_evidence(self, evidence: Evidence, nonce: bytes | None) -> list[Document]:
        """The platform's rows about this report, within its turn: once for each quote. Raises Unavailable."""
        if self._platform is None:
            return []
        mock = self.tee_type == "mock"
        try:
            return await asyncio.to_thread(make_platform_evidence, self._platform, evidence.report, nonce, mock=mock)
        except Unavailable as error:
            self._note(error)
            raise

    def _note(self, error: Unavailable) -> None:
        """Tell the operator, once and not at every request; what ends a start is told by its last sentence."""
        self._busy = error if error.retryable else None
        if isinstance(error, DeviceDead):
            self.dead, self._dead_since = error, dt.datetime.now(dt.UTC)
            self._turnstile.close()
            ends = iso_time(self._keys.keyset.not_after)
            words = (
                f"The attestation device is dead: {error}. The last evidence is served on, marked stale, and calls are "
                f"answered until the keyset ends at {ends}. Reboot the guest to mend it."
            )
        else:
            words = f"No new evidence{' yet, the device is asked again' if error.retryable else ''}: {error}."
        if str(error) != self._said and (error.retryable or self._standing is not None):
            self._said = str(error)
            LOG.error("%s", words)

    def _refusal(self, error: Unavailable) -> AttesterUnavailable:
        if isinstance(error, DeviceDead):
            return AttesterUnavailable(
                f"No evidence over your nonce can be made any more: {error}. The last evidence is served without a "
                "nonce, marked stale.",
                code="attestation_dead",
            )
        return AttesterUnavailable(str(error), retry_after=self._pause() if error.retryable else None)

    def _too_late(self) -> AttesterUnavailable | RateLimited:
        """At the deadline: whose fault it was, as far as is known."""
        if self._busy is not None:
            return self._refusal(self._busy)
        if self._turnstile.busy_seconds > self._limits.quote_seconds / 2:
            return self._silent()
        return RateLimited(
            f"The attestation device is slower than its rate: your turn did not come within "
            f"{self._limits.quote_seconds} s.",
            retry_after=self._pause(),
        )

    def _silent(self) -> AttesterUnavailable:
        silent = self._turnstile.busy_seconds
        return AttesterUnavailable(
            f"The attestation device has not answered for {silent:.0f} s.",
            retry_after=max(self._pause(), math.ceil(LINUX_GIVES_UP - silent)),
        )

    def _pause(self) -> int:
        """Whole seconds after which a request can be next."""
        waiting = sum(not place.asking for place in self._places.values())
        return max(1, math.ceil(self._turnstile.seconds_until(waiting)))

    def _attest(self, report_data: bytes) -> Evidence:
        """A report that verifies: one that would not is never served."""
        evidence = self._attester.attest(report_data)
        verdict = verify_report(
            evidence, now=dt.datetime.now(dt.UTC), policy=None, accept_mock=self._attester.tee_type == "mock"
        )
        if verdict.outcome != "authentic":
            reason = (
                f"its own report does not verify: {verdict.sentence()} Where its certificates are another chip's, or "
                "older than its firmware, have the host's operator load this chip's"
            )
            raise Unavailable("attester", reason, retryable=False)
        if parse_report(evidence.report).report_data != report_data:
            raise Unavailable("attester", "its report is over other data than was asked", retryable=False)
        return evidence


def iso_time(seconds: float) -> str:
    """A time as people read it, UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime(TIME)
