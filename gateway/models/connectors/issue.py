"""One call of one provider: send, decode, project; whatever happens, the last emission is Done or Error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from gateway.config import Limits
from gateway.dialects.dialect import ProviderSide
from gateway.errors import GatewayError as CoreError
from gateway.inference import StreamEvent
from gateway.models.connectors.http import HttpRequest, HttpResponse, HttpTransport
from gateway.models.contract.emission import Emission, ErrorEmission
from gateway.models.contract.errors import GatewayError, aborted
from gateway.models.contract.model_card import ModelCard
from gateway.models.contract.options import CancellationToken
from gateway.models.conversion.emissions import Projection, failure_error, gateway_failure

_FRAME = Limits().frame
_STREAMS = {"application/x-ndjson": "ndjson stream"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent, the language of its answer, and what to do where its proof is not taken."""

    side: ProviderSide
    request: HttpRequest
    refused: Callable[[], None] = lambda: None


async def issue(
    card: ModelCard,
    cancel: CancellationToken | None,
    transport: HttpTransport,
    prepare: Callable[[], Awaitable[Prepared]],
) -> AsyncGenerator[Emission, None]:
    """Ask once. Nothing is raised but what is no failure of the call."""
    projection = Projection(card.id, card.provider)
    try:
        if cancel is not None and cancel.cancelled:
            raise aborted("cancelled before the request was sent")
        prepared = await prepare()
        response = await transport.post(
            prepared.request,
            card.provider,
            f"{card.provider} could not be reached",
            f"cancelled while {card.provider} was waited for",
        )
        async with aclosing(_events(prepared, response, card.provider, cancel)) as arriving:
            async for events in arriving:
                for emission in projection.push(events):
                    yield emission
    except CoreError as error:
        yield ErrorEmission(gateway_failure(error, card.provider))
        return
    yield projection.end()


async def _events(
    prepared: Prepared, response: HttpResponse, provider: str, cancel: CancellationToken | None
) -> AsyncGenerator[list[StreamEvent], None]:
    side = prepared.side
    if response.status == 401:
        prepared.refused()
    if not response.ok:
        raise await _refusal(side, response, provider)
    if response.content_type not in ("", side.stream_type):
        yield side.decode_answer(await response.read())  # one that does not stream
        return
    decoder = side.decoder(_FRAME)
    what = _STREAMS.get(side.stream_type, "event stream")
    async with aclosing(response.into_byte_stream(cancel, what)) as chunks:
        async for chunk in chunks:
            yield decoder.push(chunk)
    yield decoder.finish()


async def _refusal(side: ProviderSide, response: HttpResponse, provider: str) -> GatewayError:
    """In the provider's words. Its body may know better than its status: Google refuses a key with 400."""
    body = await response.read() if response.has_body() else b""
    failure = side.decode_error(body, response.status)
    status, wait = failure.status or response.status, response.retry_after or failure.retry_after
    return failure_error(replace(failure, status=status, retry_after=wait), provider).with_extra(status=response.status)
