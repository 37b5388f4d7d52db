"""The way of one call between two languages: verbatim where they are the same, translated where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.dialects.dialect import CUT, Attestation, Passage, ProviderSide, Seen, Surface, Verbatim
from gateway.dialects.quirks import Quirks
from gateway.dialects.splice import attach_to_object, read_answer
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, Finish, InferenceRequest, StreamEvent, Usage

_MAX_HEADER = 4096  # characters: Claude Code sends seven names of betas, some 300

# The provider's word on our own key is our problem: shown as 401 it would send the client to change its key.
OUR_KEY_STATUSES = (401, 402, 403)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a client asked in the language of `surface`, and the language in which its provider is asked.

    `token` makes the id of a translated answer; `created` is its time, in seconds since 1970.
    """

    surface: Surface
    provider: ProviderSide
    request: InferenceRequest
    token: str
    created: int

    @property
    def verbatim(self) -> Verbatim | None:
        """How bytes pass unchanged, where both sides speak the same language."""
        return self.surface.verbatim if self.surface.name == self.provider.name else None

    def forward(self, body: bytes, upstream_model: str, quirks: Quirks) -> bytes:
        """The bytes for the provider. Raises: InvalidRequest for what its language cannot say."""
        if self.verbatim is not None:
            return self.verbatim.forward(body, self.request, upstream_model)
        return self.provider.encode_request(replace(self.request, model=upstream_model), quirks)

    def headers(self, client: Mapping[str, str], api_version: str | None) -> dict[str, str]:
        """What the provider is told beside the body, given the headers of the client. Those that no request of ours
        could carry (not one line of printable ASCII, or longer than 4096 characters) stay behind.
        """
        own = {name: api_version or value for name, value in self.provider.headers}
        names = () if self.verbatim is None else self.verbatim.headers
        passed = {name: client[name] for name in names if name in client}
        return own | {name: value for name, value in passed.items() if _is_plain(value)}

    def passage(self, max_frame: int) -> Passage:
        """The streamed answer on its way."""
        if self.verbatim is not None:
            return self.verbatim.passage(self.request, self.created, max_frame)
        return Translation(self, max_frame)

    def answer(self, body: bytes, attestation: Attestation | None) -> tuple[bytes, Seen]:
        """A buffered answer for the client, and what it says of itself.

        Raises: UpstreamFailed if it is none, also for an error that came as an answer, unless it passes verbatim.
        """
        if self.verbatim is not None:
            fields = read_answer(body)
            seen = self.verbatim.facts(fields)
            return (body if attestation is None else attach_to_object(body, fields, attestation)), seen
        events = self.provider.decode_answer(body)
        if failure := next((event for event in events if isinstance(event, Failure)), None):
            raise UpstreamFailed(f"The provider failed: {failure.message}", code=failure.code)
        written = self.surface.encode_answer(events, self.request, self.token, self.created, attestation)
        usage = next((event for event in reversed(events) if isinstance(event, Usage)), None)
        prefix = self.surface.id_prefix
        return written, Seen(usage, prefix and prefix + self.token, whole=True)

    def refusal(self, body: bytes, status: int) -> tuple[bytes, str | None]:
        """The provider's own refusal, as the client can read it, and when to come back, if its body says so.

        Raises: UpstreamFailed if it is of our own key.
        """
        if self.verbatim is not None:
            return body, None
        failure = self.provider.decode_error(body, status)
        if failure.status in OUR_KEY_STATUSES:
            raise refused_key()  # Google says it with status 400
        wait = None if failure.retry_after is None else f"{failure.retry_after:g}"
        return self.surface.encode_error(replace(failure, error_type=None), status), wait


class Translation:
    """A stream that is decoded and written anew."""

    def __init__(self, exchange: Exchange, max_frame: int) -> None:
        self._chat_id = exchange.surface.id_prefix + exchange.token
        self._decoder = exchange.provider.decoder(max_frame)
        self._encoder = exchange.surface.encoder(exchange.request, exchange.token, exchange.created)
        self._usage: Usage | None = None
        self._finished = self._failed = False

    def push(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, and give the client's. Raises: UpstreamFailed beyond a bound."""
        return self._write(self._decoder.push(chunk))

    def closing(self, attestation: Attestation | None, cut: Failure | None = None) -> bytes:
        """The last bytes; a stream without an ending, or cut, ends in an error."""
        rest = self._decoder.finish() if cut is None else [*self._used(), cut]
        written = self._write(rest)
        if not (self._finished or self._failed):
            written += self._write([CUT])
        return written + self._encoder.finish(attestation)

    def seen(self) -> Seen:
        """What was learnt so far."""
        return Seen(self._usage, self._chat_id, self._finished and not self._failed, self._decoder.skipped)

    def _used(self) -> list[StreamEvent]:
        """What the provider said of usage before it was cut, where its decoder kept that for the end."""
        with suppress(UpstreamFailed):  # a bound that was passed is why it was cut
            return [event for event in self._decoder.finish() if isinstance(event, Usage)]
        return []

    def _write(self, events: list[StreamEvent]) -> bytes:
        written = b""
        for event in events:
            if isinstance(event, Usage):
                self._usage = event
            self._finished = self._finished or isinstance(event, Finish)
            self._failed = self._failed or isinstance(event, Failure)
            written += self._encoder.encode(_retold(event))
        return written


def refused_key() -> UpstreamFailed:
    """What a client is told when the provider does not take the operator's key."""
    return UpstreamFailed("The provider refused the gateway's own key.", code="upstream_refused_key")


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) <= _MAX_HEADER


def _retold(event: StreamEvent) -> StreamEvent:
    """A failure without its provider's word for the kind of error, which the client's language does not have."""
    return replace(event, error_type=None) if isinstance(event, Failure) else event
