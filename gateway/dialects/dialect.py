"""What every wire language offers to the pipeline: the side that clients see, and the side that providers see.

A dialect is a module, with its parts beside it where it is long: NAME, as it stands in `Connector.dialect` and in
`InferenceRequest.dialect`, and the values SURFACE and PROVIDER, one of them or both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.dialects.quirks import Quirks
from gateway.inference import Failure, InferenceRequest, StreamEvent, Usage

Attestation = dict[str, object]
"""The block that every answer carries, under `_sf_attestation` and `attestation` (SPEC §7.3)."""

CUT = Failure("The provider broke off before the end of its answer.", "upstream_cut", "server_error")
"""What a client is told of a stream that ends without an ending."""


class Decoder(Protocol):
    """Reads the stream of a provider: bytes in any chunking, events out.

    Order: Start if the provider names its answer, then deltas, then Finish, then the final Usage (an earlier one may
    stand anywhere). A Finish beside tool calls says tool_calls, never a plain stop. Failure ends it anywhere. After
    Failure, or after the provider's own end mark, nothing follows. What is no JSON object is passed over and counted
    in `skipped`: one broken line must not cost the answer around it.
    """

    skipped: int

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give the events that they complete. Raises: UpstreamFailed beyond a bound."""

    def finish(self) -> list[StreamEvent]:
        """Say that the stream has ended, and give what was still open; Failure if it ended too early, and before it the
        Usage so far, where the provider tells that on the way.
        """


class Encoder(Protocol):
    """Writes the stream that a client reads: one event in, whole frames out.

    Finish, Usage and Failure may be kept back until `finish`, because the attestation goes before or into them.
    """

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; empty if it is kept back. Raises: UpstreamFailed if this language has no place for it."""

    def finish(self, attestation: Attestation | None) -> bytes:
        """Render the end. Without a Finish, or after a Failure, it must not look like a whole answer."""


class Passage(Protocol):
    """A stream on its way from the provider to the client, verbatim or translated."""

    def push(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, and give the client's. Raises: UpstreamFailed beyond a bound."""

    def closing(self, attestation: Attestation | None, cut: Failure | None = None) -> bytes:
        """The provider's stream has ended, or was `cut` for that reason: the last bytes for the client."""

    def seen(self) -> Seen:
        """What was learnt so far; whether the answer is whole counts after `closing` only."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an answer. `chat_id` is the id that the client sees, empty if it saw none; `whole` says that
    the provider ended it as it should, and reported no failure; `skipped` counts the pieces that nobody could read.
    """

    usage: Usage | None
    chat_id: str
    whole: bool
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Verbatim:
    """How bytes pass unchanged between a client and a provider of the same language.

    - `forward(body, request, upstream_model)`: the bytes for the provider, the client's own wherever possible
    - `passage(request, created, max_frame)`: the stream
    - `facts(answer)`: what a buffered answer says of itself, from its JSON
    - `headers`: names of the client's headers that go along, in lower case
    """

    forward: Callable[[bytes, InferenceRequest, str], bytes]
    passage: Callable[[InferenceRequest, int, int], Passage]
    facts: Callable[[dict[str, object]], Seen]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surface:
    """The side of a dialect that clients see.

    - `decode_request(body)`: read and check. Raises: InvalidRequest with `param` at the member at fault, nothing else
    - `encoder(request, token, created)`: for a streamed answer. Its id is `id_prefix + token`, or it has none where the
      prefix is empty; `created` is in seconds
      since 1970, and gives way to the provider's own in Start, as the request's model does
    - `encode_answer(events, request, token, created, attestation)`: a buffered answer; an error body if they hold a
      Failure
    - `encode_error(failure, status)`: a refusal's body; the type word follows from the status if the failure has none
    """

    name: str
    id_prefix: str
    decode_request: Callable[[bytes], InferenceRequest]
    encoder: Callable[[InferenceRequest, str, int], Encoder]
    encode_answer: Callable[[list[StreamEvent], InferenceRequest, str, int, Attestation | None], bytes]
    encode_error: Callable[[Failure, int], bytes]
    verbatim: Verbatim | None = None


@dataclass(frozen=True, slots=True)
class ProviderSide:
    """The side of a dialect that providers see.

    - `path(model, stream)`: what follows the connector's base URL, query included
    - `encode_request(request, quirks)`: `request.model` is already the provider's own id.
      Raises: InvalidRequest for what this language cannot say (Foreign, several choices)
    - `decoder(max_frame)`: for a streamed answer, whose content type is `stream_type`
    - `decode_answer(body)`: a buffered answer as the events that a stream would have given.
      Raises: UpstreamFailed if it is none
    - `decode_error(body, status)`: the body of a refusal, whatever it holds
    - `headers`: the version of the API that every request names, where the language has such a header
    """

    name: str
    stream_type: str
    path: Callable[[str, bool], str]
    encode_request: Callable[[InferenceRequest, Quirks], bytes]
    decoder: Callable[[int], Decoder]
    decode_answer: Callable[[bytes], list[StreamEvent]]
    decode_error: Callable[[bytes, int], Failure]
    headers: tuple[tuple[str, str], ...] = ()
